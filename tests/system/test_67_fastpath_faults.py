"""fast_path under load and bad luck: every datagram arrives, on one path or
the other."""
import collections
import contextlib
import itertools
import socket
import struct
import subprocess
import threading

import harness
import pytest
from street import CLIENT, EDGE, ORIGIN, by_kernel, establish, url
from udporigin import UdpOrigin

WINDOW = 8


@pytest.fixture(autouse=True)
def in_their_street(street):
    street.offloads(True)


class Load:
    """Numbered datagrams and replies that begin as they do, WINDOW of them on
    the way; none is sent twice."""

    def __init__(self, client, size=100):
        self.client, self.size = client, size
        self.back = collections.Counter()
        self.sent, self.ending = 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        for n in itertools.count():
            if self.ending:
                break
            self.client.send(b"%08d" % n + bytes(self.size - 8))
            self.sent = n + 1
            while self.sent - len(self.back) >= WINDOW and not self.ending:
                self.take(0.5)

    def take(self, timeout_s):
        data = self.client.receive(timeout_s)
        if data:
            self.back[int(data[:8])] += 1

    def goes_on(self, count=50):
        """Waits until so many more have come back."""
        upto = len(self.back) + count
        harness.until(lambda: len(self.back) >= upto, "datagrams come back")

    def end(self):
        self.ending = True
        self.thread.join()
        harness.until(lambda: self.take(0.1) or len(self.back) == self.sent,
                      "the last ones come back")
        assert set(self.back.values()) == {1}


@contextlib.contextmanager
def load(c, size=100):
    made = Load(c, size)
    made.thread.start()
    try:
        yield made
        made.end()
    finally:
        made.ending = True


@contextlib.contextmanager
def carried(street, tmp_path, size=100, reply=lambda data: data, version=4,
            **more):
    """A daemon whose one flow the kernel carries, under load."""
    apps = [street.application(4), street.application(6)]

    def serve(d):
        return [reply(d.data) if d.data[:9] != b"establish" else d.data]
    with street.daemon(tmp_path, apps, **more) as p, \
            street.echo(version, serve), street.ask(version) as c:
        establish(c)
        with load(c, size) as flowing:
            harness.until(lambda: by_kernel(p, f"udp{version}") > 100,
                          "it is carried")
            yield p, flowing


def rises(p, key, app="udp4"):
    """Waits until a counter is higher than it was."""
    before = p.counters(app)[key]
    harness.until(lambda: p.counters(app)[key] > before, f"{key} rises")


def rests(p, flow):
    """The kernel carries nothing meanwhile."""
    before = by_kernel(p, "udp4")
    flow.goes_on(200)
    return by_kernel(p, "udp4") == before


def ip(street, *argv):
    street.world.inside(street.proxy, *argv)


def tc(street, *argv):
    return subprocess.run(["ip", "netns", "exec", street.proxy, "tc", *argv],
                          check=True, capture_output=True, text=True).stdout


# -- nothing is lost ---------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
def test_neighbours_routes_and_mtu_change(tmp_path, street, version):
    bad = street.bad_checksums()
    # veth takes nothing in that is longer than its own MTU: short replies
    with carried(street, tmp_path, 1400, lambda data: data[:8],
                 version) as (p, flow):
        app = f"udp{version}"
        for device, far in ("out", ORIGIN), ("in", CLIENT):
            # to be found anew; a flush would take along what waits for it
            ip(street, "neigh", "change", far[version], "dev", device, "nud",
               "failed")
            flow.goes_on()
        rises(p, "datagrams_by_kernel", app)
        ip(street, f"-{version}", "route", "replace",
           {4: "203.0.113.0/24", 6: "2001:db8:9::/64"}[version], "dev", "out")
        flow.goes_on()
        rises(p, "datagrams_by_kernel", app)
        # too long for the way out: cut by the stack, as ever
        ip(street, "link", "set", "out", "mtu", "1300")
        rises(p, "datagrams_past_kernel", app)
        flow.goes_on()
        ip(street, "link", "set", "out", "mtu", "1500")
        rises(p, "datagrams_by_kernel", app)
        assert len(p.events(Event="connect")) == 1
    assert street.bad_checksums() == bad


def test_a_reload_takes_it_back_and_gives_it_again(tmp_path, street):
    with carried(street, tmp_path) as (p, flow):
        for path, key in ("off", "client_bytes"), (
                "auto", "datagrams_by_kernel"):
            assert p.reload([street.application(v, fast_path=path)
                             for v in (4, 6)]) == "reloaded"
            flow.goes_on()
            rises(p, key)
            if path == "off":
                harness.until(lambda: rests(p, flow), "the kernel rests")
        p.ctl("drain", "udp4", "--for", "60s")
        flow.goes_on(200)
        assert len(p.events(Event="connect")) == 1


