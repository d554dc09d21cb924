"""roughtime-keys as its users run it. The oracle for Ed25519, Argon2id and
secretbox is python3-nacl. All keys here are made on the spot, except the
public test key of the interoperability lists, which protects nothing.
"""
import base64
import errno
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import termios
import time

import nacl.pwhash
import nacl.secret
import pytest
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

import oracle

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
KEYS = BUILD / "roughtime-keys"
TEST_SEED = "06e5e2dc28697bb363de00976af2d422819bc67832ad655ade96081ecc1bcdb5"
TEST_PUBLIC = "Ixu7gqjJ9TU6IxsO8wxZxAFT5te6FcZZQq5vXFl35JE="
HOUR, DAY = 3600, 86400
START = 1795399200  # 2026-11-23T02:00:00Z


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.umask(0o022)


def run(*args, stdin=b"", **kwargs):
    return subprocess.run([KEYS, *map(str, args)], input=stdin,
                          capture_output=True, timeout=60, **kwargs)


def good(*args, **kwargs):
    r = run(*args, **kwargs)
    assert r.returncode == 0, r.stderr.decode()
    return r.stdout.decode()


def bad(*args, **kwargs):
    """What a refused command says; it says it on stderr alone, exits 1."""
    r = run(*args, **kwargs)
    assert r.returncode == 1, (r.returncode, r.stdout, r.stderr)
    assert r.stdout == b""
    text = r.stderr.decode()
    assert text.startswith("roughtime-keys: ") and text.count("\n") == 1, text
    return text


def lines_of(path):
    """{name: value} of a key file or bundle, and its first line."""
    first, *rest = pathlib.Path(path).read_text().splitlines()
    pairs = [line.split(": ", 1) for line in rest]
    assert len(dict(pairs)) == len(pairs)
    return first, dict(pairs)


def mode(path):
    return os.lstat(path).st_mode & 0o7777


def secret_file(path, text):
    pathlib.Path(path).write_text(text)
    os.chmod(path, 0o600)
    return path


def test_key():
    good("import", "-o", "test.key", stdin=TEST_SEED.encode())
    return "test.key"


test_key.__test__ = False


# -- keys --------------------------------------------------------------------

def test_generate_makes_a_private_key():
    public = good("generate", "-o", "main.key").strip()
    first, fields = lines_of("main.key")
    assert first == "timeshare-key 1"
    assert list(fields) == ["public", "seed"]
    seed = base64.b64decode(fields["seed"], validate=True)
    assert base64.b64decode(public) == bytes(SigningKey(seed).verify_key)
    assert fields["public"] == public
    assert mode("main.key") == 0o600
    assert os.listdir() == ["main.key"]
    assert good("generate", "-o", "other.key").strip() != public


@pytest.mark.parametrize("umask", [0, 0o777])
def test_mode_is_not_the_umasks(umask):
    good("generate", "-o", "k", preexec_fn=lambda: os.umask(umask))
    assert mode("k") == 0o600


@pytest.mark.parametrize("text", [
    TEST_SEED, TEST_SEED + "\n", TEST_SEED.upper() + "\r\n",
    base64.b64encode(bytes.fromhex(TEST_SEED)).decode() + " \n"])
def test_import_of_the_test_key(text):
    assert good("import", "-o", "k", stdin=text.encode()) == TEST_PUBLIC + "\n"
    assert good("public", "k") == TEST_PUBLIC + "\n"
    assert mode("k") == 0o600


@pytest.mark.parametrize("text", [
    "", "\n", TEST_SEED[:-1], TEST_SEED + "0", "g" + TEST_SEED[1:],
    TEST_SEED[:-2] + "\0\0", "A" * 43, "A" * 44, "=" * 44, "x" * 300,
    "0x" + TEST_SEED, TEST_SEED + "\n" + TEST_SEED])
def test_import_refuses(text):
    assert "expected a seed of 32 bytes" in bad(
        "import", "-o", "k", stdin=text.encode())
    assert os.listdir() == []


