"""Ranges of ports are reloaded: what stays of them is not disturbed."""
import pathlib

import harness
import pytest
from proxyharness import L4proxyd

FIRST, TO = 20000, 40000
LOAD = pathlib.Path(__file__).with_name("rangeload.py")


class Load(harness.Inmate):
    def __init__(self, namespace, ports):
        super().__init__(namespace, LOAD)
        self("serve", [to(p) for p in ports])

    def begin(self, ports):
        self("begin", [[kind, p, to(p), lasting] for p in ports
                       for kind in ("tcp", "udp")
                       for lasting in (True, False)])

    def goes_on(self):
        """Each client has been answered since."""
        before = self("asked")

        def answered():
            assert self("wrong") == []
            return all(a > b for a, b in zip(self("asked"), before))
        harness.until(answered, "answers")


def to(port):
    return port - FIRST + TO


def ranges(first, last, name="range", path="off", edges=("127.0.0.1",)):
    origin = f"127.0.0.1:{to(first)}" + (
        f"-{to(last)}" if last > first else "")
    ports = f"{first}-{last}" if last > first else f"{first}"
    return [{"name": f"{name}-{kind}", "protocol": f"{kind}/{ports}",
             "edge_ips": list(edges), "idle_timeout_s": 600,
             **({"fast_path": path} if kind == "udp" else {}),
             "origin_direct": [f"{kind}://{origin}"]}
            for kind in ("tcp", "udp")]


def proxy(tmp_path, host, applications, **more):
    more = {"drain_s": 60, "udp_flows": 8192, **more}
    return L4proxyd(tmp_path, applications,
                    prefix=("ip", "netns", "exec", host), **more)


def reload(p, applications):
    assert p.reload(applications) == "reloaded", p.log()


def check_end(load, least):
    told = load("end")
    assert not [w for c in told for w in c["wrong"]]
    for c in told:
        assert c["asked"] >= least, c
        assert not c["lasting"] or c["sources"] == 1, c
    return told


KEPT = [20500, 20530, 20563]

# What an operator makes of a range, whose middle stays. From one to the next
# it grows, shrinks, moves, crosses the 64 ports and comes back.
SHAPES = [(20000, 20999), (20000, 20563), (20500, 20563), (20500, 21499),
          (20499, 20564), (20480, 20570), (20500, 20999), (20100, 20563)]


@pytest.mark.parametrize("workers,path", [(1, "auto"), (2, "off")])
def test_fifty_reloads_lose_no_answer(tmp_path, namespaces, workers, path):
    host = namespaces.add(f"rangefifty{workers}")
    with proxy(tmp_path, host, ranges(*SHAPES[0], path=path),
               workers=workers) as p, Load(host, KEPT) as load:
        p.expect_log("one socket a worker")
        load.begin(KEPT)
        for i in range(50):
            first, last = SHAPES[(i + 1) % len(SHAPES)]
            apps = ranges(first, last, path=path)
            if first > 20200:  # another has what it had
                apps += ranges(20050, 20150, "other", path)
            reload(p, apps)
            if i % 10 == 0:
                load.goes_on()
        load.goes_on()
        check_end(load, 5)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_threshold_of_a_range_is_crossed_both_ways(tmp_path, namespaces,
                                                       workers):
    """From sockets to a range of them, and back."""
    host = namespaces.add(f"rangecross{workers}")
    wide = ranges(30000, 30100, "wide")
    begin = ranges(20500, 20562) + ranges(20563, 20563, "single")
    with proxy(tmp_path, host, begin + wide, workers=workers) as p, \
            Load(host, KEPT) as load:
        p.expect_log("one socket a worker")
        load.begin(KEPT)
        load.goes_on()
        for first, last in [(20500, 20600), (20500, 20563), (20450, 20600),
                            (20490, 20600), (20500, 20563), (20500, 20999)]:
            reload(p, ranges(first, last) + wide)
            load.goes_on()
        check_end(load, 6)


def refused(load, kind, port):
    return load("once", kind, port, 1) == "ConnectionRefusedError"


def test_what_goes_drains_and_what_stays_does_not(tmp_path, namespaces):
    host = namespaces.add("rangedrain")
    ports = [20000, 20010, 20600, 20900]
    with proxy(tmp_path, host, ranges(20000, 20999)) as p, \
            Load(host, ports) as load:
        flows = {(kind, port): load("open", kind, port) for port in ports
                 for kind in ("udp", "tcp")}
        first = {k: load("ask", f) for k, f in flows.items()}
        assert all(a.startswith(f"{to(k[1])} ") for k, a in first.items())
        for shape in (20000, 20699), (20000, 20099), (20005, 20099):
            reload(p, ranges(*shape))
            for k, f in flows.items():  # none of them is touched
                assert load("ask", f) == first[k], (k, shape)
        for kind in ("udp", "tcp"):
            for port in (20899, 20700, 20100):  # nobody is there
                harness.until(lambda: refused(load, kind, port),
                              f"{kind} {port} is refused")
        # A port that comes back, and one that another application has now.
        reload(p, ranges(20005, 20699) + ranges(20890, 20910, "other"))
        for k, f in flows.items():
            assert load("ask", f) == first[k], k
        for kind in ("udp", "tcp"):
            for port in (20600, 20900):
                assert load("once", kind, port).startswith(f"{to(port)} ")
        # Their time is up, the others have none.
        reload(p, ranges(20005, 20600))
        assert p.log().count("sessions on ports that it has no more") >= 6
        for port in (20010, 20600):
            for kind in ("udp", "tcp"):
                assert load("ask", flows[kind, port]) == first[kind, port]


