"""l4proxyd for the stories: the daemon, origins to put behind it, its log."""
import contextlib
import json
import pathlib
import re
import socket
import struct
import threading

import harness

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close(2) sends RST


class L4proxyd(harness.Roughtimed):
    """The daemon under a configuration of applications."""
    meets = "peer"

    def __init__(self, directory, applications, name="l4proxyd", prefix=(),
                 **more):
        self.events_path = directory / f"{name}.events"
        self.events_path.touch(0o640)
        harness.give(self.events_path)
        config = {"applications": applications, "workers": 2,
                  "tcp_sessions": 1024, "drain_s": 20,
                  "event_log": str(self.events_path)}
        config.update(more)
        super().__init__(directory, config, name=name, prefix=prefix,
                         program=harness.BUILD / "l4proxyd")

    def wait_ready(self):
        def ready():
            assert self.alive(), f"ended at start:\n{self.log()}"
            return re.search(r"(?m)\d+ workers?$", self.log()[self.begun:])
        harness.until(ready, "l4proxyd is ready")

    def reload(self, applications=None, **more):
        """Writes what is given and sends SIGHUP; the line that says how it
        went."""
        config = dict(self.config, **more)
        if applications is not None:
            config["applications"] = applications
        self.write_config(config)
        since = self.mark()
        self.kill(harness.signal.SIGHUP)
        return self.expect_log(r"(?m)reloaded$|reload failed", since)[0]

    def events(self, **want):
        """The lines of the event log in which all these fields are so."""
        lines = self.events_path.read_text().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [e for e in found
                if all(e.get(k) == v for k, v in want.items())]

    def expect_events(self, count=1, **want):
        harness.until(lambda: len(self.events(**want)) >= count,
                      f"{count} events {want}")
        found = self.events(**want)
        assert len(found) == count, found
        return found

    def all_ended(self, at_least=1):
        """Waits until each session has its two lines; the last ones. No
        line was lost, then, and none is there twice."""
        def ended():
            begun, done = (self.events(Event=e)
                           for e in ("connect", "disconnect"))
            enough = len(begun) == len(done) >= at_least
            return done if enough else None
        done = harness.until(ended, "a disconnect for each connect")
        names = "ClientIP", "ClientPort", "ClientProto", "ConnectTimestamp"
        lives = {tuple(e[n] for n in names) for e in done}
        assert len(lives) == len(done)
        return done

    def cpu_s(self):
        """What all its threads have spent, by the kernel's nanoseconds."""
        tasks = pathlib.Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((t / "schedstat").read_text().split()[0])
                   for t in tasks) / 1e9

    def rss_kb(self):
        return harness.rss_kb(self.pid)


class Controlled(L4proxyd):
    """A daemon with a control socket, and its l4proxyctl."""

    def __init__(self, directory, applications, **more):
        self.socket = directory / "run" / "control.sock"
        super().__init__(directory, applications, control=str(self.socket),
                         **more)

    def ctl(self, *argv, status=0, **more):
        p = harness.run("l4proxyctl", "-s", self.socket, *argv, check=False,
                        **more)
        assert p.returncode == status, (argv, p.returncode, p.stdout,
                                        p.stderr)
        return p

    def rows(self, *argv, **more):
        """What --json prints, one object a line."""
        return [json.loads(line) for line in
                self.ctl("--json", *argv, **more).stdout.splitlines()]

    def counters(self, app="story"):
        row, = self.rows("counters", "--app", app)
        return row


class Origin:
    """A TCP server; each connection is given to `serve` in a thread."""

    def __init__(self, serve, address="127.0.0.1", port=0, backlog=128):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, port), family=family,
                                             backlog=backlog)
        self.port = self.listener.getsockname()[1]
        self.serve, self.accepted = serve, []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return  # closed
            connection.settimeout(harness.PATIENCE_S)
            self.accepted.append((connection, peer))
            threading.Thread(target=self.one, args=(connection,),
                             daemon=True).start()

    def one(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass  # a story that ends in a reset

    def close(self):
        self.listener.close()
        for connection, _ in self.accepted:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def connection(self, index=0):
        """The index-th connection that came, for a story that leads it."""
        harness.until(lambda: len(self.accepted) > index, "a connection")
        return self.accepted[index][0]


def idle(_):
    """Serves nothing: the story holds the connection."""


def echo(connection):
    with connection:
        while True:
            data = connection.recv(1 << 16)
            if not data:
                return
            connection.sendall(data)


def application(edge_port, *origins, name="story", **more):
    """An application on loopback; origins are Origin objects or ports."""
    ports = [o.port if isinstance(o, Origin) else o for o in origins]
    return {"name": name, "protocol": f"tcp/{edge_port}",
            "edge_ips": ["127.0.0.1"],
            "origin_direct": [f"tcp://127.0.0.1:{p}" for p in ports], **more}


def free_range(count, host):
    """The first of `count` ports that nobody has on this address."""
    def is_free(first):
        held = []
        try:
            for port in range(first, first + count):
                held.append(socket.socket())
                held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held[-1].bind((host, port))
            return True
        except OSError:
            return False
        finally:
            for s in held:
                s.close()
    return next(f for f in range(2000, 65536 - count, 4000) if is_free(f))


def connect(port, rcvbuf=None, host="127.0.0.1", source=None):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(harness.PATIENCE_S)
    if rcvbuf:  # before connect: it is negotiated with the window
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    if source:
        s.bind((source, 0))
    s.connect((host, port))
    return s


def read_all(s):
    return b"".join(iter(lambda: s.recv(1 << 16), b""))


def read_exactly(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        assert more, f"ends after {len(data)} of {n} bytes"
        data += more
    return data


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    s.close()


@contextlib.contextmanager
def blackhole():
    """A port of which the queue is full: SYNs are dropped."""
    with contextlib.ExitStack() as held:
        hole = held.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):
            s = held.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(hole.getsockname())
        yield hole.getsockname()[1]


def is_reset(s):
    """True when the peer ends it by RST, False by FIN; data fails."""
    try:
        data = s.recv(1)
    except ConnectionResetError:
        return True
    assert data == b"", data
    return False


def is_turned_away(port, host="127.0.0.1"):
    """True when a new client is reset, at once or after its handshake."""
    try:
        with connect(port, host=host) as c:
            return is_reset(c)
    except ConnectionResetError:
        return True


def try_connect(port):
    try:
        return connect(port)
    except ConnectionResetError:
        return None


def works(port):
    try:
        with connect(port) as c:
            c.sendall(b"x")
            return c.recv(1) == b"x"
    except ConnectionError:
        return False


def echoes(c):
    c.sendall(b"are you there?")
    return read_exactly(c, 14) == b"are you there?"


def refuses(port):
    """One that came just in time leaves by a reset: it keeps nobody."""
    try:
        reset(connect(port))
    except ConnectionRefusedError:
        return True
    return False
