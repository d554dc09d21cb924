"""portshare: the matrix, run and shown; what it says when it differs."""
import json
import os
import re
import subprocess

import harness
import pytest


@pytest.fixture(scope="module")
def matrix():
    """The whole matrix of this kernel, once, as a program reads it."""
    p = harness.run("portshare", "matrix", "--json")
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
         harness.BUILD / "portshare", "matrix"], text=True, timeout=120,
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
    p = harness.run("portshare", "matrix", "--markdown", "-o", path)
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
