"""roughtime measure and verify: three servers, a liar, and the proof."""
import base64
import contextlib
import json
import pathlib
import struct

import pytest

import harness
import oracle
from fakeserver import FakeServer, flip, roughtime, value_at

VECTORS = pathlib.Path(__file__).resolve().parents[1] / "vectors"
DAY = 86400
pytestmark = pytest.mark.usefixtures("in_tmp")


def seed(i):
    return bytes([i + 1]) * 32


@contextlib.contextmanager
def servers(*kwargs):
    """One fake server each, with a key of its own; version 1 unless told."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(FakeServer(
            k.pop("versions", ["rfc"]), seed=seed(i), **k))
            for i, k in enumerate(map(dict, kwargs))]


def entry(s, name, protocol="udp", **more):
    return {"name": name, "version": 1, "publicKeyType": "ed25519",
            "publicKey": s.key, "addresses": [
                {"protocol": protocol, "address": s.address}], **more}


def write_list(*entries, **more):
    pathlib.Path("list.json").write_text(
        json.dumps({"servers": list(entries), **more}))
    return "list.json"


def measure(*args, status=0):
    rc, out, err = roughtime("measure", "-l", "list.json", "--json", *args)
    assert rc == status, (rc, out, err)
    return json.loads(out)


def check_report(path):
    """A report must hold by the oracle: chained, valid. -> [(key, reply)]"""
    replies, previous = [], None
    for i, r in enumerate(json.loads(pathlib.Path(path).read_text())
                          ["responses"]):
        request, response = (base64.b64decode(r[k])
                             for k in ("request", "response"))
        if previous is not None:
            nonce = oracle.decode(oracle.unframe(request)[1])[b"NONC"]
            assert nonce == oracle.chain_nonce(
                previous, base64.b64decode(r["rand"]), len(nonce))
        else:
            assert "rand" not in r
        replies.append((r["publicKey"], oracle.verify(
            request, response, base64.b64decode(r["publicKey"]))))
        previous = response
    return replies


def test_three_that_agree():
    with servers({}, {"versions": ["draft-14"]},
                 {"versions": ["google"]}) as (a, b, c):
        write_list(entry(a, "A"), entry(b, "B"), entry(c, "C"))
        facts = measure("-o", "report.json")
    assert facts["consistent"] and not facts["disagreement"]
    assert facts["conflicts"] == [] and facts["suspects"] == []
    assert facts["servers_complete"] == 3
    assert abs(facts["median_offset_s"]) < 1.1
    assert facts["agreement_s"]["low"] < 0 < facts["agreement_s"]["high"]
    assert facts["report"] == "report.json"
    keys = [k for k, _ in check_report("report.json")]
    assert len(keys) == 6 and keys[:3] == keys[3:], "twice in the same order"
    assert len(set(keys)) == 3
    assert len(a.asked) == 2, "the second round asks once, for what worked"
    rc, out, err = roughtime("verify", "report.json")
    assert rc == 0 and "valid and consistent" in out


@pytest.mark.parametrize("offset_s", [DAY, -DAY, 60, -60])
def test_a_liar_is_named(offset_s):
    with servers({}, {"offset_s": offset_s}, {}) as (a, b, c):
        write_list(entry(a, "honest"), entry(b, "liar"), entry(c, "true"),
                   reports="https://reports.example/roughtime")
        rc, out, err = roughtime("measure", "-l", "list.json")
    assert rc == 4, (out, err)
    assert "in conflict with the majority: liar\n" in out
    assert "https://reports.example/roughtime" in out
    path, = pathlib.Path(".").glob("roughtime-report-*.json")
    assert str(path) in out
    times = {k: r.midpoint_us for k, r in check_report(path)}
    assert times[b.key] - times[a.key] == pytest.approx(
        offset_s * 10**6, abs=2 * 10**6)
    rc, out, err = roughtime("verify", "--json", path)
    verdict = json.loads(out)
    assert rc == 4 and verdict["verdict"] == "malfeasance"
    liar, = verdict["suspects"]
    assert {r["public_key"] for r in verdict["responses"]
            if r["server"] == liar} == {b.key}


def test_the_median_does_not_follow_the_liar():
    with servers({}, {"offset_s": DAY}, {}) as (a, b, c):
        write_list(entry(a, "A"), entry(b, "liar"), entry(c, "C"))
        facts = measure(status=4)
    assert abs(facts["median_offset_s"]) < 1.1
    assert facts["suspects"] == ["liar"]
    assert facts["agreement_s"]["low"] < 0 < facts["agreement_s"]["high"]


def test_two_against_each_other_name_nobody():
    with servers({}, {"offset_s": DAY}) as (a, b):
        write_list(entry(a, "A"), entry(b, "B"))
        facts = measure(status=4)
        rc, out, err = roughtime("measure", "-l", "list.json")
    assert facts["suspects"] == [] and "median_offset_s" not in facts
    assert "cannot be told" in out


def test_a_wide_radius_is_no_conflict():
    """An unsynchronised server is honest about it, and is not averaged in."""
    with servers({}, {"offset_s": DAY, "radius_s": 2**32 - 1},
                 {}) as (a, b, c):
        write_list(entry(a, "A"), entry(b, "lost"), entry(c, "C"))
        facts = measure()
    assert abs(facts["median_offset_s"]) < 1.1


def test_signature_failures_are_not_malfeasance():
    """RFC 10049 section 8.4.2: never a report for a protocol error."""
    def twist(packet, reply, count):
        return [flip(reply, value_at(reply, "SIG"))]

    with servers({}, {"twist": twist, "offset_s": DAY}, {}) as (a, b, c):
        write_list(entry(a, "A"), entry(b, "broken"), entry(c, "C"))
        facts = measure("-o", "report.json", status=3)
    assert not facts["disagreement"]
    assert {k for k, _ in check_report("report.json")} == {a.key, c.key}
    assert not list(pathlib.Path(".").glob("roughtime-report-*"))
    broken, = [s for s in facts["servers"] if s["name"] == "broken"]
    assert broken["rounds"] == [None, None]
    assert "not signed by the delegated key" in broken["failure"]


def test_others_stand_in_for_the_dead():
    with servers({}, {}, {}) as alive:
        dead = [dict(entry(alive[0], f"dead {i}"), publicKey=base64.b64encode(
            oracle.public_of(seed(100 + i))).decode(), addresses=[
                {"protocol": "udp", "address": f"127.0.0.1:{harness.free_port()}"}])
                for i in range(2)]
        write_list(*dead, *(entry(s, f"alive {i}")
                            for i, s in enumerate(alive)))
        facts = measure()
    assert facts["servers_complete"] == 3


def test_too_few_answer():
    with servers({}, {}) as (a, b):
        gone = dict(entry(a, "gone"), publicKey=base64.b64encode(
            oracle.public_of(seed(9))).decode(), addresses=[
                {"protocol": "tcp", "address": f"127.0.0.1:{harness.free_port()}"}])
        write_list(entry(a, "A"), entry(b, "B"), gone)
        facts = measure(status=2)
    assert facts["servers_complete"] == 2 and facts["servers_wanted"] == 3


def test_the_choice_is_random_but_can_be_seeded():
    with servers({}, {}, {}, {}, {}) as many:
        write_list(*(entry(s, str(i)) for i, s in enumerate(many)))

        def order(*args):
            return [s["name"] for s in measure(*args)["servers"]]

        one, two = (order("--seed", x * 32) for x in ("01", "02"))
        assert order("--seed", "01" * 32) == one
        assert len(one) == 3 and len(set(one)) == 3
        assert len(order("--servers", "5")) == 5
        assert len({tuple(order()) for _ in range(8)}) > 1
        assert one != two


def test_dialects_of_the_list():
    """Google by number, by string; entries that cannot be used are told."""
    with servers({"versions": ["google"]}, {"versions": ["google"]},
                 {"tcp": True, "udp": False}) as (a, b, c):
        bare = entry(c, "C", "tcp")
        del bare["version"]
        write_list(entry(a, "A", version=3000600613),
                   entry(b, "B", version="Google-Roughtime"), bare,
                   entry(c, "again"), {"name": "\x1b[31mred"}, 5)
        rc, out, err = roughtime("measure", "-l", "list.json")
    assert rc == 0, (out, err)
    assert "again left out: the same publicKey" in err
    assert "?[31mred left out: publicKey" in err and "\x1b" not in err
    assert len(a.asked) == 2, "asked in Google's format at once"
    assert "rfc10049 TCP" in out


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"servers": []}',
                                  '{"servers": [1]}'])
def test_lists_that_are_none(text):
    pathlib.Path("list.json").write_text(text)
    rc, out, err = roughtime("measure", "-l", "list.json")
    assert rc == 1 and out == "" and "list.json" in err


def test_usage():
    for args in ((), ("-l", "no-such-file"), ("-l", "x", "more"),
                 ("-l", "x", "--servers", "0"), ("-l", "x", "--seed", "1")):
        rc, out, err = roughtime("measure", *args)
        assert rc == 1 and out == "" and err


# -- verify -----------------------------------------------------------------

@pytest.mark.parametrize("name, args, status, words", [
    ("v1_chain_consistent", (), 0, "valid and consistent"),
    ("draft19_chain_consistent", (), 0, "valid and consistent"),
    ("v1_chain_liar", (), 4, "server 3 (4NgEnRMWpc64BA2wIK3UCZ+L/JDgDEQoVntw"
     "8mO9KYo=) is in conflict with the majority"),
    ("draft19_chain_liar", (), 4, "server 3 ("),
    ("rfc10049-appendix-b", (), 3, "with --compat rfc10049-capital-t"),
    ("rfc10049-appendix-b", ("--compat", "rfc10049-capital-t"), 4,
     "malfeasance proven"),
])
def test_reports_of_others(name, args, status, words):
    rc, out, err = roughtime("verify", *args, VECTORS / f"{name}.json")
    assert rc == status and words in out and err == ""


def change(edit):
    report = json.loads((VECTORS / "v1_chain_liar.json").read_text())
    edit(report["responses"])
    pathlib.Path("report.json").write_text(json.dumps(report))
    return roughtime("verify", "report.json")


def test_a_forged_report_proves_nothing():
    def swap(r):
        r[1], r[2] = r[2], r[1]

    def rand(r):
        r[3]["rand"] = base64.b64encode(bytes(32)).decode()

    def time(r):
        packet = base64.b64decode(r[2]["response"])
        midp = struct.pack("<Q", 1789900000)
        assert packet.count(midp) == 1
        r[2]["response"] = base64.b64encode(packet.replace(
            midp, struct.pack("<Q", 1))).decode()

    def key(r):
        r[2]["publicKey"] = r[0]["publicKey"]

    for edit, words in ((swap, "NOT CHAINED"), (rand, "NOT CHAINED"),
                        (time, "INVALID"), (key, "INVALID")):
        rc, out, err = change(edit)
        assert rc == 3 and words in out and "proves nothing" in out
    rc, out, err = change(lambda r: None)
    assert rc == 4


@pytest.mark.parametrize("text", ["", "{}", '{"responses": [1]}', "\0" * 99])
def test_files_that_are_no_report(text):
    pathlib.Path("report.json").write_text(text)
    rc, out, err = roughtime("verify", "report.json")
    assert rc == 3 and out == "" and err.startswith("roughtime verify: rep")


def test_verify_usage():
    for args in ((), ("a", "b"), ("no-such-file",), ("x", "--compat", "y")):
        rc, out, err = roughtime("verify", *args)
        assert rc == 1 and out == "" and err
