/* What may be asked at the control socket. */
#include "proxy/control_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support.h"

static int
parse(struct control_request *r, const char *text, char *why)
{
	struct view line = guard_copy(text, strlen(text));
	int result;

	why[0] = '\0';
	result = control_request_parse(r, line, why);
	guard_drop(line);
	return result;
}

static const struct {
	const char *line;
	struct control_request want;
} good[] = {
	{ "{\"command\":\"ping\"}", { CONTROL_PING, "", 0, -1 } },
	{ " { \"command\" : \"version\" } ", { CONTROL_VERSION, "", 0, -1 } },
	{ "{\"command\":\"applications\"}",
	    { CONTROL_APPLICATIONS, "", 0, -1 } },
	{ "{\"command\":\"origins\",\"application\":\"ssh\"}",
	    { CONTROL_ORIGINS, "ssh", 0, -1 } },
	{ "{\"limit\":5,\"command\":\"sessions\"}",
	    { CONTROL_SESSIONS, "", 5, -1 } },
	{ "{\"command\":\"counters\",\"application\":\"\\u00e9\"}",
	    { CONTROL_COUNTERS, "\xc3\xa9", 0, -1 } },
	{ "{\"command\":\"drain\",\"application\":\"a\",\"for_ms\":0}",
	    { CONTROL_DRAIN, "a", 0, 0 } },
	{ "{\"command\":\"drain\",\"application\":\"a\"}",
	    { CONTROL_DRAIN, "a", 0, -1 } },
	{ "{\"command\":\"undrain\",\"application\":\"a b\"}",
	    { CONTROL_UNDRAIN, "a b", 0, -1 } },
	{ "{\"command\":\"reload\"}", { CONTROL_RELOAD, "", 0, -1 } },
};

#define GOOD (sizeof good / sizeof *good)

static const struct {
	const char *line, *why;
} bad[] = {
	{ "", "no JSON" },
	{ "{", "no JSON" },
	{ "{\"command\":\"ping\"} x", "no JSON" },
	{ "{\"command\":\"ping\",\"command\":\"reload\"}", "no JSON" },
	{ "\xff\xfe", "no JSON" },
	{ "GET / HTTP/1.1", "no JSON" },
	{ "[]", "expected an object" },
	{ "{}", "command: it is missing" },
	{ "{\"command\":1}", "command: there is no such thing" },
	{ "{\"command\":\"stop\"}", "command: there is no stop" },
	{ "{\"command\":\"\\u001b[2J\"}", "command: there is no (not" },
	{ "{\"command\":\"\"}", "command: there is no " },
	{ "{\"command\":\"ping\",\"colour\":1}", "colour: there is no such" },
	{ "{\"command\":\"ping\",\"limit\":1}", "limit: ping does not" },
	{ "{\"command\":\"reload\",\"application\":\"a\"}",
	    "application: reload does not" },
	{ "{\"command\":\"undrain\",\"application\":\"a\",\"for_ms\":1}",
	    "for_ms: undrain does not" },
	{ "{\"command\":\"drain\"}", "application: drain needs one" },
	{ "{\"command\":\"sessions\",\"limit\":0}", "limit: expected" },
	{ "{\"command\":\"sessions\",\"limit\":-1}", "limit: expected" },
	{ "{\"command\":\"sessions\",\"limit\":1.5}", "limit: expected" },
	{ "{\"command\":\"sessions\",\"limit\":\"all\"}", "limit: expected" },
	{ "{\"command\":\"drain\",\"application\":\"a\",\"for_ms\":-1}",
	    "for_ms: expected" },
	{ "{\"command\":\"drain\",\"application\":\"a\","
	  "\"for_ms\":99999999999999}",
	    "for_ms: expected" },
	{ "{\"command\":\"drain\",\"application\":\"\"}",
	    "application: expected" },
	{ "{\"command\":\"drain\",\"application\":\"a\\u0000b\"}", "no JSON" },
	{ "{\"command\":\"drain\",\"application\":[\"a\"]}",
	    "application: expected" },
	{ "{\"command\":\"drain\",\"application\":\"0123456789abcdef"
	  "0123456789abcdef0123456789abcdef0123456789abcdef\"}",
	    "application: expected" },
};

