/* l4proxyd.yaml: what is taken, and that every fault is told at its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/settings.h"
#include "net/sharing.h"
#include "tests/proxy_yaml.h"
#include "tests/support.h"

static void
assert_addr(const struct addr *a, const char *text)
{
	char buf[ADDR_STR_LEN];

	assert_string_equal(addr_format(buf, a), text);
}

static void
test_defaults(void **state)
{
	struct proxy_settings s;
	const struct app *a;

	(void)state;
	good(&s, PLAIN);
	assert_int_equal(s.apps, 1);
	a = &s.app[0];
	assert_string_equal(a->name, "a");
	assert_int_equal(a->proto, SOCK_TCP);
	assert_int_equal(a->port_first, 22);
	assert_int_equal(a->port_last, 22);
	assert_int_equal(a->edges, 1);
	assert_addr(&a->edge[0], "192.0.2.1:0");
	assert_int_equal(a->origins, 1);
	assert_addr(&a->origin[0].address, "198.51.100.1:22");
	assert_int_equal(a->origin[0].weight, 1);
	assert_int_equal(a->balance, APP_ROUND_ROBIN);
	assert_int_equal(a->origins_down, APP_DOWN_LAST_KNOWN);
	assert_int_equal(a->eject.after, 3);
	assert_int_equal(a->eject.for_s, 10);
	assert_int_equal(a->header, APP_HEADER_OFF);
	assert_int_equal(a->allows + a->denies, 0);
	assert_int_equal(a->timeouts.idle_ms, 3600000);
	assert_int_equal(a->timeouts.connect_ms, 5000);
	assert_int_equal(a->timeouts.lifetime_ms, 0);
	assert_int_equal(a->limits.connections, 0);
	assert_int_equal(a->limits.prefix4, 32);
	assert_int_equal(a->limits.prefix6, 56);
	assert_null(s.event_log);
	assert_null(s.control);
	assert_string_equal(s.user, "nobody");
	assert_int_equal(s.udp_flows, 65536);
	assert_int_equal(s.busy_poll_us, 50);
	assert_int_equal(s.splice_after, 65536);
	assert_int_equal(s.sharing.mode, SHARING_GUARDED);
	assert_true(proxy_settings_workers(&s) >= 1);
	assert_ptr_equal(proxy_settings_find(&s, "a"), a);
	assert_null(proxy_settings_find(&s, "b"));
	proxy_settings_free(&s);
	assert_null(s.app);
}

#define RANGE_TO TO("tcp://198.51.100.1:1000-1999")
#define DISPATCH "sharing: {mode: dispatch}\n"
#define WIDE APPS APP("a", "tcp/1000-1999", "192.0.2.0/24", RANGE_TO)

/* What dispatch has an order for is no overlap. */
static void
test_dispatch(void **state)
{
	struct proxy_settings s;

	(void)state;
	good(&s,
	    WIDE APP("b", "tcp/1500", "192.0.2.0/24", SSH_TO) APP("c",
		"tcp/1000-1999", "192.0.2.9, 192.0.2.128/25",
		RANGE_TO) APP("d", "tcp/1000-1999", "ipv4",
		RANGE_TO) "sharing: {mode: dispatch, pin: /sys/fs/bpf/edges, spare: "
			  "['192.0.2.1:1500', '0.0.0.0:1501']}\n");
	assert_int_equal(s.apps, 4);
	assert_addr(&s.app[0].edge[0], "192.0.2.0:0");
	assert_int_equal(s.app[0].edge_bits[0], 24);
	assert_int_equal(s.app[2].edge_bits[0], 0);
	assert_int_equal(s.app[2].edge_bits[1], 25);
	assert_string_equal(s.sharing.pin, "/sys/fs/bpf/edges");
	assert_int_equal(s.spares, 2);
	assert_addr(&s.spare[0], "192.0.2.1:1500");
	assert_addr(&s.spare[1], "0.0.0.0:1501");
	proxy_settings_free(&s);
}

