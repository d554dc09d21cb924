"""Run inside a network namespace: origins of some ports, and clients of them
that do not stop asking. Lines of JSON in and out.

An origin answers with its port, the port that it was asked from (the same as
long as the flow or session is), and what it was asked."""
import json
import selectors
import socket
import sys
import threading
import time

HOST = "127.0.0.1"
PATIENCE_S = 30
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def serve_tcp(c, port):
    with c:
        for line in c.makefile("rb"):
            c.sendall(b"%d %d %s" % (port, c.getpeername()[1], line))


def accept(s, port):
    while True:
        c, _ = s.accept()
        threading.Thread(target=serve_tcp, args=(c, port),
                         daemon=True).start()


def serve_udp(sockets):
    poll = selectors.DefaultSelector()
    for s in sockets:
        poll.register(s, selectors.EVENT_READ)
    while True:
        for key, _ in poll.select():
            data, peer = key.fileobj.recvfrom(1 << 16)
            port = key.fileobj.getsockname()[1]
            key.fileobj.sendto(b"%d %d %s" % (port, peer[1], data), peer)


def listen(kind, port):
    s = socket.socket(socket.AF_INET, KINDS[kind])
    if kind == "tcp":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((HOST, port))
    if kind == "tcp":
        s.listen(1024)
    return s


def open_client(kind, port):
    s = socket.socket(socket.AF_INET, KINDS[kind])
    s.settimeout(PATIENCE_S)
    s.connect((HOST, port))
    return s


class Client:
    """Asks and waits for the answer, again and again; `lasting`: by one socket
    all the time."""

    def __init__(self, kind, port, origin, lasting):
        self.kind, self.port, self.origin = kind, port, origin
        self.lasting, self.asked, self.wrong = lasting, 0, []
        self.stop, self.sources = False, set()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def ask(self, s, text):
        s.sendall(text)
        got = s.recv(1 << 16)
        origin, source, said = got.split(b" ", 2)
        assert (int(origin), said) == (self.origin, text), got
        self.sources.add(int(source))
        self.asked += 1

    def run(self):
        s = None
        try:
            while not self.stop:
                if s is None:
                    s = open_client(self.kind, self.port)
                self.ask(s, b"%d\n" % self.asked)
                if not self.lasting:
                    s.close()
                    s = None
                    # slower and slower: the proxy remembers every flow
                    time.sleep(0.002 + 0.0002 * self.asked)
        except (OSError, ValueError, AssertionError) as e:
            self.wrong.append(f"{self.kind} {self.port} {self.lasting} after {self.asked}: "
                              f"{e!r}")
        finally:
            if s is not None:
                s.close()

    def end(self):
        self.stop = True
        self.thread.join(2 * PATIENCE_S)
        return {"kind": self.kind, "port": self.port, "asked": self.asked,
                "lasting": self.lasting, "wrong": self.wrong,
                "sources": len(self.sources)}


def once(kind, port, patience_s=PATIENCE_S):
    try:
        with open_client(kind, port) as s:
            s.settimeout(patience_s)
            s.sendall(b"once\n")
            return s.recv(1 << 16).decode()
    except OSError as e:
        return type(e).__name__


def main():
    clients, kept, udp = [], [], []
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        what, *more = json.loads(line)
        answer = True
        if what == "serve":
            for port in more[0]:
                s = listen("tcp", port)
                threading.Thread(target=accept, args=(s, port),
                                 daemon=True).start()
                udp.append(listen("udp", port))
            threading.Thread(target=serve_udp, args=(list(udp),),
                             daemon=True).start()
        elif what == "begin":
            clients += [Client(*one) for one in more[0]]
        elif what == "asked":
            answer = [c.asked for c in clients]
        elif what == "wrong":
            answer = [w for c in clients for w in c.wrong]
        elif what == "end":
            answer = [c.end() for c in clients]
            clients = []
        elif what == "once":
            answer = once(*more)
        elif what == "open":
            kept.append(open_client(*more))
            answer = len(kept) - 1
        elif what == "ask":
            try:
                kept[more[0]].sendall(b"more\n")
                answer = kept[more[0]].recv(1 << 16).decode()
            except OSError as e:
                answer = type(e).__name__
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
