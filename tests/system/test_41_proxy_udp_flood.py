"""A flood of spoofed sources before l4proxyd, over UDP."""
import subprocess
import sys

import harness
from proxyharness import L4proxyd

FLOOD = r"""
import socket, struct, sys
proxy, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
for i in range(count):
    source = struct.pack(">I", (10 << 24) + (99 << 16) + 1 + i)
    s.sendmsg([b"flood"], [(socket.IPPROTO_IP, 8, struct.pack(
        "=I4s4s", 0, source, bytes(4)))], 0, (proxy, port))
"""


def begin_flood(namespace, count):
    return subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", FLOOD,
         "127.0.0.1", "7000", str(count)])


def test_a_flood_of_spoofed_sources(tmp_path, namespaces):
    """Memory stays flat, and whoever has had a reply stays."""
    host = namespaces.add("flood")
    # All of 10.0.0.0/8 is this host: any source can be sent from.
    subprocess.run(["ip", "-n", host, "route", "add", "local", "10.0.0.0/8",
                    "dev", "lo"], check=True)
    script = tmp_path / "live.py"
    script.write_text(LIVE)
    live = subprocess.Popen(
        ["ip", "netns", "exec", host, sys.executable, str(script)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        flood(tmp_path, host, live)
    finally:
        live.stdin.close()
        live.wait(harness.PATIENCE_S)


# An origin that answers "live…" with the port it came from and swallows the
# rest, and a hundred clients; a line on stdin runs one round of them.
LIVE = r"""
import socket, sys, threading
o = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
o.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
o.bind(("127.0.0.1", 7001))
def serve():
    while True:
        data, peer = o.recvfrom(100)
        if data == b"live":
            o.sendto(b"%d" % peer[1], peer)
threading.Thread(target=serve, daemon=True).start()
def ask(c):
    for again in range(50):  # a queue that is full loses datagrams
        c.send(b"live")
        try:
            return c.recv(100).decode()
        except TimeoutError:
            pass
clients = []
for i in range(100):
    c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    c.connect(("127.0.0.1", 7000))
    c.settimeout(0.3)
    clients.append(c)
print("ready", flush=True)
for line in sys.stdin:
    ports = [ask(c) for c in clients]
    print(" ".join(ports), flush=True)
"""


def flood(tmp_path, host, live):
    def ask():
        live.stdin.write("\n")
        live.stdin.flush()
        return live.stdout.readline().split()

    assert live.stdout.readline() == "ready\n"
    app = {"name": "story", "protocol": "udp/7000", "edge_ips": "127.0.0.1",
           "origin_direct": "udp://127.0.0.1:7001", "idle_timeout_s": "1h"}
    with L4proxyd(tmp_path, [app], workers=1, udp_flows=1000, drain_s=0,
                  prefix=("ip", "netns", "exec", host)) as p:
        before = ask()
        assert len(set(before)) == 100
        # Fills the table and the event log's ring, once and for all.
        assert begin_flood(host, 20000).wait(300) == 0
        harness.until(lambda: len(p.events(Event="disconnect")) > 100,
                      "flows give way")
        memory = p.rss_kb()
        assert memory < 40000
        under_way = begin_flood(host, 100000)
        assert ask() == before  # the same flows, not new ones
        assert under_way.wait(300) == 0
        assert ask() == before
        assert p.rss_kb() - memory < 1024, (memory, p.rss_kb())
        counted = p.events(Event="disconnect")
        assert len(counted) > 10000, "the flood came in"
        p.stop()
        if "lines come faster than they can be written" not in p.log():
            p.all_ended(10000)
        assert {e["Status"] for e in counted} == {503}
        assert all(e["OriginBytes"] == 0 for e in counted)
