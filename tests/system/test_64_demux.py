"""sharing.mode: demux. Both services at the very same addresses and port: what
a datagram or a connection begins with says whose it is."""
import signal
import socket
import subprocess
import sys

import harness
import oracle
import pytest
from proxyharness import Origin
from shareworld import EDGE, KINDS, MARK, PORT, TIME, start_again


def pair(world, workers=2, **more):
    meet = str(world.directory / "run" / "meet.sock")
    t = world.roughtimed(
        {"mode": "demux", "socket": meet}, workers=workers,
        listen=[{"address": a, "port": PORT} for a in EDGE.values()])
    p = world.l4proxyd({"mode": "demux", "peer": meet, "peek": "300ms"},
                       **more)
    return t, p


def of(traffic, service, proto, what):
    return sum(n for (k, w), n in traffic.count.items()
               if k[:2] == (service, proto) and w == what)


@pytest.mark.parametrize("first", ["time", "customer"])
def test_both_at_one_address(world, first):
    """Each restarts under load, with and without an end of its own choice: no
    packet comes to the wrong one, and no datagram is lost."""
    t, p = pair(world)
    order = [t, p] if first == "time" else [p, t]
    for daemon in order:
        daemon.start()
    with world.traffic(times=EDGE) as traffic:
        traffic.wait()
        for daemon in order:
            start_again(daemon)
            traffic.wait()
        counters = t.counters()
    assert counters["kernel_drop_filter_estimated"] == 0, counters
    for service in ("time", "customer"):
        assert of(traffic, service, "udp", "failed") == 0, traffic.told


def test_killed_the_other_goes_on(world):
    """Sockets of who is gone stay in the group, and nothing that comes to them
    goes elsewhere; also when the next one has more workers, or fewer."""
    t, p = pair(world)
    t.start()
    p.start()
    # What was being passed on is gone with who passed it: ask again soon.
    with world.traffic([("udp", 4), ("udp", 6)], times=EDGE,
                       wait_s=1) as traffic:
        traffic.wait(5)
        for n, (daemon, other) in enumerate(((t, "customer"),
                                             (p, "time")) * 2):
            daemon.stop(signal.SIGKILL, -9)
            traffic.wait(5, only=other)
            daemon.config["workers"] = (3, 4, 1, 2)[n]
            daemon.log_path.unlink()
            daemon.start()
            traffic.wait(5)
        counters = t.counters()
    assert counters["kernel_drop_filter_estimated"] == 0, counters


def test_what_a_connection_begins_with(world):
    """Slowly, or not at all; and a request of the old protocol."""
    t, p = pair(world)
    t.start()
    p.start()
    request = oracle.request("rfc")

    def inside(make):
        return harness.inside(world.client, make)
    with inside(lambda: harness.Tcp(EDGE[4], PORT)) as c:
        c.send(request[:3])
        c.send(request[3:7])
        c.send(request[7:])
        oracle.verify(request, c.receive(), world.identity.public)
        c.verified(world.identity.public)  # it stays there
    with inside(lambda: socket.create_connection((EDGE[6], PORT))) as c:
        c.settimeout(harness.PATIENCE_S)
        c.sendall(b"ROUGHTIN")
        assert c.recv(99) == MARK + b"ROUGHTIN"
    with inside(lambda: socket.create_connection((EDGE[4], PORT))) as c:
        c.settimeout(harness.PATIENCE_S)
        c.sendall(b"ROUGH")  # and nothing more
        assert c.recv(99) == MARK + b"ROUGH"
    with inside(lambda: harness.Udp(EDGE[4], PORT)) as c:
        c.verified(world.identity.public, "google")
    # Without a time server: its clients are turned away, no one else.
    t.stop()
    p.expect_log("roughtimed .* is gone")
    with inside(lambda: harness.Tcp(EDGE[4], PORT)) as c:
        c.send(request)
        assert c.closed()
    p.expect_log("no time server is there")
    with world.traffic(KINDS, services=["customer"]) as traffic:
        traffic.wait(5)
    assert traffic.total("failed") == 0, traffic.told


