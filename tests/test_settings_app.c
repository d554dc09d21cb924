/* The rules of one application of l4proxyd.yaml that stand beside where it
 * listens and goes: whose headers it believes, what it asks of sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/settings.h"
#include "tests/proxy_yaml.h"
#include "tests/sockets.h"

static bool
trusts(const struct app *a, const char *peer)
{
	struct addr from = sockets_addr(peer);

	return app_trusts(a, &from);
}

static void
peers_are_trusted_by_prefix(void **state)
{
	struct proxy_settings s;

	(void)state;
	good(&s, TCP(SSH_TO));
	assert_false(trusts(&s.app[0], "198.51.100.7:1"));
	assert_int_equal(s.app[0].timeouts.header_ms, 5000);
	proxy_settings_free(&s);
	good(&s,
	    TCP(SSH_TO ", proxy_protocol_from: [198.51.100.0/24, "
		       "\"2001:db8::/32\"], proxy_protocol_timeout_s: 2"));
	assert_int_equal(s.app[0].timeouts.header_ms, 2000);
	assert_true(trusts(&s.app[0], "198.51.100.7:1"));
	assert_true(trusts(&s.app[0], "[::ffff:198.51.100.7]:1"));
	assert_true(trusts(&s.app[0], "[2001:db8::7]:1"));
	assert_false(trusts(&s.app[0], "198.51.101.7:1"));
	assert_false(trusts(&s.app[0], "[2001:db9::7]:1"));
	proxy_settings_free(&s);
	/* one without brackets; all of a family, which is not the other */
	good(&s, TCP(SSH_TO ", proxy_protocol_from: 0.0.0.0/0"));
	assert_true(trusts(&s.app[0], "192.0.2.7:1"));
	assert_false(trusts(&s.app[0], "[2001:db8::7]:1"));
	proxy_settings_free(&s);
}

static void
transparent_is_taken(void **state)
{
	struct addr four = sockets_addr("192.0.2.9:1"),
		    six = sockets_addr("[2001:db8::9]:1");
	struct proxy_settings s;

	(void)state;
	good(&s, TCP(SSH_TO));
	assert_false(s.app[0].transparent);
	assert_true(app_reaches(&s.app[0], &four, &six));
	proxy_settings_free(&s);
	good(&s, UDP(DNS_TO ", transparent: true"));
	assert_true(s.app[0].transparent);
	assert_true(app_reaches(&s.app[0], &four, &four));
	assert_false(app_reaches(&s.app[0], &four, &six));
	assert_false(app_reaches(&s.app[0], &six, &four));
	proxy_settings_free(&s);
	/* a balancer's clients may be of any family */
	good(&s,
	    APPS APP("a", "tcp/22", "192.0.2.1",
		TO("tcp://[2001:db8::2]:22") ", transparent: true, "
					     "proxy_protocol_from: 192.0.2.7"));
	proxy_settings_free(&s);
}

static void
tcp_is_tuned(void **state)
{
	struct proxy_settings s;

	(void)state;
	good(&s, TCP(SSH_TO));
	assert_int_equal(s.app[0].tcp.keepalive_s, 60);
	assert_int_equal(s.app[0].tcp.fast_open, 0);
	assert_false(s.app[0].tcp.fast_open_origin);
	assert_string_equal(s.app[0].tcp.congestion, "");
	proxy_settings_free(&s);
	good(&s,
	    TCP(SSH_TO ", tcp: {keepalive_s: 5m, fast_open: 99, "
		       "fast_open_origin: true, congestion: cubic}"));
	assert_int_equal(s.app[0].tcp.keepalive_s, 300);
	assert_int_equal(s.app[0].tcp.fast_open, 99);
	assert_true(s.app[0].tcp.fast_open_origin);
	assert_string_equal(s.app[0].tcp.congestion, "cubic");
	proxy_settings_free(&s);
}

static void
hints_are_taken(void **state)
{
	struct proxy_settings s;

	(void)state;
	good(&s, UDP(DNS_TO));
	assert_int_equal(s.app[0].udp.requests + s.app[0].udp.responses, 0);
	assert_false(s.app[0].udp.one_way);
	proxy_settings_free(&s);
	good(&s, UDP(DNS_TO ", udp: {requests: 1, responses: 2}"));
	assert_int_equal(s.app[0].udp.requests, 1);
	assert_int_equal(s.app[0].udp.responses, 2);
	proxy_settings_free(&s);
	good(&s, UDP(DNS_TO ", udp: {requests: 9, one_way: true}"));
	assert_true(s.app[0].udp.one_way);
	proxy_settings_free(&s);
}

static void
fast_path_is_taken(void **state)
{
	struct proxy_settings s;

	(void)state;
	good(&s, UDP(DNS_TO));
	assert_int_equal(s.app[0].fast_path, APP_FAST_AUTO);
	assert_int_equal(s.fast_path_interfaces, 0);
	assert_int_equal(s.fast_path_flows, 0);
	proxy_settings_free(&s);
	good(&s,
	    "fast_path_interfaces: [eth0, wan0]\nfast_path_flows: 1000\n"
	    "fast_path_hook: clsact\n" UDP(DNS_TO ", fast_path: require"));
	assert_int_equal(s.app[0].fast_path, APP_FAST_REQUIRE);
	assert_int_equal(s.fast_path_interfaces, 2);
	assert_string_equal(s.fast_path_interface[1], "wan0");
	assert_int_equal(s.fast_path_hook, FASTPATH_HOOK_CLSACT);
	assert_int_equal(s.fast_path_flows, 1000);
	proxy_settings_free(&s);
	good(&s, TCP(SSH_TO ", fast_path: off"));
	assert_int_equal(s.app[0].fast_path, APP_FAST_OFF);
	proxy_settings_free(&s);
}

