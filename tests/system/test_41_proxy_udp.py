"""l4proxyd over UDP: what goes through, whose it is, and how a flow ends."""
import signal
import socket
import time

import harness
import pytest
from proxyharness import L4proxyd
from udporigin import UdpOrigin, read_simple, read_v2, udp_application

FAR_S = 0.3  # how long nothing must come before it counts as nothing


@pytest.fixture(params=["sockets", "kernel"])
def proxy(tmp_path, request):
    """proxy(origin…, key=value…) -> a running daemon; all stop cleanly. Both
    paths of its flows have the same story."""
    running = []
    path = "off" if request.param == "sockets" else "auto"

    def make(*origins, daemon=None, **rules):
        six = rules.get("edge_ips") == "::1"
        port = rules.pop("port", None) or harness.free_port(
            socket.AF_INET6 if six else socket.AF_INET)
        app = udp_application(port, *origins, **{"fast_path": path, **rules})
        made = L4proxyd(tmp_path, [app], name=f"l4proxyd-{len(running)}",
                        **{"drain_s": 0, **(daemon or {})})
        made.port, made.app = port, app
        running.append(made)
        made.start()
        made.expect_log("established flows by the kernel" if carried(app)
                        else "flows on sockets")
        return made
    yield make
    for made in running:
        made.stop()


def carried(app):
    """Whether these stories may have the kernel's path."""
    return (app["fast_path"] == "auto" and
            app.get("proxy_protocol") not in ("v2", "simple") and
            "bytes_per_s" not in app.get("limits", ()))


def in_order(p, got, sent):
    """All of it; a hand-over to the kernel may let some overtake others."""
    if carried(p.app):
        got, sent = sorted(got), sorted(sent)
    return got == sent


@pytest.fixture
def origin():
    made = []

    def make(serve=lambda d: [d.data], **more):
        made.append(UdpOrigin(serve, **more))
        return made[-1]
    yield make
    for o in made:
        o.close()


@pytest.fixture
def client():
    """client(proxy, host=…) -> harness.Udp, closed at the end."""
    made = []

    def make(p, host="127.0.0.1", **more):
        made.append(harness.Udp(host, p.port, **more))
        return made[-1]
    yield make
    for c in made:
        c.socket.close()


def port_of_peer(d):
    """For an origin: the reply is the port the datagram came from."""
    return [str(d.peer[1]).encode()]


# -- what goes through ------------------------------------------------------


def test_many_flows_keep_apart_and_are_counted(proxy, origin, client):
    o = origin(lambda d: [d.data, d.data[::-1]])
    p = proxy(o)
    clients = [client(p) for _ in range(200)]
    for n in range(3):
        for i, c in enumerate(clients):
            c.send(b"%04d-%d" % (i, n))
    for i, c in enumerate(clients):
        got = [c.receive() for _ in range(6)]
        want = [b"%04d-%d" % (i, n) for n in range(3)]
        assert in_order(p, [g for g in got if g in want], want)
        assert sorted(got) == sorted(want + [w[::-1] for w in want])
    assert len({d.peer for d in o.seen}) == 200
    connects = p.expect_events(200, Event="connect")
    assert {e["ClientPort"] for e in connects} == {
        c.socket.getsockname()[1] for c in clients}
    p.stop()
    ends = p.expect_events(200, Event="disconnect", Status=200)
    assert {(e["ClientBytes"], e["OriginBytes"]) for e in ends} == {(18, 36)}
    assert {(e["OriginIP"], e["OriginPort"], e["ClientProto"])
            for e in ends} == {("127.0.0.1", o.port, "udp")}


@pytest.mark.parametrize("length", [0, 1, 1472, 9000, 65507])
def test_every_length_passes_both_ways(proxy, origin, client, length):
    data = bytes(i * 7 % 251 for i in range(length))
    p = proxy(origin())
    c = client(p)
    assert c.ask(data) == data
    assert c.ask(b"after") == b"after"


