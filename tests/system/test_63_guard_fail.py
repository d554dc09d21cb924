"""sharing: guarded, and one of the two goes: what happens to whose packets."""
import contextlib

import harness
import oracle
import pytest
from sharedport import EDGE, MORE, TIME, SharedPort


@pytest.fixture
def shared(tmp_path, identity, namespaces):
    with contextlib.ExitStack() as made:
        def make(fail="open", **more):
            s = SharedPort(namespaces, tmp_path, identity, **more)
            s.time.config["sharing"]["fail"] = fail
            made.callback(s.stop)
            return s
        yield make


def none_answered(loads):
    assert all(load.answered == 0 for load in loads), loads


def none_lost(loads):
    assert all(load.failed == 0 for load in loads), loads


def died(daemon):
    daemon.child.kill()
    daemon.child.wait()
    daemon.child = None


@pytest.mark.parametrize("fail, first", [
    ("open", "time"), ("open", "proxy"), ("closed", "proxy")])
def test_restarts_under_load(shared, fail, first):
    """No packet is answered by the wrong one, and who stays loses none."""
    s = shared(fail)
    order = [s.time, s.proxy] if first == "time" else [s.proxy, s.time]
    for daemon in order:
        daemon.start()
    with s.load(EDGE) as customers:
        # its own port alone goes with the time server
        s.time.stop()
        for load in customers:
            load.flows()
        s.start_again(s.time)
        for load in customers:
            load.flows()
    none_answered(customers)
    none_lost(customers)
    before = s.foreign()
    with s.load(TIME) as clients, s.load(EDGE) as customers:
        s.proxy.stop()
        # a SYN that it has not taken comes again after a second, or three
        which = {"udp", "tcp"} if fail == "open" else {"kept"}
        harness.until(lambda: s.moved(before) == which, f"drops: {which}")
        for load in clients:
            load.flows()
        s.start_again(s.proxy)
        for load in customers + clients:
            load.flows()
    none_answered(customers)
    assert all(load.echoed == 0 for load in clients), clients
    none_lost(clients)
    assert s.moved(before) == which
    s.nobody_else_gets_in()


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_a_proxy_that_dies(shared, fail):
    s = shared(fail, versions=(4,))
    s.time.start()
    s.proxy.start()
    s.both()
    with s.load(EDGE) as customers:
        died(s.proxy)
        s.time.expect_log("until l4proxyd is back")
        sent = [load.sent for load in customers]
        harness.until(lambda: customers[0].sent > sent[0] + 50, "50 more")
        s.start_again(s.proxy)
        for load in customers:
            load.flows()
    none_answered(customers)
    s.both()
    s.nobody_else_gets_in()


def test_what_is_queued_waits_for_its_owner(shared):
    """fail: closed, and the proxy stands still when it is killed."""
    s = shared("closed", versions=(4,))
    s.time.start()
    s.proxy.start()
    s.both()
    with s.on_client(lambda: harness.Udp(EDGE[4], 2002)) as client:
        s.proxy.freeze()
        for i in range(10):
            client.send(b"%d" % i)
        died(s.proxy)
        s.time.expect_log("until l4proxyd is back")
        client.send(b"lost")
        s.start_again(s.proxy)
        got = sorted(client.receive() for _ in range(10))
        assert got == [b"%d" % i for i in range(10)]
    assert s.foreign() == {"udp": 0, "tcp": 0, "kept": 1}


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_a_reload_forgets_who_is_gone(shared, fail):
    s = shared(fail, versions=(4,))
    s.time.start()
    s.proxy.start()
    s.both()
    s.proxy.stop()
    s.time.expect_log("until l4proxyd is back")
    s.time.hup()
    s.tells_the_time(EDGE)
    s.start_again(s.proxy)
    s.both()


def test_an_address_that_the_proxy_gives_up_is_ours_again(shared):
    s = shared("closed", versions=(4,))
    for app in s.proxy.config["applications"]:
        app["idle_timeout_s"] = 1  # a flow keeps its socket in being
    s.time.start()
    s.proxy.start()
    s.both()
    assert s.proxy.reload(s.applications(MORE)) == "reloaded"
    s.echoes(MORE)
    with s.on_client(lambda: harness.Udp(EDGE[4], 2002)) as client:
        def told():
            client.send(oracle.request("rfc"))
            reply = client.receive(0.2)
            return reply and harness.nonce_of(reply)
        harness.until(told, "the time at the customer's address of before")
    s.tells_the_time(EDGE)


def test_a_port_that_is_drained_refuses_and_comes_back(shared, tmp_path):
    """Its clients fall to the time server, which turns them away; to listen
    again takes a window."""
    control = tmp_path / "run" / "control.sock"
    s = shared(versions=(4,), proxy={"control": str(control)})
    s.time.start()
    s.proxy.start()
    s.both()
    harness.run("l4proxyctl", "-s", control, "drain", "tcp-0")

    def refused():
        try:
            with s.on_client(lambda: harness.Tcp(EDGE[4], 2002)) as client:
                return client.closed()
        except OSError:
            return True
    assert refused()
    s.tells_the_time()
    harness.run("l4proxyctl", "-s", control, "undrain", "tcp-0")
    s.both()
    s.nobody_else_gets_in()
