"""Servers with bad manners against `roughtime query`."""
import json

import oracle
from fakeserver import FakeServer, roughtime


def ask(server, *args):
    rc, out, err = roughtime("query", server.address, server.key, "--json",
                             *args)
    assert rc == 0, (rc, out, err)
    return json.loads(out)


def test_a_long_reply_is_read_whole():
    """A tag that no text defines, of 40000 bytes, is ignored (section 7)."""
    def twist(packet, reply, count):
        fields = oracle.decode(oracle.unframe(reply)[1])
        return [oracle.frame(oracle.encode({**fields,
                                            b"ZZZZ": bytes(40000)}))]

    for way in ("--udp", "--tcp"):
        with FakeServer(["rfc"], tcp=True, twist=twist) as s:
            assert ask(s, way)["transport"] == way[2:]