def test_nothing_is_overwritten():
    good("generate", "-o", "k")
    before = pathlib.Path("k").read_bytes()
    os.symlink("nowhere", "dangling")
    os.mkdir("dir")
    for path in ("k", "dangling", "dir"):
        assert "never overwritten" in bad("generate", "-o", path)
        assert "never overwritten" in bad(
            "import", "-o", path, stdin=TEST_SEED.encode())
    assert "never overwritten" in bad("delegate", "-k", "k", "-o", "k")
    assert pathlib.Path("k").read_bytes() == before
    assert sorted(os.listdir()) == ["dangling", "dir", "k"]


def test_no_place_for_the_key():
    assert "No such file or directory" in bad("generate", "-o", "no/k")
    secret_file("file", "")
    assert "Not a directory" in bad("generate", "-o", "file/k")


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_keys_of_others_are_refused(bits):
    key = test_key()
    os.chmod(key, bits)
    for args in (("public", key), ("show", key),
                 ("delegate", "-k", key, "-o", "b")):
        text = bad(*args)
        assert f"test.key: mode {bits:04o} lets others" in text
        assert "chmod 600 test.key" in text
    os.chmod(key, 0o400)
    assert good("public", key) == TEST_PUBLIC + "\n"


def test_odd_files_are_refused():
    os.symlink(test_key(), "link")
    os.mkfifo("fifo", 0o600)
    assert "a symbolic link" in bad("public", "link")
    assert "not a regular file" in bad("public", "fifo")
    assert "not a regular file" in bad("public", ".")
    assert "No such file" in bad("public", "none")
    assert "neither a key file nor a delegation bundle" in bad(
        "public", secret_file("text", "hello\n"))
    assert "longer than 4096 bytes" in bad(
        "show", secret_file("long", "x" * 5000))
    text = pathlib.Path("test.key").read_text()
    assert "cut off" in bad("show", secret_file("cut", text[:-1]))
    assert "does not give the public key" in bad(
        "show", secret_file("other", text.replace("seed: B", "seed: C")))
    assert "expected first line: timeshare-key 1" in bad(
        "delegate", "-k", "text", "-o", "b")


# -- passphrases -------------------------------------------------------------

def decrypt(fields, passphrase):
    """The seed of an encrypted key file, by python3-nacl alone."""
    ops, mem, salt = fields["argon2id"].split(" ")
    nonce, box = map(base64.b64decode, fields["secretbox"].split(" "))
    key = nacl.pwhash.argon2id.kdf(32, passphrase, base64.b64decode(salt),
                                   opslimit=int(ops), memlimit=int(mem))
    return nacl.secret.SecretBox(key).decrypt(box, nonce)


def test_encrypted_key():
    secret_file("pass", "correct horse\r\nmore lines\n")
    public = good("import", "-o", "k", "--passphrase-file", "pass",
                  stdin=TEST_SEED.encode())
    assert public == TEST_PUBLIC + "\n"
    first, fields = lines_of("k")
    assert list(fields) == ["public", "argon2id", "secretbox"]
    assert decrypt(fields, b"correct horse").hex() == TEST_SEED
    with pytest.raises(CryptoError):
        decrypt(fields, b"correct")
    # what needs no seed needs no passphrase
    assert good("public", "k") == public
    assert "encrypted (Argon2id, 3 passes over 262144 KiB)" in good("show",
                                                                    "k")
    text = bad("delegate", "-k", "k", "-o", "b")
    assert "encrypted: a passphrase is needed; give --passphrase" in text
    secret_file("wrong", "correct")
    assert "k: wrong passphrase" in bad(
        "delegate", "-k", "k", "-o", "b", "--passphrase-file", "wrong")
    assert not os.path.exists("b")
    good("delegate", "-k", "k", "-o", "b", "--passphrase-file", "pass")
    assert good("public", "b") == public


