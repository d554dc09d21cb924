"""sharing: guarded. The port is shared with the other daemon, for the moment
of its bind, and with nobody else."""
import contextlib

import harness
import pytest
from sharedport import EDGE, MORE, TIME, SharedPort


@pytest.fixture
def shared(tmp_path, identity, namespaces):
    with contextlib.ExitStack() as made:
        def make(**more):
            s = SharedPort(namespaces, tmp_path, identity, **more)
            made.callback(s.stop)
            return s
        yield make


@pytest.mark.parametrize("first", ["time", "proxy"])
def test_both_serve_and_nobody_else_gets_in(shared, first):
    s = shared()
    order = [s.time, s.proxy] if first == "time" else [s.proxy, s.time]
    for daemon in order:
        daemon.start()
    s.both()
    s.nobody_else_gets_in()
    for daemon in order:  # each comes back beside the other
        daemon.stop()
        s.start_again(daemon)
        s.both()
    s.nobody_else_gets_in()


def test_one_that_is_alone_holds_its_port(shared):
    s = shared(versions=(4,))
    s.time.start()
    s.tells_the_time()
    log = s.time.log()
    assert "warning: sharing" not in log
    other = {"mode": "off"}
    s.proxy.config["sharing"] = other
    s.proxy.start(wait=False)
    assert s.proxy.child.wait(harness.PATIENCE_S) == 1
    assert f"held by pid {s.time.pid} (roughtimed)" in s.proxy.log()
    s.proxy.child = None
    s.tells_the_time()


def test_a_refusal_says_whom_it_would_have_taken(shared, tmp_path):
    """The prediction, and that nobody was met."""
    s = shared(versions=(4,))
    s.time.start()
    s.proxy.config["sharing"]["peer"] = str(tmp_path / "elsewhere")
    s.proxy.start(wait=False)
    assert s.proxy.child.wait(harness.PATIENCE_S) == 1
    log = s.proxy.log()
    assert f"held by pid {s.time.pid} (roughtimed)" in log
    assert f"no other daemon was met at {tmp_path / 'elsewhere'}" in log
    s.proxy.child = None


def test_the_very_same_address_is_not_shared(shared):
    s = shared(versions=(4,))
    s.time.config["listen"][0]["address"] = TIME[4]
    s.time.start()
    s.proxy.config["applications"] = s.applications(TIME)
    s.proxy.start(wait=False)
    assert s.proxy.child.wait(harness.PATIENCE_S) == 1
    assert "it has this very address" in s.proxy.log()
    s.proxy.child = None
    s.tells_the_time()


def test_reloads_add_addresses(shared):
    """As the user that the daemons became: another one than at the start."""
    s = shared()
    s.time.start()
    s.proxy.start()
    assert s.proxy.reload(s.applications(EDGE, MORE)) == "reloaded"
    s.echoes(MORE)
    s.both()
    s.nobody_else_gets_in()


def test_a_reload_takes_all_addresses_beside_a_customers(shared):
    s = shared(versions=(4,))
    s.time.config["listen"][0]["address"] = TIME[4]
    s.time.start()
    s.proxy.start()
    s.both()
    s.time.config["listen"][0]["address"] = "0.0.0.0"
    s.time.write_config(s.time.config)
    assert "reload" in s.time.hup()[0].lower()
    s.both()


@pytest.mark.parametrize("running", ["time", "proxy"])
def test_a_test_asks_and_takes_nothing(shared, running):
    s = shared(versions=(4,))
    one, other = ((s.time, s.proxy) if running == "time"
                  else (s.proxy, s.time))
    one.start()
    other.write_config(other.config)
    for _ in range(2):
        out = s.test(other)
        assert out.returncode == 0, out.stderr
        (s.tells_the_time if running == "time" else s.echoes)()
