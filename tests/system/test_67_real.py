"""Other people's programs over the kernel's path: what they do works, the
kernel has carried it, and the event log is right to the byte."""
import contextlib
import functools
import json
import os
import pathlib
import re
import subprocess

import harness
import pytest
from services import Service, command, dnsmasq, iperf3, place, story_zone
from street import EDGE, ORIGIN, url
from udporigin import UdpOrigin
from witness import account

PORT = 7777  # at the edge


@pytest.fixture(autouse=True)
def in_their_street(street):
    street.offloads(True)


@contextlib.contextmanager
def at(host, service):
    """A server on one of the hosts."""
    try:
        yield harness.inside(host, service.start)
    finally:
        service.stop()


@contextlib.contextmanager
def in_front(street, tmp_path, port, *protocols, version=4, edge=PORT):
    """The daemon before an origin, and both ends' account of it."""
    apps = [street.application(
        version, name=f"real-{protocol}", protocol=f"{protocol}/{edge}",
        origin_direct=url(ORIGIN[version], port).replace("udp", protocol))
        for protocol in protocols]
    with street.daemon(tmp_path, apps) as p, \
            account(street, edge, port, version) as a:
        yield p, a
        p.stop()
        ends = p.all_ended()
        a.agrees([e for e in ends if e["ClientProto"] == "udp"])


def carried(p):
    """Of all datagrams so far, and how many of them the kernel has."""
    row = p.counters("real-udp")
    return (row["datagrams_from_clients"] + row["datagrams_to_clients"],
            row["datagrams_by_kernel"])


def mostly_by_kernel(p, least):
    """Of at least so many datagrams."""
    def are():
        total, by = carried(p)
        return total >= least and 2 * by > total
    harness.until(are, "it is the kernel's")


def inside(host, *argv, **more):
    return command("ip", "netns", "exec", host, *argv, **more)


# -- DNS ---------------------------------------------------------------------

NAMES = {f"host-{i}.story.test": f"2001:db8::{i:x}" for i in range(1, 401)}
MANY = [f"198.51.100.{i}" for i in range(150)]


def dig(street, resolver, *question):
    return inside(street.client, "dig", "@127.0.0.1", "-p", resolver.port,
                  "+tries=3", *question)


def test_a_resolver_asks_by_one_port(tmp_path, street):
    """All its questions are one flow; long answers come in fragments, and
    what is cut short is asked again over TCP."""
    zone = [*(f"host-record={n},{a}" for n, a in NAMES.items()),
            *(f"host-record=many.story.test,{a}" for a in MANY)]
    with at(street.origin, dnsmasq(
            tmp_path, story_zone(zone, ORIGIN[4]), ORIGIN[4])) as origin, \
            in_front(street, tmp_path, origin.port, "udp", "tcp",
                     edge=53) as (p, _), \
            at(street.client, dnsmasq(tmp_path, [
                f"server={EDGE[4]}", "query-port=5300", "cache-size=0"],
                name="resolver")) as resolver:
        asked = place(tmp_path, "questions",
                      "".join(f"{n} AAAA\n" for n in NAMES))
        assert dig(street, resolver, "+short", "-f", asked).split() == (
            list(NAMES.values()))
        # but the first few, and what a machine that stalls brings along
        harness.until(lambda: carried(p)[0] >= 2 * len(NAMES), "counted")
        total, by = carried(p)
        assert by >= total - 20
        for _ in range(20):
            whole = dig(street, resolver, "+bufsize=4096", "+notcp",
                        "many.story.test")
            assert int(re.search(r"rcvd: (\d+)", whole)[1]) > 2000
            assert sorted(re.findall(r"198\.51\.100\.\d+", whole)) == (
                sorted(MANY))
        again = dig(street, resolver, "+noedns", "many.story.test")
        assert "retrying in TCP mode" in again
        assert again.count("198.51.100.") == len(MANY)
        udp, = p.expect_events(Event="connect", ClientProto="udp")
        assert udp["ClientPort"] == 5300
        assert p.events(Event="connect", ClientProto="tcp")


# -- iperf3 ------------------------------------------------------------------


def measured(street, *options):
    """None: nobody listens yet."""
    p = subprocess.run(
        ["ip", "netns", "exec", street.client, "iperf3", "-c", EDGE[4], "-p",
         str(PORT), "-u", "-J", *map(str, options)],
        capture_output=True, text=True, timeout=60)
    return json.loads(p.stdout)["end"]["sum"] if p.returncode == 0 else None


@contextlib.contextmanager
def jumbo_frames(street):
    def set_mtu(mtu):
        for host, device, _ in street.ends:
            street.world.inside(host, "link", "set", device, "mtu", mtu)
    set_mtu("9000")
    try:
        yield
    finally:
        set_mtu("1500")


def passes(street, p, a, size, *way):
    """Three streams, of which nothing is lost but what had no room in a
    queue, as the kernels count it; whether most of it was the kernel's. None:
    nobody listens yet."""
    total, by = carried(p)
    told = measured(street, "-P", "3", "-b", "6M", "-n", "2M", "-l", size,
                    *way)
    if told is None:
        return None
    count = told["packets"]
    assert count * size >= 2 << 20 and told["lost_packets"] <= a.lost()
    harness.until(lambda: carried(p)[0] - total >= count - a.lost(),
                  "they are counted")
    return "kernel" if carried(p)[1] - by > count / 2 else "sockets"