/* The minimal form of the issue, word by word, and everything else. */
static void
test_values(void **state)
{
	struct proxy_settings s;
	const struct app *a;

	(void)state;
	good(&s,
	    "applications:\n"
	    "  - name: customer-game\n"
	    "    protocol: udp/2002\n"
	    "    edge_ips: [192.0.2.10]\n"
	    "    origin_direct: [udp://198.51.100.7:2002]\n"
	    "    proxy_protocol: off\n"
	    "    ip_firewall: {deny: [203.0.113.0/24]}\n"
	    "    idle_timeout_s: 30\n"
	    "    limits: {bytes_per_s: 1000}\n"
	    "  - name: range\n"
	    "    protocol: tcp/1000-2000\n"
	    "    edge_ips: all\n"
	    "    origin_direct:\n"
	    "      - tcp://[2001:db8::7]:3000-4000?weight=9\n"
	    "      - tcp://[::ffff:192.0.2.7]:1-1001\n"
	    "    proxy_protocol: v2\n"
	    "    ip_firewall: {allow: [2001:db8::/32, 10.1.2.3, "
	    "\"::ffff:10.0.0.0/104\"]}\n"
	    "    balance: source-hash\n"
	    "    origins_down: refuse\n"
	    "    health: {type: tcp, fall: 9}\n"
	    "    eject: {after: 0, for_s: 1m}\n"
	    "    connect_timeout_s: 2\n"
	    "    lifetime_s: 1d\n"
	    "    limits: {connections: 5, connections_per_prefix: 2, "
	    "new_per_s: 1.5, new_per_s_per_prefix: 0.5, "
	    "prefix4: 24, prefix6: 48}\n"
	    "  - {name: ranged port, protocol: udp/53-54, edge_ips: ipv6, "
	    "origin_direct: udp://192.0.2.7, origin_port: 7-8, "
	    "tls: off, traffic_type: direct}\n"
	    "workers: 3\nevent_log: \"-\"\ncontrol: /run/c.sock\n"
	    "user: proxy\nlog_level: debug\nudp_flows: 100\n"
	    "tcp_sessions: 200\nbusy_poll_us: 0\nsplice_after: 0\nrcvbuf: 0\ndrain_s: 5m\n"
	    "sharing: {mode: guarded, peer: /run/r.sock}\n");
	assert_int_equal(s.apps, 3);
	assert_int_equal(s.sharing.mode, SHARING_GUARDED);
	a = &s.app[0];
	assert_int_equal(a->proto, SOCK_UDP);
	assert_int_equal(a->denies, 1);
	assert_addr(&a->deny[0].address, "203.0.113.0:0");
	assert_int_equal(a->deny[0].bits, 24);
	assert_int_equal(a->timeouts.idle_ms, 30000);
	assert_int_equal(a->limits.bytes_per_s, 1000);
	a = &s.app[1];
	assert_int_equal(a->edges, 2);
	assert_addr(&a->edge[0], "0.0.0.0:0");
	assert_addr(&a->edge[1], "[::]:0");
	assert_int_equal(a->port_first, 1000);
	assert_int_equal(a->port_last, 2000);
	assert_addr(&a->origin[0].address, "[2001:db8::7]:3000");
	assert_int_equal(a->origin[0].weight, 9);
	assert_addr(&a->origin[1].address, "192.0.2.7:1");
	assert_int_equal(a->header, APP_HEADER_V2);
	assert_int_equal(a->balance, APP_SOURCE_HASH);
	assert_int_equal(a->origins_down, APP_DOWN_REFUSE);
	assert_int_equal(a->check.fall, 9);
	assert_int_equal(a->eject.after, 0);
	assert_int_equal(a->eject.for_s, 60);
	assert_int_equal(a->allows, 3);
	assert_int_equal(a->allow[1].bits, 32);
	assert_addr(&a->allow[2].address, "10.0.0.0:0");
	assert_int_equal(a->allow[2].bits, 8);
	assert_int_equal(a->timeouts.connect_ms, 2000);
	assert_int_equal(a->timeouts.lifetime_ms, 86400000);
	assert_int_equal(a->limits.connections, 5);
	assert_int_equal(a->limits.connections_per_prefix, 2);
	assert_true(a->limits.new_per_s == 1.5);
	assert_true(a->limits.new_per_s_per_prefix == 0.5);
	assert_int_equal(a->limits.prefix4, 24);
	assert_int_equal(a->limits.prefix6, 48);
	a = &s.app[2];
	assert_int_equal(a->edges, 1);
	assert_addr(&a->edge[0], "[::]:0");
	assert_addr(&a->origin[0].address, "192.0.2.7:7");
	assert_int_equal(a->timeouts.idle_ms, 60000);
	assert_int_equal(proxy_settings_workers(&s), 3);
	assert_string_equal(s.event_log, "-");
	assert_string_equal(s.control, "/run/c.sock");
	assert_string_equal(s.user, "proxy");
	assert_int_equal(s.udp_flows, 100);
	assert_int_equal(s.tcp_sessions, 200);
	assert_int_equal(s.busy_poll_us, 0);
	assert_int_equal(s.splice_after, 0);
	assert_int_equal(s.rcvbuf, 0);
	assert_int_equal(s.drain_s, 300);
	proxy_settings_free(&s);
}