def test_a_server_that_speaks_first(world):
    def greet(connection):
        with connection:
            connection.sendall(b"220 hello\r\n")
            connection.recv(99)
    t, p = pair(world)
    speaker = harness.inside(world.server, lambda: Origin(greet))
    p.config["applications"] += [
        {"name": "speaks", "protocol": "tcp/2525", "edge_ips": [EDGE[4]],
         "origin_direct": [f"tcp://127.0.0.1:{speaker.port}"]}]
    t.start()
    p.start()
    with harness.inside(world.client, lambda: socket.create_connection(
            (EDGE[4], 2525))) as c:
        c.settimeout(harness.PATIENCE_S)
        assert c.recv(99) == b"220 hello\r\n"
    speaker.close()


def test_both_have_to_name_the_address(world):
    t, p = pair(world)
    t.config["listen"] = [{"address": "0.0.0.0", "port": PORT}]
    t.start()
    p.start(wait=False)
    assert p.child.wait(harness.PATIENCE_S) == 1
    p.child = None
    assert "has no group of this very address" in p.log()


def rehearses(world, daemon):
    """A test of its configuration beside the other takes no packet."""
    subprocess.run([*world.prefix(), daemon.program, "-t", "-c",
                    daemon.config_path], check=True)


def test_reloads_change_the_addresses(world):
    """One more address, the server's other one, and one less."""
    t, p = pair(world)
    t.start()
    p.write_config(p.config)
    rehearses(world, p)
    p.start()
    more = [*EDGE.values(), TIME[4]]
    with world.traffic(times=EDGE) as traffic:
        traffic.wait(5)
        t.config["listen"] = [{"address": a, "port": PORT} for a in more]
        t.write_config(t.config)
        since = t.mark()
        t.kill(signal.SIGHUP)
        t.expect_log("reloaded", since)
        assert p.reload(world.apps(more)) == "reloaded"
        with world.traffic([("udp", 4), ("tcp", 4)], times=TIME,
                           edges=TIME) as there:
            there.wait()
        assert p.reload(world.apps()) == "reloaded"
        traffic.wait(5)
    assert traffic.total("failed") == there.total("failed") == 0, \
        traffic.told + there.told
    p.stop()
    rehearses(world, p)


def test_a_stranger_gets_nothing(world):
    """A socket of the same user may join the group, which does not name it."""
    t, p = pair(world)
    t.start()
    p.start()
    code = ("import os, socket, sys, time\n"
            "os.setuid(65534)\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "s.setsockopt(1, 15, 1)\n"
            f"s.bind(('{EDGE[4]}', {PORT}))\n"
            "print('bound', flush=True)\n"
            "s.setblocking(False)\n"
            "sys.stdin.read()\n"
            "try:\n"
            "    print(s.recv(99))\n"
            "except BlockingIOError:\n"
            "    print('nothing')\n")
    stranger = subprocess.Popen(
        [*world.prefix(), sys.executable, "-c", code], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert stranger.stdout.readline() == "bound\n"
    with world.traffic([("udp", 4)], times=EDGE) as traffic:
        traffic.wait()
    assert stranger.communicate(timeout=harness.PATIENCE_S)[0] == "nothing\n"
    assert traffic.total("failed") == 0


def test_no_flow_goes_past_the_program(world):
    """The fast path would carry whatever a client sends from its port."""
    t, p = pair(world)
    udp = p.config["applications"][0]
    udp.update(origin_direct=["udp://192.0.2.100:9"], fast_path="require")
    p.start(wait=False)
    assert p.child.wait(harness.PATIENCE_S) == 1
    p.child = None
    assert "fast_path: require: sharing.mode is demux" in p.log(), p.log()