def test_iperf3_streams_each_way(tmp_path, street):
    """Fragments are the stack's, frames of any length the kernel path's."""
    with at(street.origin, iperf3(tmp_path, ORIGIN[4])) as origin, \
            in_front(street, tmp_path, origin.port, "udp",
                     "tcp") as (p, a), contextlib.ExitStack() as later:
        for size, mtu, path in ((1200, 1500, "kernel"),
                                (8000, 1500, "sockets"),
                                (8000, 9000, "kernel")):
            if mtu == 9000:
                later.enter_context(jumbo_frames(street))
            for way in [], ["-R"]:
                harness.until(lambda: passes(street, p, a, size, *way) ==
                              path, f"{size} bytes are carried by {path}")


# -- WireGuard ---------------------------------------------------------------


class Wireguard(Service):
    """One end of a tunnel, by the program that needs no kernel module."""
    as_root = True  # it makes an interface

    def __init__(self, street, directory, host, address):
        # its control socket is the machine's, whatever the network
        super().__init__(place(directory, host), "wireguard-go", "-f", host,
                         port=harness.free_port())
        self.street, self.host, self.address = street, host, address
        self.key = command("wg", "genkey")
        self.public = command("wg", "pubkey", input=self.key).strip()

    def is_up(self):
        return pathlib.Path(f"/run/wireguard/{self.host}.sock").exists()

    def listen(self, port):
        command("wg", "set", self.host, "listen-port", port)

    def meet(self, peer, *where):
        command("wg", "set", self.host, "private-key", "/dev/stdin", "peer",
                peer.public, "allowed-ips", f"{peer.address}/32", *where,
                input=self.key)
        self.listen(self.port)
        inside = functools.partial(self.street.world.inside, self.host)
        inside("address", "add", f"{self.address}/24", "dev", self.host)
        inside("link", "set", self.host, "up", "mtu", "1420")


def bulk(street, origin, *options):
    """TCP inside the tunnel, to its end: a process."""
    return subprocess.Popen(
        ["ip", "netns", "exec", street.client, "iperf3", "-c", FAR, "-p",
         str(origin.port), "-n", "16M", *options], stdout=subprocess.DEVNULL)


NEAR, FAR = "10.77.0.1", "10.77.0.2"


@pytest.mark.parametrize("version", [4, 6])
def test_wireguard_roams(tmp_path, street, version):
    """A tunnel, TCP in it both ways; a new port of the client's is a new
    flow, and nobody in the tunnel notices."""
    near, far = (Wireguard(street, tmp_path, host, address)
                 for host, address in ((street.client, NEAR),
                                       (street.origin, FAR)))
    edge = url(EDGE[version], PORT).partition("//")[2]
    with at(near.host, near), at(far.host, far), \
            in_front(street, tmp_path, far.port, "udp",
                     version=version) as (p, _):
        far.meet(near)
        near.meet(far, "endpoint", edge)
        with at(street.origin, iperf3(tmp_path, FAR)) as origin, \
                harness.inside(street.origin, lambda: UdpOrigin(
                    address=FAR)) as echo, \
                harness.inside(street.client, lambda: harness.Udp(
                    FAR, echo.port)) as c:
            assert c.ask(b"are you there?") == b"are you there?"
            first = bulk(street, origin)
            harness.until(lambda: carried(p)[1] > 500, "the kernel has it")
            moved = harness.free_port()
            near.listen(moved)
            assert first.wait(60) == 0
            assert bulk(street, origin, "-R").wait(60) == 0
            assert c.ask(b"and now?") == b"and now?"
            mostly_by_kernel(p, 20000)
            assert {e["ClientPort"] for e in p.events(Event="connect")} == (
                {near.port, moved})


# -- QUIC --------------------------------------------------------------------


class Quic(Service):
    """A server of HTTP/3 with a certificate of its own, made for this test."""

    def __init__(self, directory, host):
        home, port = place(directory, "quic"), harness.free_port()
        self.www = place(home, "www")
        command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                "/CN=test.example", "-keyout", home / "key", "-out",
                home / "cert")
        harness.give(home / "key")
        super().__init__(home, "gtlsserver", "-q", "-d", self.www, host, port,
                         home / "key", home / "cert", port=port)

    def is_up(self):
        with open("/proc/thread-self/net/udp6") as six, \
                open("/proc/thread-self/net/udp") as four:
            return f":{self.port:04X} " in four.read() + six.read()


def fetch(street, version, into, *options, files=("story",)):
    into.mkdir()
    inside(street.client, "gtlsclient", "-q", "--exit-on-all-streams-close",
           f"--download={into}", *options, EDGE[version], PORT,
           *(f"https://test.example/{name}" for name in files))


@pytest.mark.parametrize("version", [4, 6])
def test_quic_migrates(tmp_path, street, version):
    """HTTP/3: files at once, a long request, and a connection that goes on
    from another port of the client's."""
    with at(street.origin, Quic(tmp_path, ORIGIN[version])) as origin, \
            in_front(street, tmp_path, origin.port, "udp",
                     version=version) as (p, _):
        data = os.urandom(12 << 20)
        for name in "story", "other", "third":
            (origin.www / name).write_bytes(data)
        fetch(street, version, tmp_path / "three",
              files=("story", "other", "third"))
        fetch(street, version, tmp_path / "sent",
              f"--data={origin.www / 'story'}")
        for n in range(10):  # it may be there before it moves
            fetch(street, version, tmp_path / f"moved{n}",
                  "--change-local-addr=20ms")
            assert (tmp_path / f"moved{n}" / "story").read_bytes() == data
            if len(p.events(Event="connect")) > 3 + n:
                break
        else:
            raise AssertionError("it never moves")
        for name in "story", "other", "third":
            assert (tmp_path / "three" / name).read_bytes() == data
        mostly_by_kernel(p, 30000)
        p.stop()
        assert sum(e["ClientBytes"] for e in p.all_ended()) > len(data)
        assert sum(e["OriginBytes"] for e in p.all_ended()) > 4 * len(data)
