"""The words about the programs: --help, manuals, examples, README."""
import json
import os
import re
import socket
import subprocess

import harness
import pytest

MANUALS = {
    "roughtimed": "roughtime/roughtimed.8",
    "roughtime": "roughtime/roughtime.1",
    "roughtime-keys": "keys/roughtime-keys.1",
    "l4proxyd": "proxy/l4proxyd.8",
    "portshare": "portshare/portshare.8",
    "l4proxyctl": "proxy/l4proxyctl.8",
}
CLIENT_COMMANDS = ["query", "probe", "measure", "verify", "bench"]


def read(path):
    return (harness.ROOT / path).read_text()


def version():
    return re.search(r"(?m)^VERSION := (\S+)$", read("Makefile"))[1]


def section(manual, name):
    return re.search(rf"(?ms)^\.Sh {name}\n(.*?)(?=^\.Sh |\Z)", manual)[1]


def flags(line):
    """The options of a line of mdoc: each word after Fl is one."""
    found, after = set(), False
    for word in line.lstrip(".").split():
        if word == "Fl":
            after = True
        elif re.fullmatch(r"[A-Z][a-z]", word):
            after = False
        elif after and word not in (",", "|"):
            found |= ({f"-{word}"} if word[0] == "-" else
                      {f"-{letter}" for letter in word})
    return found


def flags_of(lines):
    return set().union(*map(flags, lines))


def described(manual):
    """The options that the manual has an item for."""
    return flags_of(re.findall(r"(?m)^\.It (Fl .*)$", manual))


def helped(text):
    """The options that a --help names; --x[-y] stands for --x and --x-y."""
    text = re.sub(r"(--[\w-]+)\[(-[\w-]+)", r"\1 \1\2", text)
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z0-9][\w-]*", text))


def helps(program):
    texts = [harness.run(program, "--help").stdout]
    if program == "roughtime":
        texts += [harness.run(program, c, "--help").stdout
                  for c in CLIENT_COMMANDS]
    return texts


@pytest.mark.parametrize("program", MANUALS)
def test_help_and_manual_name_the_same_options(program):
    manual = read(MANUALS[program])
    assert described(manual) == set().union(*map(helped, helps(program)))
    used = flags_of(section(manual, "SYNOPSIS").splitlines())
    assert used <= described(manual)


@pytest.mark.parametrize("command", CLIENT_COMMANDS)
def test_synopsis_of_a_command_is_its_help(command):
    synopsis = section(read(MANUALS["roughtime"]), "SYNOPSIS")
    own = re.search(rf"(?ms)^\.Cm {command}\n(.*?)(?=^\.Nm|\Z)", synopsis)[1]
    names = helped(harness.run("roughtime", command, "--help").stdout)
    assert flags_of(own.splitlines()) == names - {"--list", "--output"}


@pytest.mark.parametrize("program", MANUALS)
def test_version_and_help_answer_on_standard_output(program):
    for flag in ("-V", "--version"):
        p = harness.run(program, flag)
        assert (p.stdout, p.stderr) == (f"{program} {version()}\n", "")
    for flag in ("-h", "--help"):
        p = harness.run(program, flag)
        assert p.stdout.startswith(f"usage: {program} ") and not p.stderr


@pytest.mark.parametrize("program", MANUALS)
def test_an_unknown_option_is_a_usage_error(program):
    p = harness.run(program, "--no-such-option", check=False)
    assert p.returncode == 1 and not p.stdout
    assert "no-such-option" in p.stderr


def manual_pages():
    return [p for d in ("config", "keys", "roughtime", "proxy", "portshare")
            for p in sorted((harness.ROOT / d).glob("*.[1-8]"))]


OTHERS = {"adjtimex", "bpf", "hosts", "landlock", "pidfd_getfd", "pipe",
          "seccomp", "sd-daemon", "sd_listen_fds", "sh", "sock_diag", "socket", "splice",
          "ss", "strace", "systemd.socket", "udp", "unix", "veth"}


