#!/usr/bin/python3
"""A name server on loopback for the simulated fediverse: A records for *.fedi.test.

The first word of a name says what happens: nx-* doesn't exist, servfail-* fails, mute-* is never
answered, refused-* has an address where nobody listens, hole-* one that never answers, everything
else one of the receiver's.

    names.py PORT HOLE_ADDRESS REFUSED_ADDRESS ADDRESS...      with TTL_SECONDS in the environment: 1
"""

import os
import socket
import struct
import sys
import zlib

DOMAIN = "fedi.test"
TYPE_A = 1
SO_RCVBUFFORCE = 33
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
TTL_SECONDS = int(os.environ.get("TTL_SECONDS", "1"))


def read_name(packet, at):
    labels = []
    while packet[at] != 0:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("ascii", "replace").lower())
        at += 1 + packet[at]
    return ".".join(labels), at + 1


class Names:
    def __init__(self, addresses, hole, refused):
        self.addresses = addresses
        self.special = {"hole": hole, "refused": refused}

    def address_of(self, name):
        word = name.split(".")[0].split("-")[0]
        return self.special.get(word) or self.addresses[zlib.crc32(name.encode()) % len(self.addresses)]

    def answer(self, packet):
        """The reply to a query, or None for silence."""
        name, end = read_name(packet, 12)
        kind = struct.unpack(">H", packet[end : end + 2])[0]
        question = packet[12 : end + 4]
        word = name.split("-")[0]
        if word == "mute":
            return None
        code, record = NOERROR, b""
        if not name.endswith("." + DOMAIN):
            code = REFUSED
        elif word in ("nx", "servfail"):
            code = NXDOMAIN if word == "nx" else SERVFAIL
        elif kind == TYPE_A:
            record = struct.pack(">HHHIH", 0xC00C, TYPE_A, 1, TTL_SECONDS, 4)
            record += socket.inet_aton(self.address_of(name))
        header = packet[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, 1 if record else 0, 0, 0)
        return header + question + record


def main(argv):
    port, hole, refused, addresses = int(argv[1]), argv[2], argv[3], argv[4:]
    names = Names(addresses, hole, refused)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    force = os.geteuid() == 0  # a thousand questions at once are more than the system grants others
    server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE if force else socket.SO_RCVBUF, 4 << 20)
    server.bind(("127.0.0.1", port))
    print("ready", flush=True)
    while True:
        packet, client = server.recvfrom(4096)
        try:
            reply = names.answer(packet)
        except (IndexError, struct.error):
            continue
        if reply is not None:
            server.sendto(reply, client)


if __name__ == "__main__":
    main(sys.argv)
