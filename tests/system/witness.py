"""What came to the ends of the street, told by the kernels there: the proxy
has no part in these counts, and its own must equal them."""
import collections
import contextlib
import json
import re
import subprocess

import harness

# IP and UDP, before all fragments and once for a run of datagrams (GSO)
HEADERS = {4: 20 + 8, 6: 40 + 8}

RULES = """\
table inet witness {{
  counter said {{ }}
  counter heard {{ }}
  chain out {{
    type filter hook output priority 0
    udp {said} {port} counter name said
  }}
  chain in {{
    type filter hook input priority 0
    udp {heard} {port} counter name heard
  }}
}}
"""


def nft(host, *argv, **more):
    return subprocess.run(["ip", "netns", "exec", host, "nft", *argv],
                          check=True, capture_output=True, text=True,
                          **more).stdout


class Witness:
    """Payload of a host's datagrams to and from a UDP port: one that it
    serves, or one that it asks."""

    def __init__(self, host, port, serves, version):
        self.host, self.version = host, version
        said, heard = ("sport", "dport") if serves else ("dport", "sport")
        nft(host, "-f", "-", input=RULES.format(said=said, heard=heard,
                                                port=port))

    def bytes(self, name):
        told = json.loads(nft(self.host, "-j", "list", "counters"))["nftables"]
        c, = (x["counter"] for x in told
              if x.get("counter", {}).get("name") == name)
        return c["bytes"] - c["packets"] * HEADERS[self.version]

    def close(self):
        nft(self.host, "delete", "table", "inet", "witness")


def kernel_counts(host):
    """Of all UDP sockets and interfaces of a host, by the kernel's names."""
    def read():
        found = collections.Counter()
        with open("/proc/thread-self/net/snmp") as f:
            names, values = re.findall(r"(?m)^Udp: (.*)$", f.read())
        found.update(zip(names.split(), map(int, values.split())))
        with open("/proc/thread-self/net/snmp6") as f:
            for name, value in re.findall(r"(?m)^Udp6(\w+)\s+(\d+)",
                                          f.read()):
                found[name] += int(value)
        with open("/proc/thread-self/net/dev") as f:
            for line in f.readlines()[2:]:
                words = line.partition(":")[2].split()
                found["LinkDrops"] += int(words[3]) + int(words[11])
        return found
    return harness.inside(host, read)


class Account:
    """Both ends, from here on."""

    def __init__(self, street, edge, origin, version):
        self.hosts = street.client, street.proxy, street.origin
        self.before = self.counts()
        self.client = Witness(street.client, edge, False, version)
        self.origin = Witness(street.origin, origin, True, version)

    def counts(self):
        return sum(map(kernel_counts, self.hosts), collections.Counter())

    def since(self):
        now = self.counts()
        now.subtract(self.before)
        return now

    def lost(self):
        """Datagrams that a queue had no room for, or that came too late."""
        since = self.since()
        return sum(since[k] for k in ("RcvbufErrors", "LinkDrops", "NoPorts"))

    def agrees(self, ends):
        """The event log is right, and to the byte if nothing was lost."""
        for name, said, heard in (
                ("ClientBytes", self.client, self.origin),
                ("OriginBytes", self.origin, self.client)):
            logged = sum(e[name] for e in ends)
            said, heard = said.bytes("said"), heard.bytes("heard")
            assert heard <= logged <= said, (name, heard, logged, said)
            assert heard == said or self.lost() > 0, (name, heard, said)
        since = self.since()
        assert since["InCsumErrors"] == 0
        assert since["InErrors"] == since["RcvbufErrors"]


@contextlib.contextmanager
def account(street, edge, origin, version=4):
    a = Account(street, edge, origin, version)
    try:
        yield a
    finally:
        a.client.close()
        a.origin.close()
