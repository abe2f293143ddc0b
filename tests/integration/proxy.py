"""TCP proxies in front of a server of a test, which fail where the test says."""

import contextlib
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


class GatedProxy:
    """Lets everything through but what the test shuts out."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.open = True
        self.muted_word = None
        self.muted = 0
        self.sockets = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def mute(self, word):
        """From now on no reply is heard over a connection that asks for that; `muted` counts them."""
        self.muted_word = word

    @contextlib.contextmanager
    def away(self):
        """No connection lives, and none is made."""
        self.open = False
        for one in list(self.sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        try:
            yield
        finally:
            self.open = True

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client, socket.create_connection(self.target) as server:
            self.sockets |= {client, server}
            if self.open:
                self._pump(client, server)
            self.sockets -= {client, server}

    def _pump(self, client, server):
        muted = False
        while True:
            for one in select.select([client, server], [], [])[0]:
                data = one.recv(1 << 18)
                if not data:
                    return
                if one is client and not muted and self.muted_word and self.muted_word in data:
                    muted = True
                    self.muted += 1
                if one is client:
                    server.sendall(data)
                elif not muted:
                    client.sendall(data)

    def stop(self):
        self.listener.close()
