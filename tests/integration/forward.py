"""An HTTP proxy as Mastodon's http_proxy names one: CONNECT, and requests in absolute form."""

import socket
import threading


class ForwardProxy:
    """Whatever name it is asked for, it goes to `address`. `heads` are the requests as they came."""

    def __init__(self, address):
        self.address = address
        self.heads = []
        self.listener = socket.create_server(("", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            with client, client.makefile("rb") as reader:
                self._forward(client, reader)
        except OSError:
            pass

    def _forward(self, client, reader):
        lines = iter(reader.readline, b"\r\n")
        head = [line.decode().rstrip("\r\n") for line in lines if line]
        self.heads.append(head)
        method, target, _ = head[0].split(" ")
        if method == "CONNECT":
            port, path = target.rsplit(":", 1)[1], None
        else:
            authority, _, path = target.split("://", 1)[1].partition("/")
            port = authority.rsplit(":", 1)[1]
        with socket.create_connection((self.address, int(port))) as server:
            if path is None:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
                self._pump(reader, server)
                return
            kept = [line for line in head[1:] if not line.lower().startswith(("proxy-", "connection:"))]
            length = int(next(line for line in kept if line.lower().startswith("content-length:")).split(":")[1])
            lines = [f"{method} /{path} HTTP/1.1", *kept, "Connection: close", "", ""]
            server.sendall("\r\n".join(lines).encode() + reader.read(length))
            self._pump(server, client)

    @staticmethod
    def _pump(source, target):
        read = source.read1 if hasattr(source, "read1") else source.recv
        try:
            while data := read(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
