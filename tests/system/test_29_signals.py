"""SIGHUP and SIGTERM under load: nothing that was sent is lost."""
import os
import signal
import threading
import time

import harness
import oracle
import pytest

FLOWS, WINDOW = 4, 8


class Load(threading.Thread):
    """One flow that keeps WINDOW requests under way, until told to stop.

    On the loopback nothing is lost but what the daemon loses: every request
    must get a verified reply, over UDP and over one TCP connection.
    """

    def __init__(self, port, public, kind):
        super().__init__()
        self.port, self.public, self.kind = port, public, kind
        self.asked = self.answered = 0
        self.halt, self.failure, self.keys = False, None, set()

    def run(self):
        try:
            with self.kind("127.0.0.1", self.port) as way:
                self.flow(way)
        except BaseException as e:  # told to the main thread by check()
            self.failure = e

    def flow(self, way):
        waiting = {}
        while waiting or not self.halt:
            while len(waiting) < WINDOW and not self.halt:
                packet = oracle.request("rfc")
                waiting[harness.nonce_of(packet)] = packet
                way.send(packet)
                self.asked += 1
            reply = way.receive()
            assert reply is not None, f"{len(waiting)} requests lost"
            request = waiting.pop(harness.nonce_of(reply))
            self.keys.add(harness.checked(request, reply,
                                          self.public).online_key)
            self.answered += 1


@pytest.fixture
def load(identity):
    flows = []

    def begin(daemon):
        for i in range(FLOWS):
            flows.append(Load(daemon.port, identity.public,
                              (harness.Udp, harness.Tcp)[i % 2]))
            flows[-1].start()
        harness.until(lambda: all(f.answered > 20 or f.failure
                                  for f in flows), "load is on")
        return flows
    yield begin
    finish(flows)


def finish(flows):
    for f in flows:
        f.halt = True
    for f in flows:
        f.join(60)
        assert not f.is_alive()


def check(flows):
    for f in flows:
        if f.failure:
            raise f.failure
        assert f.asked == f.answered > 0


def test_sighup_under_load_loses_nothing(start, load):
    daemon = start()
    before = daemon.counters()
    flows = load(daemon)
    for i in range(10):
        daemon.config["delegation"] = {"lifetime": f"{20 + i}h"}
        daemon.write_config(daemon.config)
        daemon.hup()
        mark = [f.answered for f in flows]
        harness.until(lambda: all(f.failure or f.answered > m + 5
                                  for f, m in zip(flows, mark)), "goes on")
    finish(flows)
    check(flows)
    moved = harness.diff(before, daemon.counters())
    for kind, name in ((harness.Udp, "udp"), (harness.Tcp, "tcp")):
        assert moved[f"{name}_received"] == moved[f"{name}_sent"] == \
            sum(f.asked for f in flows if f.kind is kind)
    assert not [k for k in moved if k.startswith(("drop_", "reject_"))]


def test_sighup_takes_the_new_settings(start, identity):
    daemon = start()
    # The keyholder reads only where keys lay when it started.
    other = harness.Identity(identity.path.parent, "other")
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        udp.verified(identity.public, "rfc")
        daemon.config["identities"].append(
            {"name": "other", "key": str(other.path)})
        daemon.write_config(daemon.config)
        daemon.hup()
        for i in (identity, other):
            harness.until(lambda i=i: serves(udp, i), f"{i.name} is served")
        daemon.config["identities"].pop(0)
        daemon.config["versions"] = ["rfc"]
        daemon.write_config(daemon.config)
        daemon.hup()
        harness.until(lambda: not serves(udp, identity), "the first is gone")
        assert udp.verified(other.public, "rfc").versions == (1,)


def serves(udp, identity):
    udp.send(packet := oracle.request("rfc", srv_value=identity.srv))
    reply = udp.receive(0.5)
    return reply is not None and harness.checked(packet, reply,
                                                 identity.public)


@pytest.mark.parametrize("broken", ["bad yaml", "bad value", "lost key"])
def test_sighup_with_a_broken_config_changes_nothing(
        start, identity, tmp_path, broken):
    daemon = start()
    since = daemon.mark()
    if broken == "bad yaml":
        daemon.config_path.write_text("listen: [\n")
    elif broken == "bad value":
        daemon.write_config({**daemon.config, "batch": 5000})
    else:
        config = {**daemon.config, "identities": [
            {"name": "main", "key": str(tmp_path / "nowhere.key")}]}
        daemon.write_config(config)
    daemon.kill(signal.SIGHUP)
    daemon.expect_log("(?i)error", since)
    daemon.expect_log("(?i)(stay|keep|as it was|unchanged|still)", since)
    with harness.Udp("127.0.0.1", daemon.port) as udp, \
            harness.Tcp("127.0.0.1", daemon.port) as tcp:
        udp.verified(identity.public, "rfc")
        tcp.verified(identity.public, "rfc")


def test_sighup_says_what_takes_a_restart(start, identity):
    daemon = start(batch=64)
    since = daemon.mark()
    daemon.write_config({**daemon.config, "batch": 32, "workers": 3})
    daemon.kill(signal.SIGHUP)
    daemon.expect_log("workers", since)
    daemon.expect_log("batch", since)
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        udp.verified(identity.public, "rfc")


def test_sigterm_drains(start, identity):
    """What is queued when the signal comes is answered before the end."""
    daemon = start()
    flows = [harness.Udp("127.0.0.1", daemon.port) for _ in range(8)]
    tcp = harness.Tcp("127.0.0.1", daemon.port)
    tcp.verified(identity.public, "rfc")  # accepted, and at a worker
    packets = [oracle.request("rfc") for _ in range(8 * 16 + 8)]
    daemon.freeze()
    for i, packet in enumerate(packets[:-8]):
        flows[i % 8].send(packet)
    tcp.send(b"".join(packets[-8:]))
    os.kill(daemon.pid, signal.SIGTERM)
    os.kill(daemon.pid, signal.SIGCONT)
    by_nonce = {harness.nonce_of(p): p for p in packets}
    log = daemon.stop()
    for flow in flows:
        with flow:
            for _ in range(16):
                reply = flow.receive(5)
                assert reply is not None, "a queued datagram was lost"
                harness.checked(by_nonce.pop(harness.nonce_of(reply)), reply,
                                identity.public)
    with tcp:
        for _ in range(8):
            reply = tcp.receive()
            assert reply is not None, "a queued request on TCP was lost"
            harness.checked(by_nonce.pop(harness.nonce_of(reply)), reply,
                            identity.public)
        assert tcp.closed()
    counts = harness.Roughtimed.parse_counters(log)
    assert counts["udp_sent"] == 128 and counts["tcp_sent"] == 9


def test_counters_stand_in_the_log_at_the_end(start, identity):
    daemon = start()
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        for _ in range(5):
            udp.verified(identity.public, "rfc")
    counts = harness.Roughtimed.parse_counters(daemon.stop())
    assert counts["udp_received"] == counts["udp_sent"] == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_stop_is_quick_and_frees_the_port(start, identity, number):
    daemon = start()
    begin = time.monotonic()
    daemon.stop(number)
    assert time.monotonic() - begin < 5
    start(port=daemon.port)


def test_sigpipe_and_sigusr2_do_not_end_it(start, identity):
    daemon = start()
    daemon.kill(signal.SIGPIPE)
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        udp.verified(identity.public, "rfc")
