"""Three hosts in a row, and l4proxyd on the one in the middle.

    client 192.0.2.2 -- 192.0.2.1 (in) proxy (out) 198.51.100.1 -- .2 origin
"""
import contextlib
import ipaddress
import re
import subprocess

import harness
from proxyharness import Controlled
from udporigin import UdpOrigin

EDGE = {4: "192.0.2.1", 6: "2001:db8:1::1"}
CLIENT = {4: "192.0.2.2", 6: "2001:db8:1::2"}
NEAR = {4: "198.51.100.1", 6: "2001:db8:2::1"}
ORIGIN = {4: "198.51.100.2", 6: "2001:db8:2::2"}
OFFLOADS = ("tx", "rx", "gso", "gro", "tx-udp-segmentation",
            "rx-udp-gro-forwarding")


class Street:
    def __init__(self, world):
        self.world = world
        self.client, self.proxy, self.origin = (
            world.add(name) for name in ("client", "proxy", "origin"))
        self.ends = ((self.client, "eth0", CLIENT), (self.proxy, "in", EDGE),
                     (self.proxy, "out", NEAR),
                     (self.origin, "eth0", ORIGIN))
        self.wire("in", self.client)
        self.wire("out", self.origin)
        self.routes()

    def routes(self):
        for host, via in (self.client, EDGE), (self.origin, NEAR):
            for version in 4, 6:
                self.world.inside(host, f"-{version}", "route", "replace",
                                  "default", "via", via[version])

    def wire(self, name, far):
        """From the proxy to one of the others, up and with addresses."""
        self.world.inside(self.proxy, "link", "add", name, "type", "veth",
                          "peer", "name", "eth0", "netns", far)
        for host, device, addresses in self.ends:
            if (host, device) not in ((self.proxy, name), (far, "eth0")):
                continue
            for version, bits in (4, 24), (6, 64):
                self.world.inside(
                    host, "address", "add", f"{addresses[version]}/{bits}",
                    "dev", device, *(["nodad"] if version == 6 else []))
            self.world.inside(host, "link", "set", device, "up")

    def offloads(self, on):
        for host, device, _ in self.ends:
            subprocess.run(
                ["ip", "netns", "exec", host, "ethtool", "-K", device,
                 *(word for name in OFFLOADS
                   for word in (name, "on" if on else "off"))],
                check=True, capture_output=True)

    def application(self, version, port=7777, **more):
        return {"name": f"udp{version}", "protocol": f"udp/{port}",
                "edge_ips": EDGE[version],
                "origin_direct": url(ORIGIN[version], 8888), **more}

    def daemon(self, tmp_path, apps, name="l4proxyd", **more):
        p = Controlled(tmp_path, apps, name=name, drain_s=0,
                       prefix=("ip", "netns", "exec", self.proxy))
        p.config.update(more)
        return p

    @contextlib.contextmanager
    def echo(self, version, serve=lambda d: [d.data], port=8888):
        with harness.inside(self.origin, lambda: UdpOrigin(
                serve, address=ORIGIN[version], port=port)) as o:
            yield o

    @contextlib.contextmanager
    def ask(self, version, port=7777):
        with harness.inside(self.client, lambda: harness.Udp(
                EDGE[version], port)) as c:
            yield c

    def bad_checksums(self):
        """Datagrams that a kernel of the three has found broken."""
        def read():
            with open("/proc/thread-self/net/snmp") as f:
                four = f.read()
            with open("/proc/thread-self/net/snmp6") as f:
                six = f.read()
            names, values = re.findall(r"(?m)^Udp: (.*)$", four)
            udp = dict(zip(names.split(), map(int, values.split())))
            return udp["InCsumErrors"] + int(
                re.search(r"(?m)^Udp6InCsumErrors\s+(\d+)", six)[1])
        return sum(harness.inside(host, read) for host in (
            self.client, self.proxy, self.origin))


def url(host, port):
    host = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    return f"udp://{host}:{port}"


def establish(c):
    """Until what follows is the kernel's to carry, where it may."""
    for n in range(5):
        data = b"establish %d" % n
        assert c.ask(data) == data


def by_kernel(p, app):
    """Waits for the worker's next look at the counters: a second at most."""
    return p.counters(app)["datagrams_by_kernel"]
