"""l4proxyd's event log: rotated under load, full, blocked, taken away."""
import json
import os
import signal
import subprocess
import threading

import harness
from proxyharness import works
from services import in_front
from udporigin import UdpOrigin


def rotate(p):
    since = p.mark()
    p.kill(signal.SIGUSR1)
    return p.expect_log("event log .*", since)[0]


def test_rotation_loses_no_line(proxy, origin, tmp_path):
    harness.give(tmp_path)  # the directory of the log
    p = proxy(origin())
    stop, served = threading.Event(), [0, 0, 0]

    def knock(i):
        while not stop.is_set():
            served[i] += works(p.port)
    threads = [threading.Thread(target=knock, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()
    old = []
    for i in range(5):
        before = sum(served)
        harness.until(lambda: sum(served) > before + 20, "load")
        old.append(p.events_path.with_suffix(f".{i}"))
        p.events_path.rename(old[-1])
        if i % 2:  # as `create` of logrotate(8)
            p.events_path.touch(0o640)
            harness.give(p.events_path)
        assert rotate(p) == "event log opened again, 0 lines lost so far"
    stop.set()
    for t in threads:
        t.join()
    p.stop()
    lines = [json.loads(line) for path in [*old, p.events_path]
             for line in path.read_text().splitlines()]
    kinds = [e["Event"] for e in lines]
    assert kinds.count("connect") == kinds.count("disconnect") == sum(served)
    assert len(kinds) == 2 * sum(served)
    assert all(path.stat().st_size for path in old)


def test_a_full_disk_stops_nobody(proxy, origin):
    p = proxy(origin(), daemon={"event_log": "/dev/full"})
    assert all(works(p.port) for _ in range(200))
    p.expect_log("event log: No space left on device: lines are lost")
    assert p.log().count("lines are lost") < 10, "once a while, not each"


def test_a_reader_that_stands_still_stops_nobody(tmp_path):
    """Standard output is a pipe, and its other end does not read."""
    with UdpOrigin() as origin:
        p = in_front(tmp_path, origin.port, "udp", daemon={
            "event_log": "-", "workers": 1})
        p.write_config(p.config)
        with open(p.log_path, "wb") as log:
            p.child = subprocess.Popen([p.program, "-c", p.config_path],
                                       stdin=subprocess.DEVNULL, stderr=log,
                                       stdout=subprocess.PIPE)
        p.wait_ready()
        for _ in range(4700):  # more lines than pipe and queue hold
            with harness.Udp("127.0.0.1", p.port) as c:
                c.send(b"x")
        p.expect_log("lines come faster than they can be written; [1-9]")
        with harness.Udp("127.0.0.1", p.port) as c:
            assert c.ask(b"still there?") == b"still there?"
        out = p.child.stdout
        p.stop()  # and it ends all the same
    lines = out.read().splitlines(keepends=True)
    assert len(lines) > 50
    for line in lines[:-1]:
        json.loads(line)


def test_a_directory_that_was_made_anew(proxy, origin, tmp_path, as_root):
    """Landlock holds the old one: the message is not a riddle."""
    home = tmp_path / "home"
    home.mkdir()
    harness.give(home)
    p = proxy(origin(), daemon={"event_log": str(home / "events")})
    assert works(p.port)
    os.rename(home, tmp_path / "elsewhere")
    home.mkdir()
    harness.give(home)
    assert "takes a restart" in rotate(p)
    assert works(p.port)
    # the old file goes on
    old = tmp_path / "elsewhere" / "events"
    harness.until(lambda: old.read_text().count('"disconnect"') == 2,
                  "both sessions are there")
