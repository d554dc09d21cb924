"""Online keys: rotated before they end, with overlap, no reply lost."""
import time

import harness
import oracle
import pytest

# At six times the pace of time a key of 60 s is renewed every 5 s, and its
# overlap of 30 s leaves the daemon 5 s for what it looks at every second.
QUICK = {"lifetime": "60s", "overlap": "30s", "backdate": "30s",
         "warn": "1s"}
PACE = 6


def test_rotation_under_load_loses_no_reply(start, identity, clock):
    """Three keys one after another; every request on UDP and TCP is answered
    and verifies, the windows overlap."""
    daemon = start(delegation=QUICK, fake=clock)
    keys, asked, begin = {}, 0, time.monotonic()
    with harness.Udp("127.0.0.1", daemon.port) as udp, \
            harness.Tcp("127.0.0.1", daemon.port) as tcp:
        before = daemon.counters()
        while len(keys) < 3 and time.monotonic() < begin + 30:
            clock.set(offset_us=int(
                (time.monotonic() - begin) * (PACE - 1) * 10**6))
            batch = [oracle.request(v) for v in ("rfc", "google", "draft-07",
                                                 "draft-08", "draft-01")]
            for packet in batch:
                udp.send(packet)
            for packet in batch:
                seen(keys, matching(udp.receive(), batch, identity.public))
            packet = oracle.request("draft-14")
            seen(keys, oracle.verify(packet, tcp.ask(packet),
                                     identity.public))
            asked += len(batch) + 1
        moved = harness.diff(before, daemon.counters())
    assert len(keys) >= 3, "it does not rotate"
    # ask() fails on a lost reply; the counters say the same.
    assert moved["udp_sent"] + moved["tcp_sent"] == asked > 100
    assert not [k for k in moved if k.startswith(("drop_", "reject_"))]
    windows = sorted(keys.values())
    for (_, ends), (begins, _) in zip(windows, windows[1:]):
        assert begins < ends, "a gap between two keys"


def matching(reply, batch, public):
    assert reply is not None, "a reply was lost"
    for packet in batch:
        try:
            return oracle.verify(packet, reply, public)
        except oracle.Invalid:
            continue
    raise AssertionError("a reply that verifies for no request")


def seen(keys, reply):
    assert reply.mint_us < reply.midpoint_us < reply.maxt_us
    window = (reply.mint_us // 10**6, reply.maxt_us // 10**6)
    assert keys.setdefault(reply.online_key, window) == window


def test_window_as_configured(start, identity):
    daemon = start(delegation={"lifetime": "2h", "overlap": "10m",
                               "backdate": "15m"})
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        for version in oracle.VERSIONS:  # a certificate for each unit
            reply = udp.verified(identity.public, version)
            now = oracle.now_us() // 10**6
            assert abs(now - reply.mint_us // 10**6 - 900) < 60
            assert abs(reply.maxt_us // 10**6 - now - 7200) < 60


@pytest.mark.parametrize("ingress", ["parallel-queues", "shared-queue"])
def test_one_key_serves_all_workers(start, identity, ingress):
    daemon = start(workers=4, ingress=ingress)
    keys = set()
    for _ in range(32):  # different flows reach different workers
        with harness.Udp("127.0.0.1", daemon.port) as udp:
            keys.add(udp.verified(identity.public, "rfc").online_key)
    assert len(keys) == 1


def test_several_identities_rotate_each(start, tmp_path, clock):
    """With the default of 24 h and an hour of overlap, by the clock."""
    pair = [harness.Identity(tmp_path, n) for n in ("one", "two")]
    daemon = start(pair, fake=clock)
    keys = [{key_of(daemon, i)} for i in pair]
    clock.set(offset_us=22 * 3600 * 10**6)
    daemon.expect_log("stepped")
    assert [{key_of(daemon, i)} for i in pair] == keys, "not due yet"
    clock.set(offset_us=(23 * 3600 + 60) * 10**6)
    for i, old in zip(pair, keys):
        harness.until(lambda i=i, old=old: {key_of(daemon, i)} != old,
                      f"{i.name} has a new key")
    assert key_of(daemon, pair[0]) != key_of(daemon, pair[1])


def key_of(daemon, identity):
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        packet = oracle.request("rfc", srv_value=identity.srv)
        return oracle.verify(packet, udp.ask(packet),
                             identity.public).online_key


@pytest.mark.parametrize("hours", [-48, 48])
def test_clock_steps_out_of_the_window(start, identity, clock, hours):
    """Never signed outside the window; a new key as soon as it is seen."""
    daemon = start(fake=clock)
    old = key_of(daemon, identity)
    clock.set(offset_us=hours * 3600 * 10**6)
    with harness.Udp("127.0.0.1", daemon.port) as udp:

        def served():
            udp.send(packet := oracle.request("rfc"))
            reply = udp.receive(0.2)
            return reply and oracle.verify(packet, reply, identity.public)
        reply = harness.until(served, "it serves again")
    assert abs(reply.midpoint_us - clock.now_us()) < 30 * 10**6
    assert reply.online_key != old
    daemon.expect_log(r"stepped by [-+]\d+")
