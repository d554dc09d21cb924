"""portshare story: it comes out as told, and a spoiled step ends it."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import harness
import pytest

PROGRAMS = ["roughtimed", "l4proxyd", "roughtime", "roughtime-keys",
            "l4proxyctl", "portshare"]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
LIMIT_S = 240  # of a story that takes a second or two


def story(*argv, program=harness.BUILD / "portshare", prefix=(), env=()):
    """To its end. What it leaves in /tmp fails the test."""
    p = subprocess.Popen([*prefix, program, "story", *argv], text=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE,
                         env={**os.environ, **dict(env)})
    try:
        out, err = p.communicate(timeout=LIMIT_S)
    finally:
        p.kill()
        p.wait()
    assert not directories_of(p.pid)
    return subprocess.CompletedProcess(p.args, p.returncode, out, err)


def directories_of(pid):
    return list(pathlib.Path("/tmp").glob(f"portshare-story-{pid}.*"))


@pytest.fixture(scope="module")
def told():
    """With all it can show, as a program reads it."""
    asan = os.environ.get("ASAN_OPTIONS", "")  # which finds leaks by ptrace too
    p = story("--syscalls", "--json",
              env={"ASAN_OPTIONS": f"{asan}:detect_leaks=0"})
    assert p.returncode == 0, p.stderr + p.stdout
    return json.loads(p.stdout)


def of(told, kind, **wanted):
    return [e for e in told["events"] if e["kind"] == kind and
            all(e[k] == v for k, v in wanted.items())]


def test_it_comes_out_as_told(told):
    assert told["as_told"] and "failed" not in told
    assert told["kernel"] == os.uname().release
    checks = of(told, "check")
    assert len(checks) == told["checks"] >= 30
    assert all(c["so"] for c in checks)
    assert {e["kind"] for e in told["events"]} == {
        "title", "words", "file", "typed", "printed", "check", "call"}
    chapters = [e["chapter"] for e in of(told, "title")]
    assert chapters == list(range(1, len(chapters) + 1))


def test_as_root_it_has_a_network_of_its_own(told, as_root):
    assert told["network"] == "private" and told["port"] == 2002


def words(told, kind):
    return "\n".join(e["text"] for e in of(told, kind))


def test_it_shows_what_happened(told):
    """The refusals, the rules, verified answers, counters."""
    printed = words(told, "printed")
    for text in ("cannot bind udp ", "cannot bind tcp ",
                 "neither socket carries a sharing flag",
                 "the holder is in LISTEN", "rule 2: ", "rule 3: ", "rule 4: ",
                 "(verified)", "datagrams: from clients"):
        assert text in printed, text
    assert "sharing: {mode: open}" in words(told, "file")


def calls(told, process, chapter):
    return of(told, "call", process=process, chapter=chapter)


def names_of(life):
    return [c["call"] for c in life]


def chapter_of(told, title):
    (found,) = [e["chapter"] for e in of(told, "title")
                if title in e["text"]]
    return found


def test_a_datagram_sockets_life(told):
    """Options before bind; neither listen nor accept."""
    at = chapter_of(told, "lives of three sockets")
    life = calls(told, "roughtimed", at)
    assert "SOCK_DGRAM" in life[0]["arguments"]
    names = names_of(life)
    assert names[0] == "socket" and names.count("bind") == 1
    flag, = [i for i, c in enumerate(life)
             if c["arguments"].endswith("SO_REUSEPORT, 1")]
    bind = names.index("bind")
    assert 0 < flag < bind
    assert life[bind]["arguments"].endswith(f", 0.0.0.0:{told['port']}")
    assert life[bind]["result"] == "0"
    assert not {"listen", "accept4", "connect"} & set(names)


def test_a_stream_sockets_life(told):
    at = chapter_of(told, "lives of three sockets")
    both = calls(told, "l4proxyd", at)
    second = [i for i, n in enumerate(names_of(both)) if n == "socket"][1]
    life, client = both[:second], both[second:]
    assert "SOCK_STREAM" in life[0]["arguments"]
    fd = life[0]["result"]
    assert all(c["arguments"].split(",")[0] == fd for c in life[1:])
    names = names_of(life)
    order = [names.index(n) for n in
             ("socket", "setsockopt", "bind", "listen", "accept4")]
    assert order == sorted(order)
    assert life[order[-1]]["result"].isdigit()
    assert names_of(client)[0] == "socket" and "connect" in names_of(client)
    assert not {"bind", "listen"} & set(names_of(client))


def test_the_refusal_is_a_bind_that_fails(told):
    """One of a datagram socket, later one of a stream socket; then those of
    a newcomer that asks the guard when it has seen that it must."""
    refused = of(told, "call", call="bind", result="EADDRINUSE")
    assert {c["process"] for c in refused} == {"l4proxyd"}
    at = [c["chapter"] for c in refused]
    assert at[:2] == [chapter_of(told, "wants the same port"),
                      chapter_of(told, "other half")]
    assert min(at[2:]) == chapter_of(told, "The guard: two")


def test_the_guard_leaves_no_flag(told, as_root):
    """What each sets for a bind it clears, on both sockets of each."""
    last, at = {}, chapter_of(told, "The guard: two")
    for c in of(told, "call", call="setsockopt", chapter=at):
        fd, _, name, value = c["arguments"].split(", ")[:4]
        if name == "SO_REUSEPORT":
            last[c["process"], fd] = value
    assert {process for process, _ in last} == {"roughtimed", "l4proxyd"}
    bound = {(c["process"], c["arguments"].split(", ")[0])
             for c in of(told, "call", call="bind", chapter=at, result="0")
             if re.search(r", (0\.0\.0\.0|192\.0\.2\.1):2002$",
                          c["arguments"])}
    assert {last[s] for s in bound} == {"0"} and len(bound) == 4


def test_no_option_of_the_first_chapters_shares(told):
    before = [c for c in of(told, "call", call="setsockopt")
              if c["chapter"] < chapter_of(told, "The option")]
    flags = {c["arguments"].split(", ")[2] for c in before}
    assert "SO_REUSEPORT" not in flags
    udp = {c["result"] for c in of(told, "call", call="socket", chapter=1)
           if "SOCK_DGRAM" in c["arguments"]}
    assert udp and not [c for c in before if c["chapter"] == 1 and
                        c["arguments"].split(", ")[0] in udp and
                        "SO_REUSEADDR" in c["arguments"]]


def test_it_is_told_to_people():
    p = story()
    assert p.returncode == 0, p.stderr + p.stdout
    assert "NOT SO" not in p.stdout and not p.stderr
    assert re.search(r"(?m)^1\. A time server takes the port$", p.stdout)
    assert "  ok: the proxy is refused" in p.stdout
    assert " | " not in p.stdout  # calls are for those who ask
    wide = [line for line in p.stdout.splitlines() if len(line) > 80 and
            "$ " not in line]
    assert not wide


@pytest.fixture
def anybodys(tmp_path, as_root):
    """portshare and what is beside it, where anybody may run them."""
    for name in PROGRAMS:
        shutil.copy(harness.BUILD / name, tmp_path)
    return tmp_path / "portshare"


def test_without_root_it_says_what_is_left_out(anybodys):
    """In a network of the test's, as the port is the host's otherwise."""
    p = story(program=anybodys, prefix=["unshare", "-n", "sh", "-euc",
                      'ip link set lo up; exec "$@"', "-", *NOBODY])
    assert p.returncode == 0, p.stderr + p.stdout
    assert "Left out: dispatch, repair, and what another user" in p.stdout
    assert "only root can be another user" in p.stdout
    assert "NOT SO" not in p.stdout


def test_without_root_a_busy_port_is_left_to_its_owner(anybodys):
    p = story("--json", program=anybodys, prefix=[
        "unshare", "-n", "sh", "-euc",
        "ip link set lo up; python3 -c 'import os, socket, sys; "
        's = socket.socket(); s.bind(("127.0.0.9", 2002)); s.listen(); '
        "s.set_inheritable(True); os.execvp(sys.argv[1], sys.argv[1:])' "
        '"$@"', "-", *NOBODY])
    assert p.returncode == 0, p.stderr + p.stdout
    assert json.loads(p.stdout)["port"] == 3002


# A step that is spoiled: a program beside portshare is a wrapper that does
# something else than the story tells.

@pytest.fixture
def house(tmp_path):
    """A directory with the programs, some of which are spoiled."""
    def make(**spoiled):
        for name in PROGRAMS:
            (tmp_path / name).symlink_to(harness.BUILD / name)
        # where it really lies says what is beside it
        shutil.copy(harness.BUILD / "portshare", tmp_path / "teller")
        for name, script in spoiled.items():
            path = tmp_path / name.replace("_", "-")
            path.unlink()
            path.write_text(f"#!/bin/sh\nreal={harness.BUILD}/{path.name}\n"
                            f"{script}\n")
            path.chmod(0o755)
        return tmp_path / "teller"
    return make


def with_mode(old, new):
    """Runs the daemon under a configuration with another mode."""
    return f'sed -i "s/mode: {old}/mode: {new}/" "$2"; exec $real "$@"'


# Bound when the shell goes on; it answers once, and does not wait for ever.
ELSEWHERE = """python3 -c '
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 7001))
s.settimeout(60)
if os.fork() == 0:
    text, client = s.recvfrom(99)
    s.sendto(b"somebody else: " + text, client)
