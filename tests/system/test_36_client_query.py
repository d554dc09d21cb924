"""roughtime query: one default reaches every server, and when it does not,
it says why."""
import base64
import json
import socket
import struct
import threading
import time

import pytest

import harness
import oracle
from fakeserver import Daemon, FakeServer, flip, roughtime, value_at

OTHER_KEY = base64.b64encode(oracle.public_of(b"\2" * 32)).decode()
NAMES = {"rfc": "rfc10049"}  # ours for the oracle's


def ask(server, *args, status=0):
    rc, out, err = roughtime("query", server.address, server.key, "--json",
                             *args)
    assert rc == status, (rc, out, err)
    return json.loads(out)


@pytest.mark.parametrize("name", [v.name for v in oracle.VERSIONS])
def test_no_flag_reaches_a_server_of_one_version(name):
    with FakeServer([name]) as s:
        facts = ask(s)
    assert facts["verified"] is True
    assert facts["version"] == NAMES.get(name, name)
    assert facts["transport"] == "udp"
    assert facts["local_clock"] == "agrees"
    assert abs(facts["local_offset_s"]) <= 1
    assert facts["radius_s"] == 3
    assert facts["path"] == {"nodes": 0, "index": 0, "order": "natural"}


@pytest.mark.parametrize("name", [v.name for v in oracle.VERSIONS])
def test_one_version_asked_for(name):
    with FakeServer([v.name for v in oracle.VERSIONS]) as s:
        facts = ask(s, "--version", NAMES.get(name, name))
        assert facts["version"] == NAMES.get(name, name)
        assert len(s.asked) == 1
        oracle.negotiate(s.asked[0], [oracle.BY_NAME[name]])


def test_requests_are_proper():
    """Size, order of VER, SRV and TYPE as the RFC wants them."""
    with FakeServer([v.name for v in oracle.VERSIONS]) as s:
        ask(s)
        packet, = s.asked
    framed, message = oracle.unframe(packet)
    fields = oracle.decode(message)
    assert framed and len(packet) == 1036
    assert struct.unpack("<6I", fields[b"VER\0"]) == (
        1, 0x80000008, 0x80000009, 0x8000000A, 0x8000000B, 0x8000000C)
    assert fields[b"TYPE"] == bytes(4)
    assert fields[b"SRV\0"] == oracle.srv(base64.b64decode(s.key))
    assert len(fields[b"NONC"]) == 32
    assert set(fields[b"ZZZZ"]) == {0}


def test_best_of_many_versions():
    with FakeServer([v.name for v in oracle.VERSIONS]) as s:
        assert ask(s)["version"] == "rfc10049"
    with FakeServer(["google", "draft-11", "draft-14"]) as s:
        assert ask(s)["version"] == "draft-14"


def test_a_server_that_ignores_requests_with_type():
    """Drafts before 14 do not know TYPE; one may not like it."""
    class Picky(FakeServer):
        def reply(self, packet):
            fields = oracle.decode(oracle.unframe(packet)[1])
            return None if b"TYPE" in fields else super().reply(packet)

    for name in ("draft-08", "draft-11", "draft-12", "google", "draft-02"):
        with Picky([name]) as s:
            assert ask(s)["version"] == name


def test_a_server_that_ignores_long_version_lists():
    class Picky(FakeServer):
        def reply(self, packet):
            fields = oracle.decode(oracle.unframe(packet)[1])
            long = len(fields.get(b"VER\0", b"")) > 8
            return None if long else super().reply(packet)

    with Picky(["rfc"]) as s:
        assert ask(s)["version"] == "rfc10049"


def test_tcp_when_udp_is_silent():
    with FakeServer(["rfc"], udp=False, tcp=True) as s:
        facts = ask(s)
    assert (facts["transport"], facts["version"]) == ("tcp", "rfc10049")


@pytest.mark.parametrize("name", ["rfc", "draft-14", "draft-11", "draft-05",
                                  "draft-01"])
def test_tcp_asked_for(name):
    with FakeServer([name], tcp=True) as s:
        assert ask(s, "--tcp")["transport"] == "tcp"


def test_tcp_reply_in_pieces_and_after_a_foreign_one(tmp_path):
    def twist(packet, reply, count):
        other = flip(reply, value_at(reply, "NONC"))
        return [other, reply[:5], reply[5:200], reply[200:]]

    with FakeServer(["rfc"], tcp=True, twist=twist) as s:
        assert ask(s, "--tcp")["stale_replies"] == 1


def test_ipv6():
    with FakeServer(["rfc"], host="::1") as s:
        assert ask(s)["address"] == f"[::1]:{s.port}"
        ask(s, "-6")
        rc, out, err = roughtime("query", s.address, s.key, "-4")
        assert rc == 2 and "::1" in err


