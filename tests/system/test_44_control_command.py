"""l4proxyctl: its command line, and words when there is no answer."""
import signal

import harness
import pytest
from controlharness import REFUSED, UNREACHABLE, USAGE
from proxyharness import application


@pytest.mark.parametrize("argv, why", [
    ([], "usage"), (["fly"], "no command fly"),
    (["drain"], "needs one"), (["ping", "x"], "too much"),
    (["ping", "--app", "x"], "does not take it"),
    (["sessions", "--limit", "0"], "makes no sense"),
    (["sessions", "--limit", "many"], "makes no sense"),
    (["drain", "x", "--for", "soon"], "makes no sense"),
    (["undrain", "x", "--for", "5s"], "does not take it"),
    (["metrics", "--json"], "no JSON"),
    (["drain", "x" * 64], "no name"),
], ids=str)
def test_usage(argv, why):
    p = harness.run("l4proxyctl", "-s", "/nowhere", *argv, check=False)
    assert p.returncode == USAGE and why in p.stderr and not p.stdout


def test_no_daemon_is_told_with_path_and_reason(tmp_path):
    for path, why in [(tmp_path / "none.sock", "No such file"),
                      (tmp_path, "refused"), ("x" * 200, "too long")]:
        p = harness.run("l4proxyctl", "-s", path, "ping", check=False)
        assert p.returncode == UNREACHABLE
        assert str(path) in p.stderr and why in p.stderr, p.stderr


def test_a_daemon_that_hangs(controlled, tcp):
    p = controlled(application(harness.free_port(), tcp))
    p.kill(signal.SIGSTOP)
    try:
        told = p.ctl("ping", status=UNREACHABLE)
        assert f"{p.socket}: no answer in time" in told.stderr
    finally:
        p.kill(signal.SIGCONT)
    assert "is there" in p.ctl("ping").stdout


def test_an_application_that_is_not_there(controlled, tcp):
    p = controlled(application(harness.free_port(), tcp))
    for command in ("applications", "origins", "sessions", "counters"):
        told = p.ctl(command, "--app", "nobody", status=REFUSED)
        assert "no application nobody" in told.stderr and not told.stdout
