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
	    "    limits: {bytes_per_s: 1000, bytes_per_s_per_prefix: 100}\n"
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
	assert_int_equal(a->limits.bytes_per_s_per_prefix, 100);
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
	    "bytes_per_s_per_prefix: 0, "
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
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_fixed),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
