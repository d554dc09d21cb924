"""Servers for the client's stories: honest in the versions they are told to
speak, or lying, late, silent and broken in the way a test asks for. They are
made of the oracle and share no code with the programs.
"""
import base64
import select
import socket
import subprocess
import threading

from nacl.signing import SigningKey

import harness
import oracle

HOUR_US = 3600 * 10**6


def roughtime(*args, timeout=60, **kwargs):
    """One run of the client: (exit status, stdout, stderr)."""
    r = subprocess.run([harness.BUILD / "roughtime", *map(str, args)],
                       capture_output=True, timeout=timeout, text=True,
                       **kwargs)
    return r.returncode, r.stdout, r.stderr


class FakeServer:
    """A server on 127.0.0.1 (or `host`), in a thread; a context manager.

    versions  names of the rows it speaks; silent to the rest
    offset_s  its clock against ours
    window_us (MINT, MAXT) relative to now
    twist     twist(packet, reply, count) -> datagrams to send instead
    contexts  an oracle version whose contexts sign instead of its own
    """

    def __init__(self, versions, seed=b"\1" * 32, udp=True, tcp=False,
                 host="127.0.0.1", offset_s=0, radius_s=3, vers=None,
                 window_us=(-HOUR_US, HOUR_US), twist=None, contexts=None,
                 check_srv=True):
        self.rows = [oracle.BY_NAME[v] for v in versions]
        self.root = SigningKey(seed)
        self.online = SigningKey(bytes(31) + b"\7")
        self.offset_us = int(offset_s * 10**6)
        self.radius_s, self.vers, self.window_us = radius_s, vers, window_us
        self.twist, self.contexts = twist, contexts
        self.check_srv = check_srv
        self.asked, self.answered = [], 0
        self.udp = self.tcp = None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.tcp_listener = socket.socket(family, socket.SOCK_STREAM)
        self.port = harness.free_port(family)
        self.tcp_listener.bind((host, self.port))
        self.udp_socket = socket.socket(family, socket.SOCK_DGRAM)
        if udp:
            self.udp_socket.bind((host, self.port))
        if tcp:
            self.tcp_listener.listen(64)
        self.use_udp, self.use_tcp = udp, tcp
        self.address = f"[{host}]:{self.port}" if ":" in host \
            else f"{host}:{self.port}"
        self.key = base64.b64encode(bytes(self.root.verify_key)).decode()
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=f, daemon=True)
                        for f, on in ((self._udp, udp), (self._tcp, tcp))
                        if on]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *unused):
        self.stop.set()
        for t in list(self.threads):  # the listeners first: they add more
            t.join(10)
        for t in self.threads:
            t.join(10)
            assert not t.is_alive()
        self.udp_socket.close()
        self.tcp_listener.close()

    def reply(self, packet):
        """The honest reply, or None for what this server does not speak."""
        framed, message = oracle.unframe(packet)
        fields = oracle.decode(message)
        version = oracle.negotiate(packet, self.rows)
        mine = oracle.srv(bytes(self.root.verify_key))
        if version is None or (self.check_srv and
                               fields.get(b"SRV\0", mine) != mine):
            return None
        now = oracle.now_us() + self.offset_us
        mint, maxt = (version.from_unix_us(now + w) for w in self.window_us)
        radius = self.radius_s * (1 if version.unit == "s" else 10**6)
        signer = version
        if self.contexts is not None:
            signer = oracle.dataclasses.replace(
                version, response=self.contexts.response,
                delegation=self.contexts.delegation)
        return oracle.replies(
            signer, [packet], self.root, self.online,
            version.from_unix_us(now), min(radius, 2**32 - 1), mint, maxt,
            vers=self.vers)[0]

    def answer(self, packet):
        self.asked.append(packet)
        reply = self.reply(packet)
        if reply is None:
            return []
        self.answered += 1
        if self.twist is None:
            return [reply]
        return self.twist(packet, reply, self.answered)

    def _udp(self):
        while not self.stop.is_set():
            if not select.select([self.udp_socket], [], [], 0.05)[0]:
                continue
            packet, peer = self.udp_socket.recvfrom(65536)
            for datagram in self.answer(packet):
                self.udp_socket.sendto(datagram, peer)

    def _tcp(self):
        while not self.stop.is_set():
            if not select.select([self.tcp_listener], [], [], 0.05)[0]:
                continue
            peer, _ = self.tcp_listener.accept()
            t = threading.Thread(target=self._serve, args=(peer,),
                                 daemon=True)
            t.start()
            self.threads.append(t)

    def _serve(self, peer):
        with peer:
            self._converse(peer)

    def _converse(self, peer):
        """One connection: frames in, frames out, until it ends."""
        peer.settimeout(5)
        stream = b""
        while not self.stop.is_set():
            try:
                more = peer.recv(65536)
            except OSError:
                return
            if not more:
                return
            stream += more
            while len(stream) >= 12:
                end = 12 + int.from_bytes(stream[8:12], "little")
                if len(stream) < end:
                    break
                replies = self.answer(stream[:end])
                stream = stream[end:]
                if not replies:
                    return
                for r in replies:
                    peer.sendall(r)


def flip(reply, at):
    """The reply with one bit of byte `at` turned."""
    return reply[:at] + bytes([reply[at] ^ 1]) + reply[at + 1:]


def value_at(reply, name):
    """Where the value of a top-level tag begins in a packet."""
    framed, message = oracle.unframe(reply)
    value = oracle.decode(message)[name.encode().ljust(4, b"\0")]
    return reply.index(value)


class Daemon(harness.Roughtimed):
    """Our own server without a configuration file."""

    def __init__(self, directory, *args):
        identity = harness.Identity(directory)
        self.key, self.port = identity.public_text, harness.free_port()
        self.address = f"127.0.0.1:{self.port}"
        super().__init__(directory, argv=["-k", identity.path, "-l",
                                          self.address, *args])
