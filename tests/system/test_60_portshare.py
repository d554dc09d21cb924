"""portshare: the matrix, run and shown, and what it says when it differs;
predict and who beside live sockets."""
import contextlib
import json
import os
import re
import select
import socket
import subprocess

import harness
import pytest
from watchharness import ADDR, PORT, TCP, UDP, bound


@pytest.fixture(scope="module")
def matrix():
    """The whole matrix of this kernel, once, as a program reads it."""
    p = harness.run("portshare", "matrix", "--json", timeout_s=300)
    return json.loads(p.stdout)


def cells(matrix, **wanted):
    return [c for c in matrix["cells"]
            if all(c[k] == v for k, v in wanted.items())]


def test_every_cell_is_as_the_model_says(matrix):
    assert matrix["kernel"] == os.uname().release
    assert matrix["count"] == len(matrix["cells"]) >= 600
    assert matrix["differ"] == 0
    assert not any(c["differs"] for c in matrix["cells"])
    if os.geteuid() == 0:
        assert matrix["left_out"] == 0


def flags(cell):
    return [(s["address"], s["reuseaddr"], s["reuseport"], s["other_user"])
            for s in cell["sockets"]]


def one(matrix, protocol, *sockets, theme="pairs"):
    found = [c for c in cells(matrix, protocol=protocol, theme=theme)
             if flags(c) == list(sockets)]
    assert found, sockets
    return found[0]


@pytest.mark.parametrize("protocol,flag,outcome", [
    ("udp", (False, False), "bind fails"),
    ("udp", (True, False), "newest takes all"),
    ("udp", (False, True), "hash split"),
    ("tcp", (True, False), "bind fails"),
    ("tcp", (False, True), "hash split"),
])
def test_the_known_answers_for_one_address_twice(
        matrix, protocol, flag, outcome):
    a = ("A", *flag, False)
    assert one(matrix, protocol, a, a)["outcome"] == outcome


def test_another_user_may_join_by_reuseaddr_only(matrix, as_root):
    mine, theirs = ("A", True, False, False), ("A", True, False, True)
    assert one(matrix, "udp", mine, theirs)["outcome"] == "newest takes all"
    mine, theirs = ("A", False, True, False), ("A", False, True, True)
    cell = one(matrix, "udp", mine, theirs)
    assert cell["outcome"] == "bind fails"
    assert [s["rule"] for s in cell["steps"] if s.get("error")] == ["other-uid"]


def test_what_no_selftest_of_the_kernel_covers(matrix, as_root):
    """Each theme is there, with cells in which it shows."""
    assert len(cells(matrix, outcome="newest takes all", protocol="udp")) > 20
    late = cells(matrix, theme="late flags")
    assert any("clear SO_REUSEADDR" in s["do"] for c in late
               for s in c["steps"])
    assert len({c["outcome"] for c in late}) >= 4
    assert any(s.get("rule") == "remembered" for c in late for s in c["steps"])
    for theme in ("queue at close", "group grows"):
        assert {c["protocol"] for c in cells(matrix, theme=theme)} == {
            "udp", "tcp"}
    listen = cells(matrix, outcome="listen fails")
    assert listen and all(c["protocol"] == "tcp" for c in listen)
    levels = {s.get("level") for c in matrix["cells"] for s in c["steps"]}
    assert levels >= {"nobody", "connected", "sk_lookup", "exact", "wildcard"}


def test_without_root_it_says_what_it_left_out(as_root):
    p = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
         harness.BUILD / "portshare", "matrix"], text=True, timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode == 0, p.stderr + p.stdout
    assert "are left out" in p.stdout
    done = re.search(r"(?m)^all +(\d+) +(\d+) +(\d+)$", p.stdout)
    cells_, left, differ = map(int, done.groups())
    assert 0 < left < cells_ and differ == 0


