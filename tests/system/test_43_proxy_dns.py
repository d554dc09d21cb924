"""l4proxyd with origins by DNS: what is found, for how long, and what clients
and operators see when it is not."""
import collections
import contextlib
import json
import re
import socket
import struct
import threading
import time

import harness
import pytest
from fakedns import NXDOMAIN, REFUSED, SERVFAIL, FakeDns
from proxyharness import (L4proxyd, Origin, connect, is_turned_away,
                          read_exactly)
from udporigin import UdpOrigin

NAME = "origin.example"
SERVICE = "_story._tcp.example"
SILENCE = -1


@pytest.fixture
def dns():
    server = FakeDns()
    yield server
    server.close()


@pytest.fixture
def origins():
    """origins(n) -> n TCP servers at 127.0.0.2 and up on one port, each of
    which says its address, then echoes."""
    with contextlib.ExitStack() as stack:
        def make(n, port=None):
            port = port or harness.free_port()
            return [stack.enter_context(Origin(
                tell(f"127.0.0.{i + 2}"), f"127.0.0.{i + 2}", port))
                for i in range(n)]
        yield make


def tell(address):
    def serve(connection):
        with connection:
            connection.sendall(address.encode().ljust(16))
            while data := connection.recv(1 << 16):
                connection.sendall(data)
    return serve


@pytest.fixture
def proxy(tmp_path, dns):
    """proxy(origin port or None, key=value…) -> a running daemon."""
    running = []

    def make(port, name=NAME, wait=True, daemon=None, protocol="tcp",
             edge=None, **rules):
        edge = edge or harness.free_port()
        app = {"name": "story", "protocol": f"{protocol}/{edge}",
               "edge_ips": ["127.0.0.1"], "origin_dns": {"name": name}}
        app["origin_dns"].update(rules.pop("origin_dns", {}))
        if port:
            app["origin_port"] = str(port)
        app.update(rules)
        p = L4proxyd(tmp_path, [app], name=f"l4proxyd-{len(running)}",
                     **{"resolvers": [dns.url()], "drain_s": 0,
                        "control": str(tmp_path / "run" / "control"),
                        **(daemon or {})})
        p.port, p.app = edge, app
        running.append(p)
        p.start()
        if wait:
            p.expect_log(f"story: {re.escape(name)} is ")
        return p
    yield make
    for p in running:
        p.stop()


def visit(p, port=None):
    """Which origin a new session gets."""
    with connect(port or p.port) as c:
        return read_exactly(c, 16).decode().strip()


def visits(p, n):
    return collections.Counter(visit(p) for _ in range(n))


def moves_to(p, address):
    """New sessions come to be at this address, and stay there."""
    harness.until(lambda: visit(p) == address, f"sessions at {address}")
    assert visits(p, 4) == {address: 4}


def control(p, what):
    """The rows of a listing of l4proxyctl."""
    out = harness.run("l4proxyctl", "-s", p.config["control"], "--json", what)
    return [json.loads(line) for line in out.stdout.splitlines()]


def asked_again(dns, name=NAME, times=1):
    before = dns.count(name)
    harness.until(lambda: dns.count(name) >= before + times,
                  f"{name} is asked for again")


# -- what is found ----------------------------------------------------------


def test_a_and_what_the_log_says(dns, origins, proxy):
    first, second = origins(2)
    dns.set(NAME, "A", "127.0.0.2", "127.0.0.3", ttl=77)
    p = proxy(first.port, origin_dns={"type": "A"})
    assert visits(p, 6) == {"127.0.0.2": 3, "127.0.0.3": 3}
    assert {(e["OriginIP"], e["OriginPort"]) for e in p.expect_events(
        6, Event="disconnect")} == {
        ("127.0.0.2", second.port), ("127.0.0.3", second.port)}
    assert (f"story: {NAME} is 127.0.0.2:{first.port}, "
            f"127.0.0.3:{first.port}, for 77 s") in p.log()
    assert dns.count(NAME, "AAAA") == 0
    assert dns.count(NAME, "A") == 1


def test_both_families_an_alias_and_tcp_for_what_is_long(dns, proxy):
    """Truncated over UDP: asked for again by TCP."""
    port = harness.free_port()
    dns.truncate = True
    dns.set(NAME, "CNAME", "other.example")
    dns.set("other.example", "A", "127.0.0.2")
    dns.set("other.example", "AAAA", "::1")
    with Origin(tell("four"), "127.0.0.2", port), \
            Origin6(tell("six"), port):
        p = proxy(port)
        assert visits(p, 4) == {"four": 2, "six": 2}
    assert dns.count(NAME, transport="udp") == 2
    assert dns.count(NAME, transport="tcp") == 2


