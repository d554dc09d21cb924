"""What is to be reached, each beside its baseline: one line of results.md."""
import operator
import statistics

import bench

HEAD = ["what", "beside", "median (lowest-highest)", "goal", "met", "command"]
SENSES = {"<=": operator.le, ">=": operator.ge, "<": operator.lt}


def by_round(ours, base, figure):
    """Ours divided by its, two turns of one round each."""
    return [a[figure] / b[figure] for a, b in zip(ours, base)]


def line(what, beside, values, goal, command, digits=2):
    """`goal`: "<= 1.15", or "" for a figure that has none."""
    met = ""
    if goal:
        sense, bound = goal.split()
        good = SENSES[sense](statistics.median(values), float(bound))
        met = "yes" if good else "**no**"
    return [what, beside, bench.spread(values, digits), goal, met,
            f"`{command}`"]