def test_somebody_takes_the_program_off(tmp_path, street):
    with carried(street, tmp_path, fast_path_hook="clsact") as (p, flow):
        tc(street, "filter", "del", "dev", "in", "ingress")
        flow.goes_on(200)
        p.expect_log("fast path: somebody has taken the program off in: ")
        flow.goes_on(200)


def test_a_router_says_that_the_path_is_narrow(tmp_path, street):
    """ICMP for a packet of ours: the flow's long ones go by the stack."""
    with carried(street, tmp_path,
                 reply=lambda data: data + bytes(1300)) as (p, flow):
        row, = p.rows("sessions")
        host, port = row["client"].rsplit(":", 1)
        a, b = (socket.inet_aton(x) for x in (EDGE[4], host))
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 1428, 1, 0x4000, 63, 17,
                           0, a, b) + struct.pack(
                               ">HHHH", 7777, int(port), 1408, 0)
        message = struct.pack(">BBHHH", 3, 4, 0, 0, 1000) + head
        message = message[:2] + struct.pack(">H", checksum(message)) + \
            message[4:]

        def say():
            with socket.socket(socket.AF_INET, socket.SOCK_RAW,
                               socket.IPPROTO_ICMP) as s:
                s.sendto(message, (EDGE[4], 0))
        harness.inside(street.client, say)
        rises(p, "datagrams_past_kernel")
        flow.goes_on(200)


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


# -- ends ------------------------------------------------------------------


def test_an_origin_that_fails_ends_the_flow(tmp_path, street):
    apps = [street.application(4, origin_direct=[
        url(ORIGIN[4], 8888), url(ORIGIN[4], 8889)])]
    with street.daemon(tmp_path, apps) as p, street.ask(4) as c:
        with street.echo(4), street.echo(4, port=8889):
            establish(c)
            harness.until(lambda: c.ask(b"x") and by_kernel(p, "udp4") > 0,
                          "it is carried")
            port = p.rows("sessions")[0]["origin"].rsplit(":", 1)[1]
        other = 8888 + (port == "8888")
        with street.echo(4, port=other):
            harness.until(lambda: c.send(b"?") or c.receive(0.2),
                          "the other origin answers")
        p.expect_events(Event="disconnect", Status=447, OriginPort=int(port))


@pytest.mark.parametrize("hook", ["auto", "clsact"])
def test_nothing_outlives_a_crash(tmp_path, street, hook):
    with street.echo(4) as o, street.ask(4) as c:
        p = street.daemon(tmp_path, [street.application(4)],
                          fast_path_hook=hook)
        p.start()
        establish(c)
        harness.until(lambda: c.ask(b"x") and by_kernel(p, "udp4") > 0,
                      "it is carried")
        p.child.kill()
        p.child.wait()
        harness.until(lambda: is_refused(c), "nobody has the port")
        seen = len(o.seen)
        harness.until(lambda: is_refused(c), "and so it stays")
        assert len(o.seen) == seen
        harness.until(lambda: "fastpath" not in tc(
            street, "filter", "show", "dev", "in", "ingress"),
            "no filter is left")
        with street.daemon(tmp_path, [street.application(4)], name="again",
                           fast_path_hook=hook) as q:
            establish(c)
            harness.until(lambda: c.ask(b"x") and by_kernel(q, "udp4") > 0,
                          "it is carried again")


def is_refused(c):
    try:
        c.send(b"?")
        return c.receive(0.2) is None and False
    except ConnectionRefusedError:
        return True


# -- bad luck ----------------------------------------------------------------


def test_a_full_table_and_two_daemons_and_strangers(tmp_path, street):
    """One place for three flows; beside it another daemon and a server."""
    other = street.application(4, 7778, name="other")
    with street.daemon(tmp_path, [street.application(4)],
                       fast_path_flows=1, workers=1) as p, \
            street.daemon(tmp_path, [other], name="second", control="off",
                          fast_path_hook="clsact") as q, \
            street.echo(4), street.ask(4) as a, street.ask(4) as b, \
            street.ask(4, 7778) as c, \
            harness.inside(street.proxy, lambda: UdpOrigin(
                lambda d: [b"server"], address=EDGE[4], port=7779)) as server:
        clients = a, b, c
        for n in range(30):
            for each in clients:
                assert each.ask(b"%d" % n) == b"%d" % n
        p.expect_log("fast path: its table is full.*raise fast_path_flows")
        with street.ask(4, 7779) as stranger:
            assert stranger.ask(b"?") == b"server"
            assert server.seen[0].peer == stranger.socket.getsockname()
        harness.until(lambda: by_kernel(p, "udp4") > 0, "one is carried")
        both = filters(street)
        q.stop()
        assert sum(e["ClientBytes"] for e in q.events(
            Event="disconnect")) == 50
        assert p.counters("udp4")["kernel_flows"] >= 1
        # its program is gone, the other's stays
        assert filters(street) == both - 1
        rises_by_asking(p, a, b)


