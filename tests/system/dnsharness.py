"""l4proxyd with origins by DNS: the names of the stories, and how it is seen
where sessions go."""
import collections
import re

import harness
from proxyharness import Controlled, connect, read_exactly

NAME = "origin.example"
SERVICE = "_story._tcp.example"


def tell(address):
    """A server that says its address, then echoes."""
    def serve(connection):
        with connection:
            connection.sendall(address.encode().ljust(16))
            while data := connection.recv(1 << 16):
                connection.sendall(data)
    return serve


class Named(Controlled):
    """A daemon with one application, of which the origin has a name."""

    def __init__(self, directory, dns, port=None, name=NAME, protocol="tcp",
                 edge=None, daemon=None, origin_dns=None, **rules):
        self.port = edge or harness.free_port()
        self.app = {"name": "story", "protocol": f"{protocol}/{self.port}",
                    "edge_ips": ["127.0.0.1"],
                    "origin_dns": {"name": name, **(origin_dns or {})},
                    **({"origin_port": str(port)} if port else {}), **rules}
        super().__init__(directory, [self.app],
                         **{"resolvers": [dns.url()], "drain_s": 0,
                            **(daemon or {})})

    def visit(self, port=None):
        """Which origin a new session gets."""
        with connect(port or self.port) as c:
            return read_exactly(c, 16).decode().strip()

    def visits(self, n):
        return collections.Counter(self.visit() for _ in range(n))

    def moves_to(self, address):
        """New sessions come to be at this address, and stay there."""
        harness.until(lambda: self.visit() == address,
                      f"sessions at {address}")
        assert self.visits(4) == {address: 4}

    def wait_resolved(self):
        name = re.escape(self.app["origin_dns"]["name"])
        self.expect_log(f"story: {name} is ")


def asked_again(dns, name=NAME, times=1):
    before = dns.count(name)
    harness.until(lambda: dns.count(name) >= before + times,
                  f"{name} is asked for again")
