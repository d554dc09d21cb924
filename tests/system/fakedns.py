"""A DNS server that says what a story wants, over UDP and TCP on one port."""
import contextlib
import ipaddress
import socket
import struct
import threading

import harness

TYPES = {"A": 1, "CNAME": 5, "AAAA": 28, "SRV": 33}
NAMES = {number: name for name, number in TYPES.items()}
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5
SILENCE = -1  # instead of an rcode: no answer
UDP_MAX = 1232


def encode_name(name):
    labels = [part.encode() for part in name.split(".") if part]
    return b"".join(bytes([len(part)]) + part for part in labels) + b"\0"


def read_name(packet, at):
    """(name, where it ends) of a question: never compressed."""
    labels = []
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels), at + 1


def encode_data(kind, data):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(data).packed
    if kind == "SRV":
        priority, weight, port, host = data
        return struct.pack("!HHH", priority, weight, port) + encode_name(host)
    return encode_name(data)


class FakeDns:
    """`records` by (name, type); a name that has some type is there for the
    others too, without data. `rcode` by name, or by None for all names, is
    said instead. `truncate`: UDP says "ask by TCP".
    """

    def __init__(self, address="127.0.0.1", port=0):
        self.records, self.rcode, self.truncate = {}, {}, False
        self.asked = []  # (transport, name, type)
        self.address, self.port = address, port or harness.free_port()
        self.open()

    def open(self):
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((self.address, self.port))
        self.tcp = socket.create_server((self.address, self.port))
        for run in (self.run_udp, self.run_tcp):
            threading.Thread(target=run, daemon=True).start()

    def url(self):
        return f"{self.address}:{self.port}"

    def set(self, name, kind, *data, ttl=60):
        """Replaces; without data the record is gone."""
        if data:
            self.records[name.lower(), kind] = (ttl, data)
        else:
            self.records.pop((name.lower(), kind), None)

    def count(self, name, kind=None, transport=None):
        """How often it was asked."""
        return sum(n == name.lower() and kind in (None, k) and
                   transport in (None, t) for t, n, k in list(self.asked))

    def answer(self, packet, transport):
        number, _, _, _, _, _ = struct.unpack_from("!HHHHHH", packet)
        name, end = read_name(packet, 12)
        asked = NAMES.get(struct.unpack_from("!H", packet, end)[0])
        question = packet[12:end + 4]
        name = name.lower()
        self.asked.append((transport, name, asked))
        rcode = self.rcode.get(name, self.rcode.get(None, 0))
        if rcode < 0:
            return None
        found = [] if rcode else self.find(name, asked)
        if found is None:
            rcode, found = NXDOMAIN, []
        body = b"".join(found)
        head = struct.pack("!HHHHHH", number, 0x8180 | rcode, 1, len(found),
                           0, 0) + question
        if transport == "udp" and (self.truncate or
                                   len(head + body) > UDP_MAX):
            return struct.pack("!HHHHHH", number, 0x8380, 1, 0, 0,
                               0) + question
        return head + body

    def find(self, name, asked):
        """The encoded records, aliases first; None: there is no such name."""
        found = []
        for _ in range(8):
            kind = asked if (name, asked) in self.records else "CNAME"
            ttl, data = self.records.get((name, kind), (0, ()))
            for one in data:
                body = encode_data(kind, one)
                found.append(encode_name(name) + struct.pack(
                    "!HHIH", TYPES[kind], 1, ttl, len(body)) + body)
            if kind == asked or not data:
                break
            name = data[0].lower()
        if found or any(n == name for n, _ in list(self.records)):
            return found
        return None

    def run_udp(self):
        udp = self.udp
        with contextlib.suppress(OSError):
            while True:
                packet, peer = udp.recvfrom(4096)
                if not packet:
                    return  # closed
                reply = self.answer(packet, "udp")
                for one in reply if isinstance(reply, list) else [reply]:
                    if one is not None:
                        udp.sendto(one, peer)

    def run_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.tcp.accept()
                threading.Thread(target=self.one, args=(connection,),
                                 daemon=True).start()

    def one(self, connection):
        with connection, contextlib.suppress(OSError):
            stream = connection.makefile("rb")
            while True:
                head = stream.read(2)
                if len(head) < 2:
                    return
                reply = self.answer(
                    stream.read(struct.unpack("!H", head)[0]), "tcp")
                if isinstance(reply, bytes):
                    connection.sendall(struct.pack("!H", len(reply)) + reply)

    def close(self):
        """Nobody is there any more, until open()."""
        for s in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)  # wakes its thread
            s.close()