static void
test_dns(void **state)
{
	struct proxy_settings s;

	(void)state;
	good(&s,
	    APPS APP("a", "tcp/1-9", "192.0.2.1",
		"origin_dns: {name: origin.example}, origin_port: 101-109") APP("b",
		"udp/53", "192.0.2.1",
		"origin_dns: {name: _dns._udp.Example-1.org., ttl: 1d, "
		"type: SRV}") APP("c", "udp/54", "192.0.2.1",
		DNS_TO) "resolvers: [127.0.0.1:5353, \"::1\", \"[2001:db8::1]:54\"]\n");
	assert_string_equal(s.app[0].dns.name, "origin.example");
	assert_int_equal(s.app[0].dns.type, APP_DNS_BOTH);
	assert_int_equal(s.app[0].dns.ttl_s, 0);
	assert_int_equal(s.app[0].dns.port, 101);
	assert_int_equal(s.app[0].origins, 0);
	assert_string_equal(s.app[1].dns.name, "_dns._udp.Example-1.org.");
	assert_int_equal(s.app[1].dns.type, APP_DNS_SRV);
	assert_int_equal(s.app[1].dns.ttl_s, 86400);
	assert_int_equal(s.app[1].dns.port, 0);
	assert_string_equal(s.app[2].dns.name, "");
	assert_int_equal(s.resolvers, 3);
	assert_addr(&s.resolver[0], "127.0.0.1:5353");
	assert_addr(&s.resolver[1], "[::1]:53");
	assert_addr(&s.resolver[2], "[2001:db8::1]:54");
	proxy_settings_free(&s);
}

/* Neighbours that do not meet, and a chain that is no loop. */
static void
test_close(void **state)
{
	static const char *const texts[] = {
		/* the talk's own: two protocols, one port */
		APPS APP("a", "tcp/53", "0.0.0.0", TO("tcp://192.0.2.9:53"))
		    APP("b", "udp/53", "0.0.0.0", TO("udp://192.0.2.9:53")),
		APPS APP("a", "tcp/1-9", "0.0.0.0", TO("tcp://192.0.2.9:1-9"))
		    APP("b", "tcp/10", "0.0.0.0", TO("tcp://192.0.2.9:10")),
		APPS APP("a", "tcp/22", "192.0.2.1", SSH_TO)
		    APP("b", "tcp/22", "192.0.2.2", SSH_TO),
		APPS APP("a", "tcp/22", "0.0.0.0", SSH_TO)
		    APP("b", "tcp/22", "\"::\"", SSH_TO),
		/* to another port of itself; to another's edge */
		APPS APP("a", "tcp/22", "127.0.0.1", TO("tcp://127.0.0.1:23")),
		APPS APP("a", "tcp/22", "0.0.0.0", TO("tcp://[::1]:22")),
		APPS APP("a", "tcp/22", "127.0.0.1", TO("tcp://127.0.0.2:22"))
		    APP("b", "tcp/22", "127.0.0.2", SSH_TO),
		APPS APP(
		    "a", "tcp/65535", "127.0.0.1", TO("tcp://127.0.0.1:65534")),
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct proxy_settings s;

		good(&s, texts[i]);
		proxy_settings_free(&s);
	}
}