def test_removed_ports_are_drained_in_time(tmp_path, namespaces):
    host = namespaces.add("rangetime")
    with proxy(tmp_path, host, ranges(20000, 20999), drain_s=1) as p, \
            Load(host, [20010, 20900]) as load:
        flows = {(kind, port): load("open", kind, port)
                 for port in (20010, 20900) for kind in ("udp", "tcp")}
        first = {k: load("ask", f) for k, f in flows.items()}
        reload(p, ranges(20000, 20100))
        ended = p.expect_events(2, Event="disconnect")
        assert {e["Application"] for e in ended} == {"range-tcp", "range-udp"}
        for kind in ("udp", "tcp"):
            assert load("ask", flows[kind, 20010]) == first[kind, 20010]
            harness.until(lambda: refused(load, kind, 20900), "it is refused")
        assert len(p.events(Event="disconnect")) == 2


WILD = ("ipv4",)
TWO = ("127.0.0.1", "127.0.0.2")

# What is listened on, then what else, while all of PORTS have flows.
PORTS = [20000, 20010, 20090, 20500]
STEPS = [
    [ranges(20000, 20999), ranges(20000, 20009) + ranges(20010, 20010, "one"),
     ranges(20010, 20010), ranges(20090, 20500, "other") +
     ranges(20000, 20089)],
    [ranges(20000, 20999), ranges(21000, 21999), ranges(20090, 20090),
     ranges(19990, 20010), ranges(19000, 20999)],
    [ranges(20000, 20999), ranges(20000, 20999, edges=TWO),
     ranges(20010, 20999, edges=TWO), ranges(20000, 20999, edges=TWO[1:]),
     ranges(20000, 20999)],
    [ranges(20000, 20999, edges=WILD), ranges(20005, 20095, edges=WILD),
     ranges(20000, 20095, edges=WILD), ranges(20500, 20500, edges=WILD),
     ranges(20000, 20999, edges=WILD)],
]


def serves(applications, kind, port):
    for a in applications:
        proto, _, ports = a["protocol"].partition("/")
        first, _, last = ports.partition("-")
        if (proto == kind and int(first) <= port <= int(last or first) and
                {"127.0.0.1", "ipv4"} & set(a["edge_ips"])):
            return True
    return False


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("steps", range(len(STEPS)))
def test_no_reload_meets_what_flows_are_on(tmp_path, namespaces, steps,
                                           workers):
    """Neither do reloads fail for sockets of our own, nor do those flows end
    that a reload leaves time."""
    host = namespaces.add(f"rangesteps{steps}{workers}")
    wide = ranges(30000, 30100, "wide")
    with proxy(tmp_path, host, STEPS[steps][0] + wide, workers=workers) as p, \
            Load(host, PORTS) as load:
        flows, shape = {}, STEPS[steps][0]
        for after in STEPS[steps][1:] + STEPS[steps]:
            for kind in ("udp", "tcp"):
                for port in PORTS:
                    if serves(shape, kind, port):
                        f = load("open", kind, port)
                        flows[f] = load("ask", f)
                        assert flows[f].startswith(f"{to(port)} ")
            reload(p, after + wide)
            for f, said in flows.items():
                assert load("ask", f) == said, (after, said)
            shape = after
        assert len(flows) > 20


def test_a_port_that_we_hold_ourselves_is_named(tmp_path, namespaces):
    """A wildcard and an address do not become each other at once, but where
    ports are held by the guard."""
    host = namespaces.add("rangewild")
    with proxy(tmp_path, host, ranges(20000, 20999),
               sharing={"mode": "off"}) as p, \
            Load(host, PORTS) as load:
        flows = {f: load("ask", f) for f in
                 [load("open", kind, 20010) for kind in ("udp", "tcp")]}
        for first in (20000, 19990):
            since = p.mark()
            assert p.reload(ranges(first, 20999, edges=WILD)) == \
                "reload failed"
            for kind in ("udp", "tcp"):
                p.expect_log(f"application range-{kind}: this proxy itself "
                             f"still has {kind} 127.0.0.1:20000", since)
            assert {f: load("ask", f) for f in flows} == flows


def test_a_range_of_an_address_and_of_all_follow_each_other(tmp_path,
                                                            namespaces):
    host = namespaces.add("rangeboth")
    narrow = ranges(20000, 20999)
    wide = ranges(20000, 20999, edges=WILD)
    with proxy(tmp_path, host, narrow) as p, Load(host, PORTS) as load:
        flows = {}
        for after in narrow, wide, narrow, wide, narrow:
            reload(p, after)
            for kind in ("udp", "tcp"):
                f = load("open", kind, 20010)
                flows[f] = load("ask", f)
                assert flows[f].startswith(f"{to(20010)} ")
            assert {f: load("ask", f) for f in flows} == flows