'"""

def second(mode, other):
    """The second start for UDP alone in this mode is one in another."""
    return f"""count=$(dirname "$2")/$(basename "$0").count
grep -q "mode: {mode}" "$2" && ! grep -q tcp/ "$2" && echo >> "$count"
[ "$(cat "$count" 2>/dev/null | wc -l)" = 2 ] &&
    sed -i "s/mode: {mode}/mode: {other}/" "$2"
exec $real "$@"
"""


SPOILED = {
    "a server that does not start":
        (dict(roughtimed="exit 1"), "roughtimed is up"),
    "answers that do not verify":
        (dict(roughtime="echo bad; exit 3"), "signed and verified"),
    "a client that only says so":
        (dict(roughtime="echo good"), "signed and verified"),
    "a prediction that errs":
        (dict(portshare='[ $1 != predict ] || { echo will bind; exit 0; }; '
                        'exec $real "$@"'), "predict knows it"),
    "a prediction for another reason":
        (dict(portshare='[ $1 != predict ] || { echo bad luck; exit 2; }; '
                        'exec $real "$@"'), "predict knows it"),
    "a watcher who sees nothing":
        (dict(portshare='[ $1 != watch ] || { echo watching; exec '
                        'sleep 2; }; exec $real "$@"'),
         "the watcher tells of it"),
    "a watcher who mistakes a hijack for a steal":
        (dict(portshare='[ $1 != watch ] || { echo watching; '
                        'echo ": steal: "; exec sleep 2; }; exec $real "$@"'),
         "the watcher tells of it"),
    "a repair that leaves the flag":
        (dict(roughtimed=second("off", "open"),
              portshare='[ $1 != repair ] || { echo ": bound, and closed"; '
                        'while [ $1 != -- ]; do shift; done; shift; '
                        'exec "$@"; }; exec $real "$@"'),
         "the time server carries no flag again"),
    "no collision":
        (dict(l4proxyd='sed -i "s/udp\\/2002/udp\\/2003/" "$2"; '
                       'exec $real "$@"'),
         "the proxy is refused"),
    "another reason for the refusal":
        (dict(l4proxyd="echo unknown key; exit 1"), "the proxy is refused"),
    "the option left out":
        (dict(l4proxyd=with_mode("open", "off")), "l4proxyd is up"),
    "the option left out by the holder":
        (dict(roughtimed=with_mode("open", "off")), "l4proxyd is up"),
    "TCP that shares after all":
        (dict(l4proxyd=with_mode("open", "reuseport"),
              roughtimed=with_mode("open", "reuseport")),
         "the proxy is refused: tcp"),
    "a proxy at another address":
        (dict(l4proxyd='grep -q open "$2" && sed -i '
                       '"s/: .192.0.2.1.$/: [192.0.2.2]/" "$2"; '
                       'exec $real "$@"'),
         "udp 192.0.2.1:2002 is l4proxyd's"),
    "a proxy that leads elsewhere":
        (dict(l4proxyd='sed -i "s/192.0.2.101:7000/127.0.0.1:7001/" "$2"; '
                       f'grep -q open "$2" && {ELSEWHERE}; exec $real "$@"'),
         'answered by "somebody else: hello 1"'),
    "a dispatch that is none":
        (dict(l4proxyd=with_mode("dispatch", "reuseport"),
              roughtimed=with_mode("dispatch", "reuseport")),
         "by the program's choice"),
    "a stranger who is not let in":
        (dict(l4proxyd=second("open", "reuseport"),
              roughtimed=second("open", "reuseport")),
         "a second program binds the customer's address too: Address already"),
    "a guard who lets others in":
        (dict(l4proxyd=with_mode("guarded", "reuseport"),
              roughtimed=with_mode("guarded", "reuseport")),
         "a second program tries tcp with SO_REUSEPORT: success"),
    "a guard on one side only":
        (dict(roughtimed=with_mode("guarded", "off")), "l4proxyd is up"),
    "counters that do not add up":
        (dict(l4proxyctl='$real "$@" | sed "s/[0-9]*  datagrams: from/'
                         '99  datagrams: from/"'),
         "the proxy passed on"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_spoiled_step_ends_the_story(as_root, house, what):
    spoiled, where = SPOILED[what]
    p = story("--json", program=house(**spoiled))
    assert p.returncode == 2, (p.returncode, p.stderr, p.stdout)
    told = json.loads(p.stdout)
    assert not told["as_told"] and where in told["failed"], told["failed"]
    last = of(told, "check")[-1]
    assert not last["so"] and last["text"] == told["failed"]
    assert all(c["so"] for c in of(told, "check")[:-1])
    assert f"not as told: {told['failed']}" in p.stderr


def test_a_program_that_is_missing_is_named(house, as_root):
    program = house()
    (program.parent / "l4proxyctl").unlink()
    p = story(program=program, env={"PATH": "/usr/bin:/bin"})
    assert p.returncode == 1 and not p.stdout
    assert "l4proxyctl is neither beside portshare" in p.stderr


def test_without_strace_it_says_how_to_get_it(house):
    program = house()
    p = story("--syscalls", program=program, env={"PATH": "/nowhere"})
    assert p.returncode == 1 and not p.stdout
    assert "needs strace(1)" in p.stderr


def daemons_of(directory):
    """Processes that live in the story's directory."""
    found = []
    for p in pathlib.Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if os.readlink(p).startswith(str(directory)):
                found.append(p.parent.name)
    return found


def paused():
    """A story that waits for Enter, its time server up."""
    child = subprocess.Popen(
        [harness.BUILD / "portshare", "story", "--pause"], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    directory, = harness.until(lambda: directories_of(child.pid),
                               "the story's directory")
    harness.until(lambda: daemons_of(directory), "a daemon")
    return child, directory


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing(number):
    child, directory = paused()
    try:
        child.send_signal(number)
        out, err = child.communicate(timeout=harness.PATIENCE_S)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 1 and "interrupted" in err, (err, out)
    assert "NOT SO" not in out
    assert not directory.exists() and not daemons_of(directory)


def test_nobody_reads_it_and_nothing_is_left():
    child, directory = paused()
    try:
        child.stdout.close()
        child.stdin.write("\n" * 20)
        child.stdin.close()
        err = child.stderr.read()
        child.wait(harness.PATIENCE_S)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 1 and "standard output" in err
    assert not directory.exists() and not daemons_of(directory)


def test_usage_errors():
    for argv in (["x"], ["--nonsense"]):
        p = story(*argv)
        assert p.returncode == 1 and "usage: portshare" in p.stderr
        assert not p.stdout


# ./run, on programs that are built: its make is told to do nothing.

@pytest.fixture
def checkout(tmp_path):
    """What ./run needs of the tree; its commands come with this PATH."""
    for name in ("run", "setup.sh"):
        shutil.copy(harness.ROOT / name, tmp_path / name)
    (tmp_path / "build").symlink_to(harness.BUILD)
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "make").symlink_to("/bin/true")
    return tmp_path, {**os.environ,
                      "PATH": f"{commands}:{os.environ['PATH']}"}


def run_it(checkout, *argv):
    tree, env = checkout
    p = subprocess.run([tree / "run", *argv], text=True, env=env,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=LIMIT_S)
    assert not (tree / "var").exists()
    return p


def test_run_tells_the_story_twice_in_a_row(checkout):
    p = run_it(checkout)
    assert p.returncode == 0, p.stderr + p.stdout
    assert "As told: " in p.stdout and "./run serve" in p.stdout
    p = run_it(checkout, "--json")
    assert p.returncode == 0, p.stderr + p.stdout
    assert json.loads(p.stdout)["as_told"]


def test_run_passes_failures_on(checkout):
    p = run_it(checkout, "nonsense")
    assert p.returncode == 1 and "./run serve" not in p.stdout
    assert "takes no nonsense" in p.stderr


def test_run_serve_answers_until_it_is_stopped(checkout):
    tree, env = checkout
    port = harness.free_port()
    child = subprocess.Popen([tree / "run", "serve"], text=True,
                             env={**env, "PORT": str(port)},
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        lines = []
        for line in child.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        asked, = [line for line in lines if line.startswith("  ask it")]
        p = subprocess.run(asked.split()[2:], text=True, check=True,
                           stdout=subprocess.PIPE, timeout=LIMIT_S)
        assert "(verified)" in p.stdout
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=harness.PATIENCE_S)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0
    assert not (tree / "var").exists()
