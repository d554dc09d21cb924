/* Which origins there are, and who gets the next session. Time is the
 * test's own. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/origin_set.h"

static const enum app_balance all[] = { APP_ROUND_ROBIN, APP_LEAST_CONNECTIONS,
	APP_SOURCE_HASH };

/* ---- who gets it ---- */

static void
test_address(void **state)
{
	static const struct {
		uint16_t first;
		const char *origin; /* with its first port */
		uint16_t edge_port;
		const char *to;
	} rows[] = {
		{ 22, "192.0.2.1:2222", 22, "192.0.2.1:2222" },
		{ 1000, "192.0.2.1:3000", 1000, "192.0.2.1:3000" },
		{ 1000, "192.0.2.1:3000", 1005, "192.0.2.1:3005" },
		{ 1000, "192.0.2.1:3000", 2000, "192.0.2.1:4000" },
		{ 60000, "[2001:db8::1]:1", 65535, "[2001:db8::1]:5536" },
		{ 1, "127.0.0.2:1", 65535, "127.0.0.2:65535" },
		{ 1, "127.0.0.2:60000", 5536, "127.0.0.2:65535" },
	};
	struct addr client = sockets_addr("10.0.0.1:1"), to;
	struct app *a = calloc(1, sizeof *a);

	(void)state;
	assert_non_null(a);
	a->origins = 1;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char buf[ADDR_STR_LEN];
		struct origins *o;

		a->port_first = rows[i].first;
		a->origin[0].address = sockets_addr(rows[i].origin);
		o = origins_new(a);
		assert_non_null(o);
		assert_int_equal(
		    origins_begin(o, &client, rows[i].edge_port, 0, S, &to), 0);
		assert_string_equal(addr_format(buf, &to), rows[i].to);
		/* the view has it as it was written */
		to = look(o, 0, S).address;
		assert_string_equal(addr_format(buf, &to), rows[i].origin);
		origins_free(o);
	}
	free(a);
}

/* Sessions are counted where the balance looks for them. */
static void
test_counts(void **state)
{
	struct origins *o = make(APP_LEAST_CONNECTIONS, 2);
	int first = begin_at(o, 0, S), second = begin_at(o, 0, S);

	(void)state;
	assert_int_equal(first + second, 1);
	assert_int_equal(look(o, 0, S).live, 1);
	assert_int_equal(look(o, 1, S).live, 1);
	origins_end(o, second);
	assert_int_equal(begin_at(o, 0, S), second);
	origins_end(o, first);
	origins_end(o, -1);
	assert_int_equal(look(o, first, S).live, 0);
	assert_int_equal(look(o, first, S).total, 1);
	assert_int_equal(look(o, second, S).total, 2);
	origins_free(o);
}

/* Each rule of balance is the one that was asked for. */
static void
test_balances(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 3);

	(void)state;
	for (int i = 0; i < 9; i++)
		assert_int_equal(choose(o, 0, S), i % 3);
	origins_free(o);
	o = make(APP_SOURCE_HASH, 8);
	for (int first = choose(o, 0, S), i = 0; i < 9; i++)
		assert_int_equal(choose(o, 0, S), first);
	origins_free(o);
}

/* Failover: each origin once, the ejected and then the down one last. */
static void
test_tried(void **state)
{
	(void)state;
	for (size_t b = 0; b < sizeof all / sizeof all[0]; b++) {
		struct origins *o = make(all[b], 5);
		uint64_t tried = 0;

		health(o, 0, false);
		for (int i = 0; i < EJECT_AFTER; i++)
			origins_failed(o, 3, 100 * S);
		for (int n = 0; n < 5; n++) {
			int got = choose(o, tried, 101 * S);

			assert_in_range(got, 0, 4);
			assert_int_equal(tried >> got & 1, 0);
			if (n == 3)
				assert_int_equal(got, 3);
			if (n == 4)
				assert_int_equal(got, 0);
			tried |= 1ull << got;
		}
		assert_int_equal(choose(o, tried, 101 * S), -1);
		assert_int_equal(errno, EAGAIN);
		origins_free(o);
	}
}

/* All down: balanced as if all were up. All ejected: the soonest back. */
static void
test_last_known(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 3);

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		health(o, i, false);
	for (int i = 0; i < 9; i++)
		assert_int_equal(choose(o, 0, S), i % 3);
	for (unsigned int i = 0; i < 3; i++)
		health(o, i, true);
	for (int i = 0; i < EJECT_AFTER; i++) {
		origins_failed(o, 0, 120 * S);
		origins_failed(o, 1, 110 * S);
		origins_failed(o, 2, 130 * S);
	}
	assert_int_equal(choose(o, 0, 111 * S), 1);
	assert_int_equal(choose(o, 1u << 1, 111 * S), 0);
	health(o, 1, false);
	assert_int_equal(choose(o, 0, 111 * S), 0);
	origins_free(o);
}