@pytest.mark.parametrize("page", manual_pages(), ids=lambda p: p.name)
def test_manuals_refer_to_pages_that_exist(page):
    ours = {p.name for p in manual_pages()}
    for name, number in re.findall(r"\bXr (\S+) (\d)", page.read_text()):
        assert f"{name}.{number}" in ours or name in OTHERS, name


def examples(path):
    """Command lines of EXAMPLES as a shell would get them."""
    text = section(read(path), "EXAMPLES").replace("\\e", "\\")
    text = re.sub(r"(?m)^\.Dl ", "", text)
    commands = re.findall(r"(?m)^\$ ((?:.*[\\|]\n)*.*)$", text)
    assert commands, path
    return commands


def shell(directory, command):
    path = f"{harness.BUILD}:{os.environ['PATH']}"
    p = subprocess.run(["sh", "-euc", command], cwd=directory, text=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=300,
                       env={**os.environ, "PATH": path})
    assert p.returncode == 0, (command, p.stderr)
    return p.stdout


def test_examples_of_roughtime_keys(tmp_path):
    told = {c: shell(tmp_path, c) for c in examples(MANUALS["roughtime-keys"])}
    imported = next(told[c] for c in told if "import" in c)
    assert imported in read(MANUALS["roughtime-keys"])
    assert len(list((tmp_path / "delegations").glob("*.bundle"))) == 13


def test_examples_of_roughtimed(tmp_path):
    generate, serve, query = examples(MANUALS["roughtimed"])
    at = f"127.0.0.1:{harness.free_port()}"
    shell(tmp_path, generate)
    argv = serve.replace("127.0.0.1:2002", at).removesuffix(" &").split()
    assert argv.pop(0) == "roughtimed" and "-k" in argv
    argv[argv.index("-k") + 1] = tmp_path / "main.key"
    with harness.Roughtimed(tmp_path, argv=argv):
        told = shell(tmp_path, query.replace("127.0.0.1:2002", at))
        assert "(verified)" in told


def write_list(path, port, identities):
    path.write_text(json.dumps({"servers": [
        {"name": i.name, "publicKeyType": "ed25519",
         "publicKey": i.public_text,
         "addresses": [{"protocol": "udp", "address": f"127.0.0.1:{port}"}]}
        for i in identities]}))


def test_examples_of_roughtime(tmp_path, start):
    keys = [harness.Identity(tmp_path, n) for n in ("one", "two", "three")]
    server = start(keys=keys)
    write_list(tmp_path / "servers.json", server.port, keys)
    for command in examples(MANUALS["roughtime"]):
        if "time.example.net" in command:
            command = re.sub(r"time\.example\.net(:5319)?(?: \S+=)?",
                             f"127.0.0.1:{server.port} {keys[0].public_text}",
                             command)
        assert shell(tmp_path, command)


def test_examples_of_portshare(tmp_path):
    port = harness.free_port()
    for command in examples(MANUALS["portshare"]):
        command = command.replace(":2002", f":{port}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            if re.search("who|watch", command):
                holder.bind(("127.0.0.1", port))
            said = shell(tmp_path, command)
            assert said or "watch" in command or (tmp_path /
                                                  "matrix.html").exists()


def test_shipped_config_and_the_manuals_example_load(tmp_path, identity):
    """As they stand, but for the key's path and the port."""
    page = read("config/roughtimed.yaml.5")
    example = re.search(r"(?ms)^\.Bd.*?\n(.*?)^\.Ed", section(page, "EXAMPLES"))
    for text in (read("config/roughtimed.yaml"), example[1]):
        path = tmp_path / "roughtimed.yaml"
        text = text.replace("/etc/timeshare/main.key", str(identity.path))
        text = re.sub(r"\b2002\b", str(harness.free_port()), text)
        path.write_text(text)
        p = harness.run("roughtimed", "-t", "-c", path, check=False)
        assert p.returncode == 0, p.stderr


def test_files_that_the_documents_name_exist():
    for page in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md",
                 "SECURITY.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", read(page)):
            assert (harness.ROOT / link).exists(), (page, link)
