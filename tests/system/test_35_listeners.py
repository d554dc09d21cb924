"""SIGHUP opens and closes listeners; those that stay lose nothing."""
import signal
import socket

import harness
import oracle
import pytest

HOST = "127.0.0.1"


def entry(port, *transports):
    return {"address": HOST, "port": port,
            "transports": list(transports or ("udp", "tcp"))}


def relisten(daemon, *entries):
    daemon.config["listen"] = list(entries)
    daemon.write_config(daemon.config)
    since = daemon.mark()
    daemon.kill(signal.SIGHUP)
    return daemon.expect_log("(?m)reloaded|reload failed.*$", since)[0]


def udp_serves(port, identity):
    with harness.Udp(HOST, port) as udp:
        udp.verified(identity.public, "rfc")
    return True


def is_closed(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u, \
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as t:
        try:
            u.bind((HOST, port))
        except OSError:
            return False
        return t.connect_ex((HOST, port)) != 0


@pytest.mark.parametrize("ingress", ["parallel-queues", "shared-queue"])
def test_a_port_comes_and_goes(start, identity, ingress):
    daemon = start(ingress=ingress, workers=3)
    old, new = daemon.port, harness.free_port()
    with harness.Tcp(HOST, old) as tcp:
        tcp.verified(identity.public, "rfc")
        assert relisten(daemon, entry(old), entry(new)) == "reloaded"
        for port in (old, new):
            assert udp_serves(port, identity)
            with harness.Tcp(HOST, port) as other:
                other.verified(identity.public, "rfc")
        assert relisten(daemon, entry(new)) == "reloaded"
        harness.until(lambda: is_closed(old), "the old port is free")
        tcp.verified(identity.public, "rfc")  # a connection stays
    assert udp_serves(new, identity)
    assert relisten(daemon, entry(new, "udp")) == "reloaded"
    assert udp_serves(new, identity)


def test_what_was_queued_at_a_closed_port_is_answered(start, identity):
    daemon = start(workers=2)
    old, new = daemon.port, harness.free_port()
    flows = [harness.Udp(HOST, old) for _ in range(8)]
    for _ in range(5):
        packets = {}
        for udp in flows:
            packet = oracle.request("rfc")
            packets[harness.nonce_of(packet)] = packet
            udp.send(packet)
        assert relisten(daemon, entry(new)) == "reloaded"
        for udp in flows:
            reply = udp.receive()
            assert reply, "a queued request was lost"
            harness.checked(packets.pop(harness.nonce_of(reply)), reply,
                            identity.public)
        assert relisten(daemon, entry(old)) == "reloaded"
        harness.until(lambda: is_closed(new), "free again")
    for udp in flows:
        udp.socket.close()


def test_a_busy_port_changes_nothing(start, identity):
    daemon = start()
    other = harness.free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((HOST, other))
        assert relisten(daemon, entry(other)).startswith("reload failed")
    assert udp_serves(daemon.port, identity)
    assert relisten(daemon, entry(daemon.port), entry(other)) == "reloaded"
    assert udp_serves(other, identity)
