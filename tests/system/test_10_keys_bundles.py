"""Delegations made in advance: one file or a queue, whole or absent; shown."""
import base64
import json
import os
import pathlib
import re
import subprocess
import time

import pytest
from keysharness import (DAY, HOUR, KEYS, KINDS, START, TEST_PUBLIC, bad,
                         check_bundle, good, key_of_tests, lines_of, mode, run,
                         secret_file)
from nacl.signing import SigningKey

pytestmark = pytest.mark.usefixtures("in_tmp")


def test_delegate_makes_one_file():
    before = int(time.time())
    out = good("delegate", "-k", key_of_tests(), "-o", "b")
    after = int(time.time())
    start, end = check_bundle("b", TEST_PUBLIC)
    assert before - HOUR <= start <= after - HOUR  # back-dated
    assert end - start == 30 * DAY + HOUR
    assert out.startswith("b: 20") and out.count("\n") == 1
    assert good("public", "b") == TEST_PUBLIC + "\n"


@pytest.mark.parametrize("args, window", [
    (["--from", str(START)], (START - HOUR, START + 30 * DAY)),
    (["--from", "2026-11-23T02:00:00Z", "--for", "1m"],
     (START - 6, START + 60)),
    (["--from", str(START), "--for", "90"], (START - 9, START + 90)),
    (["--from", str(START), "--for", "24h", "--overlap", "0"],
     (START, START + DAY)),
    (["--from", str(START), "--for", "60000ms", "--overlap", "59s"],
     (START - 59, START + 60)),
    (["--from", "0", "--for", "1d", "--overlap", "0"], (0, DAY)),
    (["--from", "9999-12-30T23:59:59Z", "--for", "1d"],
     (253402300799 - DAY - HOUR, 253402300799)),
])
def test_windows(args, window):
    good("delegate", "-k", key_of_tests(), "-o", "b", *args)
    assert check_bundle("b", TEST_PUBLIC) == window


@pytest.mark.parametrize("args, words", [
    (["--from", "yesterday"], '--from: expected now, Unix seconds'),
    (["--from", "2026-02-30T00:00:00Z"], '--from: expected'),
    (["--for", "59s"], "--for: expected a duration of at least 60 s"),
    (["--for", "1.5h"], '--for: expected a duration'),
    (["--for", "60500ms"], '--for: expected a duration'),
    (["--for", "106751991167d"], "--for: ends after the year 9999"),
    (["--for", "2000000d", "--count", "10000"], "after the year 9999"),
    (["--overlap", "30d"], "--overlap: expected less than --for"),
    (["--overlap", "-1s"], "--overlap: expected a duration"),
    (["--from", "3599"], "--overlap: reaches back before 1970"),
    (["--count", "0"], "--count: expected a number from 1 to 10000"),
    (["--count", "10001"], "--count: expected a number"),
    (["--count", "1e3"], "--count: expected a number"),
    (["--count", "99999999999999999999"], "--count: expected a number"),
    (["extra"], "expected options only, got 1 arguments"),
    (["--passphrase", "--passphrase-file", "x"], "not both"),
])
def test_delegate_refuses(args, words):
    assert words in bad("delegate", "-k", key_of_tests(), "-o", "b", *args)
    assert os.listdir() == ["test.key"]


def test_queue():
    out = good("delegate", "-k", key_of_tests(), "-o", "queue", "--count", "5",
               "--from", str(START), "--for", "1d")
    assert mode("queue") == 0o700
    names = sorted(os.listdir("queue"))
    assert names == [f"delegation-202611{d}T010000Z.bundle"
                     for d in (23, 24, 25, 26, 27)]
    assert [line.split(": ")[0] for line in out.splitlines()] == \
        ["queue/" + n for n in names]
    windows = [check_bundle("queue/" + n, TEST_PUBLIC) for n in names]
    assert windows == [(START + n * DAY - HOUR, START + (n + 1) * DAY)
                       for n in range(5)]
    seeds = {lines_of("queue/" + n)[1]["seed"] for n in names}
    assert len(seeds) == 5  # no online key twice
    # the next run goes on where this one ended
    good("delegate", "-k", "test.key", "-o", "queue", "--for", "1d",
         "--from", str(START + 5 * DAY))
    assert len(os.listdir("queue")) == 6


@pytest.mark.parametrize("output, make", [
    ("dir", True), ("dir/", True), ("new/", False)])
def test_queue_of_one(output, make):
    if make:
        os.mkdir("dir")
    good("delegate", "-k", key_of_tests(), "-o", output, "--from", str(START))
    path = output.rstrip("/") + "/delegation-20261123T010000Z.bundle"
    check_bundle(path, TEST_PUBLIC)


