"""portshare who beside an sk_lookup program: ss(8) no longer tells the truth,
who does. In a network of its own."""
import json
import subprocess

import harness
import pytest
from proxyharness import L4proxyd

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
    for address, port in ((TIME, FIRST), (CUSTOMER, LAST + 1)):
        assert who(host, protocol, address, port)["level"] == "nobody"
    p = portshare(host, "who", protocol, f"{CUSTOMER}:{FIRST}")
    assert "rule 2: an sk_lookup program chose the socket" in p.stdout
    assert "the program dispatch (id " in p.stdout
    assert "(l4proxyd)" in p.stdout and "beware" not in p.stdout
