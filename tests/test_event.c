/* One event as a line of JSON: Spectrum's names, escapes, the longest line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "proxy/eventlog.h"
#include "tests/sockets.h"

static struct app
make_app(const char *name)
{
	struct app a = { .proto = SOCK_TCP };

	snprintf(a.name, sizeof a.name, "%s", name);
	return a;
}

static void
test_disconnect(void **state)
{
	struct app a = make_app("ssh");
	struct event e = { .kind = EVENT_DISCONNECT,
		.app = &a,
		.client = sockets_addr("192.0.2.7:40000"),
		.edge = sockets_addr("198.51.100.1:22"),
		.origin = sockets_addr("[2001:db8::22]:2222"),
		.client_bytes = 1234,
		.origin_bytes = 18446744073709551615u,
		.client_rtt_ns = 1500000,
		.origin_rtt_ns = 42,
		.connect_us = 1790000000000007,
		.disconnect_us = 1790000001500000,
		.status = STATUS_CLOSED,
		.firewall_matched = true };
	char out[EVENT_LINE_MAX + 1];
	size_t len;

	(void)state;
	a.header = APP_HEADER_V2;
	a.allows = 1;
	len = event_format(out, &e, 1790000001500001);
	out[len] = '\0';
	assert_string_equal(out,
	    "{\"Application\":\"ssh\",\"ClientAsn\":0,\"ClientBytes\":1234,"
	    "\"ClientIP\":\"192.0.2.7\","
	    "\"ClientMatchedIpFirewall\":\"WHITELIST_IP\","
	    "\"ClientPort\":40000,\"ClientProto\":\"tcp\","
	    "\"ClientTcpRtt\":1500000,\"ClientTlsProtocol\":\"none\","
	    "\"ClientTlsStatus\":\"UNKNOWN\","
	    "\"ConnectTimestamp\":\"2026-09-21T14:13:20.000007Z\","
	    "\"DisconnectTimestamp\":\"2026-09-21T14:13:21.500000Z\","
	    "\"Event\":\"disconnect\",\"IpFirewall\":true,"
	    "\"OriginBytes\":18446744073709551615,"
	    "\"OriginIP\":\"2001:db8::22\",\"OriginPort\":2222,"
	    "\"OriginProto\":\"tcp\",\"OriginTcpRtt\":42,"
	    "\"OriginTlsMode\":\"off\",\"OriginTlsProtocol\":\"none\","
	    "\"OriginTlsStatus\":\"UNKNOWN\",\"ProxyProtocol\":\"v2\","
	    "\"Status\":200,"
	    "\"Timestamp\":\"2026-09-21T14:13:21.500001Z\"}\n");
}

static json_t *
parse(const struct event *e)
{
	char out[EVENT_LINE_MAX];
	size_t len = event_format(out, e, 1790000000000000);
	json_error_t error;
	json_t *o = json_loadb(out, len, JSON_REJECT_DUPLICATES, &error);

	if (o == NULL)
		fail_msg("%.*s: %s", (int)len, out, error.text);
	/* room for the digits that jansson does not read */
	assert_true(len <= EVENT_LINE_MAX - 8);
	assert_int_equal(out[len - 1], '\n');
	assert_ptr_equal(memchr(out, '\n', len), out + len - 1);
	return o;
}

static void
assert_text(const json_t *o, const char *key, const char *want)
{
	assert_string_equal(json_string_value(json_object_get(o, key)), want);
}

/* Every name is Spectrum's, and they stand in the order of its list. */
static void
test_names(void **state)
{
	static const char *const names[] = { "Application", "ClientAsn",
		"ClientBytes", "ClientIP", "ClientMatchedIpFirewall",
		"ClientPort", "ClientProto", "ClientTcpRtt",
		"ClientTlsProtocol", "ClientTlsStatus", "ConnectTimestamp",
		"DisconnectTimestamp", "Event", "IpFirewall", "OriginBytes",
		"OriginIP", "OriginPort", "OriginProto", "OriginTcpRtt",
		"OriginTlsMode", "OriginTlsProtocol", "OriginTlsStatus",
		"ProxyProtocol", "Status", "Timestamp" };
	struct app a = make_app("a");
	struct event e = { .app = &a, .client = sockets_addr("192.0.2.7:1") };
	json_t *o = parse(&e);
	const char *key;
	json_t *value;
	size_t n = 0;

	(void)state;
	json_object_foreach(o, key, value)
	{
		assert_true(n < sizeof names / sizeof names[0]);
		assert_string_equal(key, names[n++]);
	}
	assert_int_equal(n, sizeof names / sizeof names[0]);
	json_decref(o);
}

/* What the end of a session is that never reached an origin. */
static void
test_kind_of_status(void **state)
{
	static const enum status resolve[] = { STATUS_RESOLVE_FAILED,
		STATUS_RESOLVE_EMPTY, STATUS_ORIGIN_BLOCKED,
		STATUS_RESOLVE_TIMEDOUT };
	size_t found = 0;

	(void)state;
	for (size_t i = 0; i < sizeof resolve / sizeof *resolve; i++)
		assert_int_equal(
		    event_kind_of(resolve[i]), EVENT_RESOLVE_ORIGIN);
	for (int s = 0; s < 600; s++) {
		enum event_kind kind = event_kind_of((enum status)s);

		found += kind == EVENT_RESOLVE_ORIGIN;
		assert_true(
		    kind == EVENT_RESOLVE_ORIGIN || kind == EVENT_ORIGIN_ERROR);
	}
	assert_int_equal(found, sizeof resolve / sizeof *resolve);
}