def filters(street):
    """How many of ours there are; a link of Linux 6.6 is none."""
    return tc(street, "filter", "show", "dev", "in", "ingress").count(
        "name fastpath")


def rises_by_asking(p, *clients):
    before = by_kernel(p, "udp4")
    harness.until(lambda: all(c.ask(b"x") for c in clients) and
                  by_kernel(p, "udp4") > before, "still carried")


def test_a_filter_of_somebody_else_comes_first(tmp_path, street):
    tc(street, "qdisc", "replace", "dev", "in", "clsact")
    tc(street, "filter", "add", "dev", "in", "ingress", "prio", "1",
       "bpf", "direct-action", "bytecode", "1,6 0 0 0,")  # ends it: 0
    try:
        with street.daemon(tmp_path, [street.application(4)],
                           fast_path_hook="clsact") as p, \
                street.echo(4), street.ask(4) as c:
            for _ in range(10):
                establish(c)
            # what the origin sends comes in elsewhere, and is carried
            assert p.counters("udp4")["kernel_flows"] >= 1
            harness.until(lambda: by_kernel(p, "udp4") > 0, "its replies are")
            assert by_kernel(p, "udp4") <= 50
    finally:
        tc(street, "qdisc", "del", "dev", "in", "clsact")


def test_nat_on_this_host_keeps_flows_on_sockets(tmp_path, street):
    """Redirected to the edge: the wire has other addresses than the socket."""
    rules = """table ip nat {
      chain pre {
        type nat hook prerouting priority dstnat
        udp dport 7000 redirect to :7777
      }
    }"""
    subprocess.run(["ip", "netns", "exec", street.proxy, "nft", "-f", "-"],
                   input=rules, text=True, check=True)
    try:
        with street.daemon(tmp_path, [street.application(4)]) as p, \
                street.echo(4), street.ask(4, 7000) as c:
            for _ in range(10):
                establish(c)
            assert p.counters("udp4")["kernel_flows"] >= 1
            assert by_kernel(p, "udp4") == 0
    finally:
        subprocess.run(["ip", "netns", "exec", street.proxy, "nft", "delete",
                        "table", "ip", "nat"], check=True)


class Tide:
    """Numbered datagrams, one after another whatever becomes of them."""

    def __init__(self, client):
        self.client, self.back = client, collections.Counter()
        self.sent, self.ending = 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ending:
            with contextlib.suppress(OSError):  # no route, nobody there
                self.client.send(b"%08d" % self.sent)
                self.sent += 1
            self.take(0.002)

    def take(self, timeout_s):
        with contextlib.suppress(OSError):
            data = self.client.receive(timeout_s)
            while data:
                self.back[int(data)] += 1
                data = self.client.receive(0)

    def all_back(self):
        """Every one that has been sent so far; how many these are."""
        first, upto = max(self.back, default=0), self.sent
        harness.until(lambda: all(n in self.back
                                  for n in range(first, upto)),
                      "what was sent comes back")
        return upto

    def end(self, since):
        self.ending = True
        self.thread.join()
        harness.until(lambda: self.take(0.1) or self.back.keys() >= {
            *range(since, self.sent)}, "all since then come back")


@pytest.mark.parametrize("device", ["in", "out"])
@pytest.mark.parametrize("hook", ["auto", "clsact"])
def test_an_interface_goes_and_comes_back(tmp_path, street, hook, device):
    """Twice, under load, and not the same one as before: its number is
    another. Nothing is lost but while there is no link."""
    far = street.client if device == "in" else street.origin
    with street.daemon(tmp_path, [street.application(4)],
                       fast_path_hook=hook) as p:
        for _ in range(2):
            with street.echo(4), street.ask(4) as c:
                tide = Tide(c)
                rises(p, "datagrams_by_kernel")
                mark, upto = p.mark(), tide.all_back()
                ip(street, "link", "delete", device)
                p.expect_log(f"fast path: {device} is gone", mark)
                row, = p.rows("applications")
                assert row["path"] == "kernel"
                assert row["path_why"].startswith(f"without {device}")
                street.wire(device, far)
                street.routes()
                p.expect_log(f"fast path: {device} is back", mark)
                rises(p, "datagrams_by_kernel")
                since = tide.all_back()
                rises(p, "datagrams_by_kernel")
                tide.end(since)
            assert set(tide.back.values()) == {1}
            assert tide.back.keys() >= {*range(upto)}
            row, = p.rows("applications")
            assert "path_why" not in row
    assert filters(street) == 0
