"""sharing.mode: dispatch. The time server holds *:2002 plainly; a program on
the kernel's socket lookup leads the customer's addresses to the proxy."""
import contextlib
import socket
import subprocess
import sys

import harness
import oracle
import pytest
from proxyharness import Origin
from shareworld import EDGE, KINDS, ORIGIN, PORT, TIME, start_again
from udporigin import UdpOrigin

MODE = {"mode": "dispatch"}


@pytest.fixture
def bpffs(as_root, tmp_path):
    directory = tmp_path / "bpf"
    directory.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


@pytest.mark.parametrize("first", ["time", "customer"])
def test_beside_a_plain_time_server(world, first):
    """No flag on any socket; the server restarts and the customer does not
    notice."""
    t, p = world.roughtimed({"mode": "off"}), world.l4proxyd(MODE)
    order = [t, p] if first == "time" else [p, t]
    for daemon in order:
        daemon.start()
    with world.traffic(services=["customer"]) as customers, \
            world.traffic(services=["time"], wait_s=1) as times:
        times.wait()
        t.stop()
        customers.wait()
        t.start()
        times.wait()
        assert p.reload(world.apps()) == "reloaded"
        customers.wait()
        counters = t.counters()
    assert counters["kernel_drop_filter_estimated"] == 0, counters
    assert customers.total("failed") == 0, customers.told


NET = {4: "198.51.100.0/24", 6: "2001:db8:1::/64"}  # all of it the server's
FIRST, LAST, TO = 1500, 11499, 40000  # 10,000 ports, 2002 among them


def route_prefixes(namespaces, world):
    for f, prefix in NET.items():
        family = ["-6"] if f == 6 else []
        namespaces.inside(world.server, *family, "route", "add", "local",
                          prefix, "dev", "lo")
        namespaces.inside(world.client, *family, "route", "add", prefix,
                          "via", TIME[f])


def answer_of(world, proto, host, port, data=b"x",
              wait_s=harness.PATIENCE_S):
    """What a client hears, or the name of the error; without a mark it is
    the time server's."""
    def ask():
        kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, kind) as s:
            s.settimeout(wait_s)
            try:
                s.connect((host, port))
                s.send(data)
                return s.recv(1 << 16)
            except OSError as e:
                return type(e).__name__
    return harness.inside(world.client, ask)


def is_left(world, host):
    """To the time server: no rule leads elsewhere."""
    heard = answer_of(world, "udp", host, PORT, oracle.request("rfc"), 0.5)
    return heard[:8] == oracle.MAGIC


def tells_time(world, host):
    for family in (harness.Udp, harness.Tcp):
        with harness.inside(world.client,
                            lambda: family(host, PORT)) as client:
            client.verified(world.identity.public)
    return True


