"""What the kernel says about its clock becomes RADI, a refusal, a log line.

The clock is a fake (fakeclock.c), so that every state can be told on every
machine; one story takes the real one as it is.
"""
import ctypes
import re

import harness
import oracle
import pytest

HOST = "127.0.0.1"
UNSYNC = dict(state=harness.FakeClock.ERROR, status=harness.FakeClock.UNSYNC,
              maxerror_us=16_000_000)


def radius(daemon, identity, version="google"):
    """RADI in microseconds; Google's format has that grain."""
    with harness.Udp(HOST, daemon.port) as udp:
        packet = oracle.request(version)
        return oracle.verify(packet, udp.ask(packet),
                             identity.public).radius_us


def refused(daemon):
    """A request is not answered, and its refusal is counted."""
    before = daemon.counters()["drop_clock_refused"]
    with harness.Udp(HOST, daemon.port) as udp:
        udp.send(oracle.request("rfc"))
        harness.until(lambda: udp.receive(0) or
                      daemon.counters()["drop_clock_refused"] > before,
                      "an answer or a counter")
        after = daemon.counters()["drop_clock_refused"]
        return after == before + 1 and udp.receive(0) is None


@pytest.mark.parametrize("maxerror_us,low_s,high_s", [
    (0, 3, 3.1), (1000, 3, 3.1), (1_500_000, 3, 3.1), (7_200_000, 7.2, 8.3),
    (15_000_000, 15, 16.1)])
def test_radius_follows_maxerror(start, identity, clock, maxerror_us, low_s,
                                 high_s):
    clock.set(maxerror_us=maxerror_us)
    daemon = start(clock={"when_unsynchronised": "refuse"}, fake=clock)
    assert low_s <= radius(daemon, identity) / 10**6 <= high_s
    for version in oracle.VERSIONS:  # in its own unit, rounded up
        grain = 1 if version.unit == "s" else 0
        r = radius(daemon, identity, version) / 10**6
        assert low_s <= r <= high_s + 2 * grain, version.name


def test_refuse_is_the_default_and_is_told(start, clock):
    """Silent to everybody on both transports, counted, and in the log."""
    clock.set(**UNSYNC)
    daemon = start(clock=None, fake=clock)
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


@pytest.mark.parametrize("state", [
    dict(state=5, status=0), dict(state=0, status=0x40),
    dict(state=0, status=0, maxerror_us=20_000_000)],
    ids=["TIME_ERROR", "STA_UNSYNC", "maxerror"])
def test_each_sign_of_a_lost_clock_is_enough(start, clock, state):
    clock.set(**state)
    assert refused(start(clock=None, fake=clock))


@pytest.mark.parametrize("text,seconds", [("60s", 60), ("1h", 3600)])
def test_serve_with_an_honest_radius(start, identity, clock, text, seconds):
    clock.set(**UNSYNC)
    daemon = start(clock={"when_unsynchronised": "serve",
                          "unsynchronised_radius_s": text}, fake=clock)
    daemon.expect_log("(?i)unsynchroni[sz]ed")
    for version in oracle.VERSIONS:
        # A MIDP cut to whole seconds is off by up to one more.
        more = 1 if version.unit == "s" else 0
        r = radius(daemon, identity, version) / 10**6
        assert seconds <= r <= seconds + more


@pytest.mark.parametrize("leap", ["INS", "DEL", "OOP", "WAIT"])
def test_leap_second_widens(start, identity, clock, leap):
    daemon = start(clock={"when_unsynchronised": "refuse"}, fake=clock)
    plain = radius(daemon, identity)
    clock.set(state=getattr(clock, leap))
    harness.until(lambda: radius(daemon, identity) >= plain + 10**6,
                  "the radius is a second wider")
    clock.set()
    harness.until(lambda: radius(daemon, identity) == plain, "and back")


