"""roughtime bench: what it counts is what happened."""
import json
import select
import socket
import threading

import pytest

import harness
from fakeserver import Daemon, FakeServer, flip, roughtime, value_at


def bench(address, *args, status=0):
    rc, out, err = roughtime("bench", address, "--seconds", "0.5",
                             "--warmup", "0.1", "--json", *args)
    assert rc == status, (rc, out, err)
    facts = json.loads(out)
    assert facts["received"] <= facts["sent"] + facts["flows"] * \
        facts["window"]
    return facts


@pytest.mark.parametrize("args", [("--version", "1"), ("--burst", "1"),
                                  ("--version", "draft-01"), ("--tcp",),
                                  ("--version", "google"),
                                  ("--tcp", "--version", "draft-05")])
def test_our_own_server(tmp_path, args):
    with Daemon(tmp_path) as d:
        # late is not lost: this machine may be busy with other things
        f = bench(d.address, d.key, "--verify", "0.1", "--lost-after", "10",
                  *args)
    assert f["rate_per_s"] > 100
    assert f["verified"] > 0 and f["invalid"] == 0
    assert f["lost"] == 0 and f["errors"] == 0
    us = f["latency_us"]
    assert 0 < us["p50"] <= us["p99"] <= us["p99_9"] <= us["max"]
    assert f["cpu_ns_per_request"] > 0


def test_text(tmp_path):
    with Daemon(tmp_path) as d:
        rc, out, err = roughtime("bench", d.address, d.key, "--seconds",
                                 "0.3")
    assert rc == 0 and err == ""
    for words in ("answered", "offered", "p99.9", "verified", "own CPU"):
        assert words in out


def test_lost_datagrams_do_not_shrink_the_window():
    """Half of all replies never come: it goes on to the end."""
    def twist(packet, reply, count):
        return [reply] if count % 2 else []

    with FakeServer(["rfc"], twist=twist) as s:
        f = bench(s.address, s.key, "--flows", "1", "--window", "2",
                  "--lost-after", "0.05", "--verify", "0")
    assert f["lost"] >= 8, "a window of two would be stuck after two losses"
    assert f["received"] >= 8
    assert f["unmatched"] == 0


def test_duplicates_and_late_replies_do_not_count_twice():
    def twist(packet, reply, count):
        return [reply, reply]

    with FakeServer(["rfc"], twist=twist) as s:
        f = bench(s.address, "--flows", "1", "--window", "1")
    assert f["received"] <= f["sent"] + 1
    assert f["unmatched"] > 0


def test_rate_is_kept():
    with FakeServer(["google"]) as s:
        f = bench(s.address, "--version", "google", "--rate", "100",
                  "--flows", "2", "--window", "16")
    assert 60 <= f["sent_per_s"] <= 105


def test_invalid_replies_are_found():
    def twist(packet, reply, count):
        return [flip(reply, value_at(reply, "SIG"))]

    with FakeServer(["rfc"], twist=twist) as s:
        f = bench(s.address, s.key, "--verify", "1", status=3)
    assert f["invalid"] > 0 and f["verified"] == 0


def echoed(change, status=0):
    """What bench says of an echo of 416 bytes that went through `change`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        stop = threading.Event()

        def serve():
            while not stop.is_set():
                if select.select([s], [], [], 0.05)[0]:
                    data, peer = s.recvfrom(4096)
                    s.sendto(change(data[:416]), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return bench(f"127.0.0.1:{s.getsockname()[1]}", "--echo",
                         "--verify", "1", status=status)
        finally:
            stop.set()
            thread.join()


def test_echo():
    f = echoed(lambda data: data)
    assert f["received"] > 0 and f["reply_bytes"] == [416, 416]
    assert f["verified"] >= f["received"] and f["invalid"] == 0


def test_an_echo_that_lies():
    f = echoed(lambda data: data[:-1] + b"x", status=3)
    assert f["invalid"] > 0 and f["verified"] == 0


def test_nobody_answers():
    f = bench(f"127.0.0.1:{harness.free_port()}", status=2)
    assert f["received"] == 0
    f = bench(f"127.0.0.1:{harness.free_port()}", "--tcp", status=2)
    assert f["received"] == 0


def test_usage():
    for args in ((), ("x", "y"), ("x:0",), ("x", "--window", "0"),
                 ("x", "--verify", "2"), ("x", "--rate", "-1"),
                 ("x", "--version", "1,google"),
                 ("x", "--tcp", "--version", "google")):
        rc, out, err = roughtime("bench", *args)
        assert rc == 1 and out == "" and err, args
