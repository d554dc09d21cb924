/* l4proxyd.yaml: every fault is told at its place, and what is none is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/settings.h"
#include "tests/proxy_yaml.h"

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
	      "the address of a host, not a wildcard, multicast or broadcast" } },
	{ TCP(TO("tcp://224.0.0.5:22")),
	    { "f:2:70: applications[0].origin_direct[0]: expected "
	      "the address of a host, not a wildcard, multicast or broadcast" } },
	{ APPS APP("a", "tcp/22", "255.255.255.255, \"ff02::1\"", SSH_TO),
	    { "f:2:42: applications[0].edge_ips[0]: expected an address of "
	      "this host, not multicast or broadcast",
		"f:2:59: applications[0].edge_ips[1]: expected an address "
		"of this host, not multicast or broadcast" } },
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
	{ TCP("origin: [tcp://192.0.2.9:22]"),
	    { "f:2:54: applications[0].origin: unknown key; did you mean "
	      "\"origin_direct\"?",
		"f:2:3: applications[0].origin_direct: required, but missing: "
		"expected such as [tcp://192.0.2.1:22]" } },
	{ TCP(SSH_TO ", connections: 5, at: 1"),
	    { "f:2:96: applications[0].connections: unknown key; it goes "
	      "under \"limits\"",
		"f:2:112: applications[0].at: unknown key" } },
	{ PLAIN "event_log: ''\ncontrol: \"\"\n",
	    { "f:3:12: event_log: expected a path or off, got \"\"",
		"f:4:10: control: expected a path or off, got \"\"" } },
	{ PLAIN "idle_timeout_s: 5\n",
	    { "f:3:1: idle_timeout_s: unknown key; it goes under "
	      "\"applications\"" } },
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_last_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