class Origin6(Origin):
    def __init__(self, serve, port):
        self.listener = socket.create_server(
            ("::1", port), family=socket.AF_INET6)
        self.port, self.serve, self.accepted = port, serve, []
        threading.Thread(target=self.run, daemon=True).start()


def test_six_only(dns, proxy):
    port = harness.free_port(socket.AF_INET6)
    dns.set(NAME, "A", "127.0.0.9")
    dns.set(NAME, "AAAA", "::1")
    with Origin6(tell("six"), port):
        p = proxy(port, origin_dns={"type": "AAAA"})
        assert visits(p, 3) == {"six": 3}


def test_a_range_keeps_its_offset(dns, origins, proxy):
    base = harness.free_port()
    origins(1, base + 2)
    dns.set(NAME, "A", "127.0.0.2")
    edge = next(port for port in iter(harness.free_port, None)
                if not base - 3 <= port <= base + 3)
    p = proxy(f"{base}-{base + 2}", edge=f"{edge}-{edge + 2}")
    assert visit(p, edge + 2) == "127.0.0.2"


def test_many_records_are_cut_and_come_by_tcp(dns, origins, proxy):
    """200 addresses: the first 64 in order, whatever the order of the day."""
    port = origins(1)[0].port
    dns.set(NAME, "A", *[f"127.0.1.{i + 1}" for i in range(199)],
            "127.0.0.2", ttl=1)
    p = proxy(port, balance="source-hash", origin_dns={"type": "A"})
    p.expect_log(r"is 127\.0\.0\.2:\d+, 127\.0\.1\.1:\d+, .* and 60 more")
    assert dns.count(NAME, transport="tcp") == 1
    since = p.mark()
    ttl, data = dns.records[NAME, "A"]
    dns.set(NAME, "A", *reversed(data), ttl=1)
    asked_again(dns, times=4)
    assert NAME not in p.log()[since:]


# -- SRV --------------------------------------------------------------------


def srv(dns, *records, ttl=60):
    dns.set(SERVICE, "SRV", *records, ttl=ttl)


def test_srv_priorities_weights_and_ports(dns, origins, proxy):
    port, other = harness.free_port(), harness.free_port()
    origins(3, port), origins(3, other)
    srv(dns, (10, 30, port, "a.example"), (10, 10, port, "b.example"),
        (20, 1, other, "c.example"), ttl=1)
    dns.set("a.example", "A", "127.0.0.2")
    dns.set("b.example", "A", "127.0.0.3")
    dns.set("c.example", "A", "127.0.0.4")
    p = proxy(None, name=SERVICE, origin_dns={"type": "SRV"})
    assert visits(p, 8) == {"127.0.0.2": 6, "127.0.0.3": 2}
    assert dns.count("c.example") == 0
    # no host of the first priority has an address any more: the next one
    dns.set("a.example", "A"), dns.set("b.example", "A")
    moves_to(p, "127.0.0.4")
    # and back, with another port
    dns.set("b.example", "A", "127.0.0.3")
    srv(dns, (10, 0, other, "b.example"), (20, 1, other, "c.example"), ttl=1)
    moves_to(p, "127.0.0.3")
    assert {e["OriginPort"] for e in p.events(OriginIP="127.0.0.3")} == {
        port, other}


def test_srv_says_not_available(dns, origins, proxy):
    """The target "." (RFC 2782)."""
    srv(dns, (0, 0, 0, "."))
    p = proxy(None, name=SERVICE, origin_dns={"type": "SRV"}, wait=False)
    p.expect_log("story: .* is not resolved: .*; it has no origin")
    assert is_turned_away(p.port)
    p.expect_events(1, Event="resolveOrigin", Status=531)


def test_srv_ttl_is_the_smallest_of_all(dns, origins, proxy):
    port = origins(1)[0].port
    srv(dns, (1, 1, port, "a.example"), ttl=600)
    dns.set("a.example", "A", "127.0.0.2", ttl=33)
    p = proxy(None, name=SERVICE, origin_dns={"type": "SRV"})
    p.expect_log(f"{SERVICE} is 127.0.0.2:{port}, for 33 s")