static const struct bad_yaml bad[] = {
	{ TCP(SSH_TO ", udp: {responses: 1}"),
	    { "f:2:101: applications[0].udp: is for applications of UDP" } },
	{ UDP(DNS_TO ", udp: {responses: 1, one_way: true}"),
	    { "f:2:113: applications[0].udp.responses: one_way says that "
	      "there are none, expected 0" } },
	{ UDP(DNS_TO ", udp: {requests: -1, replies: 1}"),
	    { "f:2:116: applications[0].udp.replies: unknown key",
		"f:2:112: applications[0].udp.requests: expected an integer "
		"from 0 to 1000000, got \"-1\"" } },
	{ UDP(DNS_TO ", tcp: {fast_open: 99}"),
	    { "f:2:101: applications[0].tcp: is for applications of TCP" } },
	{ TCP(SSH_TO ", tcp: {fast_open: 70000, keepalive_s: 10h}"),
	    { "f:2:133: applications[0].tcp.keepalive_s: expected a duration "
	      "from 0 to 32767 s, such as 90s, 5m, 24h or 30d (a bare number "
	      "is in s), got \"10h\"",
		"f:2:113: applications[0].tcp.fast_open: expected an integer "
		"from 0 to 65535, got \"70000\"" } },
	{ TCP(SSH_TO ", tcp: {congestion: a-name-of-16-let}"),
	    { "f:2:114: applications[0].tcp.congestion: expected auto or one of "
	      "net.ipv4.tcp_allowed_congestion_control, such as cubic" } },
	{ TCP(SSH_TO ", tcp: {congestion: \"reno cubic\"}"),
	    { "f:2:114: applications[0].tcp.congestion: expected auto or one of "
	      "net.ipv4.tcp_allowed_congestion_control, such as cubic" } },
	{ TCP(SSH_TO ", transparent: true, proxy_protocol: v2"),
	    { "f:2:109: applications[0].transparent: the origin sees the "
	      "client's address already, expected proxy_protocol: off" } },
	{ TCP(SSH_TO ", transparent: maybe"),
	    { "f:2:109: applications[0].transparent: expected true or false, "
	      "got \"maybe\"" } },
	{ APPS APP("a", "tcp/22", "192.0.2.1, \"2001:db8::1\"",
	      SSH_TO ", transparent: true"),
	    { "f:2:124: applications[0].transparent: clients come by IPv6 to "
	      "edge_ips, and no origin can see that: none is IPv6" } },
	{ TCP(SSH_TO ", proxy_protocol_from: [198.51.100.7/24, x]"),
	    { "f:2:118: applications[0].proxy_protocol_from[0]: "
	      "\"198.51.100.7/24\" has bits set after its prefix, expected "
	      "198.51.100.0/24",
		"f:2:135: applications[0].proxy_protocol_from[1]: expected an "
		"address or a prefix such as 203.0.113.0/24 or 2001:db8::/32, "
		"got \"x\"" } },
	{ TCP(SSH_TO ", fast_path: require"),
	    { "f:2:107: applications[0].fast_path: the kernel cannot carry "
	      "these flows: only UDP has such a path" } },
	{ UDP(DNS_TO ", limits: {bytes_per_s: 9}, fast_path: require"),
	    { "f:2:133: applications[0].fast_path: the kernel cannot carry "
	      "these flows: limits.bytes_per_s weighs each datagram" } },
	{ UDP(DNS_TO
	      ", limits: {bytes_per_s_per_prefix: 9}, fast_path: require"),
	    { "f:2:144: applications[0].fast_path: the kernel cannot carry "
	      "these flows: limits.bytes_per_s_per_prefix weighs each "
	      "datagram" } },
	{ TCP(SSH_TO ", limits: {bytes_per_s_per_prefix: -1}"),
	    { "f:2:129: applications[0].limits.bytes_per_s_per_prefix: expected "
	      "an integer from 0 to 1e+15 bytes a second, got \"-1\"" } },
	{ "fast_path_interfaces: [eth0, interface-names-end]\n" TCP(SSH_TO),
	    { "f:1:30: fast_path_interfaces[1]: expected the name of an "
	      "interface, such as eth0" } },
	{ TCP(SSH_TO ", proxy_protocol_timeout_s: 0"),
	    { "f:2:122: applications[0].proxy_protocol_timeout_s: expected a "
	      "duration from 1 to 3600 s, such as 90s, 5m, 24h or 30d (a bare "
	      "number is in s), got \"0\"" } },
};

static void
faults_are_told(void **state)
{
	(void)state;
	check_bad(bad, sizeof bad / sizeof bad[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peers_are_trusted_by_prefix),
		cmocka_unit_test(transparent_is_taken),
		cmocka_unit_test(fast_path_is_taken),
		cmocka_unit_test(tcp_is_tuned),
		cmocka_unit_test(hints_are_taken),
		cmocka_unit_test(faults_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
