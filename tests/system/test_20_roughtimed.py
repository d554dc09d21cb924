"""The server, start to stop: one smoke test; the stories follow."""
import base64
import os
import pathlib
import signal
import socket
import subprocess
import time

import oracle

BUILD = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
LIMIT_S = 20


def make_key(directory):
    path = directory / "main.key"
    subprocess.run([BUILD / "roughtime-keys", "generate", "-o", path],
                   check=True)
    text = subprocess.run([BUILD / "roughtime-keys", "public", path],
                          check=True, stdout=subprocess.PIPE).stdout
    return path, base64.b64decode(text)


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(log, text):
    end = time.monotonic() + LIMIT_S
    while text not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)


def ask_tcp(port, packet):
    with socket.create_connection(("127.0.0.1", port), LIMIT_S) as s:
        s.sendall(packet)
        s.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: s.recv(65536), b""))


def ask_udp(port, packet):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(LIMIT_S)
        s.sendto(packet, ("127.0.0.1", port))
        return s.recv(65536)


def test_without_config_file_every_version_on_udp_and_tcp(tmp_path):
    key, public = make_key(tmp_path)
    port, log = free_port(), tmp_path / "log"
    with open(log, "wb") as to:
        daemon = subprocess.Popen([BUILD / "roughtimed", "-k", key, "-l",
                                   f"127.0.0.1:{port}"], stderr=to)
    try:
        wait_for(log, ", hash: ")
        for version in oracle.VERSIONS:
            packet = oracle.request(version)
            oracle.verify(packet, ask_udp(port, packet), public)
            if version.framed:
                oracle.verify(packet, ask_tcp(port, packet), public)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(LIMIT_S) == 0
    finally:
        daemon.kill()
        daemon.wait()
    assert f"udp_sent {len(oracle.VERSIONS)}\n" in log.read_text()
    assert f"tcp_sent {len(oracle.VERSIONS) - 1}\n" in log.read_text()
