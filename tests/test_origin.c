/* Balance, skipping, ejection. Time and state are the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/origin.h"

#define S 1000000000ull
#define CLIENTS 20000

struct fixture {
	struct app app;
	struct origin_state state[APP_ORIGINS_MAX];
	struct origin_pool pool;
};

/* `weights` one digit each: "531" is three origins. */
static void
make(struct fixture *f, enum app_balance balance, const char *weights)
{
	memset(f, 0, sizeof *f);
	f->app.balance = balance;
	for (; *weights != '\0'; weights++) {
		size_t i = f->app.origins++;
		struct addr *a = &f->app.origin[i].address;

		f->app.origin[i].weight = (unsigned int)(*weights - '0');
		a->in.sin_family = AF_INET;
		a->in.sin_addr.s_addr = htonl(0xc0000200 + (uint32_t)i);
		addr_set_port(a, 53);
	}
	f->pool.app = &f->app;
	f->pool.state = f->state;
	memset(f->pool.hash_key, 7, sizeof f->pool.hash_key);
}

static struct addr
client(uint32_t n, uint16_t port)
{
	struct addr a = { .in.sin_family = AF_INET };

	a.in.sin_addr.s_addr = htonl(0x0a000000 + n);
	addr_set_port(&a, port);
	return a;
}

static int
choose(struct fixture *f, uint64_t tried)
{
	struct addr a = client(1, 1);

	return origin_choose(&f->pool, &a, tried, 100 * S);
}

/* The next choices as letters. */
static void
assert_order(struct fixture *f, const char *order)
{
	for (size_t i = 0; order[i] != '\0'; i++) {
		int got = choose(f, 0);

		if (got != order[i] - 'a')
			fail_msg("%s: choice %zu is %c", order, i, 'a' + got);
	}
}

static void
test_round_robin(void **state)
{
	struct fixture f;

	(void)state;
	make(&f, APP_ROUND_ROBIN, "1");
	assert_order(&f, "aaa");
	make(&f, APP_ROUND_ROBIN, "111");
	assert_order(&f, "abcabcabc");
	/* turns mix */
	make(&f, APP_ROUND_ROBIN, "511");
	assert_order(&f, "aabacaa");
	assert_order(&f, "aabacaa");
	make(&f, APP_ROUND_ROBIN, "21");
	assert_order(&f, "abaaba");
	/* another worker starts elsewhere */
	make(&f, APP_ROUND_ROBIN, "111");
	f.pool.next = 2;
	assert_order(&f, "cabcab");
}

/* One goes down and comes back: the others keep their shares. */
static void
test_round_robin_down(void **state)
{
	struct fixture f;
	int count[3] = { 0 };

	(void)state;
	make(&f, APP_ROUND_ROBIN, "123");
	f.state[1].down = true;
	for (int i = 0; i < 400; i++)
		count[choose(&f, 0)]++;
	assert_int_equal(count[0], 100);
	assert_int_equal(count[1], 0);
	assert_int_equal(count[2], 300);
	f.state[1].down = false;
	for (int i = 0; i < 600; i++)
		count[choose(&f, 0)]++;
	assert_int_equal(count[0], 200);
	assert_int_equal(count[1], 200);
	assert_int_equal(count[2], 600);
}

static void
test_least_connections(void **state)
{
	struct fixture f;
	uint32_t want[3] = { 20, 60, 40 };

	(void)state;
	make(&f, APP_LEAST_CONNECTIONS, "111");
	/* idle ones take turns; nobody begins, so all stay idle */
	assert_order(&f, "abcabc");
	origin_begin(&f.pool, 0);
	origin_begin(&f.pool, 1);
	origin_begin(&f.pool, 1);
	assert_order(&f, "ccc");
	origin_end(&f.pool, 1);
	origin_end(&f.pool, 1);
	origin_begin(&f.pool, 2);
	assert_order(&f, "bbb");
	/* sessions that stay spread by weight */
	make(&f, APP_LEAST_CONNECTIONS, "132");
	for (int i = 0; i < 120; i++)
		origin_begin(&f.pool, choose(&f, 0));
	for (int i = 0; i < 3; i++)
		assert_int_equal(f.state[i].live, want[i]);
	origin_end(&f.pool, 0);
	assert_order(&f, "aaa");
	f.state[0].down = true;
	assert_int_not_equal(choose(&f, 0), 0);
	origin_begin(&f.pool, -1);
	origin_end(&f.pool, -1);
	assert_int_equal(f.state[0].live, 19);
}

