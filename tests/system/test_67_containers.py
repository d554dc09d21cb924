"""An origin at the other end of a veth gets its datagrams without a queue.

bpf_redirect_peer(): they are not among what the near end has sent.
"""
import contextlib
import json
import subprocess

import harness
import pytest
from street import ORIGIN, by_kernel, establish

ASKED = 20
BRIDGE_MAC = "02:00:00:00:00:b7"


def run(host, *argv):
    return subprocess.run(["ip", "netns", "exec", host, *argv], check=True,
                          capture_output=True, text=True).stdout


def sent_by(street, device):
    told = run(street.proxy, "ip", "-j", "-s", "link", "show", device)
    return json.loads(told)[0]["stats64"]["tx"]["packets"]


def passed(street, c):
    """Of so many datagrams each way, how many the two near ends have sent."""
    before = [sent_by(street, d) for d in ("in", "out")]
    for n in range(ASKED):
        assert c.ask(b"%d" % n) == b"%d" % n
    return [sent_by(street, d) - b for d, b in zip(("in", "out"), before)]


def become(street, c, there):
    """Few others (ARP, those that the sockets pass) do not count."""
    harness.until(
        lambda: all((n < ASKED / 2) == straight
                    for n, straight in zip(passed(street, c), there)),
        f"straight to client and origin: {there}")


@contextlib.contextmanager
def behind_a_bridge(street):
    """The origin's addresses are not at the end of the pair, but behind it."""
    def move(old, new):
        for version, bits in (4, 24), (6, 64):
            address = f"{ORIGIN[version]}/{bits}"
            run(street.origin, "ip", "address", "del", address, "dev", old)
            run(street.origin, "ip", "address", "add", address, "dev", new,
                *(["nodad"] if version == 6 else []))
        run(street.proxy, "ip", "neigh", "flush", "dev", "out")
        street.routes()
    run(street.origin, "ip", "link", "add", "br0", "address", BRIDGE_MAC,
        "type", "bridge")
    run(street.origin, "ip", "link", "set", "br0", "up")
    run(street.origin, "ip", "link", "set", "eth0", "master", "br0")
    move("eth0", "br0")
    try:
        yield
    finally:
        move("br0", "eth0")
        run(street.origin, "ip", "link", "del", "br0")


@pytest.mark.parametrize("hook", ["auto", "clsact"])
@pytest.mark.parametrize("where", [contextlib.nullcontext, behind_a_bridge],
                         ids=["end", "bridge"])
def test_straight_into_a_container(tmp_path, street, hook, where):
    bad = street.bad_checksums()
    apps = [street.application(4), street.application(6)]
    with where(street), street.daemon(tmp_path, apps,
                                      fast_path_hook=hook) as p:
        for version in 4, 6:
            app, size = f"udp{version}", []
            with street.echo(version, lambda d: size.append(len(d.data)) or
                             [d.data]), street.ask(version) as c:
                establish(c)
                become(street, c, (True, True))
                harness.until(lambda: by_kernel(p, app) > 0, "it is counted")
            p.ctl("drain", app)
            end, = p.expect_events(Event="disconnect", Application=app)
            assert end["ClientBytes"] == end["OriginBytes"] == sum(size)
    assert street.bad_checksums() == bad


def test_what_is_between_is_not_left_out(tmp_path, street):
    """A queueing discipline, a filter: by the interface as ever."""
    with street.daemon(tmp_path, [street.application(4)]) as p, \
            street.echo(4), street.ask(4) as c:
        establish(c)
        become(street, c, (True, True))
        run(street.proxy, "tc", "qdisc", "add", "dev", "out", "root", "pfifo")
        become(street, c, (True, False))
        run(street.proxy, "tc", "qdisc", "del", "dev", "out", "root")
        become(street, c, (True, True))
        run(street.proxy, "tc", "qdisc", "replace", "dev", "in", "clsact")
        run(street.proxy, "tc", "filter", "add", "dev", "in", "egress", "bpf",
            "bytecode", "1,6 0 0 4294967295")
        become(street, c, (False, True))
        run(street.proxy, "tc", "filter", "del", "dev", "in", "egress")
        become(street, c, (True, True))


@contextlib.contextmanager
def by_a_gateway(street, mac):
    there, gateway = f"{ORIGIN[4]}/32", "198.51.100.77"
    run(street.proxy, "ip", "neigh", "replace", gateway, "lladdr", mac, "dev",
        "out")
    run(street.proxy, "ip", "route", "replace", there, "via", gateway)
    try:
        yield
    finally:
        run(street.proxy, "ip", "route", "del", there)


def test_a_gateway_is_who_has_its_address(tmp_path, street):
    """What comes from another one does not say that it is there."""
    port_mac = json.loads(run(street.origin, "ip", "-j", "link", "show",
                              "eth0"))[0]["address"]
    with behind_a_bridge(street), \
            street.daemon(tmp_path, [street.application(4)]) as p, \
            street.echo(4), street.ask(4) as c:
        establish(c)
        with by_a_gateway(street, BRIDGE_MAC):
            become(street, c, (True, True))
        with by_a_gateway(street, port_mac):  # taken in too
            become(street, c, (True, False))
            before = by_kernel(p, "udp4")
            harness.until(lambda: passed(street, c) and
                          by_kernel(p, "udp4") > before, "it is carried")
            assert passed(street, c)[1] >= ASKED / 2


def test_who_is_silent_is_sent_to_by_the_interface(tmp_path, street):
    """Whether it is still there, its neighbours ask (ARP)."""
    with street.daemon(tmp_path, [street.application(4)]) as p, \
            street.echo(4, lambda d: [d.data] * (d.data != b"quiet")), \
            street.ask(4) as c:
        establish(c)
        become(street, c, (True, True))

        def shouted():
            before = sent_by(street, "out")
            for _ in range(ASKED):
                c.send(b"quiet")
            return sent_by(street, "out") - before >= ASKED
        harness.until(shouted, "it is not heard of any more")
        become(street, c, (True, True))
        assert by_kernel(p, "udp4") > ASKED