/* ---- which there are ---- */

static void
test_none(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 0);

	(void)state;
	assert_int_equal(choose(o, 0, S), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(replace(o, "a"), 0);
	assert_int_equal(choose(o, 0, S), 0);
	assert_int_equal(replace(o, ""), 0);
	assert_int_equal(choose(o, 0, S), -1);
	assert_int_equal(used(o), 0);
	origins_free(o);
}

/* Order does not matter; who stays keeps slot, counts and state. */
static void
test_replace_keeps(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 3);

	(void)state;
	health(o, 1, false);
	origins_failed(o, 2, S);
	assert_int_equal(begin_at(o, 3, S), 2);
	assert_int_equal(replace(o, "dcb"), 0);
	assert_int_equal(used(o), 3);
	assert_false(look(o, 1, S).up);
	assert_int_equal(look(o, 2, S).failures, 1);
	assert_int_equal(look(o, 2, S).live, 1);
	assert_int_equal(look(o, 2, S).total, 1);
	/* the place of one that had no sessions is free at once */
	assert_true(look(o, 0, S).up);
	assert_int_equal(look(o, 0, S).total, 0);
	assert_int_equal(
	    ntohl(look(o, 0, S).address.in.sin_addr.s_addr) & 0xff, 3);
	origins_free(o);
}

/* One that is gone serves those it has, and nobody else. */
static void
test_replace_drains(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 2);

	(void)state;
	assert_int_equal(begin_at(o, 0, S), 0);
	assert_int_equal(begin_at(o, 2, S), 0);
	assert_int_equal(replace(o, "bc"), 0);
	assert_int_equal(used(o), 3);
	assert_false(look(o, 0, S).listed);
	for (int i = 0; i < 10; i++)
		assert_int_not_equal(choose(o, 0, S), 0);
	/* nor when nothing else is left */
	assert_int_equal(choose(o, 6, S), -1);
	assert_int_equal(errno, EAGAIN);
	origins_failed(o, 0, S);
	origins_end(o, 0);
	assert_int_equal(look(o, 0, S).live, 1);
	/* back before the last one ended: as it was */
	assert_int_equal(replace(o, "abc"), 0);
	assert_true(look(o, 0, S).listed);
	assert_int_equal(look(o, 0, S).failures, 1);
	assert_int_equal(replace(o, "bc"), 0);
	origins_end(o, 0);
	assert_int_equal(used(o), 2);
	/* and back later: as if new */
	assert_int_equal(replace(o, "abc"), 0);
	assert_int_equal(look(o, 0, S).failures, 0);
	origins_free(o);
}

static void
test_replace_full(void **state)
{
	struct app_origin list[APP_ORIGINS_MAX + 1];
	struct origins *o = make(APP_ROUND_ROBIN, 0);
	uint64_t tried = 0;

	(void)state;
	for (unsigned int i = 0; i <= APP_ORIGINS_MAX; i++)
		list[i] = origin(i);
	assert_int_equal(replace(o, "a"), 0);
	assert_int_equal(origins_replace(o, list, APP_ORIGINS_MAX + 1), -1);
	assert_int_equal(errno, E2BIG);
	assert_int_equal(used(o), 1);
	assert_int_equal(origins_replace(o, list, APP_ORIGINS_MAX), 0);
	assert_int_equal(used(o), APP_ORIGINS_MAX);
	for (int i = 0; i < APP_ORIGINS_MAX; i++)
		tried |= 1ull << begin_at(o, tried, S);
	assert_true(tried == UINT64_MAX);
	/* all slots have a session, and a new one gets that of a former one */
	assert_int_equal(origins_replace(o, list + 1, APP_ORIGINS_MAX), 0);
	assert_true(look(o, 0, S).listed);
	assert_int_equal(look(o, 0, S).live, 0);
	assert_int_equal(used(o), APP_ORIGINS_MAX);
	origins_free(o);
}

