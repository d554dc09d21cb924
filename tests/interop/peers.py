"""The third-party clients and servers that interop.py knows.

Paths are relative to PEERS; docs/interop.md says how each gets there. A
variant is one way in which a user of that peer would ask a server.
"""
import dataclasses

# Long-term test key that public interop lists use for test servers. It is a
# TEST KEY: everybody has it, never serve time with it.
TEST_SEED_HEX = ("06e5e2dc28697bb363de00976af2d422"
                 "819bc67832ad655ade96081ecc1bcdb5")


@dataclasses.dataclass(frozen=True)
class Client:
    peer: str
    variant: str
    transport: str  # udp, tcp
    argv: tuple  # {host} {port} {key} {keyhex} {list} are filled in
    ok: str  # regular expression that its output must hold …
    times: int = 1  # … so often
    bad: str = r"\Z\A"  # … and one that it must not hold
    needs: tuple = ()  # more files under PEERS
    wrapper: bool = False  # a few lines of the user's own round a library
    asks: str = "one"  # or "three", by a list; or "same": one, three times
    timeout_s: int = 20


@dataclasses.dataclass(frozen=True)
class Server:
    peer: str
    speaks: str
    argv: tuple  # {host} {port} {seed} {seedb64} {seedfile} {conf}
    needs: tuple = ()
    wrapper: bool = False
    conf: tuple = ()  # command that writes {conf} first
    respawn: bool = False  # ends itself on a packet that it does not like
    pinned: tuple = ()  # what our client asks it for besides the default


DRAFTS = range(12, 0, -1)
_TR = "tannerryan/bin/"
_TR_AT = ("-addr", "{host}:{port}", "-pubkey", "{key}")
_IN_SYNC = r"Status: +in-sync"
_VERIFIED = r"=== Verified Result ==="


def _tannerryan():
    for transport, flag in (("udp", ()), ("tcp", ("-tcp",))):
        yield Client("tannerryan roughtime-client", "negotiated", transport,
                     (_TR + "roughtime-client", *_TR_AT, "-retries", "2",
                      *flag), _IN_SYNC)
        yield Client("tannerryan roughtime-client",
                     "chain of three servers", transport,
                     (_TR + "roughtime-client", "-servers", "{list}", "-all",
                      "-retries", "2", *flag),
                     r"3/3 servers responded|Chain: +ok", times=2,
                     asks="three")
        debug = (_TR + "roughtime-debug", *_TR_AT, "-retries", "2", *flag)
        # Google's format has no frame, so it cannot go over TCP.
        yield Client("tannerryan roughtime-debug", "probe of all versions",
                     transport, debug, r"oughtime(-\d\d)? +OK",
                     times=13 if transport == "udp" else 12)
        for n in DRAFTS:
            yield Client("tannerryan roughtime-debug", f"draft-{n:02}",
                         transport, (*debug, "-ver", f"draft-{n:02}"),
                         _VERIFIED)
        yield Client("tannerryan roughtime-bench",
                     "4 workers, every reply verified", transport,
                     (_TR + "roughtime-bench", *_TR_AT, "-workers", "4",
                      "-duration", "1s", "-warmup", "200ms", "-verify",
                      *flag),
                     r"(Verify fail|Errors|Timeouts): +0\s", times=3,
                     bad=r"Received: +0\s")
    yield Client("tannerryan roughtime-debug", "Google", "udp",
                 (_TR + "roughtime-debug", *_TR_AT, "-retries", "2", "-ver",
                  "Google"), _VERIFIED)


def _roughenough():
    tool = "roughenough/bin/roughenough_client"
    for offer in ("1", "19", "both"):
        yield Client("roughenough client", f"-P {offer}", "udp",
                     (tool, "{host}", "{port}", "-k", "{key}", "-P", offer),
                     r"UTC \(\+/-\d+s\)", bad="ERROR|WARN")
    yield Client("roughenough client", "-P 1, 50 requests", "udp",
                 (tool, "{host}", "{port}", "-k", "{key}", "-n", "50"),
                 r"UTC \(\+/-\d+s\)", times=50, bad="ERROR|WARN")
    yield Client("roughenough client", "-P both, list of three servers",
                 "udp", (tool, "-l", "{list}", "-P", "both", "-v"), "",
                 bad="ERROR|[Vv]iolation", asks="three")


