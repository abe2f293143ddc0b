"""A name server like the simulated fediverse's, one of whose names moves."""

import socket
import sys
import threading

from servers import FEDIVERSE

sys.path.append(FEDIVERSE)

from names import Names  # noqa: E402


class RenamedHost(Names):
    """`names` is the world's: it knows everything but this host."""

    def __init__(self, host, address, names):
        _, _, hole, refused, *addresses = names.command
        super().__init__(addresses, hole, refused)
        self.host = host
        self.address = address
        self.asked = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.resolver = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def move(self, address):
        self.address = address

    def address_of(self, name):
        if name != self.host:
            return super().address_of(name)
        self.asked += 1
        return self.address

    def _serve(self):
        while True:
            packet, client = self.socket.recvfrom(4096)
            reply = self.answer(packet)
            if reply is not None:
                self.socket.sendto(reply, client)
