"""A TCP proxy in front of a server of a test that cuts connections where the test says."""

import select
import socket
import threading


class CuttingProxy:
    """Its nth connection is cut just before the server's cuts[n]th reply would reach the client: the
    server has done what it was asked, the client never learns. Later connections live."""

    def __init__(self, port, cuts):
        self.target = ("127.0.0.1", port)
        self.cuts = list(cuts)
        self.cut_count = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def left(self):
        return len(self.cuts)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with self.lock:
            cut = self.cuts.pop(0) if self.cuts else None
        try:
            server = socket.create_connection(self.target)
            self._pump(client, server, cut)
            server.close()
        except OSError:
            pass
        client.close()

    def _pump(self, client, server, cut):
        replies = 0
        while True:
            readable, _, _ = select.select([client, server], [], [])
            for one in readable:
                data = one.recv(1 << 18)
                if not data:
                    return
                if one is client:
                    server.sendall(data)
                    continue
                replies += 1
                if replies == cut:
                    with self.lock:
                        self.cut_count += 1
                    return
                client.sendall(data)

    def stop(self):
        self.listener.close()
