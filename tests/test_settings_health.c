/* Health checks of l4proxyd.yaml: bytes as text, and what goes together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/notation.h"
#include "proxy/settings.h"
#include "tests/proxy_yaml.h"

#define BYTES_MAX 6

static void
bytes_are_read(void **state)
{
	static const struct {
		const char *text;
		const char *bytes;
		uint16_t len;
	} rows[] = {
		{ "", "", 0 }, { "ping", "ping", 4 },
		{ "\\x00\\xfF\\x0a", "\0\xff\n", 3 },
		{ "\\n\\r\\t\\\\", "\n\r\t\\", 4 },
		{ "\\x41BCDE\\x46", "ABCDEF", 6 },
		{ "a\nb", "a\nb", 3 }, /* as YAML's double quotes give it */
	};
	uint8_t out[BYTES_MAX];
	char why[NOTATION_WHY_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint16_t len = 99;

		assert_int_equal(
		    notation_bytes(out, sizeof out, &len, rows[i].text, why),
		    0);
		assert_int_equal(len, rows[i].len);
		assert_memory_equal(out, rows[i].bytes, len);
	}
}

static void
bad_bytes_are_told(void **state)
{
	static const char *const texts[] = { "\\", "a\\", "\\x", "\\x1",
		"\\x1g", "\\xg1", "\\0", "\\q", "\\x\\x", "\xc3\xbf" };
	uint8_t out[BYTES_MAX];
	char why[NOTATION_WHY_LEN];
	uint16_t len;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		if (notation_bytes(out, sizeof out, &len, texts[i], why) == 0)
			fail_msg("%s is taken", texts[i]);
		assert_string_equal(why,
		    "expected ASCII text with \\n, \\r, \\t, \\\\ and \\xHH, "
		    "in single quotes");
	}
	assert_int_equal(
	    notation_bytes(out, sizeof out, &len, "1234567", why), -1);
	assert_string_equal(why, "expected at most 6 bytes");
}

static void
a_check_is_read(void **state)
{
	const struct app_check *c;
	struct proxy_settings s;

	(void)state;
	good(&s, TCP(SSH_TO));
	assert_int_equal(s.app[0].check.kind, APP_CHECK_OFF);
	assert_int_equal(s.app[0].check.interval_ms, 0);
	proxy_settings_free(&s);
	good(&s, TCP(SSH_TO ", health: {type: tcp}"));
	c = &s.app[0].check;
	assert_int_equal(c->kind, APP_CHECK_TCP);
	assert_int_equal(c->interval_ms, 5000);
	assert_int_equal(c->timeout_ms, 2000);
	assert_int_equal(c->rise, 2);
	assert_int_equal(c->fall, 3);
	assert_int_equal(c->port + c->send_len + c->expect_len, 0);
	proxy_settings_free(&s);
	good(&s,
	    UDP(DNS_TO
		", origins_down: refuse, health: {type: udp-expect, "
		"interval_s: 1m, timeout_s: 10, rise: 1, fall: 1, port: 54, "
		"send: '\\x12\\x34', expect: ''}"));
	c = &s.app[0].check;
	assert_int_equal(c->kind, APP_CHECK_UDP_EXPECT);
	assert_int_equal(c->interval_ms, 60000);
	assert_int_equal(c->timeout_ms, 10000);
	assert_int_equal(c->rise + c->fall, 2);
	assert_int_equal(c->port, 54);
	assert_int_equal(c->send_len, 2);
	assert_memory_equal(c->send, "\x12\x34", 2);
	assert_int_equal(c->expect_len, 0);
	proxy_settings_free(&s);
	/* a short interval shortens the default */
	good(&s, TCP(SSH_TO ", health: {type: tcp, interval_s: 1}"));
	assert_int_equal(s.app[0].check.timeout_ms, 1000);
	proxy_settings_free(&s);
	/* YAML's own escapes give the same */
	good(&s,
	    TCP(SSH_TO ", health: {type: tcp-expect, "
		       "send: \"PING\\r\\n\", expect: +PONG}"));
	c = &s.app[0].check;
	assert_int_equal(c->kind, APP_CHECK_TCP_EXPECT);
	assert_int_equal(c->send_len, 6);
	assert_memory_equal(c->send, "PING\r\n", 6);
	assert_int_equal(c->expect_len, 5);
	proxy_settings_free(&s);
}

