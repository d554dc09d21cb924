"""sharing.mode: activation. One parent makes all sockets and hands them to
both daemons; what waits in them outlives either."""
import re
import signal
import socket

import harness
import pytest
from shareworld import (EDGE, PORT, WILD, hand_over, listening, made_by,
                        start_again)

MODE = {"mode": "activation"}


def refused(daemon):
    daemon.start(wait=False)
    assert daemon.child.wait(harness.PATIENCE_S) == 1
    daemon.child = None
    return daemon.log()


@pytest.mark.parametrize("first", ["time", "customer"])
def test_both_restart_and_lose_nothing(world, first):
    t = hand_over(world.roughtimed(MODE), made_by(world, WILD))
    p = hand_over(world.l4proxyd(MODE), made_by(world, EDGE))
    order = [t, p] if first == "time" else [p, t]
    for daemon in order:
        daemon.start()
    with world.traffic() as traffic:
        traffic.wait()
        for daemon in order:
            start_again(daemon)
            traffic.wait()
        counters = t.counters()
    assert counters["kernel_drop_filter_estimated"] == 0, counters
    failed = {k[0] for k, n in traffic.count.items() if k[1] == "failed" and n}
    # A connection that was accepted and had said nothing yet is closed.
    assert failed <= {("time", "tcp", 4), ("time", "tcp", 6)}, traffic.told
    assert traffic.total("failed") <= 2, traffic.told


def test_what_comes_while_nobody_is_there_waits(world):
    t = hand_over(world.roughtimed(MODE), made_by(world, WILD)).start()
    t.stop()
    p = hand_over(world.l4proxyd(MODE), made_by(world, EDGE)).start()
    p.stop(signal.SIGKILL, -9)
    with world.traffic() as traffic:
        t.start(wait=False)
        p.start(wait=False)
        traffic.wait(5)
    assert traffic.total("failed") == 0, traffic.told


def test_each_socket_has_its_place(world):
    """One that lacks and one too many are told, by a test as well."""
    edge = made_by(world, EDGE)
    for n, argv in enumerate(([], ["-t"])):
        p = world.l4proxyd(MODE, name=f"lack-{n}")
        p.argv = [*argv, "-c", str(p.config_path)]
        log = refused(hand_over(p, edge[2:]))
        assert f"udp {EDGE[4]}:{PORT}: no socket for it was handed over" in \
            log, log
        p = world.l4proxyd(MODE, name=f"queue-{n}")
        p.argv = [*argv, "-c", str(p.config_path)]
        log = refused(hand_over(p, edge[1:]))
        assert f"udp {EDGE[4]}:{PORT}: sockets handed over: 1, expected 2" in \
            log, log
        t = world.roughtimed(MODE)
        t.argv = [*argv, "-c", str(t.config_path)]
        log = refused(hand_over(t, made_by(world, WILD) + edge[:1]))
        assert f"udp {EDGE[4]}:{PORT}: a socket for it was handed over, " \
            "but the configuration has no listener there" in log, log
        t.log_path.unlink()
    bare = world.l4proxyd(MODE, name="bare")
    assert "no socket was handed over" in refused(bare)
    good = hand_over(world.l4proxyd(MODE, name="good"), edge)
    good.argv = ["-t", "-c", str(good.config_path)]
    good.start(wait=False)
    assert good.child.wait(harness.PATIENCE_S) == 0
    good.child = None


