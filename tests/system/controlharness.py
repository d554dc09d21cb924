"""What the stories of the control socket have in common."""
import json
import re
import socket

import harness

GOOD, USAGE, UNREACHABLE, REFUSED = 0, 1, 2, 3  # how l4proxyctl ends


def table(text):
    """A table as dicts; columns begin where their titles do."""
    lines = text.splitlines()
    titles = re.findall(r"\S+(?: \S+)*", lines[0])
    return [dict(zip(titles, re.split(r" {2,}", line.strip())))
            for line in lines[1:]]


class Raw:
    """A client of the socket that keeps to no rules."""

    def __init__(self, path, rcvbuf=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(harness.PATIENCE_S)
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                   rcvbuf)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else
                            json.dumps(data).encode() + b"\n")

    def answer(self):
        """The rows and the last line of one answer."""
        rows = []
        while True:
            line = self.file.readline()
            assert line.endswith(b"\n"), (rows, line)
            rows.append(json.loads(line))
            if "end" in rows[-1]:
                return rows[:-1], rows[-1]

    def ask(self, request):
        self.send(request)
        return self.answer()