static const struct bad_yaml bad[] = {
	{ "",
	    { "f:1:1: applications: expected at least one, such as "
	      "[{name: ssh, protocol: tcp/22, edge_ips: all, "
	      "origin_direct: tcp://192.0.2.1:22}]" } },
	{ "applications: []\n",
	    { "f:1:15: applications: expected at least one, such as "
	      "[{name: ssh, protocol: tcp/22, edge_ips: all, "
	      "origin_direct: tcp://192.0.2.1:22}]" } },
	{ "applications:\n# - {name: a}\n",
	    { "f:1:14: applications: expected at least one, such as "
	      "[{name: ssh, protocol: tcp/22, edge_ips: all, "
	      "origin_direct: tcp://192.0.2.1:22}]" } },
	{ "applications: 5\n",
	    { "f:1:15: applications: expected a list, such as [a, "
	      "b], got \"5\"" } },
	{ "applications: [{}]\n",
	    { "f:1:16: applications[0].name: required, but missing",
		"f:1:16: applications[0].protocol: required, but "
		"missing",
		"f:1:16: applications[0].edge_ips: required, but "
		"missing",
		"f:1:16: applications[0].origin_direct: required, but "
		"missing: expected such as [tcp://192.0.2.1:22]" } },
	{ APPS APP("a", "icmp/1", "192.0.2.1", SSH_TO),
	    { "f:2:23: applications[0].protocol: expected tcp/PORT "
	      "or udp/FIRST-LAST, such as tcp/22 or udp/1000-2000, "
	      "got \"icmp/1\"" } },
	{ APPS APP("a", "tcp/0", "192.0.2.1", SSH_TO),
	    { "f:2:23: applications[0].protocol: expected ports from "
	      "1 to 65535, got \"0\"" } },
	{ APPS APP("a", "tcp/2000-1000", "192.0.2.1", SSH_TO),
	    { "f:2:23: applications[0].protocol: the range "
	      "\"2000-1000\" runs backwards, expected 1000-2000" } },
	{ APPS APP("a", "tcp/70000", "192.0.2.1", SSH_TO),
	    { "f:2:23: applications[0].protocol: expected ports from "
	      "1 to 65535, got \"70000\"" } },
	{ APPS APP("a", "tcp/22,23", "192.0.2.1", SSH_TO),
	    { "f:2:30: applications[0].23: unknown key" } },
	{ PLAIN APP("b", "tcp/22", "192.0.2.1", SSH_TO),
	    { "f:3:42: applications[1].edge_ips[0]: 192.0.2.1 with "
	      "tcp/22 overlaps 192.0.2.1 with tcp/22 of application "
	      "\"a\"" } },
	{ PLAIN APP("b", "tcp/22", "\"::\", 0.0.0.0", SSH_TO),
	    { "f:3:48: applications[1].edge_ips[1]: 0.0.0.0 with "
	      "tcp/22 overlaps 192.0.2.1 with tcp/22 of application "
	      "\"a\"" } },
	{ APPS APP("a", "tcp/20-30", "192.0.2.1", TO("tcp://192.0.2.9:20-30"))
		APP("b", "tcp/30-40", "192.0.2.1", TO("tcp://192.0.2.9:30-40")),
	    { "f:3:45: applications[1].edge_ips[0]: 192.0.2.1 with "
	      "tcp/30-40 overlaps 192.0.2.1 with tcp/20-30 of "
	      "application \"a\"" } },
	{ APPS APP("a", "udp/53", "\"::\"", DNS_TO)
		APP("b", "udp/53", "192.0.2.1, \"::1\"", DNS_TO),
	    { "f:3:53: applications[1].edge_ips[1]: ::1 with udp/53 "
	      "overlaps :: with udp/53 of application \"a\"" } },
	{ APPS APP("a", "tcp/22", "192.0.2.1, 0.0.0.0", SSH_TO),
	    { "f:2:53: applications[0].edge_ips[1]: 0.0.0.0 is "
	      "already taken by 192.0.2.1 of this application" } },
	{ PLAIN APP("a", "tcp/23", "192.0.2.1", TO("tcp://192.0.2.9:23")),
	    { "f:3:10: applications[1].name: same as applications[0]" } },
	{ APPS APP("a", "tcp/1000-2000", "192.0.2.1",
	      TO("tcp://192.0.2.9:3000-3999")),
	    { "f:2:77: applications[0].origin_direct[0]: ports "
	      "3000-3999 are 1000, but tcp/1000-2000 are 1001; "
	      "expected ranges of equal length" } },
	{ APPS APP(
	      "a", "tcp/1000-2000", "192.0.2.1", TO("tcp://192.0.2.9:3000")),
	    { "f:2:77: applications[0].origin_direct[0]: ports 3000 "
	      "are 1, but tcp/1000-2000 are 1001; expected ranges of "
	      "equal length" } },
	{ TCP(TO("tcp://192.0.2.9") ", origin_port: 1-2"),
	    { "f:2:70: applications[0].origin_direct[0]: ports 1-2 "
	      "are 2, but tcp/22 are 1; expected ranges of equal "
	      "length" } },
	{ TCP(TO("tcp://192.0.2.9") ", origin_port: x"),
	    { "f:2:103: applications[0].origin_port: expected a port "
	      "such as 22 or a range such as 1000-2000, got \"x\"" } },
	{ TCP(SSH_TO ", origin_port: 22"),
	    { "f:2:70: applications[0].origin_direct[0]: has a port, "
	      "and origin_port gives one too; expected one of them" } },
	{ TCP(TO("tcp://192.0.2.9")),
	    { "f:2:70: applications[0].origin_direct[0]: expected a "
	      "port, here or as origin_port" } },
	{ TCP(TO("udp://192.0.2.9:22")),
	    { "f:2:70: applications[0].origin_direct[0]: is udp, but "
	      "the application's protocol is tcp" } },
	{ TCP(TO("tcp://192.0.2.9:0")),
	    { "f:2:70: applications[0].origin_direct[0]: expected "
	      "ports from 1 to 65535, got \"0\"" } },
	{ TCP(TO("tcp://origin.example:22")),
	    { "f:2:70: applications[0].origin_direct[0]: "
	      "\"origin.example\": not a numeric IPv4 address; names "
	      "go under origin_dns" } },
	{ TCP(TO("tcp://2001:db8::1:22")),
	    { "f:2:70: applications[0].origin_direct[0]: expected an "
	      "IPv6 address in brackets, such as [2001:db8::1]:53, "
	      "got \"2001:db8::1:22\"" } },
	{ TCP(TO("tcp://[2001:db8::1:22")),
	    { "f:2:70: applications[0].origin_direct[0]: expected an "
	      "IPv6 address in brackets, such as [2001:db8::1]:53, "
	      "got \"[2001:db8::1:22\"" } },
	{ TCP(TO("192.0.2.9:22")),
	    { "f:2:70: applications[0].origin_direct[0]: expected "
	      "tcp://ADDRESS:PORT or udp://ADDRESS:PORT, got "
	      "\"192.0.2.9:22\"" } },
	{ TCP(TO("tcp://192.0.2.9:22?weight=0")),
	    { "f:2:70: applications[0].origin_direct[0]: expected "
	      "?weight=N with N from 1 to 1000, got \"?weight=0\"" } },
	{ TCP(TO("tcp://192.0.2.9:22?speed=1")),
	    { "f:2:70: applications[0].origin_direct[0]: expected "
	      "?weight=N with N from 1 to 1000, got \"?speed=1\"" } },
	{ TCP(TO("tcp://0.0.0.0:22")),
	    { "f:2:70: applications[0].origin_direct[0]: expected "
	      "the address of a host, not a wildcard" } },
	{ TCP(TO("tcp://192.0.2.1:22")),
	    { "f:2:70: applications[0].origin_direct[0]: "
	      "192.0.2.1:22 is this application's own edge "
	      "(192.0.2.1): a loop" } },
	{ APPS APP("a", "tcp/22", "\"::\"", TO("tcp://[::1]:22")),
	    { "f:2:65: applications[0].origin_direct[0]: [::1]:22 is "
	      "this application's own edge (::): a loop" } },
	{ APPS APP("a", "udp/1-9", "127.0.0.1",
	      "origin_direct: [\"udp://192.0.2.9:1-9\", \"udp://127.0.0.1:9-17\"]"),
	    { "f:2:94: applications[0].origin_direct[1]: 127.0.0.1:9 "
	      "is this application's own edge (127.0.0.1): a loop" } },
	{ TCP("tls: off"),
	    { "f:2:3: applications[0].origin_direct: required, but "
	      "missing: expected such as [tcp://192.0.2.1:22]" } },
	{ TCP("origin_dns: {name: origin.example}"),
	    { "f:2:3: applications[0].origin_port: required with "
	      "origin_dns, but missing; or type: SRV" } },
	{ TCP("origin_dns: {name: origin.example, type: A}, origin_port: 1-2"),
	    { "f:2:112: applications[0].origin_port: ports 1-2 are 2, but "
	      "tcp/22 are 1; expected ranges of equal length" } },
	{ TCP("origin_dns: {name: origin.example, type: SRV}, origin_port: 22"),
	    { "f:2:114: applications[0].origin_port: SRV records give the "
	      "port, expected none here" } },
	{ APPS APP("a", "tcp/1-9", "192.0.2.1",
	      "origin_dns: {type: SRV, name: _x._tcp.example}"),
	    { "f:2:74: applications[0].origin_dns.type: SRV gives one port, "
	      "but tcp/1-9 are 9; expected A, AAAA or A+AAAA with "
	      "origin_port" } },
	{ TCP("origin_dns: {name: 192.0.2.9}, origin_port: 22"),
	    { "f:2:73: applications[0].origin_dns.name: \"192.0.2.9\" is an "
	      "address: those go under origin_direct" } },
	{ TCP("origin_dns: {name: a..b, type: SRV, ttl: 2d}"),
	    { "f:2:95: applications[0].origin_dns.ttl: expected a duration "
	      "from 0 to 86400 s, such as 90s, 5m, 24h or 30d (a bare number "
	      "is in s), got \"2d\"",
		"f:2:73: applications[0].origin_dns.name: expected a name "
		"such as origin.example, of letters, digits, - and _, at "
		"most 253 bytes and 63 between dots, got \"a..b\"" } },
	{ TCP("origin_dns: {type: SRV}"),
	    { "f:2:66: applications[0].origin_dns.name: required, but "
	      "missing" } },
	{ PLAIN "resolvers: [dns.example, \"[fe80::1%lo]:53\"]\n",
	    { "f:3:13: resolvers[0]: expected the numeric address of a DNS "
	      "server, such as 192.0.2.53 or [2001:db8::53]:5353, got "
	      "\"dns.example\" (not a numeric IPv4 address)",
		"f:3:26: resolvers[1]: expected the numeric address of a DNS "
		"server, such as 192.0.2.53 or [2001:db8::53]:5353, got "
		"\"[fe80::1%lo]:53\" (no server, or one with a zone)" } },
	{ TCP(SSH_TO ", origin_dns: {name: origin.example}"),
	    { "f:2:108: applications[0].origin_dns: expected one of "
	      "origin_direct and origin_dns, got both" } },
	{ UDP(DNS_TO ", proxy_protocol: v1"),
	    { "f:2:112: applications[0].proxy_protocol: v1 is for "
	      "TCP, expected off, v2, v2-first or simple" } },
	{ TCP(SSH_TO ", proxy_protocol: simple"),
	    { "f:2:112: applications[0].proxy_protocol: simple is "
	      "for UDP, expected off, v1 or v2" } },
	{ TCP(SSH_TO ", proxy_protocol: v2-first"),
	    { "f:2:112: applications[0].proxy_protocol: v2-first is "
	      "for UDP, expected off, v1 or v2" } },
	{ TCP(SSH_TO ", proxy_protocol: v3"),
	    { "f:2:112: applications[0].proxy_protocol: expected "
	      "off, v1, v2, v2-first or simple, got \"v3\"" } },
	{ TCP(SSH_TO ", tls: strict"),
	    { "f:2:101: applications[0].tls: strict is not built "
	      "yet, expected off" } },
	{ TCP(SSH_TO ", balance: random"),
	    { "f:2:105: applications[0].balance: expected "
	      "round-robin, least-connections or source-hash, got "
	      "\"random\"" } },
	{ TCP(SSH_TO ", origins_down: maybe"),
	    { "f:2:110: applications[0].origins_down: expected "
	      "last_known or refuse, got \"maybe\"" } },
	{ TCP(SSH_TO ", eject: {after: -1, for_s: 2d}"),
	    { "f:2:111: applications[0].eject.after: expected an "
	      "integer from 0 to 1000, got \"-1\"",
		"f:2:122: applications[0].eject.for_s: expected a "
		"duration from 1 to 86400 s, such as 90s, 5m, 24h or "
		"30d (a bare number is in s), got \"2d\"" } },
	{ TCP(SSH_TO ", ip_firewall: {deny: [203.0.113.7/24]}"),
	    { "f:2:117: applications[0].ip_firewall.deny[0]: "
	      "\"203.0.113.7/24\" has bits set after its prefix, "
	      "expected 203.0.113.0/24" } },
	{ TCP(SSH_TO
	      ", ip_firewall: {allow: [\"2001:db8::1/32\", 10.0.0.0/33, x]}"),
	    { "f:2:118: applications[0].ip_firewall.allow[0]: "
	      "\"2001:db8::1/32\" has bits set after its prefix, "
	      "expected 2001:db8::/32",
		"f:2:136: applications[0].ip_firewall.allow[1]: "
		"expected an address or a prefix such as "
		"203.0.113.0/24 or 2001:db8::/32, got \"10.0.0.0/33\"",
		"f:2:149: applications[0].ip_firewall.allow[2]: "
		"expected an address or a prefix such as "
		"203.0.113.0/24 or 2001:db8::/32, got \"x\"" } },
	{ TCP(SSH_TO ", ip_firewall: {deny: [\"::ffff:0:0/95\"]}"),
	    { "f:2:117: applications[0].ip_firewall.deny[0]: "
	      "\"::ffff:0:0/95\" has bits set after its prefix, "
	      "expected ::fffe:0:0/95" } },
	{ APPS APP("a", "tcp/22", "all, 192.0.2.1", SSH_TO),
	    { "f:2:42: applications[0].edge_ips[0]: all, ipv4 and "
	      "ipv6 stand alone, not in a list with others" } },
	{ APPS APP("a", "tcp/22", "eth0", SSH_TO),
	    { "f:2:42: applications[0].edge_ips[0]: expected a "
	      "numeric address without a port, such as 192.0.2.1 or "
	      "2001:db8::1, got \"eth0\"" } },
	{ APPS APP("a", "tcp/22", "\"192.0.2.1:22\"", SSH_TO),
	    { "f:2:42: applications[0].edge_ips[0]: expected a "
	      "numeric address without a port, such as 192.0.2.1 or "
	      "2001:db8::1, got \"192.0.2.1:22\"" } },
	{ APPS APP("\"\"", "tcp/22", "192.0.2.1", SSH_TO),
	    { "f:2:10: applications[0].name: expected 1 to 63 bytes "
	      "without control characters" } },
	{ APPS APP("\"a\\nb\"", "tcp/22", "192.0.2.1", SSH_TO),
	    { "f:2:10: applications[0].name: expected 1 to 63 bytes "
	      "without control characters" } },
	{ TCP(SSH_TO ", idle_timeout_s: 0"),
	    { "f:2:112: applications[0].idle_timeout_s: expected a "
	      "duration from 1 to 3456000 s, such as 90s, 5m, 24h or "
	      "30d (a bare number is in s), got \"0\"" } },
	{ TCP(SSH_TO ", idle_timout_s: 5"),
	    { "f:2:96: applications[0].idle_timout_s: unknown key; "
	      "did you mean \"idle_timeout_s\"?" } },
	{ TCP(SSH_TO ", limits: {prefix4: 33}"),
	    { "f:2:114: applications[0].limits.prefix4: expected an "
	      "integer from 1 to 32 bits, got \"33\"" } },
	{ APPS APP("a", "tcp/22", "192.0.2.0/24", SSH_TO),
	    { "f:2:42: applications[0].edge_ips[0]: the prefix 192.0.2.0/24 "
	      "takes sharing.mode: dispatch" } },
	{ WIDE APP("b", "tcp/1500-2499", "192.0.2.0/24",
	      TO("tcp://198.51.100.1:1-1000")) DISPATCH,
	    { "f:3:49: applications[1].edge_ips[0]: 192.0.2.0/24 with "
	      "tcp/1500-2499 overlaps 192.0.2.0/24 with tcp/1000-1999 of "
	      "application \"a\"" } },
	{ PLAIN "sharing: {spare: 192.0.2.1:2002}\n",
	    { "f:3:10: sharing: pin and spare take mode: dispatch" } },
	{ PLAIN "sharing: {mode: dispatch, spare: [192.0.2.1]}\n",
	    { "f:3:35: sharing.spare[0]: a port is missing" } },
	{ PLAIN "udp_flows: 1\nworkers: many\n",
	    { "f:4:10: workers: expected auto or an integer from 1 "
	      "to 256, got \"many\"",
		"f:3:12: udp_flows: expected an integer from 16 to "
		"16777216, got \"1\"" } },
	{ "applications: [\n",
	    { "f:2:1: did not find expected node content (while "
	      "parsing a flow node that starts at line 2)" } },
};

