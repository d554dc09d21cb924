"""Sessions by the ten thousand, listed: each once, in flat memory, and nobody
waits."""
import contextlib
import json
import resource
import subprocess

import harness
import pytest
from controlharness import GOOD, Raw
from proxyharness import Controlled, application, connect, read_exactly
from udporigin import udp_application

SANITIZED = harness.sanitized("l4proxyd")
# a flow is a descriptor, and workers share them evenly, or nearly so
FLOWS = min(20000,
            resource.getrlimit(resource.RLIMIT_NOFILE)[1] * 9 // 10)

CROWD = """
import socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
origin = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
origin.bind(("127.0.0.1", port + 1))  # it never answers
for n in range(count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((f"127.1.{n >> 8}.{n & 255}", 2000))
        s.sendto(b"x" * (1 + n % 100), ("127.0.0.1", port))
print("sent", flush=True)
sys.stdin.read()
"""


class Crowd:
    """Clients of as many addresses, each with one flow of UDP, in a network
    of their own with the daemon."""

    def __init__(self, directory, namespaces, count=FLOWS):
        self.host, self.count = namespaces.add("crowd"), count
        self.inside = ["ip", "netns", "exec", self.host]
        self.port = 5000
        subprocess.run([*self.inside, "sysctl", "-q", "-w",
                        "net.ipv4.ip_local_port_range=10000 65535"],
                       check=True)
        self.daemon = Controlled(
            directory, [udp_application(self.port, self.port + 1,
                                        idle_timeout_s=3600)],
            udp_flows=count, drain_s=0, event_log="off",
            prefix=self.inside)
        self.child = None

    def __enter__(self):
        self.daemon.start()
        self.child = subprocess.Popen(
            [*self.inside, "/usr/bin/python3", "-c", CROWD, str(self.port),
             str(self.count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.child.stdout.readline() == b"sent\n"
        harness.until(
            lambda: self.daemon.counters()["live"] == self.count,
            f"all flows: {self.daemon.counters()}")
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait(harness.PATIENCE_S)
        self.daemon.stop()

    def wanted(self):
        """Bytes by client, as a listing must have them."""
        return {f"127.1.{n >> 8}.{n & 255}:2000": 1 + n % 100
                for n in range(self.count)}


@pytest.fixture
def crowd(tmp_path, namespaces):
    with Crowd(tmp_path, namespaces) as made:
        yield made


def is_flat(daemon, before_kb):
    """A sanitizer keeps what is freed."""
    return SANITIZED or daemon.rss_kb() - before_kb < 4 << 10


def told(rows):
    """Bytes by client; nobody twice."""
    found = {r["client"]: r["client_bytes"] for r in rows}
    assert len(found) == len(rows)
    return found


def test_many_flows_are_listed_in_flat_memory(crowd):
    p, before = crowd.daemon, crowd.daemon.rss_kb()
    assert told(p.rows("sessions")) == crowd.wanted()
    child = subprocess.Popen(
        [harness.BUILD / "l4proxyctl", "-s", p.socket, "sessions"],
        stdout=subprocess.PIPE)
    for _ in range(FLOWS * 3 // 4):
        assert child.stdout.readline()
    most = int(harness.status_of(child.pid)["VmHWM"].split()[0])
    assert SANITIZED or most < 32 << 10, "l4proxyctl keeps what it prints"
    assert len(child.stdout.readlines()) == FLOWS + 1 - FLOWS * 3 // 4
    assert child.wait(harness.PATIENCE_S) == GOOD
    assert is_flat(p, before)
    rows = p.rows("sessions", "--app", "story", "--limit", "5")
    assert len(rows) == 5
    workers = [r["flows"] for r in p.rows("counters") if "worker" in r]
    assert sum(workers) == FLOWS and min(workers) > 0


def test_a_slow_reader_costs_nothing_and_misses_nothing(crowd):
    """It takes a little at a time, while others come and go and ask."""
    p, before = crowd.daemon, crowd.daemon.rss_kb()
    with Raw(p.socket, rcvbuf=4096) as slow:
        slow.send({"command": "sessions"})
        rows = [json.loads(slow.file.readline()) for _ in range(100)]
        used = p.cpu_s()
        for _ in range(20):
            assert p.ctl("ping").stdout
            assert len(p.rows("sessions", "--limit", "300")) == 300
        assert p.cpu_s() - used < 5, "it spins"
        assert is_flat(p, before)
        p.ctl("reload")  # which moves no flow
        more, end = slow.answer()
        assert end == {"end": "good", "rows": FLOWS}
        assert told(rows + more) == crowd.wanted()
    assert is_flat(p, before)


def test_readers_that_leave_are_forgotten(crowd):
    p, before = crowd.daemon, crowd.daemon.rss_kb()
    for _ in range(100):
        with Raw(p.socket) as raw:
            raw.send({"command": "sessions"})
            raw.file.readline()
    assert told(p.rows("sessions")) == crowd.wanted()
    fds = [t for t in harness.fds(p.pid).values() if "socket:" in t]
    assert len(fds) < FLOWS + 64
    assert is_flat(p, before)


def test_who_lives_throughout_is_told_once(controlled, tcp):
    """Sessions before and after them end while the listing runs."""
    port = harness.free_port()
    p = controlled(application(port, tcp), tcp_sessions=4096)
    with contextlib.ExitStack() as stack:
        others, stay = [], []
        for n in range(400):
            c = connect(port)
            stack.callback(c.close)
            (stay if n % 2 else others).append(c)
            c.sendall(b"x")
            read_exactly(c, 1)
        want = {"{}:{}".format(*c.getsockname()) for c in stay}
        with Raw(p.socket, rcvbuf=2048) as slow:
            slow.send({"command": "sessions"})
            rows = []
            while others:
                rows.append(json.loads(slow.file.readline()))
                others.pop(len(others) // 2).close()
            more, end = slow.answer()
        clients = [r["client"] for r in rows + more]
        assert len(clients) == len(set(clients)) == end["rows"]
        assert want <= set(clients)