static int
choose_for(struct fixture *f, uint32_t n, uint16_t port)
{
	struct addr a = client(n, port);

	return origin_choose(&f->pool, &a, 0, 100 * S);
}

static void
test_hash_stable(void **state)
{
	struct fixture f, other;
	struct addr mapped = { .in6.sin6_family = AF_INET6 };
	size_t moved = 0;

	(void)state;
	make(&f, APP_SOURCE_HASH, "1111");
	make(&other, APP_SOURCE_HASH, "1111");
	other.pool.hash_key[0] ^= 1;
	for (uint32_t n = 0; n < 1000; n++) {
		int first = choose_for(&f, n, 1);

		assert_int_equal(choose_for(&f, n, 40000), first);
		moved += choose_for(&other, n, 1) != first;
	}
	/* another key, another distribution: 3 of 4 move */
	assert_in_range(moved, 650, 850);
	/* a mapped client is the IPv4 one */
	mapped.in6.sin6_addr.s6_addr[10] = 0xff;
	mapped.in6.sin6_addr.s6_addr[11] = 0xff;
	mapped.in6.sin6_addr.s6_addr[12] = 10;
	for (uint8_t n = 0; n < 50; n++) {
		mapped.in6.sin6_addr.s6_addr[15] = n;
		assert_int_equal(origin_choose(&f.pool, &mapped, 0, 100 * S),
		    choose_for(&f, n, 9));
	}
}

/* Where an origin stands in the list does not matter to its clients. */
static void
test_hash_order(void **state)
{
	static const int place[3] = { 2, 0, 1 };
	struct fixture f, turned;

	(void)state;
	make(&f, APP_SOURCE_HASH, "234");
	turned = f;
	turned.pool.app = &turned.app;
	turned.pool.state = turned.state;
	for (int i = 0; i < 3; i++)
		turned.app.origin[place[i]] = f.app.origin[i];
	for (uint32_t n = 0; n < 1000; n++)
		assert_int_equal(
		    choose_for(&turned, n, 1), place[choose_for(&f, n, 1)]);
}

static void
test_hash_weights(void **state)
{
	struct fixture f;
	int count[4] = { 0 };

	(void)state;
	make(&f, APP_SOURCE_HASH, "1234");
	for (uint32_t n = 0; n < CLIENTS; n++)
		count[choose_for(&f, n, 1)]++;
	/* 5 standard deviations */
	for (int i = 0; i < 4; i++)
		assert_in_range(count[i], CLIENTS * (i + 1) / 10 - 350,
		    CLIENTS * (i + 1) / 10 + 350);
}

/* Only the clients of the origin that went down move, and they come back. */
static void
test_hash_down(void **state)
{
	static int before[1000];
	struct fixture f;
	int count[4] = { 0 };

	(void)state;
	make(&f, APP_SOURCE_HASH, "1111");
	for (uint32_t n = 0; n < 1000; n++)
		before[n] = choose_for(&f, n, 1);
	f.state[2].down = true;
	for (uint32_t n = 0; n < 1000; n++) {
		int now = choose_for(&f, n, 1);

		assert_int_not_equal(now, 2);
		if (before[n] != 2)
			assert_int_equal(now, before[n]);
		else
			count[now]++;
	}
	assert_true(count[0] > 40 && count[1] > 40 && count[3] > 40);
	f.state[2].down = false;
	for (uint32_t n = 0; n < 1000; n++)
		assert_int_equal(choose_for(&f, n, 1), before[n]);
}

static const enum app_balance all[] = { APP_ROUND_ROBIN, APP_LEAST_CONNECTIONS,
	APP_SOURCE_HASH };