def test_name_with_several_addresses():
    """localhost may be ::1 first, where nobody listens."""
    with FakeServer(["rfc"]) as s:
        rc, out, err = roughtime("query", f"localhost:{s.port}", s.key)
        assert rc == 0, err
        assert f"127.0.0.1:{s.port}" in out


def test_text_for_people():
    with FakeServer(["rfc"], vers=[1, 0x8000000B, 0x8000000C]) as s:
        rc, out, err = roughtime("query", s.address, s.key)
    assert rc == 0 and err == ""
    for words in (f"{s.address} ({s.address}, UDP)", "Z (verified)",
                  "radius       3 s", "round trip", "agrees",
                  "rfc10049 (0x1), server has 0x1 0x8000000b-0x8000000c",
                  "delegation", "path         0 nodes, index 0"):
        assert words in out, out


def test_stale_duplicate_and_foreign_datagrams_are_skipped():
    def twist(packet, reply, count):
        stale = flip(reply, value_at(reply, "NONC"))
        return [b"x" * 60000, stale, stale, b"", reply, reply]

    with FakeServer(["rfc"], twist=twist) as s:
        facts = ask(s)
    assert facts["stale_replies"] == 2
    assert facts["invalid_replies"] == 2  # junk, and an empty datagram


def test_grease_is_survived():
    """RFC 10049 section 7: a spoiled reply now and then; the next is good."""
    def twist(packet, reply, count):
        return [flip(reply, value_at(reply, "SIG"))] if count == 1 \
            else [reply]

    with FakeServer(["rfc"], twist=twist) as s:
        facts = ask(s)
    assert facts["verified"] and facts["version"] == "rfc10049"


def test_lost_replies_are_asked_for_again():
    def twist(packet, reply, count):
        return [reply] if count >= 3 else []

    with FakeServer(["google"], twist=twist) as s:
        start = time.monotonic()
        facts = ask(s, "--version", "google")
        took = time.monotonic() - start
        nonces = {p[20:84] for p in s.asked}
    assert facts["requests_sent"] == 3
    assert len(nonces) == 3, "each try has a nonce of its own"
    assert took >= 1 + 1.5, "the back-off of RFC 10049 section 5"
    assert facts["round_trip_s"] < 1


def test_wrong_key_is_told_from_silence():
    with FakeServer(["rfc"]) as s:
        rc, out, err = roughtime("query", s.address, OTHER_KEY)
    assert rc == 3 and out == ""
    assert "not signed by this public key" in err
    assert "Check the public key" in err
    with FakeServer(["draft-11"]) as s:
        s.key = OTHER_KEY
        assert ask(s, status=3)["fault"] == "wrong-key"


def test_invalid_signature():
    def twist(packet, reply, count):
        return [flip(reply, value_at(reply, "SIG"))]

    with FakeServer(["rfc"], twist=twist) as s:
        facts = ask(s, status=3)
        assert facts["fault"] == "invalid-signature"
        assert facts["verified"] is False
        assert any(a["fault"] == "signature" for a in facts["attempts"])


def test_time_outside_the_delegation():
    with FakeServer(["rfc"], window_us=(10**7, 10**9)) as s:
        facts = ask(s, status=3)
    assert (facts["fault"], facts["verified"]) == ("invalid", False)
    assert "window of the delegation" in facts["reason"]


