"""Long-term keys: made, imported, shown, and never lost or told."""
import base64
import json
import os
import pathlib

import oracle
import pytest
from keysharness import (TEST_PUBLIC, TEST_SEED, bad, good, key_of_tests,
                         lines_of, mode, secret_file)
from nacl.signing import SigningKey

pytestmark = pytest.mark.usefixtures("in_tmp")


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
    key = key_of_tests()
    os.chmod(key, bits)
    for args in (("public", key), ("show", key),
                 ("delegate", "-k", key, "-o", "b")):
        text = bad(*args)
        assert f"test.key: mode {bits:04o} lets others" in text
        assert "chmod 600 test.key" in text
    os.chmod(key, 0o400)
    assert good("public", key) == TEST_PUBLIC + "\n"


def test_odd_files_are_refused():
    os.symlink(key_of_tests(), "link")
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


def srv():
    return base64.b64encode(
        oracle.srv(base64.b64decode(TEST_PUBLIC))).decode()


def test_show_key():
    text = good("show", key_of_tests())
    assert TEST_PUBLIC in text and srv() in text
    assert json.loads(good("show", "--json", "test.key")) == {
        "file": "test.key", "type": "key", "public_key": TEST_PUBLIC,
        "srv": srv(), "encrypted": False}
