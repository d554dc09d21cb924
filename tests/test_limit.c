/* net/limit.h: rate, burst, prefixes, and what a flood cannot do. */
#include "net/limit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000000ull
#define START (5000 * SECOND)

static const struct limit_config usual = { .entries = 1024,
	.rate_per_s = 10,
	.burst = 5,
	.prefix4 = 32,
	.prefix6 = 56 };

static struct limit *
limit(const struct limit_config *config)
{
	struct limit *l = limit_new(config);

	assert_non_null(l);
	return l;
}

static struct addr
addr(const char *text)
{
	struct addr a;
	const char *why;

	assert_int_equal(addr_parse(&a, text, 1, &why), 0);
	return a;
}

static struct addr
numbered(uint32_t n)
{
	struct addr a = { .in = { .sin_family = AF_INET } };

	a.in.sin_addr.s_addr = htonl(n);
	return a;
}

static unsigned int
take_many(struct limit *l, const struct addr *a, uint64_t now, unsigned int n)
{
	unsigned int taken = 0;

	while (n-- > 0)
		taken += limit_take(l, a, now);
	return taken;
}

static const struct {
	double rate, burst;
	unsigned int at_once; /* whole tokens of a full bucket */
	unsigned int in_10_s; /* a try each 100 us, the first at 0 */
} rates[] = {
	{ 10, 5, 5, 104 },
	{ 1, 1, 1, 10 },
	{ 0.1, 3, 3, 3 },
	{ 3, 2, 2, 31 },
	{ 7, 1.5, 1, 71 },
	{ 1000, 100, 100, 10099 },
	{ 5000, 1, 1, 50000 },
};

static void
rate_and_burst_are_exact(void **state)
{
	struct addr a = addr("192.0.2.1");

	(void)state;
	for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
		struct limit_config c = usual;
		struct limit *l;
		unsigned int taken = 0;

		c.rate_per_s = rates[i].rate;
		c.burst = rates[i].burst;
		l = limit(&c);
		assert_int_equal(
		    take_many(l, &a, START, 1000), rates[i].at_once);
		limit_free(l);
		l = limit(&c);
		taken = take_many(l, &a, START, 1000);
		for (uint64_t t = 1; t < 100000; t++)
			taken += limit_take(l, &a, START + t * 100000);
		assert_int_equal(taken, rates[i].in_10_s);
		limit_free(l);
	}
}

static void
a_token_comes_back_on_time(void **state)
{
	struct limit *l = limit(&usual);
	struct addr a = addr("192.0.2.1");

	(void)state;
	assert_int_equal(take_many(l, &a, START, 99), 5);
	assert_false(limit_take(l, &a, START + SECOND / 10 - 1));
	assert_true(limit_take(l, &a, START + SECOND / 10));
	assert_false(limit_take(l, &a, START + SECOND / 10));
	/* A refusal costs nothing: two intervals later there are two. */
	assert_int_equal(take_many(l, &a, START + 3 * SECOND / 10, 99), 2);
	/* And never more than the burst, however long the rest was. */
	assert_int_equal(take_many(l, &a, START + 999 * SECOND, 99), 5);
	limit_free(l);
}

static void
a_clock_that_stands_or_backs_up_is_safe(void **state)
{
	struct limit *l = limit(&usual);
	struct addr a = addr("192.0.2.1");

	(void)state;
	assert_int_equal(take_many(l, &a, 0, 99), 5);
	assert_int_equal(take_many(l, &a, SECOND, 99), 5);
	assert_int_equal(take_many(l, &a, 0, 99), 0);
	assert_int_equal(take_many(l, &a, UINT64_MAX / 4, 99), 5);
	limit_free(l);
}

static const struct {
	const char *one, *other;
	bool shared;
} pairs[] = {
	{ "192.0.2.1:1", "192.0.2.1:2", true },
	{ "192.0.2.1", "::ffff:192.0.2.1", true },
	{ "192.0.2.1", "192.0.2.2", false },
	{ "192.0.2.1", "::192.0.2.1", false },
	{ "2001:db8:0:1::1", "2001:db8:0:1::2", true },
	{ "2001:db8:0:100::1", "2001:db8:0:1ff:ffff::", true },
	{ "2001:db8:0:100::1", "2001:db8:0:200::1", false },
};

static void
prefixes_share_a_bucket(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		struct limit *l = limit(&usual);
		struct addr a = addr(pairs[i].one), b = addr(pairs[i].other);

		assert_int_equal(take_many(l, &a, START, 99), 5);
		assert_int_equal(
		    take_many(l, &b, START, 99), pairs[i].shared ? 0 : 5);
		limit_free(l);
	}
}

