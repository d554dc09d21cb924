"""The arithmetic of bench/: what stands in its results follows from turns."""
import pathlib
import subprocess
import sys

import pytest
from conftest import did_not_run

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bench"))
import bench  # noqa: E402
import everything  # noqa: E402
import goals  # noqa: E402
import plots  # noqa: E402
import proxy  # noqa: E402
import proxy_report  # noqa: E402
import timerows  # noqa: E402


def turn(proxy_s=1.0, units=1000, origin_s=0.25, p50_us=10.0):
    return {"proxy_s": proxy_s, "units": units, "origin_s": origin_s,
            "p50_us": p50_us, "seconds": 1.0}


def test_spread_is_median_and_ends():
    assert bench.spread([3, 1, 2], 1) == "2.0 (1.0-3.0)"
    assert bench.spread([4, 1, 2, 3], 2) == "2.50 (1.00-4.00)"


@pytest.mark.parametrize("goal, values, met", [
    ("<= 1.15", [0.9, 1.15, 9.0], "yes"),  # the median counts
    ("<= 1.15", [1.16, 1.16, 0.1], "**no**"),
    (">= 4", [4, 4, 1], "yes"),
    (">= 4", [3.9], "**no**"),
    ("< 1", [1], "**no**"),
    ("", [1], ""),
])
def test_goals_are_judged_by_the_median(goal, values, met):
    row = goals.line("what", "beside", values, goal, "make bench")
    assert row[3:] == [goal, met, "`make bench`"]
    assert len(row) == len(goals.HEAD)


def test_a_ratio_is_of_two_turns_of_one_round():
    ours = [{"cpu_us": 2.0}, {"cpu_us": 8.0}]
    base = [{"cpu_us": 4.0}, {"cpu_us": 16.0}]
    assert goals.by_round(ours, base, "cpu_us") == [0.5, 0.5]
    assert timerows.capacity(base, ours) == [4.0, 4.0]


def test_a_lone_request_is_judged_without_echo_and_signature():
    ours, base = [{"p50": 80.0}], [{"p50": 40.0}]
    assert timerows.beyond(ours, base, 25.0) == [15.0]


def test_what_a_proxy_adds_is_without_the_direct_path():
    turns = {"l4proxyd": [turn(p50_us=30)], "nginx stream": [turn(p50_us=50)],
             "nftables DNAT": [turn(p50_us=11)], "direct": [turn(p50_us=10)]}
    peer, values = proxy_report.ratio(turns, proxy_report.ADDED_P50)
    assert (peer, values) == ("nginx stream", [0.5])  # the kernel is no peer
    # 1 ms a round trip; an echo takes 0.25 ms
    turns[proxy_report.SOCKETS] = [turn()]
    assert proxy_report.over_two_echoes(turns) == [2.0]


def test_every_goal_of_the_proxy_names_its_row():
    keys = proxy.keys_of_titles()
    rows = proxy.LOOPBACK + proxy.NAMESPACES
    assert sorted(keys.values()) == sorted(row[0] for row in rows)
    assert len({row[1] for row in proxy.LOOPBACK}) == len(proxy.LOOPBACK)


def test_children_that_have_ended_are_counted():
    """Work of a fifth of a second in a child of a child of ours, waited for."""
    work = ("import time\n"
            "while time.process_time() < 0.2: pass\n")
    with subprocess.Popen(
            [sys.executable, "-c", "import subprocess, sys\n"
             f"subprocess.run([sys.executable, '-c', {work!r}], check=True)\n"
             "print('done', flush=True)\nsys.stdin.read()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "done\n"
        assert bench.thread_times(child.pid)[0] >= 0.18
        child.stdin.close()


def test_plots_are_drawn(request, tmp_path):
    if not plots.there():
        did_not_run(request, "gnuplot is not installed")
    load = {name: [(10000.0, 9000.0, 50.0, 90.0), (20000.0, 9500.0, 70.0, 900)]
            for name in ("roughtimed", "udp echo")}
    curve = {"l4proxyd": [(1, 20.0), (64, 10.0)]}
    text = plots.all_plots(str(tmp_path), {
        "load": load, "batch": [(1, 50.0), (4, 12.0)],
        "core": [(1, 25.0), (4, 6.0)], "flows": curve, "sessions": curve})
    for name in ("rate", "p50", "p99", "batch", "flows", "sessions"):
        assert f"(plots/{name}.png)" in text
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_section_that_needs_another_brings_it_along():
    wanted = everything.wanted_sections
    assert wanted(["half"], {}) == ["saturated", "half"]
    assert wanted(["half"], {"saturated": {}}) == ["half"]
    assert wanted(["hash"], {}) == ["hash"]
    assert wanted([], {})[0] == "hash" and "load" in wanted([], {})


def test_parts_measured_anew_replace_their_own_only():
    def part(n, text):
        return {"goals": [[f"goal {n}", "", "", "", "", ""]], "text": text,
                "notes": ["a peer is absent"], "points": {}, "took_s": 9,
                "machine": [f"- when: {n}", "- machine: m"]}
    parts = {"core": part(2, "## Core"), "hash": part(1, "## Hash")}
    table, text = everything.document(parts)
    assert table.index("goal 1") < table.index("goal 2")
    assert table.count("a peer is absent") == 1
    assert "## Hash\n\n*when: 1; machine: m; 9 s.*" in text
    parts["hash"] = part(3, "## Hash")
    table, text = everything.document(parts)
    assert "goal 1" not in table and "goal 3" in table and "goal 2" in table