static void
test_words(void **state)
{
	static const struct {
		enum event_kind kind;
		bool matched;
		size_t denies;
		enum app_header header;
		enum status status;
		const char *event, *firewall, *proxy;
	} rows[] = {
		{ EVENT_CONNECT, false, 0, APP_HEADER_OFF, STATUS_OPEN,
		    "connect", "UNKNOWN", "off" },
		{ EVENT_DISCONNECT, false, 2, APP_HEADER_V1, STATUS_CLOSED,
		    "disconnect", "UNKNOWN", "v1" },
		{ EVENT_CLIENT_FILTERED, true, 1, APP_HEADER_V2,
		    STATUS_FIREWALL, "clientFiltered", "BLOCK_IP", "v2" },
		{ EVENT_CLIENT_FILTERED, false, 1, APP_HEADER_V2,
		    STATUS_UNAVAILABLE, "clientFiltered", "UNKNOWN", "v2" },
		{ EVENT_RESOLVE_ORIGIN, true, 1, APP_HEADER_V2_FIRST,
		    STATUS_RESOLVE_FAILED, "resolveOrigin", "WHITELIST_IP",
		    "v2-first" },
		{ EVENT_ORIGIN_ERROR, false, 0, APP_HEADER_SIMPLE,
		    STATUS_CONNECT_REFUSED, "originError", "UNKNOWN",
		    "simple" },
		{ EVENT_TLS_ERROR, false, 0, APP_HEADER_OFF,
		    STATUS_CONNECT_FAILED, "tlsError", "UNKNOWN", "off" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct app a = make_app("udp app");
		struct event e = { .kind = rows[i].kind,
			.app = &a,
			.client = sockets_addr("[2001:db8::1]:9"),
			.status = rows[i].status,
			.firewall_matched = rows[i].matched };
		json_t *o;

		a.proto = SOCK_UDP;
		a.denies = rows[i].denies;
		a.header = rows[i].header;
		o = parse(&e);
		assert_text(o, "Event", rows[i].event);
		assert_string_equal(
		    event_kind_str(rows[i].kind), rows[i].event);
		assert_text(o, "ClientMatchedIpFirewall", rows[i].firewall);
		assert_text(o, "ProxyProtocol", rows[i].proxy);
		assert_text(o, "ClientProto", "udp");
		assert_text(o, "ClientIP", "2001:db8::1");
		/* no origin was chosen, and nothing was connected */
		assert_text(o, "OriginIP", "");
		assert_int_equal(
		    json_integer_value(json_object_get(o, "OriginPort")), 0);
		assert_true(
		    json_is_null(json_object_get(o, "ConnectTimestamp")));
		assert_true(
		    json_is_null(json_object_get(o, "DisconnectTimestamp")));
		assert_int_equal(json_is_true(json_object_get(o, "IpFirewall")),
		    rows[i].denies > 0);
		assert_int_equal(
		    json_integer_value(json_object_get(o, "Status")),
		    rows[i].status);
		json_decref(o);
	}
}

/* Names are operator's input; whatever they are, the line stays JSON. */
static void
test_escapes(void **state)
{
	static const char *const names[] = { "a\"b", "a\\b", "\\\"",
		"</script>", "M\xc3\xbcnchen", "\xf0\x9f\x90\xa7 \xe2\x82\xac",
		"a/b", "\n\t\x01\x1f" };
	char every[32];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct app a = make_app(names[i]);
		struct event e = { .app = &a,
			.client = sockets_addr("192.0.2.7:1") };
		json_t *o = parse(&e);

		assert_text(o, "Application", names[i]);
		json_decref(o);
	}
	for (int c = 1; c < 0x80; c++) {
		struct app a;
		struct event e = { .app = &a,
			.client = sockets_addr("192.0.2.7:1") };
		json_t *o;

		snprintf(every, sizeof every, "x%cy", c);
		a = make_app(every);
		o = parse(&e);
		assert_text(o, "Application", every);
		json_decref(o);
	}
}

/* The longest of everything still fits. */
static void
test_longest(void **state)
{
	static const char *const fills[] = { "\"", "\x01", "\xf4\x8f\xbf\xbf",
		"\xc3\xbc" };

	(void)state;
	for (size_t i = 0; i < sizeof fills / sizeof fills[0]; i++) {
		struct app a = make_app("");
		struct event e = { .kind = EVENT_CLIENT_FILTERED,
			.app = &a,
			.firewall_matched = true,
			.client_bytes = INT64_MAX,
			.origin_bytes = INT64_MAX,
			.client_rtt_ns = INT64_MAX,
			.origin_rtt_ns = INT64_MAX,
			.connect_us = 253402300799999999,
			.disconnect_us = 253402300799999999,
			.status = STATUS_FIREWALL };
		size_t fill = strlen(fills[i]);
		json_t *o;

		for (size_t n = 0; n + fill < sizeof a.name; n += fill)
			memcpy(a.name + n, fills[i], fill);
		e.client =
		    sockets_addr("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]"
				 ":65535");
		e.origin = e.client;
		a.proto = SOCK_UDP;
		a.header = APP_HEADER_V2_FIRST;
		o = parse(&e);
		/* cut, perhaps, but never inside a character */
		assert_int_equal(
		    strncmp(a.name,
			json_string_value(json_object_get(o, "Application")),
			24),
		    0);
		json_decref(o);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disconnect),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_kind_of_status),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