#define HEALTH(rest) TCP(SSH_TO ", health: {" rest "}")
#define LONG_64 \
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LONG_513 \
	LONG_64 LONG_64 LONG_64 LONG_64 LONG_64 LONG_64 LONG_64 LONG_64 "x"

static const struct bad_yaml bad[] = {
	{ HEALTH("interval_s: 5"),
	    { "f:2:104: applications[0].health.type: required, but "
	      "missing" } },
	{ HEALTH("type: http"),
	    { "f:2:111: applications[0].health.type: expected tcp, "
	      "tcp-expect or udp-expect, got \"http\"" } },
	{ HEALTH("type: tcp, timeout_s: 6"),
	    { "f:2:127: applications[0].health.timeout_s: expected "
	      "at most interval_s, which is 5 s" } },
	{ HEALTH("type: tcp, interval_s: 0, timeout_s: 0"),
	    { "f:2:128: applications[0].health.interval_s: expected "
	      "a duration from 1 to 86400 s, such as 90s, 5m, 24h or "
	      "30d (a bare number is in s), got \"0\"",
		"f:2:142: applications[0].health.timeout_s: expected a "
		"duration from 1 to 3600 s, such as 90s, 5m, 24h or "
		"30d (a bare number is in s), got \"0\"" } },
	{ HEALTH("type: tcp, rise: 0, fall: 1001, port: 0"),
	    { "f:2:122: applications[0].health.rise: expected an "
	      "integer from 1 to 1000, got \"0\"",
		"f:2:131: applications[0].health.fall: expected an "
		"integer from 1 to 1000, got \"1001\"",
		"f:2:143: applications[0].health.port: expected an "
		"integer from 1 to 65535, got \"0\"" } },
	{ HEALTH("type: tcp, send: a, expect: b"),
	    { "f:2:122: applications[0].health.send: is for "
	      "tcp-expect and udp-expect, but type is tcp",
		"f:2:133: applications[0].health.expect: is for "
		"tcp-expect and udp-expect, but type is tcp" } },
	{ HEALTH("type: tcp-expect"),
	    { "f:2:104: applications[0].health.expect: expected at "
	      "least a byte of the answer; type tcp asks for none" } },
	{ HEALTH("type: tcp-expect, send: a, expect: ''"),
	    { "f:2:140: applications[0].health.expect: expected at "
	      "least a byte of the answer; type tcp asks for none" } },
	{ HEALTH("type: udp-expect, expect: a"),
	    { "f:2:104: applications[0].health.send: required for "
	      "udp-expect, but missing: expected such as 'ping\\n', "
	      "or '' for an empty datagram" } },
	{ HEALTH("type: udp-expect, send: 'a\\z'"),
	    { "f:2:129: applications[0].health.send: expected ASCII "
	      "text with \\n, \\r, \\t, \\\\ and \\xHH, in single "
	      "quotes" } },
	{ HEALTH("type: tcp-expect, expect: \"\\xff\""),
	    { "f:2:131: applications[0].health.expect: expected "
	      "ASCII text with \\n, \\r, \\t, \\\\ and \\xHH, in "
	      "single quotes" } },
	{ HEALTH("type: udp-expect, send: " LONG_513),
	    { "f:2:129: applications[0].health.send: expected at "
	      "most 512 bytes" } },
	{ HEALTH("type: tcp, intervals: 5"),
	    { "f:2:116: applications[0].health.intervals: unknown "
	      "key; did you mean \"interval_s\"?" } },
	{ TCP(SSH_TO ", health: tcp"),
	    { "f:2:104: applications[0].health: expected a mapping, "
	      "got \"tcp\"" } },
	{ TCP(SSH_TO ", origins_down: refuse"),
	    { "f:2:110: applications[0].origins_down: refuse needs "
	      "health: nothing else takes origins down" } },
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
		cmocka_unit_test(bytes_are_read),
		cmocka_unit_test(bad_bytes_are_told),
		cmocka_unit_test(a_check_is_read),
		cmocka_unit_test(faults_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
