"""Figures, ratios and tables of bench/proxy.py."""
import statistics

import bench
from proxy_peers import DNAT, SOCKETS
from proxy_turns import DIRECT


class Figure:
    """A column: its head, digits, and how it comes out of a turn."""

    def __init__(self, head, digits, take, more_is_better=False):
        self.head, self.digits, self.take = head, digits, take
        self.more_is_better = more_is_better

    def of(self, turns, name):
        """One for each round."""
        return [self.take(t) for t in turns[name]]


class Added(Figure):
    """Less the direct path's, of the same round."""

    def __init__(self, figure):
        super().__init__(f"added {figure.head}", figure.digits, figure.take)

    def of(self, turns, name):
        return [a - b for a, b in zip(super().of(turns, name),
                                      super().of(turns, DIRECT))]


def gigabits(t):
    return t["bytes"] * 8 / 1e9


GB_RATE = Figure("Gb/s", 2, lambda t: gigabits(t) / t["seconds"], True)
GB_CPU = Figure("proxy CPU ms/Gb", 1, lambda t: t["proxy_s"] * 1e3 / gigabits(t))
GB_ALL = Figure("CPU of all, ms/Gb", 1, lambda t: t["all_s"] * 1e3 / gigabits(t))
RATE = Figure("a second", 0, lambda t: t["units"] / t["seconds"], True)
CPU = Figure("proxy CPU us each", 2, lambda t: t["proxy_s"] * 1e6 / t["units"])
ALL = Figure("CPU of all, us each", 2, lambda t: t["all_s"] * 1e6 / t["units"])
P50 = Figure("p50 us", 1, lambda t: t["p50_us"])
P99 = Figure("p99 us", 1, lambda t: t["p99_us"])
BUSY = Figure("proxy busy %", 0, lambda t: 100 * t["proxy_s"] / t["seconds"])
LOST = Figure("lost %", 3, lambda t: 100 * t.get("lost", 0) / t["sent"])
ADDED_P50, ADDED_P99, ADDED_ALL = Added(P50), Added(P99), Added(ALL)


def subtracted(turns):
    """What a proxy adds to the CPU time of all, beside the direct path."""
    added = {}
    for name, own in turns.items():
        if name != DIRECT:
            added[name] = list(zip(own, turns[DIRECT]))
    return added


def rivals(names):
    """The proxies to be compared with: others, or else our own of before."""
    names = [n for n in names if n not in (DIRECT, DNAT, "l4proxyd")]
    others = [n for n in names if not n.startswith("l4proxyd-")]
    return others or names


def best_peer(turns, figure):
    peers = {n: statistics.median(figure.of(turns, n)) for n in rivals(turns)}
    if not peers:
        return None
    pick = max if figure.more_is_better else min
    return pick(peers, key=peers.get)


def ratio(turns, figure, ours="l4proxyd"):
    """(the better peer, our figure / its figure by round)."""
    peer = best_peer(turns, figure)
    if peer is None:
        return None, []
    return peer, [a / b for a, b in zip(figure.of(turns, ours),
                                        figure.of(turns, peer))]


def over_two_echoes(turns):
    """
    The proxy's CPU time a round trip, by that of two bare echoes: what passes
    a datagram on by sockets takes it and sends it, once each way. The direct
    path's origin is such an echo.
    """
    return [CPU.take(a) / (2e6 * b["origin_s"] / b["units"])
            for a, b in zip(turns[SOCKETS], turns[DIRECT])]


def verdict(figure, values, goal):
    median = statistics.median(values)
    good = median >= goal if figure.more_is_better else median <= goal
    sign = ">=" if figure.more_is_better else "<="
    return f"{sign} {goal:.2f}", "yes" if good else "**no**"


def summary_lines(row, turns):
    """What the kernel carries costs others, so the CPU time of the proxy itself
    says something of sockets alone."""
    _, title, _, _, goals = row
    lines = []
    for figure, goal in goals.items():
        sockets = figure is CPU and SOCKETS in turns
        peer, values = ratio(turns, figure, SOCKETS if sockets else "l4proxyd")
        if peer is None:
            continue
        what = figure.head + (", on sockets" if sockets else "")
        lines.append([title, what, peer, bench.spread(values, 2),
                      *verdict(figure, values, goal)])
        if sockets:
            values = over_two_echoes(turns)
            lines.append([title, what, "two bare echoes",
                          bench.spread(values, 2),
                          *verdict(figure, values, 1.10)])
    return lines


def row_table(row, turns):
    _, title, _, figures, _ = row
    lines = [[name] + [
        "" if f in (GB_CPU, CPU, BUSY) and name in (DIRECT, DNAT) else
        bench.spread([f.take(t) for t in own], f.digits) for f in figures]
        for name, own in turns.items()]
    return f"### {title}\n\n" + bench.table(
        [""] + [f.head for f in figures], lines)


def added_table(row, turns):
    """The CPU time of all with the direct path's subtracted, by round."""
    key, title, _, figures, _ = row
    figure = figures[1]
    host = Figure("", 0, lambda t: dict(t, all_s=t["host_s"]))
    lines, added = [], {}
    for name, pairs in subtracted(turns).items():
        added[name] = [figure.take(a) - figure.take(b) for a, b in pairs]
        whole = [figure.take(host.take(a)) - figure.take(host.take(b))
                 for a, b in pairs]
        lines.append([name, bench.spread(added[name], figure.digits),
                      bench.spread(whole, figure.digits)])
    text = f"What it adds ({figure.head}):\n\n" + bench.table(
        ["", "those who took part", "the whole host (/proc/stat)"], lines)
    best = min(rivals(added), key=lambda n: statistics.median(added[n]), default=None)
    if best is None:
        return text, []
    values = [a / b for a, b in zip(added["l4proxyd"], added[best])]
    goal = 0.80 if "bulk" in key else 0.40
    return text, [[title + ", veth", f"added {figure.head}", best,
                   bench.spread(values, 2), *verdict(figure, values, goal)]]


def absolute_line(title, figure, taken, unit_goal):
    """Ours by itself, where the goal is a number and not a peer."""
    values = figure.of(taken, "l4proxyd")
    sense, met = verdict(figure, values, unit_goal)
    return [title, figure.head, "nobody", bench.spread(values, figure.digits),
            sense.replace(".00", ""), met]


def memory_lines(taken, title, figure, bytes_goal):
    lines = [absolute_line(title, figure, taken, bytes_goal)]
    peer = best_peer(taken, figure)
    if peer is None:
        return lines
    mine = statistics.median(figure.of(taken, "l4proxyd"))
    theirs = statistics.median(figure.of(taken, peer))
    value = mine / theirs if theirs > 0 else float("inf")
    return lines + [[title, figure.head, peer, f"{value:.2f}",
                     *verdict(figure, [value], 1.0)]]
