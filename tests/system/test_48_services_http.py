"""nginx behind l4proxyd, under wrk: nothing fails, and both logs agree."""
import collections
import hashlib
import http.client
import random
import re

import pytest
from services import command, in_front, nginx

CONNECTIONS = 24


@pytest.fixture
def web(tmp_path):
    with nginx(tmp_path) as origin, \
            in_front(tmp_path, origin.port, "tcp") as proxy:
        (origin.www / "small").write_text("a small answer\n")
        yield origin, proxy


def logged(origin):
    """The requests of nginx's own log: connection, status, bytes, …"""
    return [line.split() for line in origin.access.read_text().splitlines()]


@pytest.mark.parametrize("keep_alive", [True, False])
def test_wrk_sees_no_error(web, keep_alive):
    origin, proxy = web
    close = [] if keep_alive else ["-H", "Connection: close"]
    told = command("wrk", "-t2", f"-c{CONNECTIONS}", "-d2s", *close,
                   f"http://127.0.0.1:{proxy.port}/small")
    # wrk prints these two lines only when there is something to count
    assert "Socket errors" not in told and "Non-2xx" not in told, told
    asked = int(re.search(r"(\d+) requests in", told)[1])
    assert asked > 200, told
    ends = proxy.all_ended()
    seen = logged(origin)
    assert {status for _, status, *_ in seen} == {"200"}
    # wrk cuts what is under way when its time is over.
    assert asked <= len(seen) <= asked + CONNECTIONS
    sessions = {number for number, *_ in seen}
    assert len(sessions) <= len(ends)
    if keep_alive:
        assert len(ends) == CONNECTIONS + 1  # wrk tries the address first
    else:
        assert len(sessions) == len(seen)
    assert {e["Status"] for e in ends} <= {200, 499}
    assert not proxy.events(Event="originError")


def test_each_request_arrives_once(web):
    """Known numbers: what nginx logs is what was asked, byte for byte."""
    origin, proxy = web
    for i in range(20):
        c = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        for j in range(25):
            c.request("GET", f"/small?{i}-{j}")
            answer = c.getresponse()
            assert (answer.status, answer.read()) == (
                200, b"a small answer\n")
        c.close()
    ends = proxy.all_ended()
    assert len(ends) == 20 and {e["Status"] for e in ends} == {200}
    lines = logged(origin)
    assert len(lines) == 500
    sent, received = collections.Counter(), collections.Counter()
    for number, _, to_client, from_client, _ in lines:
        sent[number] += int(to_client)
        received[number] += int(from_client)
    assert sorted(sent.values()) == sorted(e["OriginBytes"] for e in ends)
    assert sorted(received.values()) == sorted(e["ClientBytes"] for e in ends)


def test_a_large_download_is_the_same_bytes(web):
    origin, proxy = web
    block = random.Random(48).randbytes(1 << 20)
    whole = hashlib.sha256()
    with open(origin.www / "large", "wb") as f:
        for i in range(200):
            f.write(block[i:] + block[:i])
            whole.update(block[i:] + block[:i])
    c = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    c.request("GET", "/large", headers={"Connection": "close"})
    answer, got = c.getresponse(), hashlib.sha256()
    assert answer.status == 200
    while data := answer.read(1 << 18):
        got.update(data)
    assert got.digest() == whole.digest()
    [end] = proxy.all_ended()
    [[_, _, to_client, _, _]] = logged(origin)
    assert end["OriginBytes"] == int(to_client) > 200 << 20
