"""l4proxyd is reloaded, and stopped, under load: every request is counted."""
import json
import signal
import subprocess
import threading
import time

import harness
import pytest
from proxyharness import (L4proxyd, Origin, application, connect, read_exactly,
                          refuses)
from services import in_front, nginx, place, program

RELOADS = 20


@pytest.fixture
def web(tmp_path):
    """Two that answer alike, so that an application can change its origin."""
    with nginx(tmp_path) as one, \
            nginx(place(tmp_path, "second")) as other:
        for origin in (one, other):
            (origin.www / "small").write_text("a small answer\n")
        yield one, other


def variants(app, origins, side):
    """What an operator changes: round and round."""
    def at(origin):
        return [f"tcp://127.0.0.1:{origin.port}"]
    beside = application(side, origins[0].port, name="beside")
    return [
        [dict(app, origin_direct=at(origins[1]))],
        [dict(app, origin_direct=at(origins[0]) + at(origins[1]),
              balance="least-connections")],
        [app, beside],
        [beside, dict(app, idle_timeout_s=77)],
        [dict(app, ip_firewall={"allow": ["127.0.0.0/8"]})],
        [dict(app, edge_ips=["127.0.0.1", "127.0.0.2"])],
        [dict(app, edge_ips="ipv4")],
        [dict(app, limits={"connections": 1000})],
        [app],
    ]


class Wrk:
    """wrk until it has run its time."""

    def __init__(self, port, seconds, *options):
        self.child = subprocess.Popen(
            [program("wrk"), "-t1", "-c16", f"-d{seconds}s", *options,
             f"http://127.0.0.1:{port}/small"],
            stdout=subprocess.PIPE, text=True)

    def told(self):
        return self.child.communicate(timeout=120)[0]


class Counting:
    """One connection a request, each asked once and counted."""

    def __init__(self, port):
        self.port, self.good, self.wrong = port, 0, []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop.is_set():
            try:
                with connect(self.port) as c:
                    c.sendall(b"GET /small HTTP/1.0\r\n\r\n")
                    got = b"".join(iter(lambda: c.recv(4096), b""))
                    assert got.startswith(b"HTTP/1.1 200 OK\r\n"), got
                    assert got.endswith(b"\r\n\r\na small answer\n"), got
                    self.good += 1
            except (OSError, AssertionError) as e:
                self.wrong.append(repr(e))

    def end(self):
        self.stop.set()
        self.thread.join(harness.PATIENCE_S)


def reload_many(p, applications):
    for i in range(RELOADS):
        said = p.reload(applications[i % len(applications)])
        assert said == "reloaded", p.log()


@pytest.mark.parametrize("keep_alive", [True, False])
def test_no_request_fails_over_twenty_reloads(tmp_path, web, keep_alive):
    one, other = web
    with in_front(tmp_path, one.port, "tcp") as p:
        app = p.config["applications"][0]
        load = Wrk(p.port, 5, *[] if keep_alive else
                   ["-H", "Connection: close"])
        counting = [Counting(p.port) for _ in range(2)]
        reload_many(p, variants(app, web, harness.free_port()))
        told = load.told()
        for c in counting:
            c.end()
            assert not c.wrong and c.good > RELOADS
        assert "Socket errors" not in told and "Non-2xx" not in told, told
        assert p.log().count("reloaded") == RELOADS
        p.stop()
        ended = p.all_ended(sum(c.good for c in counting))
        assert {e["Status"] for e in ended} <= {200, 499}
        assert not p.events(Event="originError")
        assert not p.events(Event="clientFiltered")
    seen = [o.access.read_text().splitlines() for o in web]
    assert all(len(s) > 10 for s in seen), "both origins had their turn"
    assert {line.split()[1] for s in seen for line in s} == {"200"}


def test_no_datagram_is_lost_over_twenty_reloads(tmp_path, server, identity):
    """roughtime counts what it sends, and verifies what comes back."""
    with in_front(tmp_path, server.port, "udp", "tcp") as p:
        apps = p.config["applications"]
        load = subprocess.Popen(
            [harness.BUILD / "roughtime", "bench", f"127.0.0.1:{p.port}",
             identity.public_text, "--json", "--seconds", "5", "--flows",
             "16", "--window", "2", "--lost-after", "10",
             "--verify", "0.1"], stdout=subprocess.PIPE, text=True)
        beside = dict(apps[0], name="beside",
                      protocol=f"udp/{harness.free_port()}")
        reload_many(p, [
            [*apps, beside],
            [dict(a, idle_timeout_s=70) for a in apps],
            [dict(a, limits={"connections": 500}) for a in apps],
            [dict(a, edge_ips=["127.0.0.1", "127.0.0.2"]) for a in apps],
            [dict(a, edge_ips="ipv4") for a in apps],
            apps])
        told = json.loads(load.communicate(timeout=60)[0])
        assert told["lost"] == told["invalid"] == told["unmatched"] == 0, told
        assert told["received"] > 2000
        # and the flows are those of the beginning
        p.stop()
        assert len(p.all_ended(16)) == 16


# -- the end -------------------------------------------------------------------


def slow(connection):
    """A request of four bytes, an answer that comes in two halves."""
    request = read_exactly(connection, 4)
    connection.sendall(b"half ")
    time.sleep(1)
    connection.sendall(request)
    connection.close()


def test_sigterm_lets_requests_finish_and_takes_no_new_ones(tmp_path):
    answers, n = [], 60

    def ask(i):
        with connect(port) as c:
            c.sendall(b"%04d" % i)
            try:
                answers.append(b"".join(iter(lambda: c.recv(100), b"")))
            except OSError as e:
                answers.append(repr(e))
    port = harness.free_port()
    with Origin(slow) as origin:
        p = L4proxyd(tmp_path, [application(port, origin)], drain_s=20)
        p.start()
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(n)]
        for t in threads:
            t.start()
        p.expect_events(n, Event="connect")
        begun = time.monotonic()
        p.kill(signal.SIGTERM)
        p.expect_log("stopping")
        harness.until(lambda: refuses(port), "new ones are refused")
        assert p.child.wait(harness.PATIENCE_S) == 0
        assert time.monotonic() - begun < 15, "it waits for nothing else"
        for t in threads:
            t.join()
    assert sorted(answers) == [b"half %04d" % i for i in range(n)]
    # who was only to be refused may have come before the ports were left
    ended = [e for e in p.all_ended(n) if e["ClientBytes"] > 0]
    assert len(ended) == n and {e["Status"] for e in ended} == {200}
    assert {(e["ClientBytes"], e["OriginBytes"]) for e in ended} == {(4, 9)}
    p.stop()


def test_sigterm_cuts_nothing_that_was_begun(tmp_path, web):
    """While clients come and come again. One whose handshake the kernel made
    as the listener was closed is reset by it: nginx has not seen that one."""
    with in_front(tmp_path, web[0].port, "tcp") as p:
        counting = [Counting(p.port) for _ in range(8)]
        harness.until(lambda: all(c.good > 20 for c in counting), "load")
        begun = time.monotonic()
        p.stop()  # exits 0
        assert time.monotonic() - begun < 10
        for c in counting:
            c.end()
        wrong = {w.partition("(")[0] for c in counting for w in c.wrong}
        assert wrong <= {"ConnectionRefusedError", "ConnectionResetError"}
        good = sum(c.good for c in counting)
        ended = p.all_ended(good)
        assert len(ended) == good
        assert {e["Status"] for e in ended} == {200}
    assert len(web[0].access.read_text().splitlines()) == good
