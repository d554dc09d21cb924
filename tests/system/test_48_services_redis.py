"""Redis behind l4proxyd: pipelines, a server that speaks unasked, silence."""
import hashlib
import random
import subprocess
import time

import harness
import pytest
from services import command, in_front, program, redis


@pytest.fixture
def store(tmp_path):
    with redis(tmp_path) as origin:
        yield origin


def cli(port, *argv, **more):
    return command("redis-cli", "-p", port, *argv, **more).rstrip("\n")


def test_pipelines_keep_every_value(tmp_path, store):
    with in_front(tmp_path, store.port, "tcp") as proxy:
        # 200 a connection at once: each INCR counts once, none is lost
        command("redis-benchmark", "-p", proxy.port, "-c", 20, "-n", 40000,
                "-P", 200, "-q", "INCR", "hits")
        assert cli(store.port, "GET", "hits") == "40000"
        values = {f"key:{i}": f"{random.Random(i).random()}" * (i % 50 + 1)
                  for i in range(5000)}
        told = cli(proxy.port, "--pipe", input="".join(
            f"SET {k} {v}\r\n" for k, v in values.items()))
        assert "errors: 0, replies: 5000" in told
        keys = list(values)
        for port in (store.port, proxy.port):
            assert cli(port, "MGET", *keys).splitlines() == [
                values[k] for k in keys]
        proxy.stop()
        ends = proxy.all_ended()
        assert {e["Status"] for e in ends} == {200}
        assert max(e["ClientBytes"] for e in ends) > sum(
            map(len, values.values()))


def digest(text):
    """A difference is told in a line, not in megabytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_large_value_both_ways(tmp_path, store):
    value = random.Random(1).randbytes(8 << 20).hex()
    with in_front(tmp_path, store.port, "tcp") as proxy:
        assert cli(proxy.port, "-x", "SET", "large", input=value) == "OK"
        for port in (store.port, proxy.port):
            assert digest(cli(port, "GET", "large")) == digest(value)


@pytest.mark.parametrize("pipeline", [1, 16])
def test_nothing_fails_under_a_mixed_load(tmp_path, store, pipeline):
    """redis-benchmark's own commands; redis itself counts the errors."""
    with in_front(tmp_path, store.port, "tcp") as proxy:
        told = command("redis-benchmark", "-p", proxy.port, "-c", 30, "-n",
                       3000, "--csv", "-P", pipeline, "-t",
                       "ping,set,get,lpush,lrange_300,mset")
        assert len(told.splitlines()) > 8, told
        assert "rror" not in told
        assert cli(store.port, "INFO", "errorstats") == "# Errorstats"
        ends = proxy.all_ended()
        assert {e["Status"] for e in ends} <= {200, 499}


class Listener:
    """redis-cli that prints what the server sends."""

    def __init__(self, tmp_path, port, *argv):
        self.path = tmp_path / f"{argv[0]}.out"
        with open(self.path, "w") as out:
            self.child = subprocess.Popen(
                [program("redis-cli"), "-p", str(port), *argv],
                stdin=subprocess.PIPE, stdout=out, stderr=out)

    def lines(self):
        return self.path.read_text().splitlines()

    def expect(self, what):
        harness.until(lambda: any(what in line for line in self.lines()),
                      f"{what!r} in {self.path.name}: {self.lines()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.kill()
        self.child.wait()


def test_what_is_published_is_pushed_to_all(tmp_path, store):
    with in_front(tmp_path, store.port, "tcp") as proxy, \
            Listener(tmp_path, proxy.port, "SUBSCRIBE", "news") as one, \
            Listener(tmp_path, proxy.port, "PSUBSCRIBE", "n*") as other:
        for each in (one, other):
            each.expect("subscribe")
        harness.until(lambda: cli(store.port, "PUBLISH", "news", "0") == "2",
                      "two subscribers")
        for i in range(1, 200):
            port = (store.port, proxy.port)[i % 2]
            assert cli(port, "PUBLISH", "news", f"item {i}") == "2"
        for each in (one, other):
            each.expect("item 199")
            got = [x for x in each.lines() if x.startswith("item ")]
            assert got == [f"item {i}" for i in range(1, 200)]


def test_silence_within_the_limit_ends_nothing(tmp_path, store):
    """MONITOR is silent for long, one way and then both."""
    with in_front(tmp_path, store.port, "tcp", idle_timeout_s=3) as proxy:
        with Listener(tmp_path, proxy.port, "MONITOR") as monitor:
            monitor.expect("OK")
            for i in range(3):  # longer in all than the limit
                time.sleep(1.5)
                cli(store.port, "SET", "seen", f"turn-{i}")
                monitor.expect(f"turn-{i}")
            assert not proxy.events(Event="disconnect")
            [end] = proxy.expect_events(Event="disconnect")
            assert end["Status"] == 200
            silent = monitor.lines()
            cli(store.port, "SET", "seen", "too late")
            assert monitor.lines()[:len(silent)] == silent
