"""portshare who beside an sk_lookup program: ss(8) no longer tells the truth,
who does. In a network of its own."""
import json
import re
import socket
import subprocess

import harness
import pytest
from proxyharness import L4proxyd
from watchharness import ADDR, PORT, TCP, UDP, bound

TIME, CUSTOMER = "192.0.2.1", "192.0.2.9"
FIRST, LAST = 20000, 29999


def portshare(host, *argv):
    return subprocess.run(
        ["ip", "netns", "exec", host, harness.BUILD / "portshare",
         *map(str, argv)], text=True, timeout=60, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)


def who(host, protocol, address, port, *more):
    p = portshare(host, "who", protocol, f"{address}:{port}", "--json", *more)
    told = json.loads(p.stdout)
    assert p.returncode == (0 if told["receivers"] else 2), p.stderr
    return told


@pytest.fixture
def host(namespaces):
    return namespaces.host("server", f"{TIME}/24", f"{CUSTOMER}/24")


@pytest.fixture
def both(host, tmp_path, identity):
    """The time server at 2002 of all addresses, ten thousand ports of a
    customer behind one socket."""
    inside = ("ip", "netns", "exec", host)
    time = harness.Roughtimed(
        tmp_path, harness.base_config(2002, [identity], "0.0.0.0"),
        prefix=inside)
    proxy = L4proxyd(tmp_path, [
        {"name": f"range-{p}", "protocol": f"{p}/{FIRST}-{LAST}",
         "edge_ips": [CUSTOMER], "origin_direct": f"{p}://{TIME}:{FIRST}-{LAST}"}
        for p in ("udp", "tcp")], drain_s=0, prefix=inside, workers=1)
    with time, proxy:
        yield time, proxy


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_ten_thousand_ports_behind_one_socket(host, both, protocol):
    time, proxy = both
    for port in (FIRST, 23456, LAST):
        told = who(host, protocol, CUSTOMER, port)
        (receiver,) = told["receivers"]
        assert told["level"] == "sk_lookup"
        assert receiver["command"] == "l4proxyd"
        (program,) = told["programs"]
        assert program["does"] == "chooses"
        assert program["command"] == "l4proxyd"
    for address, port in ((TIME, 2002), (CUSTOMER, 2002)):
        told = who(host, protocol, address, port)
        assert told["level"] == "wildcard"
        assert {r["command"] for r in told["receivers"]} == {"roughtimed"}
        assert told["programs"][0]["does"] == "passes"
    for address, port, command, level in (
            (CUSTOMER, 23456, "l4proxyd", "sk_lookup"),
            (TIME, 2002, "roughtimed", "wildcard")):
        told = who(host, protocol, address, port, "--probe")
        probe = told["probe"]
        assert probe["by"] == "bpf" and probe["verdict"] == "agrees"
        assert sum(s["count"] for s in probe["seen"]) == probe["sent"] == 16
        assert {s["socket"]["command"] for s in probe["seen"]} == {command}
        assert told["level"] == level
    for address, port in ((TIME, FIRST), (CUSTOMER, LAST + 1)):
        assert who(host, protocol, address, port)["level"] == "nobody"
    p = portshare(host, "who", protocol, f"{CUSTOMER}:{FIRST}")
    assert "rule 2: an sk_lookup program chose the socket" in p.stdout
    assert "the program dispatch (id " in p.stdout
    assert "(l4proxyd)" in p.stdout and "beware" not in p.stdout


def test_a_probe_reaches_whom_who_names(as_root):
    port = harness.free_port()
    with bound(UDP, "0.0.0.0", port, ADDR) as wild, \
            bound(UDP, "127.0.0.1", port, ADDR) as near:
        for address, s in (("127.0.0.1", near), ("127.0.0.2", wild)):
            p = harness.run("portshare", "who", "udp", f"{address}:{port}",
                            "--probe", "--json")
            probe = json.loads(p.stdout)["probe"]
            (seen,) = probe["seen"]
            assert seen["count"] == 16 and probe["verdict"] == "agrees"
            assert seen["socket"]["fd"] == s.fileno()
            for _ in range(16):  # nothing else was sent, to nobody else
                assert s.recv(100, socket.MSG_DONTWAIT) == \
                    b"portshare who --probe\n"
            with pytest.raises(BlockingIOError):
                s.recv(100, socket.MSG_DONTWAIT)


def test_a_probe_of_a_group_is_split(as_root):
    port = harness.free_port()
    with bound(TCP, "127.0.0.1", port, PORT), \
            bound(TCP, "127.0.0.1", port, PORT):
        p = harness.run("portshare", "who", "tcp", f"127.0.0.1:{port}",
                        "--probe")
        counts = re.findall(r"probe:   (\d+) of 16 connections", p.stdout)
        assert sum(map(int, counts)) == 16, p.stdout


def test_a_probe_without_root_looks_at_the_queues(as_root):
    """Of a server that does not read; of one that does it says nothing."""
    port = harness.free_port()
    with bound(UDP, "127.0.0.1", port):
        p = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
             harness.BUILD / "portshare", "who", "udp", f"127.0.0.1:{port}",
             "--probe"], text=True, timeout=60, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
    assert p.returncode == 0, p.stderr
    assert "probe:   16 of 16 datagrams came to" in p.stdout
    assert "the BPF program is for root" in p.stdout


def test_a_probe_to_nobody():
    port = harness.free_port()
    p = harness.run("portshare", "who", "udp", f"127.0.0.1:{port}", "--probe",
                    check=False)
    assert p.returncode == 2 and "nobody" in p.stdout
    p = harness.run("portshare", "who", "udp", f"127.0.0.1:{port}", "--probe",
                    "--from", "127.0.0.1:9", check=False)
    assert p.returncode == 1 and "no --from with --probe" in p.stderr
