"""The control socket: its file, whose it is, who may ask for what."""
import os
import shutil
import signal
import stat
import subprocess

import harness
import pytest
from controlharness import GOOD, REFUSED, UNREACHABLE
from proxyharness import Controlled, application, connect, read_exactly


def test_the_file_is_ours_alone_and_goes_with_us(controlled, tcp):
    p = controlled(application(harness.free_port(), tcp))
    st = p.socket.lstat()
    assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o660
    assert st.st_uid == os.geteuid()
    p.stop()
    assert not p.socket.exists()
    told = p.ctl("ping", status=UNREACHABLE)
    assert str(p.socket) in told.stderr and "l4proxyd running" in told.stderr


def test_a_dead_daemons_file_is_replaced(controlled, tcp):
    p = controlled(application(harness.free_port(), tcp))
    p.child.kill()
    p.child.wait()
    assert p.socket.exists()
    assert "does not run" in p.ctl("ping", status=UNREACHABLE).stderr
    p.log_path.unlink()
    p.start()
    assert p.rows("version")[0]["pid"] == p.pid


def test_two_daemons_and_a_test_do_not_take_it(controlled, tcp, tmp_path):
    p = controlled(application(harness.free_port(), tcp))
    second = Controlled(tmp_path, [application(harness.free_port(), tcp)],
                        name="second")
    second.write_config(second.config)
    told = harness.run("l4proxyd", "-c", second.config_path, check=False)
    assert told.returncode == 1
    assert f"control: {p.socket}: a running daemon" in told.stderr
    # a test takes the first for the one that is to run by it
    told = harness.run("l4proxyd", "-t", "-c", second.config_path)
    assert f"pid {p.pid} runs by this configuration" in told.stderr
    assert p.rows("version")[0]["pid"] == p.pid


def test_t_binds_it_and_leaves_nothing(tmp_path, tcp):
    p = Controlled(tmp_path, [application(harness.free_port(), tcp)])
    p.write_config(p.config)
    told = harness.run("l4proxyd", "-t", "-c", p.config_path)
    assert "good" in told.stderr and not p.socket.exists()
    # nor where its user could not remove it
    ours = tmp_path / "ours"
    ours.mkdir(0o755)
    p.write_config(dict(p.config, control=str(ours / "x.sock")))
    told = harness.run("l4proxyd", "-t", "-c", p.config_path)
    assert "good" in told.stderr and "stays" not in told.stderr
    assert list(ours.iterdir()) == []
    p.write_config(dict(p.config, control="/nowhere/at/all/x.sock"))
    told = harness.run("l4proxyd", "-t", "-c", p.config_path, check=False)
    assert told.returncode == 1 and "/nowhere/at/all/x.sock" in told.stderr


def test_what_is_no_socket_stays(tmp_path, tcp):
    p = Controlled(tmp_path, [application(harness.free_port(), tcp)])
    p.socket.parent.mkdir()
    p.socket.write_text("precious")
    p.write_config(p.config)
    told = harness.run("l4proxyd", "-c", p.config_path, check=False)
    assert told.returncode == 1 and "no socket" in told.stderr
    assert p.socket.read_text() == "precious"


@pytest.fixture
def as_user(tmp_path, as_root):
    """as_user(uid, gid, argument…): l4proxyctl, where anybody may run it."""
    program = shutil.copy(harness.BUILD / "l4proxyctl", tmp_path)

    def run(uid, gid, *argv):
        return subprocess.run(
            ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
             program, *map(str, argv)], timeout=60, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return run


def test_who_may_read_and_who_may_change(controlled, tcp, as_user):
    port = harness.free_port()
    p = controlled(application(port, tcp), control_group="games")
    told = as_user(4242, 4242, "-s", p.socket, "ping")
    assert told.returncode == UNREACHABLE
    assert "Permission denied" in told.stderr and str(p.socket) in told.stderr
    games = p.socket.stat().st_gid
    told = as_user(4242, games, "-s", p.socket, "--json", "applications")
    assert told.returncode == GOOD and "story" in told.stdout
    for command in (["reload"], ["drain", "story"], ["undrain", "story"]):
        told = as_user(4242, games, "-s", p.socket, *command)
        assert told.returncode == REFUSED, told
        assert "root" in told.stderr and "4242" in told.stderr
    assert p.rows("applications")[0]["state"] == "serving"
    assert p.rows("version")[0]["reloads"] == 0


def test_an_unknown_group_is_an_error(tmp_path, tcp):
    p = Controlled(tmp_path, [application(harness.free_port(), tcp)],
                   control_group="no-such-group")
    p.write_config(p.config)
    told = harness.run("l4proxyd", "-t", "-c", p.config_path, check=False)
    assert told.returncode == 1 and "no-such-group" in told.stderr


def test_it_answers_while_it_ends(controlled, tcp):
    """What is it waiting for? The sessions that are left say so."""
    port = harness.free_port()
    p = controlled(application(port, tcp), drain_s=3600)
    with connect(port) as c:
        c.sendall(b"x")
        read_exactly(c, 1)
        p.kill(signal.SIGTERM)
        p.expect_log("stopping")
        harness.until(lambda: len(p.rows("sessions")) == 1, "one is left")
        assert p.rows("version")[0]["state"] == "stopping"
        assert "about to end" in p.ctl("reload", status=REFUSED).stderr
    harness.until(lambda: not p.alive(), "it has ended")
