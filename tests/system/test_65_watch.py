"""portshare watch: another socket gets what is sent to ours."""
import harness
import pytest
from proxyharness import L4proxyd
from watchharness import (ADDR, NAMES, PORT, TCP, UDP, Watch, bound,
                          stranger)


@pytest.fixture
def watch(tmp_path):
    made = []

    def start(*argv, **more):
        made.append(Watch(tmp_path, *argv, **more))
        return made[-1]
    yield start
    for w in made:
        w.__exit__()


def test_who_takes_from_a_udp_server(as_root, watch):
    """One after the other: each is told, and told to be over."""
    port = harness.free_port()
    with bound(UDP, "0.0.0.0", port, ADDR):
        w = watch("udp", f"0.0.0.0:{port}", f"127.0.0.1:{port}")
        for address, uid, event, how in (
                ("0.0.0.0", 0, "steal", "steal"),
                ("0.0.0.0", 65534, "hijack", "steal"),
                ("127.0.0.1", 0, "specific", "specific"),
                ("127.0.0.1", 65534, "hijack", "specific")):
            want = {"watched": f"127.0.0.1:{port}", "how": how}
            with stranger(UDP, port, address, ADDR, uid) as (error, pid):
                assert error == 0
                told = w.expect(event=event, over=False, **want)
                assert told["to"] == f"127.0.0.1:{port}"
                assert told["socket"]["pid"] == pid
                assert told["socket"]["uid"] == uid
                # of the wildcard too
                w.expect(event=event, over=False, how=how,
                         watched=f"0.0.0.0:{port}")
            w.expect(event=event, over=True, **want)
        with stranger(UDP, port, "127.0.0.7", ADDR) as (error, pid):
            told = w.expect(event="hijack", to=f"127.0.0.7:{port}")
            assert told["watched"] == f"0.0.0.0:{port}"
        text = w.err.read_text()
        assert "hijack: what is sent to" in text
        assert "a more specific bind takes it: pid" in text
        w.stop(2)


def test_who_joins_a_group(as_root, watch):
    port = harness.free_port()
    with bound(TCP, "127.0.0.1", port, PORT):
        w = watch("tcp", f"127.0.0.1:{port}")
        with stranger(TCP, port, "127.0.0.1", PORT, 0) as (error, pid):
            assert error == 0
            told = w.expect(event="joined")
            assert told["socket"]["pid"] == pid
        w.expect(event="joined", over=True)
        # the same process may open another
        with bound(TCP, "127.0.0.1", port, PORT):
            with stranger(TCP, port, "127.0.0.1", PORT, 0) as (_, pid):
                harness.until(lambda: [t for t in w.told() if not t["over"]
                                       and t["socket"]["pid"] == pid],
                              "told")
        assert len([t for t in w.told() if not t["over"]]) == 2
        w.stop(2)


def test_it_is_told_within_a_second(as_root, watch):
    """At the best of some times: a machine that stands still is not ours to
    blame. How old a report is at most is what it says itself."""
    port, ages = harness.free_port(), []
    with bound(UDP, "127.0.0.1", port, ADDR):
        w = watch("udp", f"127.0.0.1:{port}")
        for n in range(1, 6):
            with stranger(UDP, port, flag=ADDR):
                harness.until(lambda n=n: len([
                    t for t in w.told() if not t["over"]]) >= n, "told")
            harness.until(lambda n=n: len([
                t for t in w.told() if t["over"]]) >= n, "over")
            ages = [t["age_ms_at_most"] for t in w.told() if not t["over"]]
            if min(ages) <= 1000:
                break
        assert min(ages) <= 1000
        w.stop(2)


def test_a_restart_is_no_alarm_and_a_gap_is_one(as_root, watch):
    port = harness.free_port()
    with bound(UDP, "0.0.0.0", port, ADDR) as wild:
        first = bound(UDP, "127.0.0.1", port, ADDR)
        w = watch("udp", f"127.0.0.1:{port}")
        first.close()
        told = w.expect(event="gap", over=False)
        assert told["socket"]["fd"] == wild.fileno()
        with bound(UDP, "127.0.0.1", port, ADDR):
            w.expect(event="gap", over=True)
        n = len(w.told())
        with stranger(UDP, port, flag=ADDR) as (error, _):
            assert error == 0
            w.expect(event="hijack", how="vacant")
        assert all(t["how"] in ("gap", "vacant") for t in w.told()[n:])
        w.stop(2)


def test_without_anybody_who_could_be_ours():
    port = harness.free_port()
    p = harness.run("portshare", "watch", "udp", f"127.0.0.1:{port}",
                    check=False)
    assert p.returncode == 1 and "nobody hears it" in p.stderr


def test_ours_by_name(as_root, watch):
    """A stranger was there first; ours come later, and a second one."""
    port = harness.free_port()

    def named(name):
        return stranger(UDP, port, flag=ADDR, uid=0, name=name)
    with bound(UDP, "127.0.0.1", port, ADDR):
        w = watch("udp", f"127.0.0.1:{port}", "--command", "ours")
        assert "not there yet" in w.err.read_text()
        with named("ours"), named("ours"), named("theirs") as (_, pid):
            told = w.expect(event="steal")
            assert told["socket"]["pid"] == pid
        w.expect(event="gap")
        assert {t["event"] for t in w.told()} == {"steal", "gap"}
        w.stop(2)