def test_losing_and_finding_the_clock(start, identity, clock):
    daemon = start(clock={"when_unsynchronised": "refuse"}, fake=clock)
    assert radius(daemon, identity) < 10 * 10**6
    since = daemon.mark()
    clock.set(**UNSYNC)
    daemon.expect_log("(?i)unsynchroni[sz]ed", since)
    harness.until(lambda: refused(daemon), "refused")
    clock.set()
    with harness.Udp(HOST, daemon.port) as udp:
        def served():
            udp.send(packet := oracle.request("rfc"))
            reply = udp.receive(0.2)
            return reply and oracle.verify(packet, reply, identity.public)
        harness.until(served, "served again")


def test_policy_can_be_reloaded(start, identity, clock):
    clock.set(**UNSYNC)
    daemon = start(clock={"when_unsynchronised": "refuse"}, fake=clock)
    assert refused(daemon)
    for policy in ("serve", "refuse"):
        daemon.config["clock"] = {"when_unsynchronised": policy}
        daemon.write_config(daemon.config)
        daemon.hup()
        assert refused(daemon) == (policy == "refuse")


@pytest.mark.parametrize("seconds", [-3600, -5, 5, 3600])
def test_step_is_told_once(start, clock, seconds):
    daemon = start(fake=clock)
    since = daemon.mark()
    clock.set(offset_us=seconds * 10**6)
    sign = "-" if seconds < 0 else r"\+"
    daemon.expect_log(rf"stepped by {sign}\d+\.\d+ s", since)
    clock.set(offset_us=seconds * 10**6 + 1)  # and the next look finds none
    daemon.counters()
    assert len(re.findall("stepped", daemon.log()[since:])) == 1


def test_small_step_back_does_not_break_replies(start, identity, clock):
    """MINT lies well before now."""
    daemon = start(fake=clock)
    for back in (1, 10, 60, 600):
        clock.set(offset_us=-back * 10**6)
        with harness.Udp(HOST, daemon.port) as udp:
            packet = oracle.request("rfc")
            reply = oracle.verify(packet, udp.ask(packet), identity.public)
            assert reply.mint_us < reply.midpoint_us


def test_without_a_config_file_it_serves_and_says_so(tmp_path, identity,
                                                     clock):
    """roughtimed -k KEY is for trying things out."""
    clock.set(**UNSYNC)
    port = harness.free_port()
    daemon = harness.Roughtimed(
        tmp_path, argv=["-k", identity.path, "-l", f"{HOST}:{port}"],
        env=clock.env())
    with daemon:
        daemon.port = port
        daemon.expect_log("(?i)unsynchroni[sz]ed")
        assert radius(daemon, identity) >= 16 * 10**6


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


def test_log_does_not_repeat_the_state(start, identity, clock):
    """Told once, not with every look at the clock."""
    clock.set(**UNSYNC)
    daemon = start(fake=clock)
    clock.set()
    daemon.expect_log("(?i)clock: synchroni[sz]ed")
    clock.set(**UNSYNC)
    daemon.expect_log("(?is)clock: synchroni.*unsynchroni[sz]ed")
    assert len(re.findall("(?i)unsynchroni[sz]ed", daemon.log())) <= 4


class Timex(ctypes.Structure):
    """The beginning of struct timex (adjtimex(2)), then room for the rest."""

    _fields_ = [("modes", ctypes.c_uint), ("offset", ctypes.c_long),
                ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
                ("esterror", ctypes.c_long), ("status", ctypes.c_int),
                ("rest", ctypes.c_char * 256)]


def test_the_real_clock_as_it_is(start, identity):
    """Whatever this machine's kernel says, the daemon says the same."""
    t = Timex()
    state = ctypes.CDLL(None).adjtimex(ctypes.byref(t))
    lost = state == 5 or t.status & 0x40 or t.maxerror > 15 * 10**6
    daemon = start(clock=None)
    if lost:
        daemon.expect_log("(?i)unsynchroni[sz]ed")
        assert refused(daemon)
    else:
        assert radius(daemon, identity) >= max(3 * 10**6, t.maxerror)