def test_a_burst_arrives_whole_and_in_order(proxy, origin, client):
    """Enough in a row to travel joined, with lengths that break the run."""
    o = origin(lambda d: [])
    p = proxy(o, daemon={"workers": 1})
    c = client(p)
    sent = [b"%05d" % i + b"x" * (1200 if i % 10 else i % 7)
            for i in range(500)]
    for at in range(0, 500, 50):  # what queues of default size hold
        part = sent[at:at + 50]
        for data in part:
            c.send(data)
        harness.until(lambda: len(o.seen) >= at + 50, "all datagrams")
        for data in part:
            o.socket.sendto(data, o.seen[0].peer)
        assert in_order(p, [c.receive(5) for _ in part], part)
    assert in_order(p, [d.data for d in o.seen], sent)
    p.stop()
    [end] = p.expect_events(1, Event="disconnect")
    assert end["ClientBytes"] == end["OriginBytes"] == sum(map(len, sent))


def test_joined_datagrams_come_apart_at_the_end(proxy, origin, client):
    """UDP_SEGMENT from the client, UDP_GRO in the proxy: each arrives."""
    o = origin(lambda d: [])
    p = proxy(o)
    c = client(p)
    data = bytes(range(256)) * 100
    c.socket.setsockopt(socket.IPPROTO_UDP, 103, 1000)  # UDP_SEGMENT
    c.send(data)
    harness.until(lambda: len(o.seen) >= 26, "all datagrams")
    assert b"".join(d.data for d in o.seen) == data
    assert [len(d.data) for d in o.seen] == [1000] * 25 + [600]


def test_joined_replies_come_apart_at_the_client(proxy, origin, client):
    """The first ones make the proxy ask for runs, the next ones are some."""
    o = origin(lambda d: [])
    p = proxy(o)
    c = client(p)
    c.send(b"ask")
    harness.until(lambda: o.seen, "the request")
    data = bytes(range(256)) * 100
    o.socket.setsockopt(socket.IPPROTO_UDP, 103, 1000)  # UDP_SEGMENT
    for _ in range(3):
        o.socket.sendto(data, o.seen[0].peer)
        pieces = [c.receive(5) for _ in range(26)]
        assert [len(piece) for piece in pieces] == [1000] * 25 + [600]
        assert b"".join(pieces) == data


def test_replies_leave_from_the_address_that_was_asked(proxy, origin, client):
    o = origin(port_of_peer)
    p = proxy(o, edge_ips="all")
    # Connected clients: they see only what comes from where they sent to.
    ports = {client(p, f"127.0.0.{n}", source="127.0.0.1").ask(b"?")
             for n in range(1, 9)}
    assert len(ports) == 8
    assert client(p, "::1").ask(b"?") not in ports
    # One client, two edge addresses: two flows.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(harness.PATIENCE_S)
        seen = {}
        for host in ("127.0.0.3", "127.0.0.4", "127.0.0.3"):
            s.sendto(b"?", (host, p.port))
            reply, peer = s.recvfrom(100)
            assert peer == (host, p.port)
            seen.setdefault(host, set()).add(reply)
        assert all(len(v) == 1 for v in seen.values())
        assert seen["127.0.0.3"] != seen["127.0.0.4"]


def test_ipv6_edge_to_ipv4_origin(proxy, origin, client):
    p = proxy(origin(), edge_ips="::1")
    assert client(p, "::1").ask(b"six") == b"six"


def test_a_range_of_ports_keeps_its_offset(proxy, origin, client, tmp_path):
    base = harness.free_port()
    origins = []
    while len(origins) < 3:  # three ports in a row
        try:
            origins.append(UdpOrigin(lambda d: [b"o%d" % d.peer[1]],
                                     port=base + len(origins)))
        except OSError:
            for o in origins:
                o.close()
            origins, base = [], harness.free_port()
    edge = harness.free_port()
    while not edge & 3 == 0:
        edge = harness.free_port()
    app = udp_application(f"{edge}-{edge + 2}", base)
    app["origin_direct"] = [f"udp://127.0.0.1:{base}-{base + 2}"]
    with L4proxyd(tmp_path, [app], drain_s=0) as p:
        for n, o in enumerate(origins):
            with harness.Udp("127.0.0.1", edge + n) as c:
                assert c.ask(b"?").startswith(b"o")
            assert len(o.seen) == 1
        assert {e["OriginPort"] for e in p.expect_events(
            3, Event="connect")} == {
            base, base + 1, base + 2}
    for o in origins:
        o.close()


