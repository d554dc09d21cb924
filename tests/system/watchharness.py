"""portshare watch under way, and strangers who bind where others are."""
import contextlib
import json
import signal
import socket
import subprocess
import sys

import harness

UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM
ADDR, PORT = socket.SO_REUSEADDR, socket.SO_REUSEPORT
NAMES = {UDP: "udp", TCP: "tcp"}


def bound(kind, address, port, *flags):
    """A socket there, a listening one for TCP; `flags` are set before bind."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, kind)
    try:
        for flag in flags:
            s.setsockopt(socket.SOL_SOCKET, flag, 1)
        s.bind((address, port))
        if kind == TCP:
            s.listen()
    except OSError:
        s.close()
        raise
    return s


class Watch:
    """It looks when this is made; what it says is to be asked for."""

    def __init__(self, directory, *argv, prefix=()):
        self.out, self.err = directory / "watch.out", directory / "watch.err"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.child = subprocess.Popen(
                [*prefix, harness.BUILD / "portshare", "watch", "--json",
                 *map(str, argv)], stdin=subprocess.DEVNULL, stdout=out,
                stderr=err)
        harness.until(lambda: "watching" in self.err.read_text()
                      or self.child.poll() is not None, "watching")
        assert self.child.poll() is None, self.err.read_text()

    def told(self):
        text = self.out.read_text()
        return [json.loads(t) for t in text[:text.rfind("\n") + 1]
                .splitlines()]

    def expect(self, **want):
        """The latest that says this, and is said by now or soon."""
        def found():
            return [t for t in self.told()
                    if all(t[k] == v for k, v in want.items())]
        harness.until(found, f"{want} in\n{self.out.read_text()}")
        return found()[-1]

    def stop(self, status):
        self.child.send_signal(signal.SIGTERM)
        got = self.child.wait(harness.PATIENCE_S)
        assert got == status, (got, self.err.read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


STRANGER = """
import os, socket, sys
uid, kind, flag, address, port, name = sys.argv[1:]
with open("/proc/self/comm", "w") as comm:
    comm.write(name)
os.setuid(int(uid))
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, int(kind))
if int(flag):
    s.setsockopt(socket.SOL_SOCKET, int(flag), 1)
try:
    s.bind((address, int(port)))
    if int(kind) == socket.SOCK_STREAM:
        s.listen()
except OSError as e:
    print(e.errno, flush=True)
else:
    print(0, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def stranger(kind, port, address="127.0.0.1", flag=0, uid=65534, prefix=(),
             name="stranger"):
    """A process of that user that binds there, and what came of it: 0, or
    the errno; and its pid."""
    child = subprocess.Popen(
        [*prefix, sys.executable, "-c", STRANGER, str(uid), str(int(kind)),
         str(int(flag)), address, str(port), name], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True)
    try:
        yield int(child.stdout.readline()), child.pid
    finally:
        child.communicate(timeout=harness.PATIENCE_S)