# -- again and again --------------------------------------------------------


def test_ttl_moves_new_sessions_and_leaves_old_ones(dns, origins, proxy):
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=1)
    p = proxy(port)
    with connect(p.port) as old:
        assert read_exactly(old, 16).strip() == b"127.0.0.2"
        dns.set(NAME, "A", "127.0.0.3", ttl=600)
        moves_to(p, "127.0.0.3")
        old.sendall(b"still here")
        assert read_exactly(old, 10) == b"still here"
    count = dns.count(NAME)
    assert visits(p, 20) == {"127.0.0.3": 20}
    assert dns.count(NAME) == count  # for 600 s


def test_a_set_that_always_changes_is_no_flood_of_lines(dns, proxy):
    plain, turn = dns.find, iter(range(2, 1 << 20))

    def find(name, asked):
        dns.set(NAME, "A", f"127.0.0.{next(turn) % 200 + 2}", ttl=0)
        return plain(name, asked)
    dns.find = find
    p = proxy(9, origin_dns={"type": "A"})
    asked_again(dns, times=8)
    assert len(re.findall(f"{NAME} is 127", p.log())) == 5


def test_health_checks_follow_the_name(dns, origins, proxy):
    """One that DNS names and nobody serves is left out; the one it names
    instead is checked, too."""
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", "127.0.0.9", ttl=1)
    p = proxy(port, health={"type": "tcp", "interval_s": 1, "timeout_s": 1,
                            "rise": 1, "fall": 1})
    p.expect_log(f"127.0.0.9:{port} is down")
    assert visits(p, 6) == {"127.0.0.2": 6}
    dns.set(NAME, "A", "127.0.0.3", "127.0.0.10", ttl=1)
    p.expect_log(f"127.0.0.10:{port} is down")
    assert visits(p, 6) == {"127.0.0.3": 6}


def test_udp_by_srv(dns, proxy):
    name = "_story._udp.example"
    with UdpOrigin(address="127.0.0.2") as o:
        dns.set(name, "SRV", (0, 0, o.port, "a.example"))
        dns.set("a.example", "A", "127.0.0.2")
        p = proxy(None, name=name, protocol="udp",
                  origin_dns={"type": "SRV"})
        with harness.Udp("127.0.0.1", p.port) as c:
            assert c.ask(b"hello") == b"hello"
        p.expect_events(1, Event="connect", OriginIP="127.0.0.2",
                        OriginPort=o.port)


def test_the_settings_ttl_wins(dns, origins, proxy):
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=86400)
    p = proxy(port, origin_dns={"ttl": 1})
    p.expect_log(f"is 127.0.0.2:{port}, for 1 s")
    dns.set(NAME, "A", "127.0.0.3", ttl=86400)
    moves_to(p, "127.0.0.3")


@pytest.mark.parametrize("fault, words", [
    (SERVFAIL, "every DNS server fails"),
    (REFUSED, "every DNS server fails"),
    (NXDOMAIN, "there is no such name"),
    ("empty", "the name has no such record"),
    ("dead", "every DNS server fails"),
    (SILENCE, "no DNS server answers"),
])
def test_old_answers_stay(dns, origins, proxy, fault, words):
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=1)
    p = proxy(port)
    if fault == "dead":
        dns.close()
    elif fault == "empty":
        dns.set(NAME, "A")
        dns.set(NAME, "SRV", (1, 1, 1, "a.example"))
    else:
        dns.rcode[None] = fault
    p.expect_log(f"{NAME} is not resolved: {words}.*; its 1 origins of "
                 "before stay")
    assert visits(p, 5) == {"127.0.0.2": 5}
    if fault in (SERVFAIL, NXDOMAIN):
        asked_again(dns, times=3)
    if fault == "dead":
        dns.open()
    dns.rcode.clear()
    dns.set(NAME, "A", "127.0.0.3", ttl=60)
    moves_to(p, "127.0.0.3")
    p.expect_log(f"{NAME} is resolved again: 127.0.0.3:{port}, for 60 s")
    assert p.log().count("is not resolved") == 1  # a change, not each try
    assert not p.events(Event="resolveOrigin")