def _others():
    ping = ("cloudflare/bin/getroughtime", "-ping", "{host}:{port}",
            "-pubkey", "{key}", "-attempts", "2")
    for name in ("IETF-Roughtime", "Google-Roughtime"):
        yield Client("cloudflare getroughtime", name, "udp",
                     (*ping, "-ping-version", name), "Ping response: ")
    # It names no key in its requests: several keys on a port are not for it.
    yield Client("cloudflare getroughtime", "list of one server, thrice",
                 "udp",
                 ("cloudflare/bin/getroughtime", "-config", "{list}"),
                 r"±\d+s|Delta: ", times=4, asks="same")

    yield Client("roughly", "query", "udp",
                 ("roughly/bin/roughly", "query", "--timeout", "3", "{host}",
                  "{port}", "{key}"), r"Current time: \d+")
    for offer in ("1", "8000000c", "8000000b", "8000000a", "80000009",
                  "80000008", "80000007", "1,8000000c", "8000000b,8000000c",
                  "80000008,8000000b", "80000007,80000008"):
        yield Client("roughly", f"offers {offer}", "udp",
                     ("roughly/bin/python", "roughly/query.py", "{host}",
                      "{port}", "{key}", offer), r"version=0x\w+ midpoint",
                     needs=("roughly/query.py",), wrapper=True)

    yield Client("pyroughtime", "query", "udp",
                 ("pyroughtime/bin/pyroughtime", "-s", "{host}", "{port}",
                  "{key}"), r"UTC \(\+/- +\d+ +s\)")
    for transport in ("udp", "tcp"):
        yield Client("pyroughtime", "list of three servers", transport,
                     ("pyroughtime/bin/pyroughtime", "-l", "{list}"),
                     r"UTC \(\+/-|No inconsistent", times=4,
                     bad="Exception|Traceback", asks="three")

    yield Client("craggy", "drafts 12 and 13 (no TYPE)", "udp",
                 ("craggy/bin/craggy-cli", "-h", "{host}:{port}", "-k",
                  "{key}"), "Current time is ")
    yield Client("vroughtime", "Google", "udp",
                 ("vroughtime/bin/vrt-client", "{host}", "{port}",
                  "{keyhex}"), r"midp \d+ radi \d+", wrapper=True)
    yield Client("node-roughtime", "Google", "udp",
                 ("node", "node-roughtime/client.js", "{host}", "{port}",
                  "{key}"), r"\d+ \d+ \d{4}-",
                 needs=("node-roughtime/client.js",), wrapper=True)


CLIENTS = [*_roughenough(), *_tannerryan(), *_others()]

SERVERS = [
    Server("roughenough", "1",
           ("roughenough/bin/roughenough_server", "--seed-file", "{seedfile}",
            "-i", "{host}", "-p", "{port}", "-j", "1"),
           pinned=("--version rfc",)),
    Server("tannerryan roughtime", "0x80000001-0x8000000c, Google",
           (_TR + "roughtime", "-root-key-file", "{seedfile}", "-port",
            "{port}", "-grease-rate", "0"),
           pinned=("--tcp", "--version draft-14 --tcp",
                   "--version google",
                   *(f"--version draft-{n:02}" for n in DRAFTS))),
    Server("tannerryan roughtime, 10 % grease",
           "0x80000001-0x8000000c, Google",
           (_TR + "roughtime", "-root-key-file", "{seedfile}", "-port",
            "{port}", "-grease-rate", "0.1")),
    Server("cloudflare testserver", "0x80000008, 0x8000000b, Google",
           ("cloudflare/bin/testserver", "-addr", "{host}:{port}",
            "-root-key", "{seed}"), respawn=True,
           pinned=("--version google", "--version draft-08",
                   "--version draft-11")),
    Server("roughly", "1, 0x8000000c, …, Google",
           ("roughly/bin/roughly", "server", "run", "--host", "{host}", "-p",
            "{port}", "--private-key", "{seedb64}", "--no-grease"),
           pinned=("--version rfc", "--version draft-14",
                   "--version google")),
    *[Server(f"roughly, only {v}", v,
             ("roughly/bin/python", "roughly/serve.py", "{port}", v),
             needs=("roughly/serve.py",), wrapper=True)
      for v in ("1", "8000000c")],
    Server("pyroughtime", "0x8000000c",
           ("pyroughtime/bin/pyroughtime", "-t", "{seedb64}", "{port}")),
    Server("dansarie roughtimed", "0x8000000c",
           ("roughtimed/bin/roughtimed", "-v", "-f", "{conf}"),
           conf=("roughtimed/mkconf.sh", "{port}", "{conf}"),
           needs=("roughtimed/mkconf.sh",), wrapper=True),
]