static void
test_bad(void **state)
{
	size_t n = sizeof bad / sizeof bad[0];

	(void)state;
	assert_true(n >= 20);
	check_bad(bad, n);
}

/* Ports of equal length that end past 65535 are no range at all. */
static void
test_last_port(void **state)
{
	struct proxy_settings s;
	struct yaml_errors e;

	(void)state;
	good(&s,
	    APPS APP("a", "tcp/1-3", "127.0.0.1",
		TO("tcp://127.0.0.1:65533-65535")));
	assert_int_equal(addr_port(&s.app[0].origin[0].address), 65533);
	proxy_settings_free(&s);
	assert_int_equal(parse(&s,
			     APPS APP("a", "tcp/1-3", "127.0.0.1",
				 TO("tcp://127.0.0.1:65534-65536")),
			     &e),
	    1);
	yaml_errors_free(&e);
	proxy_settings_free(&s);
}

/* The shipped file is good; its comments say the true defaults. */
static void
test_shipped(void **state)
{
	static const char text[] = APPS
	    "- name: a\n"
	    "  protocol: udp/53\n"
	    "  edge_ips: all\n"
	    "  origin_direct: udp://192.0.2.1:53\n"
	    "  balance: round-robin\n"
	    "  eject: {after: 3, for_s: 10}\n"
	    "  origins_down: last_known\n"
	    "  idle_timeout_s: 60\n"
	    "  connect_timeout_s: 5\n"
	    "  lifetime_s: 0\n"
	    "  limits: {connections: 0, connections_per_prefix: 0, "
	    "new_per_s: 0, new_per_s_per_prefix: 0, bytes_per_s: 0, "
	    "prefix4: 32, prefix6: 56}\n"
	    "  proxy_protocol_from: []\n"
	    "  proxy_protocol_timeout_s: 5\n"
	    "  tls: off\n"
	    "  traffic_type: direct\n"
	    "workers: auto\nevent_log: off\ncontrol: off\nudp_flows: 65536\n"
	    "tcp_sessions: 65536\nrcvbuf: 4194304\nsplice_after: 65536\n"
	    "busy_poll_us: 50\n"
	    "drain_s: 30\nsharing: {mode: off}\nuser: nobody\n"
	    "log_level: info\n";
	struct view file = support_file("config/l4proxyd.yaml");
	struct proxy_settings shipped, said, plain;
	struct yaml_errors e = { .file = "config/l4proxyd.yaml" };

	(void)state;
	assert_int_equal(
	    proxy_settings_parse(&shipped, file.data, file.len, &e), 0);
	assert_int_equal(shipped.apps, 5);
	good(&said, text);
	good(&plain, UDP(DNS_TO));
	assert_memory_equal(&said.app[0].timeouts, &plain.app[0].timeouts,
	    sizeof said.app[0].timeouts);
	assert_memory_equal(&said.app[0].limits, &plain.app[0].limits,
	    sizeof said.app[0].limits);
	assert_memory_equal(
	    &said.app[0].eject, &plain.app[0].eject, sizeof said.app[0].eject);
	assert_int_equal(said.app[0].origins_down, plain.app[0].origins_down);
	assert_int_equal(said.workers, plain.workers);
	assert_ptr_equal(said.event_log, plain.event_log);
	assert_ptr_equal(said.control, plain.control);
	assert_int_equal(said.udp_flows, plain.udp_flows);
	assert_int_equal(said.tcp_sessions, plain.tcp_sessions);
	assert_int_equal(said.rcvbuf, plain.rcvbuf);
	assert_int_equal(said.busy_poll_us, plain.busy_poll_us);
	assert_int_equal(said.splice_after, plain.splice_after);
	assert_int_equal(said.drain_s, plain.drain_s);
	assert_int_equal(said.log_level, plain.log_level);
	assert_int_equal(shipped.splice_after, plain.splice_after);
	proxy_settings_free(&shipped);
	proxy_settings_free(&said);
	proxy_settings_free(&plain);
	yaml_errors_free(&e);
	support_free(file);
}

