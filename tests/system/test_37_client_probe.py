"""roughtime probe: one line a version and transport, and a diagnosis."""
import base64
import json
import socket
import time

import harness
import oracle
from fakeserver import Daemon, FakeServer, flip, roughtime, value_at

OTHER_KEY = base64.b64encode(oracle.public_of(b"\2" * 32)).decode()
ALL = [v.name for v in oracle.VERSIONS]
OURS = [{"rfc": "rfc10049"}.get(n, n) for n in ALL]


def probe(address, *args, status=0):
    start = time.monotonic()
    rc, out, err = roughtime("probe", address, *args, "--json")
    assert rc == status, (rc, out, err)
    assert time.monotonic() - start < 8, "bounded"
    facts = json.loads(out)
    return facts, {(p["transport"], p["asked_for"]): p
                   for p in facts["probes"]}


def test_a_line_for_each_version_and_transport():
    with FakeServer(["rfc", "draft-11", "google"], tcp=True) as s:
        facts, lines = probe(s.address, s.key)
    assert facts["answers"] and facts["verified"]
    for name in OURS:
        want = "ok" if name in ("rfc10049", "draft-11", "google") \
            else "silent"
        assert lines["udp", name]["outcome"] == want, name
    assert lines["tcp", "rfc10049"]["outcome"] == "ok"
    assert lines["tcp", "draft-07"]["outcome"] == "closed"
    assert ("tcp", "google") not in lines
    one = lines["udp", "rfc10049"]
    assert one["version"] == "rfc10049" and one["reply_bytes"] == 412 + 4
    assert 0 < one["round_trip_s"] < 4 and one["radius_s"] == 3


def test_text():
    with FakeServer(["rfc"]) as s:
        rc, out, err = roughtime("probe", s.address, s.key)
    assert rc == 0 and err == ""
    first, *lines = out.splitlines()
    assert first == f"{s.address} ({s.address})"
    assert sum(line.startswith("udp  ") for line in lines) == len(ALL) + 1
    assert sum(line.startswith("tcp  ") for line in lines) == len(ALL)
    assert all(line == line.rstrip() for line in lines)
    ok, = [x for x in lines if x.startswith("udp  rfc10049")]
    assert "ok" in ok and "416 bytes" in ok and "radius 3 s" in ok


def test_without_a_key():
    with FakeServer(["draft-14"]) as s:
        facts, lines = probe(s.address)
        assert facts["answers"] and not facts["verified"]
        assert lines["udp", "draft-14"]["outcome"] == "ok"
        rc, out, err = roughtime("probe", s.address)
        assert "NOT VERIFIED" in out


def test_wrong_key():
    with FakeServer(["rfc"]) as s:
        facts, lines = probe(s.address, OTHER_KEY, status=3)
    assert facts["fault"] == "wrong-key"
    assert lines["udp", "rfc10049"]["outcome"] == "silent"
    assert lines["udp", "no SRV"]["outcome"] == "invalid"
    assert lines["udp", "no SRV"]["fault"] == "wrong-key"


def test_invalid_says_why():
    def twist(packet, reply, count):
        return [flip(reply, value_at(reply, "SIG"))]

    with FakeServer(["draft-11"], twist=twist) as s:
        rc, out, err = roughtime("probe", s.address, s.key)
    assert rc == 3
    assert "signature: the time is not signed by the delegated key" in out


def test_nobody_listens():
    facts, lines = probe(f"127.0.0.1:{harness.free_port()}", status=2)
    assert facts["fault"] == "refused"
    assert {p["outcome"] for p in lines.values()} == {"refused"}
    assert "nobody listens" in facts["reason"]


def test_silence():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        facts, lines = probe(f"127.0.0.1:{s.getsockname()[1]}", "--udp",
                             status=2)
    assert facts["fault"] == "no-answer"
    assert {p["outcome"] for p in lines.values()} == {"silent"}
    assert "firewall" in facts["reason"]


def test_some_versions_only():
    with FakeServer(ALL) as s:
        facts, lines = probe(s.address, s.key, "--udp", "--version",
                             "draft-05,google")
    assert set(lines) == {("udp", "draft-05"), ("udp", "google")}


def test_our_own_server_speaks_everything(tmp_path):
    with Daemon(tmp_path) as d:
        facts, lines = probe(d.address, d.key)
    assert {p["outcome"] for p in lines.values()} == {"ok"}
    assert len(lines) == 2 * len(ALL) - 1 + 2


def test_usage():
    for args in ((), ("a", "b"), ("x:0",), ("x", "--version", "99")):
        rc, out, err = roughtime("probe", *args)
        assert rc == 1 and out == "" and "probe --help" in err
