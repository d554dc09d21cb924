"""Reloads at the worst moment."""
import signal
import socket

import harness
import oracle


def listen(*ports):
    return [{"address": "127.0.0.1", "port": p} for p in ports]


def answers(port):
    with harness.Udp("127.0.0.1", port) as udp:
        try:
            udp.send(oracle.request("rfc"))
            return udp.receive(0.2) is not None
        except ConnectionRefusedError:
            return False


def test_a_second_sighup_is_not_lost(start, identity):
    """It comes while a worker has not yet left the listener that the first
    one took away."""
    away, late = harness.free_port(), harness.free_port()
    daemon = start(workers=1, ingress="shared-queue")
    base = daemon.config
    for _ in range(3):
        daemon.write_config({**base, "listen": listen(daemon.port, away)})
        daemon.hup()
        harness.until(lambda: answers(away), "it has come")
        with harness.Udp("127.0.0.1", daemon.port) as udp:
            packet = oracle.request("google")  # each takes a signature
            for _ in range(1500):
                udp.send(packet)
            daemon.write_config({**base, "listen": listen(daemon.port)})
            since = daemon.mark()
            daemon.kill(signal.SIGHUP)
            daemon.expect_log("(?m): reloaded$", since)
            daemon.write_config({**base, "listen": listen(daemon.port, late)})
            daemon.kill(signal.SIGHUP)
            harness.until(lambda: answers(late), "the second was heard")
        assert not answers(away)


def test_ipv4_of_the_ipv6_wildcard_is_not_lost_silently(start, identity):
    """`::` beside 0.0.0.0 leaves IPv4 to it. A reload without 0.0.0.0 cannot
    give it back: it must say so, not serve less than a restart would."""
    port = harness.free_port(socket.AF_INET6)
    both = [{"address": a, "port": port} for a in ("::", "0.0.0.0")]
    daemon = start(port=port, listen=both)
    base = daemon.config
    daemon.write_config({**base, "listen": both[:1]})
    assert "failed" in reload_and_read(daemon, r"\[::\]:\d+: .*restart")
    assert answers(port)
    daemon.write_config(base)
    daemon.hup()


def test_ipv4_wildcard_beside_a_dual_one_is_refused(start, identity):
    port = harness.free_port(socket.AF_INET6)
    both = [{"address": a, "port": port} for a in ("::", "0.0.0.0")]
    daemon = start(port=port, listen=both[:1])
    daemon.write_config({**daemon.config, "listen": both})
    assert "failed" in reload_and_read(daemon, r"\[::\]:\d+: .*restart")
    assert answers(port)


def reload_and_read(daemon, pattern):
    since = daemon.mark()
    daemon.kill(signal.SIGHUP)
    daemon.expect_log(pattern, since)
    daemon.expect_log("(?m): reload", since)
    return daemon.log()[since:]