def test_what_cannot_serve_is_told(world):
    pipe, _ = socket.socketpair()
    connected = harness.inside(world.server, lambda: socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM))
    connected.bind((EDGE[4], PORT))
    connected.connect((EDGE[4], 9))
    both = harness.inside(world.server, lambda: socket.create_server(
        ("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True))
    for n, (s, why) in enumerate((
            (pipe, "is no socket of UDP or TCP"),
            (connected, "is connected, where one that waits"),
            (both, "takes IPv4 along"))):
        app = world.apps(["ipv6"])[1:]
        p = hand_over(world.l4proxyd(MODE, app, name=f"odd-{n}", workers=1),
                      [s])
        assert why in refused(p), p.log()
        s.close()


def test_reload_keeps_them(world):
    """An address goes and comes back; one that was not handed over refuses
    the reload whole."""
    p = hand_over(world.l4proxyd(MODE), made_by(world, EDGE)).start()
    only = [(x, 4) for x in ("udp", "tcp")]
    t = hand_over(world.roughtimed(MODE), made_by(world, WILD)).start()
    with world.traffic() as traffic:
        traffic.wait(5)
        assert p.reload(world.apps()) == "reloaded"
        assert p.reload(world.apps([*EDGE.values(), "192.0.2.1"])) == \
            "reload failed"
        assert "192.0.2.1:2002: no socket for it was handed over" in p.log()
        traffic.wait(5)
    assert traffic.total("failed") == 0, traffic.told
    assert p.reload(world.apps([EDGE[4]])) == "reloaded"
    with world.traffic(only) as traffic:
        traffic.wait(5)
    # Nobody listens there now but the time server, on all addresses.
    with harness.inside(world.client,
                        lambda: harness.Tcp(EDGE[6], PORT)) as c:
        c.verified(world.identity.public)
    assert p.reload(world.apps()) == "reloaded"
    with world.traffic() as traffic:
        traffic.wait(5)
    assert traffic.total("failed") == 0, traffic.told
    t.config["listen"] = [{"address": WILD[4], "port": PORT}]
    t.write_config(t.config)
    assert "reloaded" in t.expect_log(
        "(?m)reloaded|reload failed", (t.mark(), t.kill(signal.SIGHUP))[0])[0]
    with world.traffic(only) as traffic:
        traffic.wait(5)
    assert traffic.total("failed") == 0, traffic.told


def test_systemds_own_activator(start, identity, tmp_path):
    """TCP only: it waits for the first client before it starts anything."""
    port = harness.free_port()
    config = harness.base_config(
        port, [identity], workers=1, sharing=MODE,
        listen=[{"address": "127.0.0.1", "port": port,
                 "transports": ["tcp"]}])
    daemon = harness.Roughtimed(
        tmp_path, config,
        prefix=("systemd-socket-activate", "-l", f"127.0.0.1:{port}"))
    daemon.start(wait=False)
    daemon.expect_log("Listening on")
    with harness.Tcp("127.0.0.1", port) as client:
        client.verified(identity.public)
    daemon.stop()


def test_a_mode_that_wants_none_says_so(world):
    p = hand_over(world.l4proxyd({"mode": "off"}, world.apps([EDGE[6]])),
                  made_by(world, {4: EDGE[4]}, [("udp", 4)]))
    p.start()
    assert "2 sockets were handed over (LISTEN_FDS) and are not used" in \
        p.log()


def sockets_of_unit(world, name):
    """Those that a shipped .socket unit asks the service manager for."""
    text = (harness.ROOT / "config" / "systemd" / name).read_text()
    assert "ReusePort=yes\n" in text and "BindIPv6Only=ipv6-only\n" in text
    kinds = {"Datagram": "udp", "Stream": "tcp"}
    found = re.findall(r"(?m)^Listen(\w+)=\[?([^]\n]+)\]?:(\d+)$", text)
    return harness.inside(world.server, lambda: [
        listening(kinds[k], host, int(port), socket.SO_REUSEPORT)
        for k, host, port in found])


def test_the_shipped_units(world):
    for daemon in (world.roughtimed(MODE), world.l4proxyd(MODE)):
        name = daemon.program.name
        hand_over(daemon, sockets_of_unit(world, f"{name}.socket")).start()
    with world.traffic() as traffic:
        traffic.wait(5)
    assert traffic.total("failed") == 0, traffic.told
