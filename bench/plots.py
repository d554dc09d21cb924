"""The plots of results.md, by gnuplot: each as SVG and as PNG."""
import os
import shutil
import subprocess
import sys

LOOK = """
set grid lc rgb "#d8d8d8" lt 1
set border 3 lc rgb "#606060"
set tics nomirror out
set key outside right top Left reverse spacing 1.3
set format y "%.0f"
set style line 1 lc rgb "#0b5fa5" lw 3 pt 7 ps 1
set style line 2 lc rgb "#808080" lw 2 pt 5 ps 1
set style line 3 lc rgb "#d1590a" lw 2 pt 9 ps 1.2
set style line 4 lc rgb "#2a8a3a" lw 2 pt 11 ps 1.2
set style line 5 lc rgb "#8a3a8a" lw 2 pt 13 ps 1.2
"""
TERMINALS = [("svg", 'svg size 900,480 dynamic font "sans,14" background '
              '"white"'),
             ("png", 'pngcairo size 1350,720 font "sans,18" background '
              '"white"')]


def there():
    return shutil.which("gnuplot") is not None


def block(name, points):
    return (f"${name} << END\n" +
            "".join(" ".join(f"{v:g}" for v in p) + "\n" for p in points) +
            "END\n")


def script(title, x, y, curves, settings=""):
    """`curves`: [(label, points), ...], ours first."""
    data = "".join(block(f"c{i}", points)
                   for i, (_, points) in enumerate(curves))
    lines = ", \\\n    ".join(
        f'$c{i} using 1:2 with linespoints ls {i + 1} title "{label}"'
        for i, (label, _) in enumerate(curves))
    return (f'{data}{LOOK}set title "{title}"\nset xlabel "{x}"\n'
            f'set ylabel "{y}"\n{settings}\nplot {lines}\n')


def draw(directory, name, *what, **more):
    os.makedirs(directory, exist_ok=True)
    for end, terminal in TERMINALS:
        text = (f"set terminal {terminal}\n"
                f'set output "{os.path.join(directory, name)}.{end}"\n' +
                script(*what, **more))
        subprocess.run(["gnuplot"], input=text, text=True, check=True)
    return f"![{what[0]}](plots/{name}.png)\n"


def rate_plot(directory, load):
    curves = [(name, [(o / 1e3, a / 1e3) for o, a, _, _ in points])
              for name, points in load.items()]
    return draw(directory, "rate", "Answered against offered, one worker",
                "thousand requests a second, offered",
                "thousand replies a second", curves,
                settings="set xrange [0:]\nset yrange [0:]")


def latency_plot(directory, load, label, at):
    curves = [(name, [(p[0] / 1e3, p[at]) for p in points])
              for name, points in load.items()]
    return draw(directory, label, f"Latency against offered load: {label}",
                "thousand requests a second, offered",
                "microseconds (logarithmic)", curves,
                settings="set logscale y 10\nset xrange [0:]")


def batch_plot(directory, batch, core):
    return draw(directory, "batch", "Cost of a request against the batch",
                "requests in a batch, at most (logarithmic)",
                "CPU microseconds a request (logarithmic)",
                [("roughtimed", batch), ("its core alone", core)],
                settings="set logscale x 4\nset logscale y 10\n"
                "set xrange [0.9:300]")


def flows_plot(directory, curves, name, title, x):
    return draw(directory, name, title, f"{x} (logarithmic)",
                "added CPU, microseconds a round trip",
                list(curves.items()),
                settings="set logscale x 10\nset yrange [0:]")


def all_plots(directory, points):
    """Draws what there are points for; the lines that show them."""
    if not there():
        print("note: gnuplot is not here: no plots", file=sys.stderr)
        return ""
    text = ""
    if "load" in points:
        text += rate_plot(directory, points["load"]) + "\n"
        text += latency_plot(directory, points["load"], "p50", 2) + "\n"
        text += latency_plot(directory, points["load"], "p99", 3) + "\n"
    if "batch" in points and "core" in points:
        text += batch_plot(directory, points["batch"], points["core"]) + "\n"
    if "flows" in points:
        text += flows_plot(directory, points["flows"], "flows",
                           "UDP: cost of a round trip against live flows",
                           "flows, one datagram under way each") + "\n"
    if "sessions" in points:
        text += flows_plot(directory, points["sessions"], "sessions",
                           "TCP: cost of a 100-byte echo against sessions",
                           "sessions, one echo under way each") + "\n"
    return text
