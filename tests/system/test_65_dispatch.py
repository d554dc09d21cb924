"""sharing: dispatch, seen from outside: who gets it, and what another user can
do about that."""
import errno
import json
import subprocess

import harness
import pytest
from shareworld import EDGE, PORT, TIME, World
from watchharness import ADDR, PORT as REUSEPORT, TCP, UDP, Watch, stranger

PREFIX, HOST = "198.51.100.0/24", "198.51.100.77"
FIRST, LAST = 1500, 11499  # 10,000 ports, 2002 among them


@pytest.fixture
def world(namespaces, tmp_path, identity):
    w = World(namespaces, tmp_path, identity)
    namespaces.inside(w.server, "route", "add", "local", PREFIX, "dev", "lo")
    yield w
    w.stop()


def who(world, protocol, address, port=PORT):
    p = subprocess.run(
        ["ip", "netns", "exec", world.server, harness.BUILD / "portshare",
         "who", protocol, f"{address}:{port}", "--json", "--probe"],
        text=True, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told = json.loads(p.stdout)
    assert told["probe"]["verdict"] == "agrees", p.stdout
    assert told["probe"]["by"] == "bpf"
    seen = {s["socket"]["command"] for s in told["probe"]["seen"]}
    assert seen == {r["command"] for r in told["receivers"]}
    assert sum(s["count"] for s in told["probe"]["seen"]) in (0, 16)
    return told["level"], seen.pop() if seen else None


def test_who_gets_it_and_nobody_else(world, tmp_path):
    """A prefix and ten thousand ports, and the customer's 2002 beside the
    time server's."""
    apps = world.apps() + [
        {"name": f"wide-{p}", "protocol": f"{p}/{FIRST}-{LAST}",
         "edge_ips": [PREFIX],
         "origin_direct": f"{p}://127.0.0.1:{FIRST}-{LAST}"}
        for p in ("udp", "tcp")]
    proxy = world.l4proxyd({"mode": "dispatch"}, apps, drain_s=0).start()
    time = world.roughtimed({"mode": "off"}).start()
    chosen = ("sk_lookup", "l4proxyd")
    for protocol in ("udp", "tcp"):
        assert who(world, protocol, TIME[4]) == ("wildcard", "roughtimed")
        assert who(world, protocol, EDGE[4]) == chosen
        for port in (PORT, LAST):
            assert who(world, protocol, HOST, port) == chosen
        assert who(world, protocol, HOST, LAST + 1) == ("nobody", None)
    inside = world.prefix()
    with Watch(tmp_path, "udp", f"{EDGE[4]}:{PORT}", "tcp",
               f"{EDGE[4]}:{PORT}", prefix=inside) as w:
        for kind, flag in ((UDP, ADDR), (UDP, REUSEPORT), (TCP, REUSEPORT)):
            with stranger(kind, PORT, EDGE[4], flag, prefix=inside) as got:
                assert got[0] == errno.EADDRINUSE
        time.stop()  # now one may bind, and gets nothing
        with stranger(UDP, PORT, EDGE[4], prefix=inside) as udp, \
                stranger(TCP, PORT, EDGE[4], prefix=inside) as tcp:
            assert udp[0] == tcp[0] == 0
            for protocol in ("udp", "tcp"):
                assert who(world, protocol, EDGE[4]) == chosen
        assert not w.told()
        proxy.stop()  # watched it was
        w.expect(event="nobody")
        w.stop(2)