def test_queue_is_whole_or_absent():
    key = key_of_tests()
    os.mkdir("queue")
    args = ("delegate", "-k", key, "-o", "queue", "--from", str(START),
            "--for", "1d", "--count", "4")
    taken = "queue/delegation-20261125T010000Z.bundle"
    os.symlink("nowhere", taken)
    assert f"{taken}: exists already and is never overwritten" in bad(*args)
    assert os.listdir("queue") == [os.path.basename(taken)]
    assert "not a directory" in bad("delegate", "-k", key, "-o", key,
                                    "--count", "2")
    assert "No such file" in bad("delegate", "-k", key, "-o", "no/where/")


def test_queue_that_fails_midway_leaves_nothing():
    """Somebody takes the last name while the first ones are being made."""
    count = 400
    child = subprocess.Popen(
        [KEYS, "delegate", "-k", key_of_tests(), "-o", "queue", "--from",
         str(START), "--for", "1h", "--overlap", "0", "--count", str(count)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 30
    while not (os.path.exists("queue") and os.listdir("queue")):
        assert time.monotonic() < end and child.poll() is None
    name = time.strftime("delegation-%Y%m%dT%H%M%SZ.bundle",
                         time.gmtime(START + (count - 1) * HOUR))
    pathlib.Path("queue", name).touch()
    out, err = child.communicate(timeout=60)
    assert child.returncode == 1 and out == b""
    assert f"{name}: exists already".encode() in err
    assert os.listdir("queue") == [name]


def test_expired_bundle():
    r = run("delegate", "-k", key_of_tests(), "-o", "b", "--from",
            "2020-01-01T00:00:00Z")
    assert r.returncode == 0
    assert b"has ended already" in r.stderr
    assert re.search(r"^state +expired \d+d \d+h ago$", good("show", "b"),
                     re.M)
    assert json.loads(good("show", "b", "--json"))["state"] == "expired"


def test_show_bundle():
    good("delegate", "-k", key_of_tests(), "-o", "b", "--from",
         str(int(time.time()) - 60), "--for", "2d")
    _, fields = lines_of("b")
    online = base64.b64encode(bytes(SigningKey(
        base64.b64decode(fields["seed"])).verify_key)).decode()
    text = good("show", "b")
    for words in (TEST_PUBLIC, online, "valid, ends in 1d 23h",
                  "rfc draft12 draft08 draft07 draft01 google",
                  "signatures     verify"):
        assert words in text
    facts = json.loads(good("show", "b", "--json"))
    utc = {n: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(fields[n])))
           for n in ("not-before", "not-after")}
    assert facts == {
        "file": "b", "type": "bundle", "public_key": TEST_PUBLIC,
        "online_public_key": online, "not_before": int(fields["not-before"]),
        "not_before_utc": utc["not-before"],
        "not_after": int(fields["not-after"]),
        "not_after_utc": utc["not-after"], "kinds": list(KINDS),
        "state": "valid", "verifies": True, "verdict": "ok"}


def test_pending_bundle():
    good("delegate", "-k", key_of_tests(), "-o", "b", "--from",
         str(int(time.time()) + 3 * DAY))
    assert "pending, starts in 2d 2" in good("show", "b")


def test_no_seed_is_ever_printed():
    good("delegate", "-k", key_of_tests(), "-o", "b")
    secrets = [v["seed"] for v in (lines_of("b")[1], lines_of("test.key")[1])]
    secrets += [base64.b64decode(s).hex() for s in secrets]
    for args in (["show", "b"], ["show", "test.key"], ["public", "b"],
                 ["show", "b", "--json"], ["public", "test.key", "--json"],
                 ["show", "test.key", "--json"],
                 ["delegate", "-k", "test.key", "-o", "c", "--json"]):
        r = run(*args)
        assert r.returncode == 0
        for s in secrets:
            assert s.encode() not in r.stdout + r.stderr


@pytest.mark.parametrize("change, verdict", [
    (lambda f: f.pop("cert-google"), "kind-missing"),
    (lambda f: f.update({"cert-other": f.pop("cert-rfc")}), "kind-unknown"),
    (lambda f: f.update({"cert-rfc": f["cert-draft12"]}), "signature"),
    (lambda f: f.update({"public": base64.b64encode(bytes(
        SigningKey(bytes(32)).verify_key)).decode()}), "signature"),
    (lambda f: f.update({"seed": base64.b64encode(bytes(32)).decode()}),
     "key-mismatch"),
    (lambda f: f.update({"not-after": str(int(f["not-after"]) + 1)}),
     "times-mismatch"),
    (lambda f: f.update({"cert-rfc": base64.b64encode(bytes(152)).decode()}),
     "malformed"),
])
def test_show_finds_a_bundle_that_does_not_verify(change, verdict):
    good("delegate", "-k", key_of_tests(), "-o", "b")
    first, fields = lines_of("b")
    change(fields)
    secret_file("c", "\n".join(
        [first, *(f"{n}: {v}" for n, v in fields.items()), ""]))
    r = run("show", "c")
    assert r.returncode == 1
    assert b"does not verify: " in r.stderr
    assert verdict in r.stderr.decode()
    r = run("show", "c", "--json")
    assert r.returncode == 1
    facts = json.loads(r.stdout)
    assert facts["verifies"] is False and verdict in facts["verdict"]