# -- how a flow ends --------------------------------------------------------


def test_icmp_ends_the_flow_with_its_status(proxy, client):
    dead = harness.free_port()
    p = proxy(dead)
    c = client(p)
    c.send(b"12345")
    p.expect_events(1, Event="connect")
    [end] = p.expect_events(1, Event="disconnect")
    assert (end["Status"], end["ClientBytes"]) == (447, 5)
    # The origin comes up: the same client begins again.
    with UdpOrigin(port=dead):
        assert c.ask(b"again") == b"again"
    p.expect_events(2, Event="connect")


def test_an_origin_that_refuses_is_left(proxy, origin, client):
    o = origin()
    p = proxy(harness.free_port(), o)

    def served():
        c = client(p)
        c.send(b"?")
        return c.receive(0.1) == b"?"
    harness.until(served, "the origin that is up is found")
    # After failures in a row nobody is sent to the other one.
    harness.until(lambda: all(served() for _ in range(8)), "it is left out")


def test_an_idle_flow_ends(proxy, origin, client):
    p = proxy(origin(), idle_timeout_s=1)
    c = client(p)
    for _ in range(4):  # in use for longer than that
        assert c.ask(b"1234567") == b"1234567"
        time.sleep(0.35)
    [end] = p.expect_events(1, Event="disconnect")
    p.expect_events(1, Event="connect")
    assert (end["Status"], end["ClientBytes"], end["OriginBytes"]) == (
        200, 28, 28)
    assert c.ask(b"new") == b"new"
    p.expect_events(2, Event="connect")


def test_lifetime_ends_a_busy_flow(proxy, origin, client):
    p = proxy(origin(), lifetime_s=1)
    c = client(p)
    begun = time.monotonic()
    while not p.events(Event="disconnect"):
        assert c.ask(b"?") == b"?"
        assert time.monotonic() - begun < harness.PATIENCE_S
        time.sleep(0.05)
    assert time.monotonic() - begun >= 1


# -- who the client is ------------------------------------------------------


def headers(origin_seen, read):
    return [read(d.data) for d in origin_seen]


@pytest.mark.parametrize("host,family", [("127.0.0.1", "four"),
                                         ("::1", "six")])
def test_v2_on_each_datagram(proxy, origin, client, host, family):
    o = origin()
    p = proxy(o, edge_ips=host, proxy_protocol="v2")
    c = client(p, host)
    me = c.socket.getsockname()[:2]
    for data in (b"a", b"", b"ccc"):
        seen = read_v2(c.ask(data))  # v2 is not taken off replies
        assert (seen.client, seen.proxy, seen.rest) == (
            me, (host, p.port), data), family
    p.stop()
    [end] = p.expect_events(1, Event="disconnect")
    assert (end["ClientBytes"], end["ProxyProtocol"]) == (4, "v2")


def test_v2_on_the_first_only(proxy, origin, client):
    o = origin(lambda d: [])
    p = proxy(o, proxy_protocol="v2-first", daemon={"workers": 1})
    c = client(p)
    for data in (b"one", b"two", b"two"):
        c.send(data)
    harness.until(lambda: len(o.seen) == 3, "three datagrams")
    first = read_v2(o.seen[0].data)
    assert first == (c.socket.getsockname(), ("127.0.0.1", p.port), b"one")
    assert [d.data for d in o.seen[1:]] == [b"two", b"two"]


