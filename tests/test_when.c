/* base/when.h: moments and spans as people write them. */
#include "base/when.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOW 1795000000u
#define UNTOUCHED 42u

static void
moments(void **state)
{
	static const struct {
		const char *text;
		uint64_t unix_s;
	} good[] = {
		{ "now", NOW },
		{ "0", 0 },
		{ "1795399200", 1795399200 },
		{ "253402300799", WHEN_LATEST_S },
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2026-11-23T02:00:00Z", 1795399200 },
		{ "2024-02-29T23:59:59Z", 1709251199 },
		{ "9999-12-31T23:59:59Z", WHEN_LATEST_S },
	};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		uint64_t got = UNTOUCHED;

		if (!when_parse(good[i].text, NOW, &got) ||
		    got != good[i].unix_s)
			fail_msg("%s gives %llu", good[i].text,
			    (unsigned long long)got);
	}
}

static void
no_moments(void **state)
{
	static const char *const bad[] = {
		"",
		"-1",
		" 1",
		"1 ",
		"+1",
		"Now",
		"253402300800", /* year 10000 */
		"18446744073709551616",
		"2026-11-23",
		"2026-11-23T02:00:00",
		"2026-11-23T02:00:00z",
		"2026-11-23 02:00:00Z",
		"2026-11-23T02:00:00+00:00",
		"2026-11-23T02:00:00.5Z",
		"2026-11-23T02:00:0 Z",
		"2026-1--23T02:00:00Z",
		"2026-02-29T00:00:00Z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-01-00T00:00:00Z",
		"2026-01-01T24:00:00Z",
		"2026-01-01T00:60:00Z",
		"2016-12-31T23:59:60Z", /* leap seconds have no Unix number */
		"1969-12-31T23:59:59Z",
		"2026-11-23T02:00:00ZZ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		uint64_t got = 0;

		if (when_parse(bad[i], NOW, &got))
			fail_msg(
			    "%s gives %llu", bad[i], (unsigned long long)got);
	}
}

static void
durations(void **state)
{
	static const struct {
		const char *text;
		int64_t bare_ms, ms; /* ms -1: refused */
	} table[] = {
		{ "90", 1000, 90000 },
		{ "90", 1, 90 },
		{ "0", 1000, 0 },
		{ "500ms", 1000, 500 },
		{ "90s", 1, 90000 },
		{ "5m", 1000, 300000 },
		{ "24h", 1000, 86400000 },
		{ "30d", 1000, 2592000000 },
		{ "9223372036854775807", 1, INT64_MAX },
		{ "9223372036854775807", 1000, -1 },
		{ "9223372036854775808", 1, -1 },
		{ "9223372036854775807d", 1, -1 },
		{ "90", 0, -1 }, /* no bare numbers here */
		{ "", 1000, -1 },
		{ "-1s", 1000, -1 },
		{ "+1s", 1000, -1 },
		{ " 1s", 1000, -1 },
		{ "1 s", 1000, -1 },
		{ "1.5h", 1000, -1 },
		{ "1w", 1000, -1 },
		{ "1S", 1000, -1 },
		{ "s", 1000, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		int64_t got = -1;
		bool good =
		    when_duration(table[i].text, table[i].bare_ms, &got);

		if (good != (table[i].ms >= 0) || got != table[i].ms)
			fail_msg(
			    "%s gives %lld", table[i].text, (long long)got);
	}
	assert_int_equal(when_unit_ms("h"), 3600000);
	assert_int_equal(when_unit_ms("fortnight"), 0);
}

static void
spans(void **state)
{
	static const struct {
		uint64_t seconds;
		const char *text;
	} table[] = {
		{ 0, "0s" },
		{ 59, "59s" },
		{ 60, "1m 0s" },
		{ 301, "5m 1s" },
		{ 3600, "1h 0m" },
		{ 86399, "23h 59m" },
		{ 2588400, "29d 23h" },
		{ UINT64_MAX, "213503982334601d 7h" },
	};
	char buf[WHEN_SPAN_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		assert_string_equal(
		    when_span(buf, table[i].seconds), table[i].text);
}

static void
spans_of_milliseconds(void **state)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} table[] = {
		{ 0, "0ms" },
		{ 999, "999ms" },
		{ 1000, "1.0s" },
		{ 1999, "1.9s" },
		{ 9999, "9.9s" },
		{ 10000, "10s" },
		{ 301000, "5m 1s" },
		{ 90000000, "1d 1h" },
	};
	char buf[WHEN_SPAN_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		assert_string_equal(
		    when_span_ms(buf, table[i].ms), table[i].text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moments),
		cmocka_unit_test(no_moments),
		cmocka_unit_test(durations),
		cmocka_unit_test(spans),
		cmocka_unit_test(spans_of_milliseconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
