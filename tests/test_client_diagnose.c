/* Why there is no time: every diagnosis, and the words that carry it. */
#include "roughtime/client/diagnose.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "roughtime/client/show.h"
#include "tests/support.h"

static bool seen_diagnosis[DIAGNOSES];

#define UDP .proto = SOCK_UDP, .format = "google"
#define TCP .proto = SOCK_TCP, .format = "draft-14"

static const struct {
	struct attempt_seen seen[3];
	size_t n;
	enum diagnosis want;
	const char *words[3];
} cases[] = {
	{ { { 0 } }, 0, DIAGNOSIS_NONE, { "nothing was asked" } },
	{ { { UDP, .failed = 2, .error = ENETUNREACH },
	      { TCP, .failed = 1, .error = ENETUNREACH } },
	    2, DIAGNOSIS_UNREACHABLE,
	    { "Network is unreachable", "no way to that address" } },
	{ { { UDP, .sent = 2, .refused = 2 }, { TCP, .refused = 2 } }, 2,
	    DIAGNOSIS_REFUSED,
	    { "UDP: refused", "TCP: connection refused", "not running" } },
	{ { { TCP, .refused = 2 } }, 1, DIAGNOSIS_REFUSED,
	    { "connection refused" } },
	{ { { UDP, .sent = 4 }, { TCP, .refused = 2 } }, 2, DIAGNOSIS_SILENT,
	    { "4 requests without a valid reply, offering google",
		"TCP: connection refused", "firewall" } },
	/* one refusal among many sent: a server that was just starting */
	{ { { UDP, .sent = 6, .refused = 1 } }, 1, DIAGNOSIS_SILENT,
	    { "6 requests", "Only one version was asked for" } },
	{ { { UDP, .sent = 4, .srv = true }, { TCP } }, 2, DIAGNOSIS_SILENT,
	    { "not established", "check the key too" } },
	{ { { UDP, .sent = 1, .refused = 1 }, { TCP, .sent = 2, .closed = 2 } },
	    2, DIAGNOSIS_CLOSED, { "closed the connection" } },
	{ { { TCP, .sent = 1, .invalid = 1, .fault = VERIFY_FRAME } }, 1,
	    DIAGNOSIS_NOT_ROUGHTIME,
	    { "(frame; asked for draft-14 over TCP" } },
	{ { { UDP, .sent = 3, .stale = 2 } }, 1, DIAGNOSIS_STALE,
	    { "2 replies belonged to other requests" } },
	{ { { UDP, .sent = 3 },
	      { UDP, .sent = 1, .invalid = 1, .fault = VERIFY_MALFORMED },
	      { UDP, .sent = 1, .invalid = 1,
		  .fault = VERIFY_CERT_SIGNATURE } },
	    3, DIAGNOSIS_WRONG_KEY,
	    { "not signed by this public key", "Check the public key" } },
	{ { { UDP, .sent = 1, .invalid = 1, .fault = VERIFY_CERT_SIGNATURE,
	      .capital_t = true } },
	    1, DIAGNOSIS_WRONG_KEY, { "--compat rfc10049-capital-t" } },
	{ { { UDP, .sent = 1, .invalid = 2, .fault = VERIFY_SIGNATURE } }, 1,
	    DIAGNOSIS_SIGNATURE, { "not signed by the delegated key" } },
	{ { { UDP, .sent = 1, .invalid = 2,
	      .fault = VERIFY_VERSION_NOT_OFFERED } },
	    1, DIAGNOSIS_VERSION, { "did not offer" } },
	{ { { UDP, .sent = 1, .invalid = 2, .fault = VERIFY_WINDOW } }, 1,
	    DIAGNOSIS_INVALID, { "window of the delegation" } },
};

static void
diagnoses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[DIAGNOSE_LEN];
		enum diagnosis d = diagnose(text, cases[i].seen, cases[i].n);

		if (d != cases[i].want)
			fail_msg("case %zu: %s, not %s:\n%s", i,
			    diagnosis_str(d), diagnosis_str(cases[i].want),
			    text);
		for (size_t w = 0; w < 3 && cases[i].words[w] != NULL; w++) {
			if (strstr(text, cases[i].words[w]) == NULL)
				fail_msg("case %zu: \"%s\" is not in:\n%s", i,
				    cases[i].words[w], text);
		}
		assert_int_equal(text[strlen(text) - 1], '\n');
		seen_diagnosis[d] = true;
	}
}