def test_simple_both_ways(proxy, origin, client):
    """The header comes back and is taken off; without it: no reply."""
    def serve(d):
        h = read_simple(d.data)
        return [h.rest, d.data[:37], d.data[:38] + h.rest * 2]
    o = origin(serve)
    p = proxy(o, proxy_protocol="simple", edge_ips="all")
    c = client(p, "127.0.0.6", source="127.0.0.2")
    for data in (b"x", b"yz", b""):
        assert c.ask(data) == data * 2
        h = read_simple(o.seen[-1].data)
        assert h == (c.socket.getsockname(), ("127.0.0.6", p.port), data)
    assert c.receive(FAR_S) is None
    six = client(p, "::1")
    assert six.ask(b"6") == b"66"
    assert read_simple(o.seen[-1].data).client[0] == "::1"
    p.stop()
    assert [(e["ClientBytes"], e["OriginBytes"])
            for e in p.expect_events(1, Event="disconnect", ClientBytes=3)
            ] == [(3, 6)]


# -- who may come in --------------------------------------------------------


def test_firewall(proxy, origin, client):
    o = origin()
    p = proxy(o, ip_firewall={"deny": ["127.0.0.2"]}, edge_ips="ipv4")
    bad, good = client(p, source="127.0.0.2"), client(p, source="127.0.0.3")
    for _ in range(50):
        bad.send(b"let me in")
    assert good.ask(b"good") == b"good"
    assert bad.receive(FAR_S) is None
    assert [d.data for d in o.seen] == [b"good"]
    # One line a client and minute and worker, not one a datagram.
    [line] = p.expect_events(1, Event="clientFiltered")
    assert (line["Status"], line["IpFirewall"], line["ClientIP"]) == (
        403, True, "127.0.0.2")


def test_limit_of_flows(proxy, origin, client):
    p = proxy(origin(), limits={"connections": 3}, idle_timeout_s=1)
    inside = [client(p) for _ in range(3)]
    for c in inside:
        assert c.ask(b"in") == b"in"
    out = client(p)
    out.send(b"out")
    [line] = p.expect_events(1, Event="clientFiltered")
    assert line["Status"] == 503
    p.expect_events(3, Event="disconnect")
    assert out.ask(b"now") == b"now"


def test_limit_of_bytes(proxy, origin, client):
    o = origin(lambda d: [])
    p = proxy(o, limits={"bytes_per_s": 20000}, daemon={"workers": 1})
    c = client(p)
    for _ in range(100):
        c.send(bytes(1000))
    # A second's worth at once, and the one that crosses the line.
    harness.until(lambda: len(o.seen) >= 20, "a second's worth")
    time.sleep(0.2)
    assert 20 <= len(o.seen) <= 30


# -- reload and end ---------------------------------------------------------


def test_reload_keeps_flows(proxy, origin, client):
    old, new = origin(lambda d: [b"old"]), origin(lambda d: [b"new"])
    p = proxy(old)
    other = udp_application(harness.free_port(), old, name="other")
    before = client(p)
    assert before.ask(b"?") == b"old"
    # Another application beside it: nothing changes for this one.
    assert p.reload([p.app, other]) == "reloaded"
    assert before.ask(b"?") == b"old"
    # Another origin: flows stay where they are, new ones go there.
    assert p.reload([udp_application(p.port, new)]) == "reloaded"
    after = client(p)
    assert (before.ask(b"?"), after.ask(b"?")) == (b"old", b"new")
    assert len({d.peer for d in old.seen}) == 1
    assert p.events(Event="disconnect") == []


def test_a_removed_application_drains(proxy, origin, client):
    o = origin()
    p = proxy(o, daemon={"drain_s": 2})
    other = udp_application(harness.free_port(), o, name="other")
    c = client(p)
    assert c.ask(b"1") == b"1"
    assert p.reload([other]) == "reloaded"
    begun = time.monotonic()
    assert c.ask(b"2") == b"2"
    late = client(p)
    late.send(b"late")
    assert late.receive(FAR_S) is None
    while not p.events(Event="disconnect"):
        c.send(b"3")
        assert time.monotonic() - begun < harness.PATIENCE_S
        time.sleep(0.05)
    assert 1.5 < time.monotonic() - begun < 8
    # And the port is free again.
    def is_free():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.bind(("127.0.0.1", p.port))
            except OSError:
                return False
            return True
    harness.until(is_free, "the port is free")


