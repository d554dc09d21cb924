"""roughtimed behind l4proxyd: what is signed verifies through the proxy."""
import json

import harness
import oracle
import pytest
from services import in_front


@pytest.fixture
def proxy(tmp_path, server):
    with in_front(tmp_path, server.port, "udp", "tcp") as made:
        yield made


def roughtime(proxy, identity, command, *options):
    out = harness.run("roughtime", command, f"127.0.0.1:{proxy.port}",
                      identity.public_text, "--json", *options)
    return json.loads(out.stdout)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_query_verifies(proxy, server, identity, transport):
    assert roughtime(proxy, identity, "query", f"--{transport}")["verified"]
    [began] = proxy.expect_events(Event="connect")
    assert began["Application"] == f"story-{transport}"
    assert began["OriginPort"] == server.port


def test_every_version_verifies_over_both(proxy, identity):
    """All asked at once; every one that the server has on that transport."""
    told = roughtime(proxy, identity, "probe", "--timeout", 20)["probes"]
    lines = {(p["transport"], p["asked_for"]): p["outcome"] for p in told}
    versions = {name for _, name in lines}
    assert {v.name for v in oracle.VERSIONS} - {"rfc"} <= versions
    assert len(lines) == 2 * len(versions) - 1  # google: UDP only
    assert set(lines.values()) == {"ok"}, lines


@pytest.mark.parametrize("over", [[], ["--tcp"]])
def test_a_load_verifies(proxy, identity, over):
    """Each reply that comes while requests are always under way."""
    told = roughtime(proxy, identity, "bench", "--seconds", 1, "--flows", 16,
                     "--rate", 2000, "--window", 256, "--lost-after", 5,
                     "--verify", 1, *over)
    assert told["verified"] >= told["received"] > 500
    assert told["lost"] == told["invalid"] == told["unmatched"] == 0, told


def test_the_oracle_verifies_batches(proxy, identity):
    """An implementation that is not ours, through flows and connections."""
    for kind in (harness.Udp, harness.Tcp):
        clients = [kind("127.0.0.1", proxy.port) for _ in range(20)]
        for c in clients:
            c.verified(identity.public, "rfc", "draft-14")
        for c in clients:
            c.socket.close()
    proxy.stop()
    ends = proxy.all_ended()
    assert [sum(e["ClientProto"] == p for e in ends)
            for p in ("udp", "tcp")] == [20, 20]
