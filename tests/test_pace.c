/* proxy/pace.h: turns, portions, and a client that takes nothing of others. */
#include "proxy/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sockets.h"

#define S 1000000000ull

static struct pace *
make(uint64_t rate, uint64_t client_rate)
{
	const struct app_limits limits = { .bytes_per_s = rate,
		.bytes_per_s_per_prefix = client_rate,
		.prefix4 = 24,
		.prefix6 = 56 };
	struct pace *p;

	assert_int_equal(pace_new(&p, &limits), 0);
	return p;
}

static uint64_t
reserve(struct pace *p, const char *client, size_t bytes, uint64_t now_ns)
{
	struct addr a = sockets_addr(client);

	return pace_reserve(p, &a, bytes, now_ns);
}

static void
give_back(struct pace *p, const char *client, size_t bytes)
{
	struct addr a = sockets_addr(client);

	pace_give_back(p, &a, bytes);
}

#define ONE "203.0.113.1:1"
#define NEAR "203.0.113.9:7" /* of the same prefix */
#define OTHER "198.51.100.1:1"

/* Turns come one after the other, those unused come again, and what nobody
 * used for long is lost: of all, and of a client. */
static void
turns_go_round(void **state)
{
	static const struct {
		uint64_t rate, client_rate;
	} rows[] = { { 1000000, 0 }, { 0, 1000000 }, { 1000000, 1000000 } };

	(void)state;
	assert_null(make(0, 0));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pace *p = make(rows[i].rate, rows[i].client_rate);

		assert_int_equal(pace_portion(p), 20000);
		/* a twentieth of a second is saved up */
		assert_int_equal(reserve(p, ONE, 20000, 5 * S), 5 * S - S / 20);
		assert_int_equal(
		    reserve(p, NEAR, 20000, 5 * S), 5 * S - S * 3 / 100);
		assert_int_equal(
		    reserve(p, ONE, 20000, 5 * S), 5 * S - S / 100);
		assert_int_equal(
		    reserve(p, NEAR, 20000, 5 * S), 5 * S + S / 100);
		give_back(p, ONE, 15000);
		assert_int_equal(
		    reserve(p, ONE, 20000, 5 * S), 5 * S + S * 15 / 1000);
		assert_int_equal(reserve(p, ONE, 1, 9 * S), 9 * S - S / 20);
		pace_free(p);
	}
}

static void
a_client_waits_alone(void **state)
{
	struct pace *p = make(0, 1000000);

	(void)state;
	for (uint64_t i = 0; i < 50; i++)
		assert_int_equal(
		    reserve(p, ONE, 20000, 5 * S), 5 * S - S / 20 + i * S / 50);
	assert_int_equal(reserve(p, OTHER, 20000, 5 * S), 5 * S - S / 20);
	assert_int_equal(
	    reserve(p, "[2001:db8::1]:1", 20000, 5 * S), 5 * S - S / 20);
	give_back(p, "192.0.2.1:1", 1 << 20); /* one that is not known */
	pace_free(p);
	/* with a limit of all it is the later turn that counts */
	p = make(2000000, 1000000);
	assert_int_equal(pace_portion(p), 20000);
	assert_int_equal(reserve(p, ONE, 20000, 5 * S), 5 * S - S / 20);
	assert_int_equal(reserve(p, ONE, 20000, 5 * S), 5 * S - S * 3 / 100);
	assert_int_equal(reserve(p, OTHER, 20000, 5 * S), 5 * S - S * 3 / 100);
	pace_free(p);
}

static const struct {
	uint64_t rate;
	size_t portion;
} portions[] = { { 1, 512 }, { 25600, 512 }, { 50000, 1000 },
	{ 1000000000000000, 262144 } };

static void
portions_are_neither_tiny_nor_huge(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof portions / sizeof *portions; i++) {
		uint64_t rate = portions[i].rate;
		struct pace *of_all = make(rate, 0), *of_client = make(0, rate);
		struct pace *both = make(rate, rate * 2);

		assert_int_equal(pace_portion(of_all), portions[i].portion);
		assert_int_equal(pace_portion(of_client), portions[i].portion);
		assert_int_equal(pace_portion(both), portions[i].portion);
		pace_free(of_all);
		pace_free(of_client);
		pace_free(both);
	}
}

static unsigned int
taken(struct pace *p, const char *client, unsigned int tries, uint64_t now_ns)
{
	struct addr a = sockets_addr(client);
	unsigned int n = 0;

	while (tries-- > 0)
		n += pace_take(p, &a, 1000, now_ns);
	return n;
}

/* A second's worth at once, and the one that crosses the line. */
static void
what_is_over_is_dropped(void **state)
{
	struct pace *p = make(10000, 0);

	(void)state;
	assert_int_equal(taken(p, ONE, 100, 5 * S), 11);
	assert_int_equal(taken(p, OTHER, 100, 5 * S), 0);
	assert_int_equal(taken(p, OTHER, 100, 6 * S), 10);
	pace_free(p);
	p = make(0, 10000);
	assert_in_range(taken(p, ONE, 100, 5 * S), 10, 11);
	assert_int_equal(taken(p, NEAR, 100, 5 * S), 0);
	assert_in_range(taken(p, OTHER, 100, 5 * S), 10, 11);
	assert_int_equal(taken(p, ONE, 100, 6 * S), 10);
	pace_free(p);
}

static void
who_is_over_takes_nothing_from_others(void **state)
{
	struct pace *p = make(15000, 10000);

	(void)state;
	assert_in_range(taken(p, ONE, 1000, 5 * S), 10, 11);
	assert_in_range(taken(p, OTHER, 1000, 5 * S), 5, 6);
	/* nor pays for what the limit of all has dropped: the rest is its own */
	assert_in_range(taken(p, OTHER, 1000, 6 * S), 10, 11);
	pace_free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(turns_go_round),
		cmocka_unit_test(a_client_waits_alone),
		cmocka_unit_test(portions_are_neither_tiny_nor_huge),
		cmocka_unit_test(what_is_over_is_dropped),
		cmocka_unit_test(who_is_over_takes_nothing_from_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