/* Failover: each origin once, the down ones last, then none. */
static void
test_tried(void **state)
{
	(void)state;
	for (size_t b = 0; b < sizeof all / sizeof all[0]; b++) {
		struct fixture f;
		uint64_t tried = 0;

		make(&f, all[b], "11111");
		f.state[0].down = true;
		f.state[3].ejected_until_ns = 101 * S;
		for (int n = 0; n < 5; n++) {
			int got = choose(&f, tried);

			assert_in_range(got, 0, 4);
			assert_int_equal(tried >> got & 1, 0);
			if (n == 3)
				assert_int_equal(got, 3);
			if (n == 4)
				assert_int_equal(got, 0);
			tried |= 1ull << got;
		}
		assert_int_equal(choose(&f, tried), -1);
	}
}

/* All down: balanced as if all were up. All ejected: the soonest back. */
static void
test_last_known(void **state)
{
	(void)state;
	for (size_t b = 0; b < sizeof all / sizeof all[0]; b++) {
		struct fixture f;
		int count[3] = { 0 };

		make(&f, all[b], "111");
		for (int i = 0; i < 3; i++)
			f.state[i].down = true;
		for (uint32_t n = 0; n < 300; n++)
			count[choose_for(&f, n, 1)]++;
		for (int i = 0; i < 3; i++)
			assert_true(count[i] > 60);
		f.state[0].ejected_until_ns = 130 * S;
		f.state[1].ejected_until_ns = 120 * S;
		f.state[2].ejected_until_ns = 140 * S;
		f.state[0].down = f.state[1].down = f.state[2].down = false;
		assert_int_equal(choose(&f, 0), 1);
		assert_int_equal(choose(&f, 1u << 1), 0);
		f.state[1].down = true;
		assert_int_equal(choose(&f, 0), 0);
	}
}

static void
test_most_origins(void **state)
{
	struct fixture f;
	uint64_t tried = 0;

	(void)state;
	make(&f, APP_ROUND_ROBIN,
	    "1111111111111111111111111111111111111111111111111111111111111111");
	assert_int_equal(f.app.origins, 64);
	for (int i = 0; i < 64; i++)
		tried |= 1ull << choose(&f, tried);
	assert_true(tried == UINT64_MAX);
	assert_int_equal(choose(&f, tried), -1);
}

/* After the third failure in a row 10 s, then 20, 40 … 320. */
static void
test_ejection(void **state)
{
	struct fixture f;
	struct addr a = client(1, 1);
	uint64_t now = 1000 * S, out_s = ORIGIN_EJECT_S;

	(void)state;
	make(&f, APP_ROUND_ROBIN, "11");
	origin_failed(&f.pool, 0, now);
	origin_failed(&f.pool, 0, now);
	assert_order(&f, "ab");
	/* a success in between starts the count again */
	origin_worked(&f.pool, 0);
	origin_failed(&f.pool, 0, now);
	origin_failed(&f.pool, 0, now);
	assert_int_equal(f.state[0].ejected_until_ns, 0);
	for (int round = 0; round < 8; round++) {
		origin_failed(&f.pool, 0, now);
		/* failures that were under way do not add to it */
		for (int i = 0; i < 50; i++)
			origin_failed(&f.pool, 0, now + S);
		for (int i = 0; i < 4; i++)
			assert_int_equal(
			    origin_choose(&f.pool, &a, 0, now + out_s * S - 1),
			    1);
		now += out_s * S;
		assert_true(origin_choose(&f.pool, &a, 0, now) == 0 ||
		    origin_choose(&f.pool, &a, 0, now) == 0);
		out_s = out_s * 2 > ORIGIN_EJECT_MAX_S ? ORIGIN_EJECT_MAX_S
						       : out_s * 2;
	}
	origin_worked(&f.pool, 0);
	assert_int_equal(f.state[0].failures, 0);
	assert_int_equal(f.state[0].ejected_until_ns, 0);
	origin_failed(&f.pool, -1, now);
	origin_worked(&f.pool, -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_robin),
		cmocka_unit_test(test_round_robin_down),
		cmocka_unit_test(test_least_connections),
		cmocka_unit_test(test_hash_stable),
		cmocka_unit_test(test_hash_order),
		cmocka_unit_test(test_hash_weights),
		cmocka_unit_test(test_hash_down),
		cmocka_unit_test(test_tried),
		cmocka_unit_test(test_last_known),
		cmocka_unit_test(test_most_origins),
		cmocka_unit_test(test_ejection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
