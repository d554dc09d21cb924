"""What a round trip costs by the number of flows or sessions: all who take part,
the direct path subtracted."""
import statistics

import bench
from proxy_report import ADDED_ALL
from proxy_turns import DIRECT, UDP_SIZES, tcp, udp

# each turn has new flows, and the proxies keep a port for each of the old ones
FLOWS = [1, 4, 16, 64, 256, 1024]
SESSIONS = [1, 4, 16, 64, 256, 1024]


def flow_row(n):
    return (f"flows{n}", f"UDP, {n} flows, 1036 bytes in, 420 out",
            udp(n, *UDP_SIZES), [ADDED_ALL], {})


def session_row(n):
    return (f"sessions{n}", f"TCP echo of 100 bytes, {n} sessions",
            tcp("echo", n), [ADDED_ALL], {})


SWEEPS = [("flows", "UDP, by flows", flow_row, FLOWS),
          ("sessions", "TCP echo, by sessions", session_row, SESSIONS)]


def curves(row_of, counts, turns_of):
    """{proxy: [(n, median CPU us), ...]}; `turns_of` runs a row."""
    found = {}
    for n in counts:
        turns = turns_of(row_of(n))
        for name in turns:
            if name != DIRECT:
                us = statistics.median(ADDED_ALL.of(turns, name))
                found.setdefault(name, []).append((n, us))
    return found


def section(title, found):
    counts = [n for n, _ in next(iter(found.values()))]
    return f"### {title}\n\n" + bench.table(
        ["", *map(str, counts)],
        [[name, *(f"{us:.1f}" for _, us in points)]
         for name, points in found.items()]) + "\n"