def test_key_of_another_program_opens():
    """The format of the manual, written here without our code."""
    salt, nonce = os.urandom(16), os.urandom(24)
    key = nacl.pwhash.argon2id.kdf(32, b"pw", salt, opslimit=1, memlimit=8192)
    box = nacl.secret.SecretBox(key).encrypt(bytes.fromhex(TEST_SEED), nonce)
    b64 = [base64.b64encode(x).decode() for x in (salt, nonce, box.ciphertext)]
    secret_file("k", f"timeshare-key 1\npublic: {TEST_PUBLIC}\n"
                     f"argon2id: 1 8192 {b64[0]}\nsecretbox: {b64[1]} {b64[2]}"
                     "\n")
    secret_file("pass", "pw")
    good("delegate", "-k", "k", "-o", "b", "--passphrase-file", "pass")
    check_bundle("b", TEST_PUBLIC)


def test_bad_passphrase_files():
    secret_file("empty", "\n")
    secret_file("open", "x")
    os.chmod("open", 0o644)
    secret_file("long", "x" * 1025)
    for path, words in (("empty", "the passphrase is empty"),
                        ("open", "mode 0644 lets others read it"),
                        ("long", "longer than 1024 bytes"),
                        ("none", "No such file")):
        assert words in bad("generate", "-o", "k", "--passphrase-file", path)
    assert not os.path.exists("k")


