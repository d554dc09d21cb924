/* Whose turn it is. What may be chosen from, and what is live, is ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/balance.h"

#define CLIENTS 20000

struct fixture {
	struct balance b;
	uint64_t set; /* what may be chosen */
};

/* `weights` one digit each: "531" is three origins. */
static void
make(struct fixture *f, enum app_balance balance, const char *weights)
{
	memset(f, 0, sizeof *f);
	f->b.kind = balance;
	for (size_t i = 0; weights[i] != '\0'; i++) {
		struct balance_origin *o = &f->b.origin[i];

		f->set |= 1ull << i;
		o->weight = (unsigned int)(weights[i] - '0');
		o->address.in.sin_family = AF_INET;
		o->address.in.sin_addr.s_addr = htonl(0xc0000200 + (uint32_t)i);
		addr_set_port(&o->address, 53);
	}
	memset(f->b.hash_key, 7, sizeof f->b.hash_key);
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

	return balance_choose(&f->b, &a, f->set & ~tried);
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
}

/* One goes down and comes back: the others keep their shares. */
static void
test_round_robin_down(void **state)
{
	struct fixture f;
	int count[3] = { 0 };

	(void)state;
	make(&f, APP_ROUND_ROBIN, "123");
	f.set = 5;
	for (int i = 0; i < 400; i++)
		count[choose(&f, 0)]++;
	assert_int_equal(count[0], 100);
	assert_int_equal(count[1], 0);
	assert_int_equal(count[2], 300);
	f.set = 7;
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
	f.b.origin[0].live++;
	f.b.origin[1].live++;
	f.b.origin[1].live++;
	assert_order(&f, "ccc");
	f.b.origin[1].live--;
	f.b.origin[1].live--;
	f.b.origin[2].live++;
	assert_order(&f, "bbb");
	/* sessions that stay spread by weight */
	make(&f, APP_LEAST_CONNECTIONS, "132");
	for (int i = 0; i < 120; i++)
		f.b.origin[choose(&f, 0)].live++;
	for (int i = 0; i < 3; i++)
		assert_int_equal(f.b.origin[i].live, want[i]);
	f.b.origin[0].live--;
	assert_order(&f, "aaa");
	f.set = 6;
	assert_int_not_equal(choose(&f, 0), 0);
}

static int
choose_for(struct fixture *f, uint32_t n, uint16_t port)
{
	struct addr a = client(n, port);

	return balance_choose(&f->b, &a, f->set);
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
	other.b.hash_key[0] ^= 1;
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
		assert_int_equal(
		    balance_choose(&f.b, &mapped, f.set), choose_for(&f, n, 9));
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
	for (int i = 0; i < 3; i++)
		turned.b.origin[place[i]] = f.b.origin[i];
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
	f.set = 11;
	for (uint32_t n = 0; n < 1000; n++) {
		int now = choose_for(&f, n, 1);

		assert_int_not_equal(now, 2);
		if (before[n] != 2)
			assert_int_equal(now, before[n]);
		else
			count[now]++;
	}
	assert_true(count[0] > 40 && count[1] > 40 && count[3] > 40);
	f.set = 15;
	for (uint32_t n = 0; n < 1000; n++)
		assert_int_equal(choose_for(&f, n, 1), before[n]);
}

static void
test_most_origins(void **state)
{
	struct fixture f;
	uint64_t tried = 0;

	(void)state;
	make(&f, APP_ROUND_ROBIN,
	    "1111111111111111111111111111111111111111111111111111111111111111");
	assert_true(f.set == UINT64_MAX);
	for (int i = 0; i < 64; i++)
		tried |= 1ull << choose(&f, tried);
	assert_true(tried == UINT64_MAX);
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
		cmocka_unit_test(test_most_origins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
