"""l4proxyctl reload: done, or why not."""
import re
import socket

import harness
from controlharness import REFUSED
from proxyharness import application, connect, read_exactly


def test_reload_says_that_it_is_done(controlled, tcp):
    port, more = harness.free_port(), harness.free_port()
    p = controlled(application(port, tcp))
    p.write_config(dict(p.config, applications=[
        *p.config["applications"], application(more, tcp, name="more")]))
    assert p.ctl("reload").stdout == "reloaded\n"
    with connect(more) as c:  # no waiting: it was done
        c.sendall(b"x")
        assert read_exactly(c, 1) == b"x"
    assert [a["application"] for a in p.rows("applications")] == [
        "story", "more"]
    assert p.rows("version")[0]["reloads"] == 1


def test_a_reload_that_fails_says_why_and_changes_nothing(controlled, tcp):
    port, other = harness.free_port(), harness.free_port()
    p = controlled(application(port, tcp))
    good = dict(p.config)
    with connect(port) as c:
        broken = application(other, tcp, name="other", balance="best",
                             idle_timeout_s="soon")
        p.write_config(dict(good, applications=[
            *good["applications"], broken]))
        told = p.ctl("reload", status=REFUSED)
        found = re.findall(
            rf"(?m)^error: {re.escape(str(p.config_path))}:(\d+):\d+: (\S+):",
            told.stdout)
        assert [key for _, key in found] == [
            "applications[1].balance", "applications[1].idle_timeout_s"] or \
            {key for _, key in found} == {
                "applications[1].balance", "applications[1].idle_timeout_s"}
        assert all(int(line) > 1 for line, _ in found)
        assert "stays as it was" in told.stderr
        assert p.rows("reload", status=REFUSED)[0]["level"] == "error"
        assert [a["application"] for a in p.rows("applications")] == ["story"]
        c.sendall(b"x")
        assert read_exactly(c, 1) == b"x"
    assert p.rows("version")[0]["reloads_failed"] == 2
    with socket.socket() as s:
        s.bind(("127.0.0.1", other))
        s.listen()
        p.write_config(dict(good, applications=[
            *good["applications"], application(other, tcp, name="other")]))
        told = p.ctl("reload", status=REFUSED)
        assert "in use" in told.stdout and str(other) in told.stdout
    assert p.ctl("reload").stdout == "reloaded\n"


def test_a_reload_warns_of_what_takes_a_restart(controlled, tcp):
    p = controlled(application(harness.free_port(), tcp))
    p.write_config(dict(p.config, workers=1))
    told = p.ctl("reload").stdout
    assert re.search("(?m)^warning: .*restart.*workers", told)


def test_counters_go_on_over_a_reload(controlled, tcp):
    port = harness.free_port()
    p = controlled(application(port, tcp))
    for rules in ({}, {"balance": "source-hash"}):  # it changes
        with connect(port) as c:
            c.sendall(b"x")
            read_exactly(c, 1)
        p.write_config(dict(p.config, applications=[
            application(port, tcp, **rules)]))
        p.ctl("reload")
    harness.until(lambda: p.counters()["ended"] == 2, "both")
    assert p.counters()["begun"] == 2