static void
test_fixed(void **state)
{
	static const struct {
		const char *text;
		const char *keys; /* NULL: a reload changes it */
	} cases[] = {
		{ PLAIN, NULL },
		{ UDP(DNS_TO) "rcvbuf: 9\ndrain_s: 1\n", NULL },
		{ PLAIN "workers: 9\nudp_flows: 99\n", "workers, udp_flows" },
		{ PLAIN "sharing: {mode: open}\n", "sharing.mode" },
		{ PLAIN "sharing: {mode: dispatch, pin: /p}\n",
		    "sharing.mode, sharing.pin" },
		{ PLAIN "control: /c\nuser: u\ntcp_sessions: 99\n",
		    "control, user, tcp_sessions" },
		{ PLAIN "event_log: \"-\"\nsplice_after: 9\n",
		    "event_log, splice_after" },
		{ PLAIN "busy_poll_us: 51\n", "busy_poll_us" },
	};
	struct proxy_settings was, now;
	char buf[128];

	(void)state;
	good(&was, PLAIN);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *keys;

		good(&now, cases[i].text);
		keys = proxy_settings_fixed_change(&was, &now, buf, sizeof buf);
		if (cases[i].keys == NULL)
			assert_null(keys);
		else
			assert_string_equal(keys, cases[i].keys);
		proxy_settings_free(&now);
	}
	proxy_settings_free(&was);
}

static void
test_load(void **state)
{
	struct proxy_settings s;

	(void)state;
	assert_int_equal(proxy_settings_load(&s, "config/l4proxyd.yaml"), 0);
	assert_int_equal(s.apps, 5);
	proxy_settings_free(&s);
	assert_int_equal(proxy_settings_load(&s, "config/roughtimed.yaml"), -1);
	proxy_settings_free(&s);
	assert_int_equal(proxy_settings_load(&s, "/nonexistent"), -1);
	proxy_settings_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_dispatch),
		cmocka_unit_test(test_dns),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_last_port),
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_fixed),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