/* Whatever the attempts have seen, the text fits and ends. */
static void
many_formats_fit(void **state)
{
	static struct attempt_seen seen[256];
	char text[DIAGNOSE_LEN], names[256][16];

	(void)state;
	for (size_t i = 0; i < 256; i++) {
		snprintf(names[i], sizeof names[i], "format %zu", i);
		seen[i] =
		    (struct attempt_seen){ .format = names[i], .sent = 1 };
	}
	assert_int_equal(diagnose(text, seen, 256), DIAGNOSIS_SILENT);
	assert_true(strlen(text) < DIAGNOSE_LEN);
	assert_non_null(strstr(text, "format 9;"));
}

static void
exit_statuses(void **state)
{
	(void)state;
	assert_false(diagnosis_is_invalid(DIAGNOSIS_NONE));
	assert_false(diagnosis_is_invalid(DIAGNOSIS_REFUSED));
	assert_false(diagnosis_is_invalid(DIAGNOSIS_SILENT));
	assert_false(diagnosis_is_invalid(DIAGNOSIS_UNREACHABLE));
	assert_false(diagnosis_is_invalid(DIAGNOSIS_CLOSED));
	assert_true(diagnosis_is_invalid(DIAGNOSIS_NOT_ROUGHTIME));
	assert_true(diagnosis_is_invalid(DIAGNOSIS_WRONG_KEY));
	assert_true(diagnosis_is_invalid(DIAGNOSIS_SIGNATURE));
	assert_true(diagnosis_is_invalid(DIAGNOSIS_VERSION));
}

static const char *
word(int i)
{
	return diagnosis_str((enum diagnosis)i);
}

static void
all_diagnoses_reached(void **state)
{
	(void)state;
	support_all_seen(seen_diagnosis, DIAGNOSES, word);
}

static void
times_and_spans(void **state)
{
	char b[SHOW_LEN];

	(void)state;
	assert_string_equal(show_time(b, 0), "1970-01-01T00:00:00.000000Z");
	assert_string_equal(
	    show_time(b, 1790000000123456), "2026-09-21T14:13:20.123456Z");
	assert_string_equal(show_time(b, UINT64_MAX), "for ever");
	assert_string_equal(show_time(b, UINT64_MAX - 1), "@18446744073709");
	assert_string_equal(show_span(b, 0), "0 ns");
	assert_string_equal(show_span(b, 412), "412 us");
	assert_string_equal(show_span(b, 3000000), "3 s");
	assert_string_equal(show_span(b, 86400000000), "1d 0h");
	assert_true(show_span(b, UINT64_MAX)[0] != '\0');
	assert_string_equal(show_ns(b, 1500), "1.5 us");
	assert_string_equal(show_ns(b, 999), "999 ns");
}

static void
clean_text(void **state)
{
	char b[SHOW_LEN], longer[2 * SHOW_LEN];

	(void)state;
	assert_string_equal(show_clean(b, "a\033[0m\n"), "a?[0m?");
	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	assert_int_equal(strlen(show_clean(b, longer)), SHOW_LEN - 1);
	/* a two-byte character that would be cut in half */
	memcpy(longer + SHOW_LEN - 2, "\303\251", 2);
	assert_int_equal(strlen(show_clean(b, longer)), SHOW_LEN - 2);
}

/* server - local, at the middle of the round trip; nothing overflows */
static void
offsets(void **state)
{
	struct attempt_answer a = { .received_us = 1000000000,
		.round_trip_ns = 2000000,
		.result = { .midpoint_us = 1000000000 + 5000000,
		    .radius_us = 3000000 } };
	struct offset o = show_offset(&a);

	(void)state;
	assert_true(o.us == 5000000 + 1000);
	assert_true(o.uncertainty_us == 3000000 + 1000);
	assert_int_equal(o.verdict, LOCAL_BEHIND);
	a.result.midpoint_us = 1000000000 - 5000000;
	o = show_offset(&a);
	assert_int_equal(o.verdict, LOCAL_AHEAD);
	assert_true(o.us == -5000000 + 1000);
	a.result.midpoint_us = 1000000000 + 2000000;
	assert_int_equal(show_offset(&a).verdict, LOCAL_AGREES);
	/* 4294967295 s: an unsynchronised server, not agreement */
	a.result.radius_us = UINT32_MAX * 1000000ull;
	assert_int_equal(show_offset(&a).verdict, LOCAL_UNKNOWN);
	a.result.midpoint_us = UINT64_MAX;
	a.result.radius_us = UINT64_MAX;
	a.round_trip_ns = UINT64_MAX;
	o = show_offset(&a);
	assert_true(o.us == INT64_MAX && o.uncertainty_us == UINT64_MAX);
	assert_true(show_difference(0, UINT64_MAX) == -INT64_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(diagnoses),
		cmocka_unit_test(many_formats_fit),
		cmocka_unit_test(exit_statuses),
		cmocka_unit_test(all_diagnoses_reached),
		cmocka_unit_test(times_and_spans),
		cmocka_unit_test(clean_text),
		cmocka_unit_test(offsets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
