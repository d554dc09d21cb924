"""What is served when nobody disciplines the kernel's clock."""
import ctypes
import pathlib
import re

import conftest
import harness
import oracle
import pytest

STA_UNSYNC = 0x40
HOST = "127.0.0.1"


class Timex(ctypes.Structure):
    """The beginning of struct timex (adjtimex(2)), then room for the rest."""

    _fields_ = [("modes", ctypes.c_uint), ("offset", ctypes.c_long),
                ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
                ("esterror", ctypes.c_long), ("status", ctypes.c_int),
                ("rest", ctypes.c_char * 256)]


def kernel_clock():
    """(state, status, maxerror in us); reads only."""
    t = Timex()
    state = ctypes.CDLL(None).adjtimex(ctypes.byref(t))
    return state, t.status, t.maxerror


def synchronised():
    state, status, maxerror = kernel_clock()
    return state != 5 and not status & STA_UNSYNC and maxerror < 600 * 10**6


@pytest.fixture
def unsynchronised(request):
    if synchronised():
        conftest.did_not_run(request, "the clock here is synchronised")


@pytest.fixture
def in_sync(request):
    if not synchronised():
        # Its radius then comes from the policy: the other tests' business.
        pytest.skip("the clock here is unsynchronised (judged by unit tests)")


def test_refuse_is_silent_counted_and_told(unsynchronised, start):
    daemon = start(clock={"when_unsynchronised": "refuse"})
    daemon.expect_log("(?i)unsynchroni[sz]ed")
    with harness.Udp(HOST, daemon.port) as udp, \
            harness.Tcp(HOST, daemon.port) as tcp:
        before = daemon.counters()
        for version in oracle.VERSIONS:
            udp.send(oracle.request(version))
        tcp.send(oracle.request("rfc"))
        wanted = len(oracle.VERSIONS) + 1
        harness.until(lambda: daemon.counters()["drop_clock_refused"] -
                      before["drop_clock_refused"] == wanted,
                      "all refusals are counted")
        assert udp.receive(0) is None
        moved = harness.diff(before, daemon.counters())
        assert "udp_sent" not in moved and "tcp_sent" not in moved


def test_refuse_is_the_default_of_a_config_file(unsynchronised, start):
    daemon = start(clock=None)
    with harness.Udp(HOST, daemon.port) as udp:
        udp.send(oracle.request("rfc"))
        harness.until(lambda: daemon.counters()["drop_clock_refused"] == 1,
                      "refused")


@pytest.mark.parametrize("radius", ["60s", "1h"])
def test_serve_with_an_honest_radius(unsynchronised, start, identity, radius):
    daemon = start(clock={"when_unsynchronised": "serve",
                          "unsynchronised_radius_s": radius})
    seconds = {"60s": 60, "1h": 3600}[radius]
    daemon.expect_log("(?i)unsynchroni[sz]ed")
    with harness.Udp(HOST, daemon.port) as udp:
        for version in oracle.VERSIONS:  # each in its unit
            reply = udp.verified(identity.public, version)
            # A MIDP cut to whole seconds is off by up to one more.
            more = 1 if version.unit == "s" else 0
            assert seconds <= reply.radius_us / 10**6 <= seconds + more


def test_policy_can_be_reloaded(unsynchronised, start, identity):
    daemon = start(clock={"when_unsynchronised": "refuse"})
    daemon.config["clock"] = {"when_unsynchronised": "serve"}
    daemon.write_config(daemon.config)
    daemon.hup()
    with harness.Udp(HOST, daemon.port) as udp:
        def served():
            udp.send(packet := oracle.request("rfc"))
            reply = udp.receive(0.5)
            return reply and oracle.verify(packet, reply, identity.public)
        harness.until(served, "served after the reload")


def test_radius_in_sync(in_sync, start, identity):
    daemon = start(clock={"when_unsynchronised": "refuse"})
    with harness.Udp(HOST, daemon.port) as udp:
        assert udp.verified(identity.public, "rfc").radius_us >= 3 * 10**6


def test_without_a_config_file_it_serves_and_says_so(
        unsynchronised, tmp_path, identity):
    """roughtimed -k KEY is for trying things out."""
    port = harness.free_port()
    daemon = harness.Roughtimed(
        tmp_path, argv=["-k", identity.path, "-l", f"{HOST}:{port}"])
    with daemon:
        daemon.expect_log("(?i)unsynchroni[sz]ed")
        with harness.Udp(HOST, port) as udp:
            reply = udp.verified(identity.public, "rfc")
            assert reply.radius_us >= 10 * 10**6


def test_midpoint_is_now_in_every_unit(start, identity):
    daemon = start()
    with harness.Udp(HOST, daemon.port) as udp:
        for version in oracle.VERSIONS:
            before = oracle.now_us()
            reply = udp.verified(identity.public, version)
            after = oracle.now_us()
            grain = 10**6 if version.unit == "s" else 1
            assert before // grain <= reply.midpoint_us // grain \
                <= after // grain


def test_log_does_not_repeat_the_state(start):
    """Told once, not with every look at the clock."""
    daemon = start()
    daemon.counters()
    told = re.findall("(?i)unsynchroni[sz]ed",
                      pathlib.Path(daemon.log_path).read_text())
    assert len(told) <= 3