static void
wide_prefixes(void **state)
{
	const struct limit_config wide = { .entries = 8,
		.rate_per_s = 1,
		.burst = 2,
		.prefix4 = 24,
		.prefix6 = 32 };
	struct limit *l = limit(&wide);
	struct addr a = addr("192.0.2.1"), b = addr("192.0.2.254"),
		    c = addr("192.0.3.1");

	(void)state;
	assert_true(limit_take(l, &a, START));
	assert_true(limit_take(l, &b, START));
	assert_false(limit_take(l, &a, START));
	assert_true(limit_take(l, &c, START));
	limit_free(l);
}

/* A million prefixes in a table of 1024: no byte more, and no second chance. */
static void
a_flood_costs_nothing_and_frees_nobody(void **state)
{
	struct limit *l = limit(&usual);
	struct addr greedy = addr("203.0.113.7");
	unsigned int taken = take_many(l, &greedy, START, 1000);
	struct mallinfo2 before = mallinfo2(), after;
	uint64_t now = START;

	(void)state;
	assert_int_equal(taken, 5);
	for (uint32_t n = 0; n < 1000000; n++) {
		struct addr a = numbered(0x0a000000 + n);

		now = START + n * 1000ull; /* a million a second */
		assert_true(limit_take(l, &a, now));
		if (n % 10 == 0)
			taken += limit_take(l, &greedy, now);
	}
	after = mallinfo2();
	assert_int_equal(after.uordblks, before.uordblks);
	assert_int_equal(after.hblkhd, before.hblkhd);
	/* 5 of the burst and 10 in the second that passed. */
	assert_in_range(taken, 14, 15);
	limit_free(l);
}

/*
 * As limit.h says: in a set of eight debtors a ninth pushes out the one that
 * owes least. One set makes it visible.
 */
static void
the_smallest_debt_gives_way(void **state)
{
	struct limit_config one_set = usual;
	struct addr least = numbered(1), ninth = numbered(9), b;
	struct limit *l;

	(void)state;
	one_set.entries = 8;
	one_set.burst = 10;
	l = limit(&one_set);
	assert_int_equal(take_many(l, &least, START, 9), 9);
	for (uint32_t n = 2; n < 9; n++) {
		b = numbered(n);
		assert_int_equal(take_many(l, &b, START, 10), 10);
	}
	assert_true(limit_take(l, &ninth, START));
	assert_int_equal(take_many(l, &least, START, 99), 10);
	for (uint32_t n = 2; n < 9; n++) {
		b = numbered(n);
		assert_false(limit_take(l, &b, START));
	}
	limit_free(l);
}

static void
nonsense_is_refused(void **state)
{
	struct limit_config c[11];

	(void)state;
	for (size_t i = 0; i < 11; i++)
		c[i] = usual;
	c[0].entries = 0;
	c[1].entries = UINT32_MAX;
	c[2].rate_per_s = 0;
	c[3].rate_per_s = -1;
	c[4].rate_per_s = NAN;
	c[5].burst = 0.5;
	c[6].burst = NAN;
	c[7].prefix4 = 0;
	c[8].prefix4 = 33;
	c[9].prefix6 = 0;
	c[10].prefix6 = 129;
	for (size_t i = 0; i < 11; i++) {
		errno = 0;
		assert_null(limit_new(&c[i]));
		assert_int_equal(errno, EINVAL);
	}
	limit_free(NULL);
}

/* Extremes neither overflow nor divide by zero. */
static void
extremes_hold(void **state)
{
	struct limit_config c = usual;
	struct addr a = addr("192.0.2.1");
	struct limit *l;

	(void)state;
	c.entries = 1;
	c.rate_per_s = 1e-300;
	c.burst = 1e300;
	l = limit(&c);
	assert_true(limit_take(l, &a, UINT64_MAX / 8));
	limit_free(l);
	c.rate_per_s = INFINITY;
	c.burst = 1;
	l = limit(&c);
	assert_int_equal(take_many(l, &a, START, 1000), 1000);
	limit_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rate_and_burst_are_exact),
		cmocka_unit_test(a_token_comes_back_on_time),
		cmocka_unit_test(a_clock_that_stands_or_backs_up_is_safe),
		cmocka_unit_test(prefixes_share_a_bucket),
		cmocka_unit_test(wide_prefixes),
		cmocka_unit_test(a_flood_costs_nothing_and_frees_nobody),
		cmocka_unit_test(the_smallest_debt_gives_way),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(extremes_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
