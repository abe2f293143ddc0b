"""Name servers like the simulated fediverse's, in this process, which can be told to answer otherwise."""

import socket
import sys
import threading

from servers import FEDIVERSE

sys.path.append(FEDIVERSE)

from names import SERVFAIL, Names, read_name  # noqa: E402


class OwnNames(Names):
    """A machine's own: it knows what the world's `names` do."""

    def __init__(self, names):
        _, _, hole, refused, *addresses = names.command
        super().__init__(addresses, hole, refused)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.resolver = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            packet, client = self.socket.recvfrom(4096)
            reply = self.answer(packet)
            if reply is not None:
                self.socket.sendto(reply, client)


class BrokenNames(OwnNames):
    """While it is `cut` it says nothing, or SERVFAIL to everything."""

    def __init__(self, names, silent):
        self.cut = False
        self.silent = silent
        super().__init__(names)

    def answer(self, packet):
        if not self.cut:
            return super().answer(packet)
        if self.silent:
            return None
        _, end = read_name(packet, 12)
        return packet[:2] + bytes([0x81, 0x80 | SERVFAIL, 0, 1, 0, 0, 0, 0, 0, 0]) + packet[12 : end + 4]


class RenamedHost(OwnNames):
    """It knows everything as the others do, but where this host is, which moves."""

    def __init__(self, host, address, names):
        self.host = host
        self.address = address
        self.asked = 0
        super().__init__(names)

    def move(self, address):
        self.address = address

    def address_of(self, name):
        if name != self.host:
            return super().address_of(name)
        self.asked += 1
        return self.address