def test_ten_thousand_ports_of_a_prefix(world, namespaces):
    """One socket a worker for all of it. The longer prefix goes first, then
    the shorter range, and what is spared is the time server's."""
    route_prefixes(namespaces, world)
    direct = [f"{p}://{ORIGIN}:{o.port}" for p, o in (("udp", world.udp),
                                                      ("tcp", world.tcp))]
    ports = [FIRST, PORT, 7777, LAST]
    to = {p: TO + p - FIRST for p in ports}
    wide = [{"name": f"wide-{url[:3]}",
             "protocol": f"{url[:3]}/{FIRST}-{LAST}",
             "edge_ips": list(NET.values()),
             "origin_direct": [
                 f"{url[:3]}://{ORIGIN}:{TO}-{TO + LAST - FIRST}"]}
            for url in direct]
    one = [{"name": f"one-{url[:3]}", "protocol": f"{url[:3]}/{PORT}",
            "edge_ips": ["198.51.100.0/24", "2001:db8:1::7"],
            "origin_direct": [url]} for url in direct]
    spared = ["198.51.100.99:2002", "[2001:db8:1::99]:2002"]
    p = world.l4proxyd({"mode": "dispatch", "spare": spared}, wide + one)
    t = world.roughtimed({"mode": "dispatch"}).start()
    p.start()
    assert "listening on udp/1500-11499 of 198.51.100.0/24" in p.log()
    assert len(harness.fds(p.pid)) < 100
    with contextlib.ExitStack() as held:
        origins = harness.inside(world.server, lambda: [
            held.enter_context(Numbered(port)) for port in to.values()])
        assert len(origins) == len(ports)
        for proto in ("udp", "tcp"):
            for host in ("198.51.100.1", "198.51.100.254",
                         "2001:db8:1::1", "2001:db8:1::ffff"):
                for port in ports:
                    heard = answer_of(world, proto, host, port)
                    if port == PORT and ":" not in host:
                        assert heard == b"customer:x"  # the shorter range
                    else:
                        assert heard == b"%d" % to[port], (host, port)
            # The longer prefix.
            assert answer_of(world, proto, "2001:db8:1::7", PORT) == \
                b"customer:x"
            # No rule, no socket.
            assert answer_of(world, proto, "198.51.100.1", LAST + 1) == \
                "ConnectionRefusedError"
        for host in ("198.51.100.99", "2001:db8:1::99", *TIME.values(),
                     *EDGE.values()):
            assert tells_time(world, host)
        # What no frame holds leaves in fragments.
        for host in ("198.51.100.8", "2001:db8:1::7"):
            for size in (0, 1, 1471, 1473, 30001, 60000):
                data = bytes(i % 251 for i in range(size))
                assert answer_of(world, "udp", host, PORT, data) == \
                    b"customer:" + data
        # The socket itself is nobody's, from inside the host too.
        assert stray(world, p) == []
    assert t.counters()["kernel_drop_filter_estimated"] == 0


