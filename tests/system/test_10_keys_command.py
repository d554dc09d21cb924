"""The command line of roughtime-keys, its JSON, the examples of its manual."""
import errno
import json
import os
import re
import subprocess

import harness
import pytest
from keysharness import (HOUR, KEYS, START, bad, check_bundle, good,
                         key_of_tests)

COMMANDS = ("generate", "import", "public", "delegate", "show")
pytestmark = pytest.mark.usefixtures("in_tmp")


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
    key = key_of_tests()
    with open("/dev/full", "wb") as full:
        for args in (["public", key], ["show", key], ["--help"]):
            r = subprocess.run([KEYS, *args], stdout=full,
                               stderr=subprocess.PIPE)
            assert r.returncode == 1, args
            assert os.strerror(errno.ENOSPC).encode() in r.stderr


def test_examples_of_the_manual_run():
    """Every command line in the EXAMPLES of roughtime-keys(1)."""
    text = (harness.ROOT / "keys/roughtime-keys.1").read_text()
    examples = text.split(".Sh EXAMPLES")[1].split(".Sh SEE ALSO")[0]
    blocks = re.findall(r"\.Bd -literal.*?\n(.*?)\.Ed", examples, re.S)
    assert len(blocks) >= 4
    env = {**os.environ, "PATH": f"{harness.BUILD}:{os.environ['PATH']}"}
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