/* Sessions of an origin that gave up its slot do nothing to the next one. */
static void
test_handles_of_former_tenants(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 0);
	struct app_origin one[3 * APP_ORIGINS_MAX];
	int handle[3 * APP_ORIGINS_MAX];
	const unsigned int n = 3 * APP_ORIGINS_MAX;

	(void)state;
	for (unsigned int i = 0; i < n; i++) {
		one[i] = origin(i);
		assert_int_equal(origins_replace(o, &one[i], 1), 0);
		handle[i] = begin_at(o, 0, S);
		for (unsigned int k = 0; k < i; k++)
			assert_int_not_equal(handle[k], handle[i]);
	}
	assert_int_equal(used(o), APP_ORIGINS_MAX);
	for (unsigned int i = 0; i + 1 < n; i++) {
		origins_failed(o, handle[i], S);
		origins_worked(o, handle[i]);
		origins_end(o, handle[i]);
	}
	assert_int_equal(used(o), 1);
	assert_int_equal(begin_at(o, origins_bit(handle[n - 1]), S), -1);
	origins_end(o, handle[n - 1]);
	assert_int_equal(used(o), 1); /* it is listed */
	origins_free(o);
}

static void
test_replace_weights(void **state)
{
	struct app_origin list[3] = { origin(0), origin(1), origin(1) };
	struct origins *o = make(APP_ROUND_ROBIN, 0);
	int second = 0;

	(void)state;
	list[1].weight = 0; /* counts as 1 */
	/* named twice, when new and when known */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(origins_replace(o, list, 3), 0);
		assert_int_equal(used(o), 2);
		assert_int_equal(look(o, 0, S).weight, 1);
		assert_int_equal(look(o, 1, S).weight, 2);
	}
	list[2].weight = 8;
	assert_int_equal(origins_replace(o, list, 3), 0);
	for (int i = 0; i < 100; i++)
		second += choose(o, 0, S);
	assert_int_equal(second, 90);
	origins_free(o);
}

static void
test_view_is_bounded(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 5);
	struct origin_view v[3] = { 0 };

	(void)state;
	assert_int_equal(origins_view(o, v, 2, S), 2);
	assert_int_equal(v[1].slot, 1);
	assert_int_equal(v[2].address.sa.sa_family, AF_UNSPEC);
	origins_free(o);
}

/* ---- from several threads ---- */

#define THREADS 4
#define SESSIONS 20000

static void *
sessions(void *context)
{
	struct origins *o = context;

	for (int i = 0; i < SESSIONS; i++) {
		int slot = begin_at(o, 0, S);

		if (i % 7 == 0)
			origins_failed(o, slot, S);
		else
			origins_worked(o, slot);
		origins_end(o, slot);
	}
	return NULL;
}

/* Workers come and go, names change: no count is lost. */
static void
test_threads(void **state)
{
	struct origins *o = make(APP_LEAST_CONNECTIONS, 4);
	struct origin_view v[APP_ORIGINS_MAX];
	pthread_t thread[THREADS];
	size_t n;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&thread[i], NULL, sessions, o), 0);
	for (int i = 0; i < 2000; i++) {
		health(o, (unsigned int)i % 6, i % 3 == 0);
		assert_int_equal(replace(o, i % 2 ? "abcd" : "cdef"), 0);
		n = origins_view(o, v, APP_ORIGINS_MAX, S);
		assert_in_range(n, 4, 6);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	n = origins_view(o, v, APP_ORIGINS_MAX, S);
	assert_int_equal(n, 4);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(v[i].live, 0);
	origins_free(o);
}

/* SRV weights of millions, then plain ones: nobody starves meanwhile. */
static void
test_replace_weights_of_another_scale(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 2);
	struct app_origin list[2] = { origin(0), origin(1) };
	const struct addr client = sockets_addr("203.0.113.1");
	struct addr to;
	int times[2] = { 0 };

	(void)state;
	list[1].weight = 55049400;
	assert_int_equal(origins_replace(o, list, 2), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(origins_begin(o, &client, 53, 0, 0, &to), 1);
	list[1].weight = 1;
	assert_int_equal(origins_replace(o, list, 2), 0);
	for (int i = 0; i < 10; i++)
		times[origins_begin(o, &client, 53, 0, 0, &to)]++;
	assert_in_range(times[0], 4, 8);
	origins_free(o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_balances),
		cmocka_unit_test(test_tried),
		cmocka_unit_test(test_last_known),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_replace_keeps),
		cmocka_unit_test(test_replace_drains),
		cmocka_unit_test(test_replace_full),
		cmocka_unit_test(test_handles_of_former_tenants),
		cmocka_unit_test(test_replace_weights),
		cmocka_unit_test(test_view_is_bounded),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_replace_weights_of_another_scale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