def is_shut_out(c):
    c.send(b"new")
    return c.receive(FAR_S) is None


def test_a_removed_application_comes_back_while_it_drains(
        proxy, origin, client):
    """The port is its flows', not somebody else's: no bind in vain."""
    o = origin(port_of_peer)
    p = proxy(o, daemon={"drain_s": 300})
    other = udp_application(harness.free_port(), o, name="other")
    early = client(p)
    flow = early.ask(b"1")
    for n in range(3):
        assert p.reload([other]) == "reloaded"
        assert early.ask(b"2") == flow
        # each worker takes the reload at its next turn
        harness.until(lambda: is_shut_out(client(p)), "nobody new is let in")
        # a reload that fails leaves it as it was
        assert p.reload([dict(p.app, edge_ips=["192.0.2.1"])]) == \
            "reload failed"
        assert early.ask(b"3") == flow
        assert p.reload([p.app] if n % 2 else
                        [dict(p.app, name="another")]) == "reloaded"
        harness.until(lambda: client(p).ask(b"4") != flow, "new ones")
        assert early.ask(b"5") == flow
    assert not p.events(Event="disconnect")
    p.stop()
    p.all_ended(4)


def test_an_address_and_a_wildcard_follow_each_other(proxy, origin, client):
    """Old flows live on, and new ones begin by the new edge, on the address
    that the old one still has, too."""
    p = proxy(origin(port_of_peer))
    early, flow = client(p), None
    wide, narrow = [dict(p.app, edge_ips="ipv4")], [p.app]
    for edges in (narrow, wide, narrow, wide, wide, narrow):
        assert p.reload(edges) == "reloaded", p.log()
        flow = flow or early.ask(b"1")
        assert early.ask(b"2") == flow
        assert client(p).ask(b"3") not in (None, flow)
        with harness.Udp("127.0.0.2", p.port) as c:
            assert edges == narrow or c.ask(b"4")
    assert not p.events(Event="disconnect")


def test_sigterm_waits_for_flows_in_use(proxy, origin, client):
    p = proxy(origin(), daemon={"drain_s": 3})
    c = client(p)
    assert c.ask(b"1") == b"1"
    p.kill(signal.SIGTERM)
    p.expect_log("stopping")
    answered = 0
    end = time.monotonic() + harness.PATIENCE_S
    while p.alive() and time.monotonic() < end:
        c.socket.send(b"?") if p.alive() else None
        try:
            answered += c.receive(0.05) == b"?"
        except ConnectionRefusedError:
            break
    assert answered > 10
    harness.until(lambda: not p.alive(), "it ends")
    p.expect_events(1, Event="disconnect", Status=200)


# -- before it sleeps -------------------------------------------------------

@pytest.mark.parametrize("proxy", ["sockets"], indirect=True)
def test_busy_poll_looks_for_more_and_sleeps_in_the_end(
        proxy, origin, client):
    o = origin()
    looks = proxy(o, daemon={"busy_poll_us": 10000})
    sleeps = proxy(o, daemon={"busy_poll_us": 0})
    clients = [client(looks), client(sleeps)]

    def has_looked():
        for c in clients:
            for _ in range(100):  # the next one comes soon
                assert c.ask(b"?") == b"?"
        return looks.cpu_s() > sleeps.cpu_s() + 0.1
    harness.until(has_looked, "time spent on looking")

    def is_asleep():
        before = looks.cpu_s()
        time.sleep(0.3)
        return looks.cpu_s() < before + 0.05
    harness.until(is_asleep, "sleep")
