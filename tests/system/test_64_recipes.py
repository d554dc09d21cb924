"""docs/recipes.md, taken at its word: the files of each recipe are started as
they stand there, and both services asked."""
import re
import subprocess

import harness
import pytest
from proxyharness import L4proxyd
from shareworld import EDGE, KINDS, PORT, TIME, WILD, hand_over, made_by

PAGE = (harness.ROOT / "docs" / "recipes.md").read_text()
RECIPES = {title: dict(re.findall(r"```\n# (\S+)\n(.*?)```", text, re.S))
           for title, text in re.findall(
               r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE)}
PAIRS = [t for t, files in RECIPES.items() if len(files) == 2]
ALONE = [t for t, files in RECIPES.items() if len(files) == 1]


def written(world, title, name):
    """The file of a recipe with this machine's key, origin and places."""
    text = RECIPES[title][name]
    for old, new in (("/etc/timeshare/main.key", str(world.identity.path)),
                     ("/run/timeshare", str(world.directory / "run")),
                     ("udp://198.51.100.7:2002",
                      f"udp://127.0.0.1:{world.udp.port}"),
                     ("tcp://198.51.100.7:2002",
                      f"tcp://127.0.0.1:{world.tcp.port}")):
        text = text.replace(old, new)
    if name == "roughtimed.yaml":  # nobody disciplines a test machine's clock
        text += "clock: {when_unsynchronised: serve}\n"
    path = world.directory / name
    path.write_text(text)
    return path


def daemon(world, title, name):
    path = written(world, title, name)
    kind = harness.Roughtimed if name == "roughtimed.yaml" else L4proxyd
    made = world.made(kind(world.directory, None if kind is harness.Roughtimed
                           else [], prefix=world.prefix()))
    made.config, made.argv = None, ["-c", path]
    return made


@pytest.mark.parametrize("title", PAIRS)
def test_two_services(world, title):
    t = daemon(world, title, "roughtimed.yaml")
    p = daemon(world, title, "l4proxyd.yaml")
    if title == "One parent for all sockets":
        hand_over(t, made_by(world, WILD) + made_by(
            world, {4: WILD[4]}, [("udp", 4), ("tcp", 4)], 5319))
        hand_over(p, made_by(world, EDGE))
    kinds = [("udp", 4)] if title == "The flag of the talk" else KINDS
    times = EDGE if title == "Two services, one address" else TIME
    t.start()
    p.start()
    with world.traffic(kinds, times=times) as traffic:
        traffic.wait(3)
        ask(world)
    assert traffic.total("failed") == 0, traffic.told


def ask(world):
    """The commands of the page; their answers are other stories' business."""
    commands = re.findall(r"(?m)^    \$ portshare (.+)$", PAGE)
    assert len(commands) == 2
    for command in commands:
        done = subprocess.run(
            [*world.prefix(), harness.BUILD / "portshare", *command.split()],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode in (0, 2), done.stdout


@pytest.mark.parametrize("title", ALONE)
def test_one_service(world, title):
    t = daemon(world, title, "roughtimed.yaml").start()
    queues = {"Shared queue": 1, "Parallel ingress queues": 4}.get(title, 2)
    t.expect_log(rf"udp {TIME[4]}:{PORT} \({queues} queue")
    with world.traffic(services=["time"]) as traffic:
        traffic.wait(5)
    assert traffic.total("failed") == 0, traffic.told
    with harness.inside(world.client,
                        lambda: harness.Udp(TIME[4], PORT)) as client:
        for _ in range(10):
            client.send(b"no request")
        client.verified(world.identity.public)
    counters = t.counters()
    assert counters["kernel_drop_filter_estimated"] == 10, counters
    assert counters["udp_received"] == counters["udp_sent"], counters


def test_each_way_stands_in_the_table():
    modes = set(re.findall(r"mode: (\w+)", PAGE))
    assert modes == {"open", "reuseport", "guarded", "activation", "dispatch",
                     "demux"}
    assert all(re.search(rf"(?m)^\| `{m}`", PAGE) for m in modes)
    assert len(PAIRS) == len(modes) + 1 and len(ALONE) == 3