def test_one_family_fails(dns, origins, proxy):
    """AAAA fails: the IPv6 addresses stay, IPv4 goes on."""
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=1)
    p = proxy(port)
    dns.set(NAME, "A", "127.0.0.3", ttl=1)
    whole = dns.answer

    def no_six(packet, transport):
        return None if b"\0\x1c\0\1" in packet else whole(packet, transport)
    dns.answer = no_six
    p.expect_log(f"{NAME} is resolved in part: no DNS server answers")
    moves_to(p, "127.0.0.3")
    dns.answer = whole
    p.expect_log(f"{NAME} is resolved again: 127.0.0.3:{port}")


def test_the_next_server_is_asked(dns, origins, proxy):
    port = origins(1)[0].port
    dns.set(NAME, "A", "127.0.0.2")
    broken = FakeDns(port=harness.free_port())
    broken.rcode[None] = REFUSED
    nobody = f"127.0.0.1:{harness.free_port()}"
    p = proxy(port, daemon={"resolvers": [nobody, broken.url(), dns.url()]})
    assert visit(p) == "127.0.0.2"
    assert broken.count(NAME) > 0
    broken.close()


# -- nothing is found -------------------------------------------------------


@pytest.mark.parametrize("fault, status", [
    (NXDOMAIN, 531), (SERVFAIL, 530), (REFUSED, 530)])
def test_no_origin_at_start_and_then_one(dns, origins, proxy, fault, status):
    port = origins(1)[0].port
    dns.rcode[None] = fault
    p = proxy(port, wait=False)
    p.expect_log("is not resolved: .*; it has no origin")
    assert is_turned_away(p.port)
    event = p.expect_events(1, Event="resolveOrigin", Status=status)[0]
    text = harness.run("l4proxyctl", "-s", p.config["control"],
                       "applications").stdout
    assert re.search("serving, no origin: (resolving )?the origin's name",
                     text)
    assert event["OriginIP"] in ("", None) and event["ClientIP"] == "127.0.0.1"
    dns.rcode.clear()
    dns.set(NAME, "A", "127.0.0.2")
    p.expect_log("is resolved again")
    assert visit(p) == "127.0.0.2"
    assert "unresolved" not in control(p, "applications")[0]
    assert control(p, "origins")[0]["address"] == f"127.0.0.2:{port}"
    assert not p.events(Event="originError")


def test_sessions_wait_for_the_first_answer(dns, origins, proxy):
    port = origins(1)[0].port
    dns.set(NAME, "A", "127.0.0.2")
    dns.rcode[None] = SILENCE
    p = proxy(port, wait=False, connect_timeout_s=60)
    with contextlib.ExitStack() as stack:
        early = [stack.enter_context(connect(p.port)) for _ in range(8)]
        for c in early:
            c.sendall(b"early")
        asked_again(dns)
        assert not p.events()
        rows = control(p, "sessions")
        assert [r["state"] for r in rows] == 8 * ["resolving"]
        assert control(p, "applications")[0]["unresolved"] == "resolving"
        dns.rcode.clear()
        for c in early:
            assert read_exactly(c, 21) == b"127.0.0.2".ljust(16) + b"early"


def test_sessions_wait_no_longer_than_for_a_connection(dns, proxy):
    dns.rcode[None] = SILENCE
    p = proxy(9, wait=False, connect_timeout_s=1)
    began = time.monotonic()
    assert is_turned_away(p.port)
    assert time.monotonic() - began >= 0.9
    p.expect_events(1, Event="resolveOrigin", Status=533)
    # the whole look-up is over, too: now it is known at once
    p.expect_log("is not resolved: no DNS server answers.*has no origin")
    assert is_turned_away(p.port)
    p.expect_events(2, Event="resolveOrigin", Status=533)


# -- a circle ---------------------------------------------------------------


def test_our_own_edge_is_left_out(dns, origins, proxy):
    """The name leads back to the port on which it is asked for."""
    edge = harness.free_port()
    origins(1, edge)
    dns.set(NAME, "A", "127.0.0.1", ttl=1)
    p = proxy(edge, wait=False, edge=edge)
    p.expect_log(f"{NAME} is 127.0.0.1:{edge}, an edge of this proxy")
    p.expect_log("is not resolved: the origin's address is not allowed; it "
                 "has no origin")
    assert is_turned_away(edge)
    p.expect_events(1, Event="resolveOrigin", Status=532)
    dns.set(NAME, "A", "127.0.0.1", "127.0.0.2", ttl=1)
    p.expect_log("is resolved again")
    assert {visit(p, edge) for _ in range(4)} == {"127.0.0.2"}
    asked_again(dns, times=4)
    assert p.log().count("an edge of this proxy") == 1


