"""l4proxyd -t: broken configurations, and what is said about each."""
import re

import harness
import pytest

APP = """\
  - name: {name}
    protocol: {protocol}
    edge_ips: {edges}
    origin_direct: {origins}
"""
ORIGIN = "tcp://192.0.2.9:22"


def app(name="a", protocol="tcp/22", edges="[127.0.0.1]", origins=None,
        more=""):
    return APP.format(name=name, protocol=protocol, edges=edges,
                      origins=origins or f"[{ORIGIN}]") + more


def apps(*texts):
    return "applications:\n" + "".join(texts)


# configuration, then each line that is said: place, and words of it
BROKEN = {
    "nothing in it": ("", [("1:1", "applications: expected at least one")]),
    "not a mapping": ("[]\n", [
        ("1:1", "expected a mapping (key: value), got a list"),
        ("1:1", "applications: expected at least one")]),
    "a bracket is open": ("applications: [\n", [
        ("2:1", "did not find expected node content")]),
    "a tab": ("applications:\n\t- name: a\n", [
        ("2:1", "a tab; YAML is indented with spaces")]),
    "an alias": ("applications: *x\n", [("1:15", "alias")]),
    "a misspelt key": (apps(app(more="    idle_timout_s: 5\n")), [
        ("6:5", 'unknown key; did you mean "idle_timeout_s"?')]),
    "a key twice": (apps(app(more="    name: b\n")), [
        ("6:5", "applications[0].name: given before, at line 2")]),
    "an unknown key of the file": (apps(app()) + "wrokers: 3\n", [
        ("6:1", 'did you mean "workers"?')]),
    "no protocol that we know": (apps(app(protocol="sctp/22")), [
        ("3:15", "expected tcp/PORT or udp/FIRST-LAST")]),
    "port 0": (apps(app(protocol="tcp/0")), [
        ("3:15", "expected ports from 1 to 65535")]),
    "a range from port 0": (apps(app(
        protocol="tcp/0-9", origins="[tcp://192.0.2.9:1-10]")), [
            ("3:15", "expected ports from 1 to 65535")]),
    "a range backwards": (apps(app(protocol="tcp/30-20")), [
        ("3:15", "runs backwards, expected 20-30")]),
    "ranges of unequal length": (apps(app(
        protocol="tcp/20-30", origins="[tcp://192.0.2.9:20-31]")), [
            ("5:21", "expected ranges of equal length")]),
    "a range past the last port": (apps(app(
        protocol="tcp/1-9", origins="[tcp://192.0.2.9:65530-65538]")), [
            ("5:21", "expected ports from 1 to 65535")]),
    "two claim a port": (apps(app(), app("b", edges="all")), [
        ("8:15", 'overlaps 127.0.0.1 with tcp/22 of application "a"')]),
    "a name twice": (apps(app(), app(protocol="tcp/23")), [
        ("6:11", "same as applications[0]")]),
    "v1 on UDP": (apps(app(
        protocol="udp/53", origins="[udp://192.0.2.9:53]",
        more="    proxy_protocol: v1\n")), [
            ("6:21", "v1 is for TCP, expected off, v2, v2-first or simple")]),
    "another protocol behind": (apps(app(origins="[udp://192.0.2.9:22]")), [
        ("5:21", "is udp, but the application's protocol is tcp")]),
    "a name as origin": (apps(app(origins="[tcp://db.example:22]")), [
        ("5:21", "names go under origin_dns")]),
    "an interface as edge": (apps(app(edges="[eth0]")), [
        ("4:16", "expected a numeric address without a port")]),
    "a loop": (apps(app(origins="[tcp://127.0.0.1:22]")), [
        ("5:21", "is this application's own edge")]),
    "bits after a prefix": (apps(app(
        more="    ip_firewall: {deny: [203.0.113.7/24]}\n")), [
            ("6:26", "expected 203.0.113.0/24")]),
    "a duration without a unit we know": (apps(app(
        more="    connect_timeout_s: 5 parsecs\n")), [
            ("6:24", "expected a duration")]),
    "no origin": (apps(app(origins="[]")), [("5:20", "origin_direct")]),
    "both kinds of origin": (apps(app(
        more="    origin_dns: {name: origin.example}\n")), [
            ("6:17", "expected one of origin_direct and origin_dns")]),
    "all faults, not the first": (
        apps(app(protocol="tcp/99999", edges="[x]",
                 more="    balance: random\n")) + "workers: 0\n", [
            ("3:15", "expected ports"), ("4:16", "numeric address"),
            ("6:14", "round-robin"), ("7:10", "workers: expected auto")]),
}


def checked(tmp_path, text):
    path = tmp_path / "l4proxyd.yaml"
    path.write_text(text)
    return path, harness.run("l4proxyd", "-t", "-c", path, check=False)


@pytest.mark.parametrize("what", BROKEN)
def test_each_fault_is_told_at_its_place(tmp_path, what):
    text, want = BROKEN[what]
    path, done = checked(tmp_path, text)
    assert done.returncode == 1
    assert done.stdout == ""
    told = re.findall(rf"(?m)^l4proxyd: error: {path}:(\d+:\d+): (.*)$",
                      done.stderr)
    for place, words in want:
        assert any(at == place and words in line for at, line in told), (
            place, words, done.stderr)
    assert len(told) == len(want), done.stderr
    assert "good" not in done.stderr


def test_more_than_twenty():
    assert len(BROKEN) >= 20


def test_of_very_many_faults_the_first_and_how_many(tmp_path):
    path, done = checked(tmp_path, apps(*(app(f"a{i}") for i in range(200))))
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert len(lines) == 51
    assert all("overlaps" in line for line in lines[:-1])
    assert lines[-1] == (f"l4proxyd: error: {path}: and "
                         f"{200 * 199 // 2 - 50} more errors")


# -- what this host does not give ------------------------------------------------


@pytest.mark.parametrize("edge,words", [
    ("192.0.2.1", "this host has no such address now"),
    ("fe80::1", "a link-local address needs its interface")])
def test_an_address_that_cannot_be_had(tmp_path, edge, words):
    port = harness.free_port()
    _, done = checked(tmp_path, apps(app(protocol=f"tcp/{port}",
                                         edges=f'["{edge}"]')))
    assert done.returncode == 1
    first, second = done.stderr.splitlines()[:2]
    assert first.startswith("l4proxyd: error: cannot bind tcp ")
    assert edge in first and str(port) in first
    assert words in second


def test_an_event_log_that_cannot_be_written(tmp_path, as_root):
    """To root "permission denied" is a riddle without the user."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    port = harness.free_port()
    _, done = checked(tmp_path, apps(app(protocol=f"tcp/{port}")) +
                      f"event_log: {closed}/events\n")
    assert done.returncode == 1
    assert re.search(r"(?m)error: event log \S+/events: Permission denied "
                     r"\(uid 65534\)$", done.stderr), done.stderr
