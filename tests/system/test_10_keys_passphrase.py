"""Keys under a passphrase, from a file and from a terminal."""
import base64
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time

import nacl.pwhash
import nacl.secret
import pytest
from keysharness import (KEYS, TEST_PUBLIC, TEST_SEED, bad, check_bundle, good,
                         lines_of, secret_file)
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey

pytestmark = pytest.mark.usefixtures("in_tmp")


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
