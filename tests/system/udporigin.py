"""A UDP origin for the stories of the proxy, and what it learnt."""
import collections
import ipaddress
import socket
import struct
import threading

Datagram = collections.namedtuple("Datagram", "data peer")
Header = collections.namedtuple("Header", "client proxy rest")

MAGIC_V2 = b"\r\n\r\n\0\r\nQUIT\n"


class UdpOrigin:
    """Answers each datagram by what `serve` makes of it: a list."""

    def __init__(self, serve=lambda d: [d.data], address="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.serve, self.seen, self.closing = serve, [], False
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind((address, port))
        self.address, self.port = self.socket.getsockname()[:2]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            data, peer = self.socket.recvfrom(1 << 16)
            if self.closing:
                return
            datagram = Datagram(data, peer)
            self.seen.append(datagram)
            for reply in self.serve(datagram):
                try:
                    self.socket.sendto(reply, peer)
                except OSError:
                    pass  # ICMP about an earlier reply

    def close(self):
        if self.closing:
            return
        self.closing = True
        # to itself: it may be in another network than the caller
        self.socket.sendto(b"end", (self.address, self.port))
        self.thread.join()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def url(self):
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"udp://{host}:{self.port}"


def udp_application(port, *origins, name="story", **more):
    """An application on loopback; origins are UdpOrigin objects or ports."""
    return {"name": name, "protocol": f"udp/{port}",
            "edge_ips": ["127.0.0.1"],
            "origin_direct": [o.url() if isinstance(o, UdpOrigin)
                              else f"udp://127.0.0.1:{o}" for o in origins],
            **more}


def read_v2(data):
    """PROXY v2 for UDP, from its specification (section 2.2)."""
    assert data[:12] == MAGIC_V2, data[:16]
    version_command, family, length = struct.unpack(">BBH", data[12:16])
    assert version_command == 0x21
    body, rest = data[16:16 + length], data[16 + length:]
    assert len(body) == length
    size = {0x12: 4, 0x22: 16}[family]
    addresses = [ipaddress.ip_address(body[at:at + size])
                 for at in (0, size)]
    ports = struct.unpack(">HH", body[2 * size:2 * size + 4])
    return Header(*((str(a), p) for a, p in zip(addresses, ports)), rest)


def read_simple(data):
    """Simple Proxy Protocol: magic, two addresses of 16 bytes, two ports."""
    magic, client, proxy, client_port, proxy_port = struct.unpack(
        ">H16s16sHH", data[:38])
    assert magic == 0x56EC

    def text(raw):
        a = ipaddress.IPv6Address(raw)
        return str(a.ipv4_mapped or a)
    return Header((text(client), client_port), (text(proxy), proxy_port),
                  data[38:])