def test_an_address_of_this_host_is_an_edge_of_all(tmp_path, namespaces):
    """With edge_ips all it is this host's interfaces that decide; asked for
    by the fenced daemon itself."""
    host = namespaces.host("proxy", "192.0.2.1/24")
    server = harness.inside(host, FakeDns)
    server.set(NAME, "A", "192.0.2.1", "192.0.2.99", ttl=1)
    app = {"name": "story", "protocol": "tcp/7777", "edge_ips": "all",
           "origin_dns": {"name": NAME}, "origin_port": "7777"}
    with L4proxyd(tmp_path, [app], resolvers=server.url(), drain_s=0,
                  prefix=("ip", "netns", "exec", host)) as p:
        p.expect_log(f"{NAME} is 192.0.2.1:7777, an edge of this proxy")
        p.expect_log(f"{NAME} is 192.0.2.99:7777, for 1 s")
    server.close()


# -- the system's servers ----------------------------------------------------


def test_servers_of_resolv_conf(tmp_path, namespaces):
    """Read before the daemon is fenced in; a reload comes back to them."""
    host = namespaces.add("proxy")
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.53\nsearch example\n")
    conf.chmod(0o644)
    system = harness.inside(host, lambda: FakeDns("127.0.0.53", 53))
    other = harness.inside(host, FakeDns)
    for server in system, other:
        server.set(NAME, "A", "127.0.0.2")
    app = {"name": "story", "protocol": "tcp/7777", "edge_ips": "127.0.0.1",
           "origin_dns": {"name": NAME, "ttl": 1}, "origin_port": "7777"}
    mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    with L4proxyd(tmp_path, [app], drain_s=0,
                  prefix=("ip", "netns", "exec", host, "sh", "-c", mount,
                          str(conf))) as p:
        p.expect_log("DNS servers: 127.0.0.53:53\n")
        p.expect_log(f"{NAME} is 127.0.0.2:7777")
        assert p.reload(resolvers=[other.url()]) == "reloaded"
        p.expect_log(f"DNS servers: {other.url()}\n")
        asked_again(other)
        conf.write_text("nameserver 127.0.0.1\n")  # not read again
        del p.config["resolvers"]
        assert p.reload() == "reloaded"
        asked_again(system, times=3)
        system.set(NAME, "A", "127.0.0.3")
        p.expect_log(f"{NAME} is 127.0.0.3:7777")
        assert not system.count(f"{NAME}.example")
    system.close()
    other.close()


# -- reload -----------------------------------------------------------------


def test_reload_keeps_what_is_known(dns, origins, proxy):
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=600)
    p = proxy(port)
    asked = dns.count(NAME)
    assert p.reload() == "reloaded"
    assert visit(p) == "127.0.0.2"
    assert dns.count(NAME) == asked  # unchanged: it goes on as it was
    # changed, with a DNS that is dead: begins with what was known
    dns.close()
    assert p.reload([dict(p.app, idle_timeout_s=77)]) == "reloaded"
    assert visits(p, 4) == {"127.0.0.2": 4}
    p.expect_log("is not resolved: .*its 1 origins of before stay")
    dns.open()
    dns.set(NAME, "A", "127.0.0.3", ttl=600)
    moves_to(p, "127.0.0.3")
    # another name is another matter
    dns.set("other.example", "A", "127.0.0.2")
    assert p.reload([dict(p.app, origin_dns={"name": "other.example"})]) == \
        "reloaded"
    moves_to(p, "127.0.0.2")


def test_reload_takes_other_servers(dns, origins, proxy):
    """Also while a question to the old one is open; sessions wait on."""
    port = origins(1)[0].port
    dns.rcode[None] = SILENCE
    p = proxy(port, wait=False, connect_timeout_s=60)
    harness.until(lambda: dns.count(NAME), "a question")
    other = FakeDns(port=harness.free_port())
    other.set(NAME, "A", "127.0.0.2")
    with connect(p.port) as c:
        assert p.reload(resolvers=[other.url()]) == "reloaded"
        assert read_exactly(c, 16).strip() == b"127.0.0.2"
    other.close()


