/* The numbers of an application: names, sums over workers, durations. */
#include "proxy/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#define WORKERS 3

static void
every_number_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < TALLY_KEYS; i++) {
		const char *name = tally_key_str((enum tally_key)i);

		/* as JSON and Prometheus take it */
		assert_int_equal(
		    strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
		for (int k = 0; k < i; k++)
			assert_string_not_equal(
			    name, tally_key_str((enum tally_key)k));
	}
	assert_string_equal(tally_key_str(TALLY_KEYS), "unknown");
}

static void
sums_are_of_all_workers(void **state)
{
	struct tally_book *b = tally_book_new(WORKERS);
	struct tally_sums sums;

	(void)state;
	assert_non_null(b);
	for (size_t w = 0; w < WORKERS; w++) {
		struct tally *t = tally_book_sheet(b, w);

		for (int i = 0; i < TALLY_KEYS; i++)
			if (i != TALLY_ENDED)
				tally_add(t, (enum tally_key)i, (uint64_t)i);
		tally_end(t, STATUS_CLOSED);
		tally_end(t, STATUS_CLIENT_RESET);
		tally_connect_failed(t, STATUS_CONNECT_REFUSED);
	}
	tally_sum(&sums, b);
	for (int i = 0; i < TALLY_KEYS; i++)
		assert_int_equal(sums.count[i],
		    i == TALLY_ENDED ? 2 * WORKERS : i * WORKERS);
	for (unsigned int i = 0; i < STATUS_KINDS; i++) {
		enum status s = status_at(i);

		assert_int_equal(sums.ended_by[i],
		    s == STATUS_CLOSED || s == STATUS_CLIENT_RESET ? WORKERS
								   : 0);
		assert_int_equal(sums.connect_failed[i],
		    s == STATUS_CONNECT_REFUSED ? WORKERS : 0);
	}
	tally_book_release(b);
}

/* 1 to 1000 ms, each by another worker than the one before. */
static void
durations_have_quantiles(void **state)
{
	struct tally_book *b = tally_book_new(WORKERS);
	struct tally_sums sums;
	uint64_t median, last;

	(void)state;
	for (uint64_t ms = 1; ms <= 1000; ms++)
		tally_duration(tally_book_sheet(b, ms % WORKERS), ms * 1000);
	tally_sum(&sums, b);
	assert_int_equal(sums.durations, 1000);
	assert_int_equal(sums.duration_sum_us, 500500000);
	assert_int_equal(sums.duration_max_us, 1000000);
	median = histogram_scale_quantile(
	    &tally_scale, sums.duration, sums.duration_max_us, 0.5);
	assert_in_range(median, 500000, 500000 + 500000 / 16);
	last = histogram_scale_quantile(
	    &tally_scale, sums.duration, sums.duration_max_us, 1);
	assert_int_equal(last, 1000000);
	tally_book_release(b);
}

/* 40 days, the longest that may be set, are not in the last bucket. */
static void
the_longest_session_is_measured(void **state)
{
	const uint64_t us = 40 * 86400ull * 1000000;

	(void)state;
	assert_true(histogram_bucket(&tally_scale, us) < TALLY_BUCKETS - 1);
}

static void
a_book_lives_as_long_as_somebody_holds_it(void **state)
{
	struct tally_book *b = tally_book_new(1);
	struct tally_sums sums;

	(void)state;
	assert_ptr_equal(tally_book_hold(b), b);
	tally_add(tally_book_sheet(b, 0), TALLY_BEGUN, 7);
	tally_book_release(b);
	tally_sum(&sums, b);
	assert_int_equal(sums.count[TALLY_BEGUN], 7);
	tally_book_release(b);
	tally_book_release(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_number_has_a_name_of_its_own),
		cmocka_unit_test(sums_are_of_all_workers),
		cmocka_unit_test(durations_have_quantiles),
		cmocka_unit_test(the_longest_session_is_measured),
		cmocka_unit_test(a_book_lives_as_long_as_somebody_holds_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