def test_a_friend_may_come(as_root, watch):
    """By its name and user: the name alone would be anybody's."""
    port = harness.free_port()
    with bound(UDP, "0.0.0.0", port, ADDR):
        w = watch("udp", f"0.0.0.0:{port}", "--allow", "other,l4proxyd")
        with stranger(UDP, port, flag=ADDR, uid=0, name="l4proxyd"), \
                stranger(UDP, port, "127.0.0.2", ADDR, name="l4proxyd"):
            told = w.expect(event="hijack")
            assert told["to"] == f"127.0.0.2:{port}"
        w.expect(over=True)
        with stranger(UDP, port, flag=ADDR, uid=0, name="l4prox"):
            w.expect(event="specific", over=False)
        assert {t["to"] for t in w.told() if t["event"] == "hijack"} == {
            f"127.0.0.2:{port}"}
        w.stop(2)


def test_hook_once_and_window(as_root, tmp_path):
    port = harness.free_port()
    said = tmp_path / "said"
    with bound(UDP, "127.0.0.1", port, ADDR):
        p = harness.run("portshare", "watch", "udp", f"127.0.0.1:{port}",
                        "--window", "10ms")
        assert not p.stdout
        with Watch(tmp_path, "udp", f"127.0.0.1:{port}", "--once", "--hook",
                   "echo $PORTSHARE_EVENT $PORTSHARE_PROTOCOL "
                   "$PORTSHARE_WATCHED $PORTSHARE_PID $PORTSHARE_UID "
                   f"> {said}") as w, \
                stranger(UDP, port, flag=ADDR) as (_, pid):
            assert w.child.wait(harness.PATIENCE_S) == 2
            harness.until(lambda: said.exists() and said.read_text(), "hook")
            assert said.read_text().split() == [
                "hijack", "udp", f"127.0.0.1:{port}", str(pid), "65534"]


def test_an_sk_lookup_program_comes_first(namespaces, tmp_path, watch):
    """Ours binds where a range of l4proxyd's is: which the kernel lets it."""
    host = namespaces.host("server", "192.0.2.1/24")
    inside = ("ip", "netns", "exec", host)
    proxy = L4proxyd(
        tmp_path, [{"name": "range", "protocol": "udp/20000-29999",
                    "edge_ips": "all",
                    "origin_direct": "udp://192.0.2.1:20000-29999"}],
        drain_s=0, prefix=inside)
    with proxy, stranger(UDP, 20005, "0.0.0.0", 0, 0, inside) as (error, pid):
        assert error == 0
        w = watch("udp", "192.0.2.1:20005", "--pid", pid, prefix=inside)
        told = w.expect(how="sk_lookup", over=False)
        assert told["socket"]["command"] == "l4proxyd"
        assert told["program"]["name"] == "dispatch"
        proxy.stop()
        w.expect(how="sk_lookup", over=True)
        w.stop(2)


@pytest.mark.parametrize("argv,word", [
    ([], "udp|tcp"),
    (["udp"], "udp|tcp"),
    (["sctp", "127.0.0.1:1"], "neither udp nor tcp"),
    (["udp", "127.0.0.1"], "127.0.0.1"),
    (["udp", "127.0.0.1:0"], "port 0"),
    (["udp", "127.0.0.1:1", "--pid", "x"], "--pid"),
    (["udp", "127.0.0.1:1", "--interval", "0s"], "--interval"),
    (["udp", "127.0.0.1:1", "--window", "2h"], "--window"),
    (["udp", *(f"127.0.0.1:{n}" for n in range(1, 18))], "16 different"),
    (["udp", *(f"127.0.0.{n}:1" for n in range(1, 66))], "64 addresses"),
])
def test_usage_errors(argv, word):
    p = harness.run("portshare", "watch", *argv, check=False)
    assert p.returncode == 1 and word in p.stderr and not p.stdout


# what each mode of sharing lets another user do

EDGE, ORIGIN = "127.0.0.9", "127.0.0.11"


class Daemons:
    """Both on one port of one kind, sharing it in a mode."""

    def __init__(self, directory, identity, mode, kind):
        self.port = harness.free_port()
        sharing = {"mode": mode}
        meet = {"socket": str(directory / "guard")}
        peer = {"peer": str(directory / "guard")}
        if mode != "guarded":
            meet = peer = {}
        config = harness.base_config(self.port, [identity], "0.0.0.0",
                                     sharing=sharing | meet)
        config["listen"][0]["transports"] = [NAMES[kind]]
        app = {"name": "customer", "protocol": f"{NAMES[kind]}/{self.port}",
               "edge_ips": [EDGE],
               "origin_direct": f"{NAMES[kind]}://{ORIGIN}:9"}
        self.time = harness.Roughtimed(directory, config)
        self.proxy = L4proxyd(directory, [app], drain_s=0,
                              sharing=sharing | peer)

    def __enter__(self):
        self.time.start()
        self.proxy.start()
        return self

    def __exit__(self, *_):
        self.proxy.stop()
        self.time.stop()


@pytest.mark.parametrize("mode,kind", [
    ("open", UDP), ("reuseport", UDP), ("reuseport", TCP),
    ("guarded", UDP), ("guarded", TCP)],
    ids=lambda v: NAMES.get(v, v))
def test_what_another_user_gets(as_root, tmp_path, identity, watch, mode,
                                kind):
    with Daemons(tmp_path, identity, mode, kind) as both:
        w = watch(NAMES[kind], f"{EDGE}:{both.port}", f"0.0.0.0:{both.port}")
        got = {}
        for address in (EDGE, "127.0.0.10", "0.0.0.0"):
            for flag in (ADDR, PORT):
                with stranger(kind, both.port, address, flag) as (error, pid):
                    if error == 0:
                        got[address, flag] = pid
                        harness.until(lambda pid=pid: [
                            t for t in w.told() if t["event"] == "hijack"
                            and t["socket"]["pid"] == pid], "told")
        if mode == "open":
            assert set(got) == {(a, ADDR) for a in
                                (EDGE, "127.0.0.10", "0.0.0.0")}
            w.stop(2)
        else:
            assert not got and not w.told()
            w.stop(0)