def test_reload_to_and_from_dns(dns, origins, proxy):
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2")
    p = proxy(port)
    direct = {k: v for k, v in p.app.items()
              if k not in ("origin_dns", "origin_port")}
    direct["origin_direct"] = f"tcp://127.0.0.3:{port}"
    assert p.reload([direct]) == "reloaded"
    moves_to(p, "127.0.0.3")
    assert p.reload([p.app]) == "reloaded"
    moves_to(p, "127.0.0.2")


# -- UDP --------------------------------------------------------------------


def test_udp_flows_find_their_origin_and_stay(dns, proxy):
    port = harness.free_port()

    def serve(name):
        return lambda d: [name + d.data]
    dns.set(NAME, "A", "127.0.0.2", ttl=1)
    with UdpOrigin(serve(b"2"), "127.0.0.2", port), \
            UdpOrigin(serve(b"3"), "127.0.0.3", port):
        p = proxy(port, protocol="udp")
        with harness.Udp("127.0.0.1", p.port) as old:
            assert old.ask(b"a") == b"2a"
            dns.set(NAME, "A", "127.0.0.3", ttl=1)

            def asks():
                with harness.Udp("127.0.0.1", p.port) as c:
                    return c.ask(b"b")
            harness.until(lambda: asks() == b"3b", "new flows move")
            assert old.ask(b"c") == b"2c"


def test_udp_without_an_origin(dns, proxy):
    dns.rcode[None] = NXDOMAIN
    port = harness.free_port()
    p = proxy(port, wait=False, protocol="udp")
    p.expect_log("is not resolved: .*; it has no origin")
    with harness.Udp("127.0.0.1", p.port) as c, \
            UdpOrigin(address="127.0.0.2", port=port):
        for _ in range(50):
            c.send(b"x")
        # one line a client and minute, not one a datagram
        p.expect_events(1, Event="resolveOrigin", Status=531)
        dns.rcode.clear()
        dns.set(NAME, "A", "127.0.0.2")
        p.expect_log("is resolved again")
        assert c.ask(b"y") == b"y"
        assert len(p.events(Event="resolveOrigin")) == 1


# -- a hostile server -------------------------------------------------------


def test_replies_of_rubbish(dns, origins, proxy):
    """Bytes that are no reply, cut ones, loops of names: old answers stay, the
    daemon lives."""
    port = origins(2)[0].port
    dns.set(NAME, "A", "127.0.0.2", ttl=1)
    p = proxy(port)
    whole = dns.answer

    def rubbish(packet, transport):
        good = whole(packet, transport)
        head = packet[:2] + struct.pack("!H", 0x8180)
        loop = good[:12] + b"\xc0\x0c" + good[14:]
        return [b"", b"\0" * 12, good[:-3], good[:20], loop,
                head + b"\xff" * 60, head + good[4:12] + good[12:-3]]
    dns.answer = rubbish
    asked_again(dns, times=4)
    assert visits(p, 3) == {"127.0.0.2": 3}
    dns.answer = whole
    dns.set(NAME, "A", "127.0.0.3", ttl=600)
    moves_to(p, "127.0.0.3")


def test_checks_follow_the_answers(dns, origins, proxy):
    """An address without a server falls; so does one that comes later; a
    reload that changes the application does not forget."""
    port = origins(1)[0].port
    dns.set(NAME, "A", "127.0.0.2", "127.0.0.77", ttl=1)
    health = {"type": "tcp", "interval_s": 1, "timeout_s": 1, "fall": 2}
    p = proxy(port, health=health)
    p.expect_log(rf"origin 127\.0\.0\.77:{port} is down: connect: ")
    assert visits(p, 6) == {"127.0.0.2": 6}
    errors = len(p.events(Event="originError"))
    since = p.mark()
    assert p.reload([{**p.app, "lifetime_s": 3600}]) == "reloaded"
    assert visits(p, 6) == {"127.0.0.2": 6}
    assert len(p.events(Event="originError")) == errors
    assert "is down" not in p.log()[since:]
    dns.set(NAME, "A", "127.0.0.2", "127.0.0.78", ttl=1)
    p.expect_log(rf"origin 127\.0\.0\.78:{port} is down: connect: ", since)
    assert visits(p, 6) == {"127.0.0.2": 6}
    listed = {o["address"]: o["state"] for o in control(p, "origins")}
    assert listed == {f"127.0.0.2:{port}": "up", f"127.0.0.78:{port}": "down"}
