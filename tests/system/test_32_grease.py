"""Grease (RFC 10049 section 7): what clients must reject, they can reject,
and no reply has a wrong time under a valid signature."""
import harness
import oracle
import pytest

N = 400


def classify(packet, reply, public):
    try:
        good = oracle.verify(packet, reply, public)
    except oracle.Invalid as e:
        return e.args[0], None
    if good.version is oracle.DRAFT12:
        return "tag-missing", good  # without TYPE it passes for this one
    plain = {b"SIG\0", b"NONC", b"TYPE", b"PATH", b"SREP", b"CERT", b"INDX"}
    return ("undefined-tag" if set(good.fields) - plain else "plain"), good


@pytest.mark.parametrize("version", ["rfc", "draft-14"])
def test_every_kind_appears_and_none_lies(start, identity, version):
    daemon = start(grease={"fraction": 1})
    found = {}
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        before = daemon.counters()
        for _ in range(N):
            packet = oracle.request(version)
            reply = udp.ask(packet)
            assert len(reply) <= len(packet) and len(reply) <= 1024
            kind, good = classify(packet, reply, identity.public)
            found[kind] = found.get(kind, 0) + 1
            if good:  # valid: then the time must be right
                harness.checked(packet, reply, identity.public)
        moved = harness.diff(before, daemon.counters())
    kinds = {k: v for k, v in moved.items() if k.startswith("grease_")}
    assert len(kinds) == 4 and sum(kinds.values()) == N, kinds
    assert min(kinds.values()) > N / 16
    assert "plain" not in found
    assert found["undefined-tag"] == next(
        v for k, v in kinds.items() if "undefined" in k or "tag" in k
        and "missing" not in k)
    assert {"tag-missing", "undefined-tag"} <= set(found)
    assert set(found) & {"version-not-offered", "version-unknown"}
    assert set(found) & {"signature", "cert-signature"}


def test_fraction(start, identity):
    daemon = start(grease={"fraction": 0.1})
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        before = daemon.counters()
        for _ in range(600):
            udp.ask(oracle.request("rfc"))
        moved = harness.diff(before, daemon.counters())
    greased = sum(v for k, v in moved.items() if k.startswith("grease_"))
    assert 20 <= greased <= 120  # 60 expected, 5 sigma on either side


def test_old_versions_survive_grease(start, identity):
    """A spoilt reply of any version is never longer than its request."""
    daemon = start(grease={"fraction": 1})
    with harness.Udp("127.0.0.1", daemon.port) as udp:
        for version in oracle.VERSIONS:
            for _ in range(10):
                packet = oracle.request(version)
                reply = udp.ask(packet)
                assert len(reply) <= len(packet)
                kind, good = classify(packet, reply, identity.public)
                if good:
                    harness.checked(packet, reply, identity.public)


def test_none_unless_asked_for(server, identity):
    with harness.Udp("127.0.0.1", server.port) as udp:
        for _ in range(200):
            udp.verified(identity.public, "rfc")
    assert not [k for k, v in server.counters().items()
                if k.startswith("grease_") and v]
