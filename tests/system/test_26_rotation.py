"""Online keys: rotated before they end, with overlap, no reply lost."""
import time

import harness
import oracle
import pytest

# An online key of 10 s that is renewed in the middle of its life.
QUICK = {"lifetime": "10s", "overlap": "5s", "backdate": "5s", "warn": "1s"}


def test_rotation_under_load_loses_no_reply(start, identity):
    """Three keys one after another; every request on UDP and TCP is answered and
    verifies, the windows overlap."""
    daemon = start(delegation=QUICK)
    keys, asked = {}, 0
    end = time.monotonic() + harness.PATIENCE_S
    with harness.Udp("127.0.0.1", daemon.port) as udp, \
            harness.Tcp("127.0.0.1", daemon.port) as tcp:
        before = daemon.counters()
        while len(keys) < 3 and time.monotonic() < end:
            batch = [oracle.request(v) for v in ("rfc", "google", "draft-07",
                                                 "draft-08", "draft-01")]
            for packet in batch:
                udp.send(packet)
            for packet in batch:
                seen(keys, matching(udp.receive(), batch, identity.public))
            seen(keys, tcp.verified(identity.public, "draft-14"))
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
    assert reply.mint_us <= reply.midpoint_us <= reply.maxt_us
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


def test_several_identities_rotate_each(start, tmp_path):
    pair = [harness.Identity(tmp_path, n) for n in ("one", "two")]
    daemon = start(pair, delegation=QUICK)
    keys = {i.name: set() for i in pair}
    with harness.Udp("127.0.0.1", daemon.port) as udp:

        def rotated():
            for i in pair:
                keys[i.name].add(udp.verified(
                    i.public, "rfc", srv_value=i.srv).online_key)
            return all(len(k) >= 2 for k in keys.values())
        harness.until(rotated, "both get another key")
    assert not keys["one"] & keys["two"]