def test_version_that_was_not_offered():
    def twist(packet, reply, count):
        s.rows = [oracle.DRAFT14]
        other = oracle.replies(oracle.RFC, [packet], s.root, s.online,
                               oracle.now_us() // 10**6, 3, 0, 2**64 - 1)
        return other

    with FakeServer(["draft-14"], twist=twist) as s:
        facts = ask(s, "--version", "draft-14", status=3)
    assert facts["fault"] == "version"


def test_nobody_listens():
    start = time.monotonic()
    rc, out, err = roughtime("query", f"127.0.0.1:{harness.free_port()}", OTHER_KEY)
    assert rc == 2
    assert "UDP: refused" in err and "TCP: connection refused" in err
    assert time.monotonic() - start < 5, "no need to wait for the timeout"


def test_silence_names_what_was_tried():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        start = time.monotonic()
        rc, out, err = roughtime(
            "query", f"127.0.0.1:{s.getsockname()[1]}", OTHER_KEY,
            "--timeout", "3")
        took = time.monotonic() - start
    assert rc == 2 and 2.9 < took < 6
    for words in ("version 1, drafts 8 to 14;", "drafts 8 to 12", "google",
                  "drafts 5 to 7", "drafts 1 to 4", "version 1, draft 14;",
                  "no SRV",
                  "TCP: connection refused", "firewall", "check the key"):
        assert words in err, err


def test_tcp_port_of_something_else():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(16)
        port = s.getsockname()[1]

        def serve():
            for _ in range(2):
                c, _ = s.accept()
                c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                c.close()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        rc, out, err = roughtime("query", f"127.0.0.1:{port}", OTHER_KEY,
                                 "--tcp", "--version", "1", "--json")
        thread.join(10)
    assert rc == 3, (out, err)
    assert json.loads(out)["fault"] == "not-roughtime"


def test_unknown_name():
    rc, out, err = roughtime("query", "no-such-host.invalid", OTHER_KEY)
    assert rc == 2 and err.count("\n") == 1
    rc, out, err = roughtime("query", "no-such-host.invalid", OTHER_KEY,
                             "--json")
    assert rc == 2 and json.loads(out)["fault"] == "name"


def test_without_a_key_it_is_not_verified():
    with FakeServer(["rfc"]) as s:
        rc, out, err = roughtime("query", s.address)
        assert rc == 3
        assert "UNVERIFIED" in out and "(verified)" not in out
        assert "NOT VERIFIED" in out and "no public key" in err
        rc, out, err = roughtime("query", s.address, "--insecure", "--json")
        assert rc == 0 and json.loads(out)["verified"] is False
    # it is still checked for all else
    with FakeServer(["rfc"], radius_s=0) as s:
        rc, out, err = roughtime("query", s.address, "--insecure")
        assert rc == 3 and "no uncertainty" in err


def test_local_clock_is_judged():
    with FakeServer(["rfc"], offset_s=86400) as s:
        facts = ask(s)
        assert facts["local_clock"] == "behind"
        assert 86398 < facts["local_offset_s"] <= 86400
        assert "behind" in roughtime("query", s.address, s.key)[1]
    with FakeServer(["google"], offset_s=-3.5) as s:
        facts = ask(s)
        assert facts["local_clock"] == "ahead"
        assert facts["local_offset_s"] == pytest.approx(-3.5, abs=0.2)


def test_unsynchronised_server_does_not_count_as_agreement():
    with FakeServer(["draft-14"], radius_s=2**32 - 1) as s:
        facts = ask(s)
        assert facts["local_clock"] == "unknown"
        rc, out, err = roughtime("query", s.address, s.key)
        assert rc == 0 and "its clock is not set" in out


def test_compatibility_mode_is_named():
    with FakeServer(["rfc"], contexts=oracle.DRAFT14) as s:
        facts = ask(s, status=3)
        assert "--compat rfc10049-capital-t" in facts["reason"]
        facts = ask(s, "--compat", "rfc10049-capital-t")
        assert facts["compat"] == "rfc10049-capital-t"
        out = roughtime("query", s.address, s.key, "--compat",
                        "rfc10049-capital-t")[1]
        assert "compatibility mode rfc10049-capital-t" in out
    with FakeServer(["rfc"]) as s:
        assert ask(s, "--compat", "rfc10049-capital-t")["compat"] is None


def test_downgrade_is_told():
    with FakeServer(["draft-14"], vers=[1, 0x8000000C]) as s:
        assert ask(s)["downgrade"] == 1
        assert "downgrade" in roughtime("query", s.address, s.key)[1]


def test_our_own_server(tmp_path):
    with Daemon(tmp_path) as d:
        assert ask(d)["version"] == "rfc10049"
        assert ask(d, "--tcp")["transport"] == "tcp"
        for v in oracle.VERSIONS:
            name = NAMES.get(v.name, v.name)
            assert ask(d, "--version", name)["version"] == name


@pytest.mark.parametrize("args", [
    (), ("a", "b"), ("127.0.0.1:0",), ("127.0.0.1", OTHER_KEY, "more"),
    ("127.0.0.1", "--version", "draft-99"), ("127.0.0.1", "--timeout", "0"),
    ("127.0.0.1", "--timeout", "x"), ("127.0.0.1", "--compat", "x"),
    ("127.0.0.1", "--retries", "-1"), ("127.0.0.1", "--nonsense"),
    ("127.0.0.1", "--size", "12"), ("[::1", OTHER_KEY),
])
def test_usage(args):
    rc, out, err = roughtime("query", *args)
    assert rc == 1 and out == ""
    assert "roughtime query --help" in err


def test_help_and_version():
    assert roughtime()[0] == 1
    assert roughtime("nonsense")[0] == 1
    for args in (("--help",), ("--version",)):
        rc, out, err = roughtime(*args)
        assert rc == 0 and out.startswith(("usage:", "roughtime")) and not err
    for command in ("query", "probe", "measure", "verify", "bench"):
        rc, out, err = roughtime(command, "--help")
        assert rc == 0 and err == ""
        assert out.startswith(f"usage: roughtime {command}")
        assert "Exit:" in out
        assert max(map(len, out.splitlines())) <= 80, out