def test_without_any_namespace_it_takes_the_hosts_loopback(as_root):
    """Root of a user namespace whose allowance of networks is used up."""
    p = subprocess.run(
        ["unshare", "-n", "-U", "-r", "sh", "-euc",
         "ip link set lo up; echo 0 > /proc/sys/user/max_net_namespaces; "
         f"exec {harness.BUILD}/portshare matrix"], text=True, timeout=120,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode == 0, p.stderr + p.stdout
    assert "on the host's loopback" in p.stdout
    done = re.search(r"(?m)^all +(\d+) +(\d+) +(\d+)$", p.stdout)
    cells_, left, differ = map(int, done.groups())
    assert cells_ - left >= 600 and differ == 0


def test_markdown_and_output_file(tmp_path):
    path = tmp_path / "matrix.md"
    p = harness.run("portshare", "matrix", "--markdown", "-o", path,
                    timeout_s=300)
    assert p.stdout == ""
    text = path.read_text()
    assert os.uname().release in text
    assert "| 0.0.0.0, A | bind fails | each its own | each its own |" in text
    assert "differs" not in text
    p = harness.run("portshare", "matrix", "--json", "-o", "/nowhere/x",
                    check=False)
    assert p.returncode == 1 and "/nowhere/x" in p.stderr


def test_a_difference_comes_with_a_recipe_that_runs(tmp_path, as_root):
    """The model is spoiled; the recipe shows what the kernel really does."""
    mutants = harness.BUILD / "tests/collision/mutants"
    if not mutants.exists():
        subprocess.run(["make", "-s", f"BUILD={harness.BUILD}", mutants],
                       cwd=harness.ROOT, check=True, timeout=300)
    p = subprocess.run([mutants, "BOTH_REUSEADDR", "true"], text=True,
                       stdout=subprocess.PIPE, timeout=120)
    assert p.returncode == 2
    assert re.search(r"(?m)^DIFFERS: cell \d+: udp, a A, b A$", p.stdout)
    assert "kernel: EADDRINUSE, model: success (both-reuseaddr)" in p.stdout
    source = tmp_path / "cell.c"
    source.write_text(p.stdout[p.stdout.index("/* udp"):])
    subprocess.run(["cc", "-w", "-o", tmp_path / "cell", source], check=True)
    told = subprocess.run(
        ["unshare", "-n", "sh", "-c",
         "ip link set lo up; ip address add 192.0.2.1/32 dev lo; "
         f"ip address add 192.0.2.2/32 dev lo; {tmp_path}/cell"],
        text=True, check=True, stdout=subprocess.PIPE, timeout=60).stdout
    assert told.splitlines()[:2] == ["bind a: ok",
                                     "bind b: Address already in use"]
    assert "to 192.0.2.1: a 32, b 0, c 0, nobody 0" in told


def test_usage_errors():
    for argv in ([], ["nonsense"], ["matrix", "--nonsense"], ["matrix", "x"]):
        p = harness.run("portshare", *argv, check=False)
        assert p.returncode == 1 and "usage: portshare" in p.stderr, argv
        assert not p.stdout


# -- predict and who: live sockets of real programs, then the kernel is asked --


def predict(*argv, prefix=()):
    p = subprocess.run([*prefix, harness.BUILD / "portshare", "predict",
                        *map(str, argv), "--json"], text=True, timeout=60,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told = json.loads(p.stdout)
    assert p.returncode == (0 if told["will_bind"] else 2), p.stderr
    return told


def who(*argv):
    p = harness.run("portshare", "who", *argv, "--json", check=False)
    told = json.loads(p.stdout)
    assert p.returncode == (0 if told["receivers"] else 2), p.stderr
    return told


@pytest.mark.parametrize("kind,held,wanted,rule,fix", [
    (UDP, (), (), "no-flag", "both-reuseaddr"),
    (UDP, (ADDR,), (), "newer-lacks-flag", "newcomer-reuseaddr"),
    (UDP, (), (ADDR,), "older-lacks-flag", "holder-reuseaddr"),
    (UDP, (ADDR,), (ADDR,), "both-reuseaddr", None),
    (UDP, (PORT,), (PORT,), "both-reuseport", None),
    (UDP, (ADDR,), (PORT,), "flags-differ", "newcomer-reuseaddr"),
    (TCP, (ADDR,), (ADDR,), "listening", "both-reuseport"),
    (TCP, (PORT,), (), "newer-lacks-flag", "newcomer-reuseport"),
    (TCP, (PORT,), (PORT,), "both-reuseport", None),
])
def test_predict_is_what_then_happens(kind, held, wanted, rule, fix):
    port, names = harness.free_port(), {ADDR: "reuseaddr", PORT: "reuseport"}
    flags = ["--flags", ",".join(names[f] for f in wanted)] if wanted else []
    protocol = "udp" if kind == UDP else "tcp"
    with bound(kind, "0.0.0.0", port, *held) as s:
        told = predict(protocol, f"127.0.0.1:{port}", *flags)
        assert told["rule"] == rule and told["certain"]
        assert told.get("fix", {}).get("change") == fix
        assert told["holder"]["pid"] == os.getpid()
        assert told["holder"]["fd"] == s.fileno()
        assert told["holder"]["reuseaddr"] == (ADDR in held)
        if told["will_bind"]:
            bound(kind, "127.0.0.1", port, *wanted).close()
        else:
            with pytest.raises(OSError, match="in use"):
                bound(kind, "127.0.0.1", port, *wanted)
        if fix and fix.startswith("newcomer-"):
            flag = {v: k for k, v in names.items()}[fix.split("-")[1]]
            bound(kind, "127.0.0.1", port, *wanted, flag).close()


@pytest.mark.parametrize("kind,flag", [(UDP, ADDR), (TCP, PORT)])
def test_the_command_for_the_holder_mends_a_running_server(
        as_root, kind, flag):
    """Another process, which knows nothing of it, goes on as before."""
    port = harness.free_port()
    protocol = "udp" if kind == UDP else "tcp"
    name = "reuseaddr" if flag == ADDR else "reuseport"
    server = subprocess.Popen(
        ["python3", "-c", f"""
import socket
s = socket.socket(socket.AF_INET, {int(kind)})
s.bind(("0.0.0.0", {port}))
if {kind == TCP}: s.listen()
print("bound", flush=True)
input()"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "bound\n"
        told = predict(protocol, f"127.0.0.1:{port}", "--flags", name)
        assert told["holder"]["pid"] == server.pid
        assert told["fix"]["change"] == f"holder-{name}"
        (how,) = told["fix"]["how"]
        command = how.removeprefix("holder: ").split(", as root")[0]
        repair = subprocess.Popen(
            ["sh", "-euc", f"exec {harness.BUILD}/{command}"])
        harness.until(lambda: predict(
            protocol, f"127.0.0.1:{port}", "--flags", name)["will_bind"],
            "opened")
        with bound(kind, "127.0.0.1", port, flag):
            assert repair.wait(harness.PATIENCE_S) == 0
    finally:
        server.communicate("\n", timeout=harness.PATIENCE_S)


def test_predict_names_roughtimed_and_the_daemon_says_the_same(
        start, tmp_path):
    daemon = start()
    told = predict("udp", f"127.0.0.1:{daemon.port}")
    assert not told["will_bind"] and told["certain"]
    assert told["holder"]["command"] == "roughtimed"
    p = harness.run("portshare", "predict", "udp", f"127.0.0.1:{daemon.port}",
                    check=False)
    assert "(roughtimed)" in p.stdout and told["why"] in p.stdout
    keys = harness.Identity(tmp_path, "second")
    p = harness.run("roughtimed", "-k", keys.path, "-l",
                    f"127.0.0.1:{daemon.port}", check=False)
    assert p.returncode == 1
    assert told["why"] in p.stderr and "smallest change" in p.stderr
    assert f"pid {told['holder']['pid']} (roughtimed)" in p.stderr


def test_predict_of_several_holders_names_each():
    port = harness.free_port()
    with bound(UDP, "127.0.0.2", port), bound(UDP, "127.0.0.3", port):
        told = predict("udp", f"0.0.0.0:{port}", "--flags", "reuseaddr")
        held = {told["holder"]["address"],
                *(o["address"] for o in told["also"])}
        assert held == {f"127.0.0.2:{port}", f"127.0.0.3:{port}"}
        told = predict("udp", f"[::]:{port}")
        assert told["fix"]["change"] == "newcomer-v6only"
        assert predict("udp", f"[::]:{port}", "--flags",
                       "v6only")["will_bind"]


def test_predict_warns_of_a_steal_and_of_any_user():
    port = harness.free_port()
    with bound(UDP, "127.0.0.1", port):
        p = harness.run("portshare", "predict", "udp", f"127.0.0.1:{port}",
                        check=False)
        assert "set SO_REUSEADDR on both" in p.stdout
        assert "any local user may join" in p.stdout
    with bound(UDP, "127.0.0.1", port, ADDR):
        p = harness.run("portshare", "predict", "udp", f"127.0.0.1:{port}",
                        "--flags", "reuseaddr", "--uid", "nobody")
        assert "will bind" in p.stdout
        assert "TAKE every packet" in p.stdout
        assert "any local user" in p.stdout


@pytest.mark.parametrize("argv,error,why", [
    (("udp", "192.0.2.77:2002"), "EADDRNOTAVAIL", "no interface"),
    (("tcp", "127.0.0.1:70", "--uid", "nobody"), "EACCES", "low port"),
])
def test_predict_knows_other_errors(argv, error, why):
    told = predict(*argv)
    assert told["error"] == error and why in told["why"]


def test_predict_without_root_says_what_it_cannot_see(as_root):
    port = harness.free_port()
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with bound(UDP, "127.0.0.1", port, ADDR):
        told = predict("udp", f"127.0.0.1:{port}", "--flags", "reuseaddr",
                       prefix=nobody)
        assert not told["will_bind"] and not told["certain"]
        assert "pid" not in told["holder"] and told["holder"]["uid"] == 0
        told = predict("udp", f"127.0.0.1:{port}", prefix=nobody)
        assert not told["will_bind"] and told["certain"]  # no flag, no doubt


def test_a_restart_meets_what_is_left_of_a_connection():
    """TIME_WAIT: whose flags nobody can see any more."""
    port = harness.free_port()
    with bound(TCP, "127.0.0.1", port) as s:
        client = socket.create_connection(("127.0.0.1", port))
        served, _ = s.accept()
        served.close()
        assert client.recv(1) == b""
        client.close()
    told = predict("tcp", f"127.0.0.1:{port}")
    assert told["holder"]["state"] == "time-wait" and not told["will_bind"]
    with pytest.raises(OSError, match="in use"):
        bound(TCP, "127.0.0.1", port)


def received(sockets, address, port, sender=None):
    with contextlib.ExitStack() as stack:
        if sender is None:
            sender = stack.enter_context(socket.socket(
                sockets[0].family, socket.SOCK_DGRAM))
        sender.sendto(b"x", (address, port))
        ready = harness.until(
            lambda: select.select(sockets, [], [], 0)[0], "a datagram")
        assert len(ready) == 1
        ready[0].recv(10)
        return ready[0].fileno()


def test_who_is_who_really_gets_it():
    port = harness.free_port()
    wild = bound(UDP, "0.0.0.0", port, ADDR)
    near = bound(UDP, "127.0.0.1", port, ADDR)
    newest = bound(UDP, "127.0.0.1", port, ADDR)
    everybody = [wild, near, newest]
    for address, level, tie, fd in (
            ("127.0.0.1", "exact", "newest", newest.fileno()),
            ("127.0.0.2", "wildcard", "only", wild.fileno())):
        told = who("udp", f"{address}:{port}")
        assert (told["level"], told["tie"]) == (level, tie)
        assert [r["fd"] for r in told["receivers"]] == [fd]
        assert received(everybody, address, port) == fd
        assert len(told["others"]) == 2
    with bound(UDP, "127.0.0.1", 0) as friend:
        near.connect(friend.getsockname())
        peer = "127.0.0.1:%d" % friend.getsockname()[1]
        told = who("udp", f"127.0.0.1:{port}", "--from", peer)
        assert told["level"] == "connected"
        assert told["receivers"][0]["fd"] == near.fileno()
        assert received(everybody, "127.0.0.1", port,
                        friend) == near.fileno()
        told = who("udp", f"127.0.0.1:{port}")
        assert told["receivers"][0]["fd"] == newest.fileno()
    for s in everybody:
        s.close()
    assert who("udp", f"127.0.0.1:{port}")["level"] == "nobody"


def test_who_names_a_whole_group():
    port = harness.free_port()
    with bound(TCP, "127.0.0.1", port, PORT) as a, \
            bound(TCP, "127.0.0.1", port, PORT) as b:
        told = who("tcp", f"127.0.0.1:{port}")
        assert told["split"] and told["tie"] == "group"
        assert {r["fd"] for r in told["receivers"]} == {a.fileno(),
                                                        b.fileno()}
        p = harness.run("portshare", "who", "tcp", f"127.0.0.1:{port}")
        assert "rule 3: the exact local address" in p.stdout
        assert p.stdout.count(f"pid {os.getpid()}") == 2


@pytest.mark.parametrize("argv,word", [
    (["predict"], "expected: udp|tcp"),
    (["predict", "sctp", "127.0.0.1:1"], "neither udp nor tcp"),
    (["predict", "udp", "127.0.0.1"], "127.0.0.1"),
    (["predict", "udp", "127.0.0.1:0"], "port 0"),
    (["predict", "udp", "127.0.0.1:1", "--flags", "magic"], "magic"),
    (["predict", "udp", "127.0.0.1:1", "--uid", "no such"], "no such"),
    (["predict", "udp", "127.0.0.1:1", "--device", "nix0"], "nix0"),
    (["predict", "udp", "127.0.0.1:1", "--from", "127.0.0.1:2"], "option"),
    (["who", "udp", "0.0.0.0:1"], "wildcard"),
    (["who", "udp", "127.0.0.1:1", "--flags", "reuseaddr"], "option"),
    (["who", "udp", "127.0.0.1:1", "--from", "[::1]:2"], "family"),
])
def test_usage_errors_of_predict_and_who(argv, word):
    p = harness.run("portshare", *argv, check=False)
    assert p.returncode == 1 and word in p.stderr and not p.stdout