class Terminal:
    """A program on a terminal of its own, as script(1) would run it."""

    def __init__(self, *args):
        self.master, slave = pty.openpty()

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen(
            [KEYS, *args], stdin=slave, stdout=slave, stderr=slave,
            preexec_fn=take_terminal, close_fds=True)
        self.slave = slave
        self.seen = ""

    def expect(self, text):
        """Reads on until `text` has been printed after what was read."""
        start, end = len(self.seen), time.monotonic() + 30
        while text not in self.seen[start:]:
            assert time.monotonic() < end, self.seen
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 4096).decode()

    def type(self, text):
        os.write(self.master, text.encode())

    def echoes(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def wait(self):
        rc = self.child.wait(timeout=30)
        while select.select([self.master], [], [], 0.1)[0]:
            self.seen += os.read(self.master, 4096).decode()
        echoes = self.echoes()
        os.close(self.slave)
        os.close(self.master)
        assert echoes, "the terminal was left without echo"
        return rc


def test_prompt():
    t = Terminal("generate", "-o", "k", "--passphrase")
    t.expect("New passphrase: ")
    assert not t.echoes()
    t.type("open sesame\n")
    t.expect("Once more: ")
    t.type("open sesame\n")
    assert t.wait() == 0, t.seen
    assert "sesame" not in t.seen
    _, fields = lines_of("k")
    seed = decrypt(fields, b"open sesame")
    assert base64.b64encode(bytes(SigningKey(seed).verify_key)).decode() == \
        fields["public"]
    t = Terminal("delegate", "-k", "k", "-o", "b", "--passphrase")
    t.expect("Passphrase: ")
    t.type("open sesame\n")
    assert t.wait() == 0, t.seen
    check_bundle("b", fields["public"])


@pytest.mark.parametrize("typed, words", [
    (["a\n", "b\n"], "the passphrases differ"),
    (["\n"], "the passphrase is empty"),
    (["x" * 1024 + "\n"], "the passphrase is too long"),
    (["a\n", "\x03"], "interrupted"),
    (["\x03"], "interrupted"),
    (["\x04"], "the passphrase is empty"),
])
def test_prompt_refuses(typed, words):
    t = Terminal("generate", "-o", "k", "--passphrase")
    for text, question in zip(typed, ("New passphrase: ", "Once more: ")):
        t.expect(question)
        t.type(text)
    assert t.wait() == 1
    assert words in t.seen
    assert os.listdir() == []


def test_prompt_ends_on_a_signal():
    t = Terminal("generate", "-o", "k", "--passphrase")
    t.expect("New passphrase: ")
    t.child.send_signal(signal.SIGTERM)
    assert t.wait() == 1
    assert os.listdir() == []


def test_prompt_without_terminal():
    assert "no terminal to ask on; use --passphrase-file" in bad(
        "generate", "-o", "k", "--passphrase", start_new_session=True)


# -- bundles -----------------------------------------------------------------

# kind -> a version that uses such certificates
KINDS = {"rfc": "rfc", "draft12": "draft-14", "draft08": "draft-08",
         "draft07": "draft-07", "draft01": "draft-01", "google": "google"}


def check_bundle(path, public):
    """Verifies every certificate with python3-nacl; returns the window."""
    first, fields = lines_of(path)
    assert first == "timeshare-delegation 1"
    assert fields["public"] == public
    assert mode(path) == 0o600
    online = SigningKey(base64.b64decode(fields["seed"])).verify_key
    window = int(fields["not-before"]), int(fields["not-after"])
    kinds = {n[5:]: v for n, v in fields.items() if n.startswith("cert-")}
    assert set(kinds) == set(KINDS)
    assert set(fields) == {"public", "seed", "not-before", "not-after",
                           *("cert-" + k for k in KINDS)}
    for kind, text in kinds.items():
        version = oracle.BY_NAME[KINDS[kind]]
        cert = base64.b64decode(text, validate=True)
        assert len(cert) == 152
        parts = oracle.decode(cert)
        assert set(parts) == {b"SIG\0", b"DELE"}
        VerifyKey(base64.b64decode(public)).verify(
            version.delegation + parts[b"DELE"], parts[b"SIG\0"])
        dele = oracle.decode(parts[b"DELE"])
        assert dele[b"PUBK"] == bytes(online)
        for tag, unix in zip((b"MINT", b"MAXT"), window):
            wire = int.from_bytes(dele[tag], "little")
            assert wire == version.from_unix_us(unix * 10**6)
    return window


def test_delegate_makes_one_file():
    before = int(time.time())
    out = good("delegate", "-k", test_key(), "-o", "b")
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
    good("delegate", "-k", test_key(), "-o", "b", *args)
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
    assert words in bad("delegate", "-k", test_key(), "-o", "b", *args)
    assert os.listdir() == ["test.key"]


def test_queue():
    out = good("delegate", "-k", test_key(), "-o", "queue", "--count", "5",
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
    good("delegate", "-k", test_key(), "-o", output, "--from", str(START))
    path = output.rstrip("/") + "/delegation-20261123T010000Z.bundle"
    check_bundle(path, TEST_PUBLIC)


def test_queue_is_whole_or_absent():
    key = test_key()
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
        [KEYS, "delegate", "-k", test_key(), "-o", "queue", "--from",
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
    r = run("delegate", "-k", test_key(), "-o", "b", "--from",
            "2020-01-01T00:00:00Z")
    assert r.returncode == 0
    assert b"has ended already" in r.stderr
    assert re.search(r"^state +expired \d+d \d+h ago$", good("show", "b"),
                     re.M)
    assert json.loads(good("show", "b", "--json"))["state"] == "expired"


# -- show --------------------------------------------------------------------

def srv():
    return base64.b64encode(
        oracle.srv(base64.b64decode(TEST_PUBLIC))).decode()


def test_show_key():
    text = good("show", test_key())
    assert TEST_PUBLIC in text and srv() in text
    assert json.loads(good("show", "--json", "test.key")) == {
        "file": "test.key", "type": "key", "public_key": TEST_PUBLIC,
        "srv": srv(), "encrypted": False}


def test_show_bundle():
    good("delegate", "-k", test_key(), "-o", "b", "--from",
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
    good("delegate", "-k", test_key(), "-o", "b", "--from",
         str(int(time.time()) + 3 * DAY))
    assert "pending, starts in 2d 2" in good("show", "b")


def test_no_seed_is_ever_printed():
    good("delegate", "-k", test_key(), "-o", "b")
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
    good("delegate", "-k", test_key(), "-o", "b")
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


# -- command line ------------------------------------------------------------

COMMANDS = ("generate", "import", "public", "delegate", "show")


def test_help_and_version_everywhere():
    for command in ([], *([c] for c in COMMANDS)):
        text = good(*command, "--help")
        for c in COMMANDS:
            assert f"\nroughtime-keys {c}" in text.replace("usage: ", "\n") \
                or f"       roughtime-keys {c}" in text
        assert good(*command, "-h") == text
        assert re.fullmatch(r"roughtime-keys \d+\.\d+\.\d+\n",
                            good(*command, "--version"))


@pytest.mark.parametrize("args, words", [
    ([], "expected a command"),
    (["--json"], "expected a command"),
    (["unknown"], 'expected a command, got "unknown"'),
    (["generate"], "generate: expected -o FILE"),
    (["generate", "-o", ""], "generate: expected -o FILE"),
    (["generate", "-o"], "requires an argument"),
    (["generate", "-o", "k", "more"], "got 1 arguments"),
    (["generate", "-o", "k", "-k", "x"], "generate does not take --key"),
    (["generate", "-o", "k", "--for", "1d"], "does not take --for"),
    (["import"], "import: expected -o FILE"),
    (["public"], "public: expected one FILE, got 0"),
    (["public", "a", "b"], "public: expected one FILE, got 2"),
    (["public", "-o", "x", "a"], "public does not take --output"),
    (["show", "a", "--passphrase"], "show does not take --passphrase"),
    (["delegate", "-o", "b"], "delegate: expected -k FILE"),
    (["delegate", "-k", "k"], "delegate: expected -o FILE"),
    (["show", "--unknown"], "unrecognized option"),
])
def test_bad_command_lines(args, words):
    assert words in bad(*args)
    assert os.listdir() == []


def test_json_of_what_is_made():
    facts = json.loads(good("generate", "-o", "k", "--json"))
    assert facts == {"file": "k", "encrypted": False,
                     "public_key": good("public", "k").strip()}
    assert json.loads(good("public", "k", "--json")) == {
        "file": "k", "public_key": facts["public_key"]}
    made = json.loads(good("delegate", "-k", "k", "-o", "q", "--count", "2",
                           "--from", str(START), "--for", "1h", "--json"))
    assert [b["not_before"] for b in made["bundles"]] == \
        [START - 360, START + HOUR - 360]
    for b in made["bundles"]:
        assert check_bundle(b["file"], facts["public_key"]) == \
            (b["not_before"], b["not_after"])


def test_names_that_are_not_utf8():
    name = b"k\xff"
    r = subprocess.run([KEYS, "generate", "-o", name, "--json"],
                       capture_output=True)
    assert r.returncode == 0
    assert json.loads(r.stdout)["file"] == "k?"
    assert os.listdir(b".") == [name]


def test_full_standard_output_is_a_failure():
    key = test_key()
    with open("/dev/full", "wb") as full:
        for args in (["public", key], ["show", key], ["--help"]):
            r = subprocess.run([KEYS, *args], stdout=full,
                               stderr=subprocess.PIPE)
            assert r.returncode == 1, args
            assert os.strerror(errno.ENOSPC).encode() in r.stderr


def test_examples_of_the_manual_run():
    """Every command line in the EXAMPLES of roughtime-keys(1)."""
    text = (ROOT / "keys/roughtime-keys.1").read_text()
    examples = text.split(".Sh EXAMPLES")[1].split(".Sh SEE ALSO")[0]
    blocks = re.findall(r"\.Bd -literal.*?\n(.*?)\.Ed", examples, re.S)
    assert len(blocks) >= 4
    env = {**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}"}
    for block in blocks:
        commands, expected = [], ""
        for line in block.replace("\\e\n", "\\\n").splitlines():
            if line.startswith("$ "):
                commands.append(line[2:])
            elif line.startswith("    "):
                commands[-1] += "\n" + line
            else:
                expected += line + "\n"
        r = subprocess.run(["sh", "-ec", "\n".join(commands)], env=env,
                           capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r.stderr
        assert expected in r.stdout
    assert len(os.listdir("delegations")) == 13