class Numbered:
    """An origin on UDP and TCP that answers with its port."""

    def __init__(self, port):
        self.udp = UdpOrigin(lambda d: [b"%d" % port], ORIGIN, port)
        self.tcp = Origin(self.serve, ORIGIN, port)

    def serve(self, connection):
        with connection:
            connection.recv(1)
            connection.sendall(b"%d" % self.tcp.port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tcp.close()


def stray(world, daemon):
    """Who answers at the addresses that the proxy's sockets have."""
    ss = subprocess.run(["ip", "netns", "exec", world.server, "ss", "-Hnlptu"],
                        stdout=subprocess.PIPE, text=True, check=True).stdout
    mine = [line.split() for line in ss.splitlines()
            if f"pid={daemon.pid}," in line]
    assert mine

    def knock():
        found = []
        for row in mine:
            host, port = row[4].rsplit(":", 1)
            assert host in ("127.0.0.1", "[::1]"), row
            proto, host = row[0], host.strip("[]")
            kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
            with socket.socket(socket.AF_INET6 if ":" in host
                               else socket.AF_INET, kind) as s:
                s.settimeout(0.2)  # silence is the good end
                s.connect((host, int(port)))
                with contextlib.suppress(OSError):  # a reset is one too
                    s.send(b"x")
                    data = s.recv(10)
                    found += [(row[4], data)] if data else []
        return found
    return harness.inside(world.server, knock)


def test_a_drained_application_refuses(world):
    """Its clients do not reach the time server, which is on all addresses."""
    world.roughtimed(MODE).start()
    control = world.directory / "run" / "control.sock"
    p = world.l4proxyd(MODE, control=str(control)).start()

    def ctl(*words):
        harness.run("l4proxyctl", "-s", control, *words)
    assert answer_of(world, "tcp", EDGE[4], PORT) == b"customer:x"
    ctl("drain", "customer-tcp", "--for", "1s")
    harness.until(lambda: answer_of(world, "tcp", EDGE[4], PORT) ==
                  "ConnectionRefusedError", "the port refuses")
    ctl("undrain", "customer-tcp")
    harness.until(lambda: answer_of(world, "tcp", EDGE[4], PORT) ==
                  b"customer:x", "the port is back")
    # Without its edge the address is the time server's, and comes back.
    assert p.reload(world.apps([EDGE[4]])) == "reloaded"
    harness.until(lambda: is_left(world, EDGE[6]), "the address is left")
    assert tells_time(world, EDGE[6])
    assert p.reload(world.apps()) == "reloaded"
    assert answer_of(world, "udp", EDGE[6], PORT) == b"customer:x"


def test_pinned_it_fails_closed(world, bpffs):
    """Killed, its addresses refuse; the next one takes over. No packet comes
    to the wrong server at any moment."""
    pin = bpffs / "edges"
    t = world.roughtimed(MODE).start()
    p = world.l4proxyd({**MODE, "pin": str(pin)}).start()
    with world.traffic(services=["time"]) as times, \
            world.traffic(services=["customer"], wait_s=1) as customers:
        customers.wait()
        second = world.l4proxyd({**MODE, "pin": str(pin)}, name="second")
        assert f"belongs to pid {p.pid}, which runs" in refused(second)
        subprocess.run([*world.prefix(), harness.BUILD / "l4proxyd", "-t",
                        "-c", p.config_path], check=True)
        p.stop(harness.signal.SIGKILL, -9)
        for proto, f in KINDS:
            assert answer_of(world, proto, EDGE[f], PORT) == \
                "ConnectionRefusedError"
        times.wait()
        p.log_path.unlink()
        p.start()
        customers.wait()
        start_again(p)
        customers.wait()
        counters = t.counters()
    assert counters["kernel_drop_filter_estimated"] == 0, counters
    assert times.total("failed") == 0, times.told
    p.stop()
    assert answer_of(world, "udp", EDGE[4], PORT) == "ConnectionRefusedError"
    for name in ("link", "rules", "sockets"):
        (pin / name).unlink()
    harness.until(lambda: answer_of(world, "tcp", EDGE[4], PORT) == b"",
                  "without the rules it is the time server's")


def test_with_the_daemons_life_it_fails_open(world):
    """Killed, its addresses fall to who is on all of them, and to nobody
    else: another user cannot bind them, before or after."""
    world.roughtimed(MODE).start()
    p = world.l4proxyd(MODE).start()
    assert stranger_binds(world) == 98
    assert answer_of(world, "udp", EDGE[4], PORT) == b"customer:x"
    p.stop(harness.signal.SIGKILL, -9)
    harness.until(lambda: answer_of(world, "tcp", EDGE[4], PORT) == b"",
                  "the program is gone")
    assert stranger_binds(world) == 98
    assert tells_time(world, EDGE[6])


def stranger_binds(world):
    """The errno with which another user fails to bind the edge."""
    code = ("import os, socket, sys; os.setuid(65533)\n"
            "for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):\n"
            " for flag in (2, 15):\n"
            "  s = socket.socket(socket.AF_INET, kind)\n"
            "  s.setsockopt(1, flag, 1)\n"
            "  try:\n"
            f"   s.bind(('{EDGE[4]}', {PORT})); s.listen(); sys.exit(0)\n"
            "  except OSError as e:\n"
            "   if kind == socket.SOCK_STREAM: error = e.errno\n"
            "sys.exit(error)\n")
    return subprocess.run(["ip", "netns", "exec", world.server,
                           sys.executable, "-c", code],
                          check=False).returncode


def refused(daemon):
    daemon.start(wait=False)
    assert daemon.child.wait(harness.PATIENCE_S) == 1
    daemon.child = None
    return daemon.log()


def test_without_rights_it_is_refused(world):
    p = world.l4proxyd(MODE, prefix=(
        "setpriv", "--reuid", "nobody", "--clear-groups",
        "--bounding-set=-all", "--inh-caps=-all"))
    assert "sharing.mode: dispatch: loading the program takes CAP_BPF and " \
        "CAP_NET_ADMIN" in refused(p)


def test_two_proxies_do_not_take_one_address(world):
    p = world.l4proxyd(MODE).start()
    two = world.l4proxyd(MODE, world.apps([EDGE[6]]), name="two")
    assert f"are dispatched to pid {p.pid}" in refused(two)