static void
assert_same(const struct control_request *a, const struct control_request *b)
{
	assert_int_equal(a->command, b->command);
	assert_string_equal(a->application, b->application);
	assert_int_equal(a->limit, b->limit);
	assert_int_equal(a->for_ms, b->for_ms);
}

/* And what is written is read as the same. */
static void
good_requests(void **state)
{
	bool seen[CONTROL_COMMANDS] = { [CONTROL_NONE] = true };
	char why[CONTROL_WHY_LEN], text[CONTROL_TEXT_MAX];
	struct control_request r;

	(void)state;
	for (size_t i = 0; i < GOOD; i++) {
		size_t len;

		assert_int_equal(parse(&r, good[i].line, why), 0);
		assert_same(&r, &good[i].want);
		len = control_request_format(text, &r);
		assert_int_equal(text[len - 1], '\n');
		text[len - 1] = '\0';
		assert_int_equal(parse(&r, text, why), 0);
		assert_same(&r, &good[i].want);
		seen[r.command] = true;
	}
	for (int i = 0; i < CONTROL_COMMANDS; i++)
		assert_true(seen[i]);
}

static void
bad_requests(void **state)
{
	char why[CONTROL_WHY_LEN];
	struct control_request r;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(parse(&r, bad[i].line, why), -1);
		if (strncmp(why, bad[i].why, strlen(bad[i].why)) != 0)
			fail_msg("%s: %s", bad[i].line, why);
		for (const char *p = why; *p != '\0'; p++)
			assert_true((unsigned char)*p >= 0x20);
	}
}

/* A good line cut anywhere is a bad one, and nothing behind it is read. */
static void
cut_anywhere(void **state)
{
	char why[CONTROL_WHY_LEN];
	struct control_request r;

	(void)state;
	for (size_t i = 0; i < GOOD; i++) {
		size_t whole = strcspn(good[i].line, "}") + 1;

		for (size_t n = 0; n < whole; n++) {
			struct view v = guard_copy(good[i].line, n);

			assert_int_equal(control_request_parse(&r, v, why), -1);
			guard_drop(v);
		}
	}
}

static void
a_line_too_long(void **state)
{
	char text[CONTROL_LINE_MAX + 2], why[CONTROL_WHY_LEN];
	struct control_request r;

	(void)state;
	memset(text, ' ', sizeof text);
	memcpy(text, "{\"command\":\"ping\"}", 18);
	assert_int_equal(
	    control_request_parse(
		&r, (struct view){ (uint8_t *)text, CONTROL_LINE_MAX }, why),
	    0);
	assert_int_equal(
	    control_request_parse(&r,
		(struct view){ (uint8_t *)text, CONTROL_LINE_MAX + 1 }, why),
	    -1);
	assert_non_null(strstr(why, "more than"));
}

static void
a_name_that_is_no_text(void **state)
{
	const struct control_request r = { CONTROL_DRAIN, "\xff", 0, -1 };
	char text[CONTROL_TEXT_MAX];

	(void)state;
	assert_int_equal(control_request_format(text, &r), 0);
}

static void
what_changes_something(void **state)
{
	size_t n = 0;

	(void)state;
	for (int i = 0; i < CONTROL_COMMANDS; i++)
		n += control_command_changes((enum control_command)i);
	assert_int_equal(n, 3);
	assert_true(control_command_changes(CONTROL_DRAIN));
	assert_true(control_command_changes(CONTROL_UNDRAIN));
	assert_true(control_command_changes(CONTROL_RELOAD));
	assert_null(control_command_str(CONTROL_NONE));
	assert_null(control_command_str(CONTROL_COMMANDS));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_requests),
		cmocka_unit_test(bad_requests),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(a_line_too_long),
		cmocka_unit_test(a_name_that_is_no_text),
		cmocka_unit_test(what_changes_something),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
