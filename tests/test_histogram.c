/* Values in buckets of a logarithmic scale. */
#include "base/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

static void
quantiles_of_known_values(void **state)
{
	struct histogram h = { 0 };

	(void)state;
	assert_int_equal(histogram_quantile(&h, 0.5), 0);
	for (uint64_t i = 1; i <= 1000; i++)
		histogram_add(&h, i * 1000);
	assert_int_equal(h.count, 1000);
	assert_int_equal(h.max, 1000000);
	/* each bucket is at most 1/64 wide, and tells its upper end */
	assert_in_range(histogram_quantile(&h, 0.5), 500000, 508000);
	assert_in_range(histogram_quantile(&h, 0.99), 990000, 1000000);
	assert_in_range(histogram_quantile(&h, 0.001), 1000, 1016);
	assert_int_equal(histogram_quantile(&h, 1), 1000000);
}

static void
every_value_has_a_bucket(void **state)
{
	(void)state;
	for (unsigned int bit = 0; bit < 64; bit++) {
		for (uint64_t delta = 0; delta < 3; delta++) {
			uint64_t v = (1ull << bit) - 1 + delta;
			struct histogram h = { 0 };

			histogram_add(&h, v);
			histogram_add(&h, UINT64_MAX);
			/* not under the value; at most 1/64 above it */
			if (v >= (1ull << 40) - 1)
				continue; /* all in the last bucket */
			assert_true(histogram_quantile(&h, 0.5) >= v);
			assert_true(histogram_quantile(&h, 0.5) <= v + v / 64);
			assert_true(histogram_quantile(&h, 1) == UINT64_MAX);
		}
	}
}

/* A coarse scale: no value is told as less, nor as more than a step above. */
static void
a_scale_of_any_size(void **state)
{
	static const struct histogram_scale scale = { 3, 8 * 40 };
	uint64_t buckets[8 * 40];

	(void)state;
	for (unsigned int bit = 0; bit < 42; bit++) {
		for (uint64_t delta = 0; delta < 5; delta++) {
			uint64_t v = ((uint64_t)1 << bit) - 1 + delta, told;
			size_t at = histogram_bucket(&scale, v);

			assert_true(at < scale.buckets);
			for (size_t i = 0; i < scale.buckets; i++)
				buckets[i] = i == at;
			told = histogram_scale_quantile(
			    &scale, buckets, UINT64_MAX, 0.5);
			assert_true(told >= v && told <= v + v / 8);
			/* the largest that was seen is exact */
			assert_true(histogram_scale_quantile(
					&scale, buckets, v, 1) == v);
		}
	}
	assert_int_equal(
	    histogram_bucket(&scale, UINT64_MAX), scale.buckets - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantiles_of_known_values),
		cmocka_unit_test(every_value_has_a_bucket),
		cmocka_unit_test(a_scale_of_any_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
