/* net/dispatch_table.h and net/dispatch_find.h: the search against a plain
 * reading of the rules. */
#include "net/dispatch_table.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sockets.h"

#define RULES 40
#define ROUNDS 60
#define PACKETS 2000

static struct dispatch_bank bank;

static struct dispatch_rule
rule(const char *prefix, unsigned int bits, unsigned int first,
    unsigned int last, unsigned int slot)
{
	return (struct dispatch_rule){ .proto = SOCK_UDP,
		.prefix = sockets_addr(prefix),
		.bits = bits,
		.port_first = (uint16_t)first,
		.port_last = (uint16_t)last,
		.slot = (uint16_t)slot,
		.sockets = 1 };
}

/* The slot that a packet is sent to, -1: none. */
static int
slot_of(enum sock_proto proto, const char *text, unsigned int port)
{
	struct addr a = sockets_addr(text);
	struct dispatch_key key = dispatch_key(proto, &a);
	const struct dispatch_entry *e =
	    dispatch_find(&bank, &key, (uint16_t)port);

	return e != NULL ? e->slot : -1;
}

static void
precedence(void **state)
{
	/* the worst first: what stands first is the last to decide */
	struct dispatch_rule rules[] = {
		rule("0.0.0.0", 0, 1, 65535, 1),
		rule("192.0.2.0", 24, 1000, 2000, 2),
		rule("192.0.2.7", 32, 1000, 1999, 3),
		rule("192.0.2.7", 32, 1500, 1600, 4),
		rule("192.0.2.7", 32, 1555, 1555, 5),
		rule("192.0.2.7", 32, 1555, 1555, 6),
		rule("192.0.2.9", 32, 53, 53, 7),
		rule("::", 0, 443, 443, 8),
		rule("2001:db8::", 32, 400, 500, 9),
		rule("192.0.2.7", 32, 1000, 1000, 10),
	};
	static const struct {
		const char *address;
		unsigned int port;
		int slot;
	} want[] = {
		{ "198.51.100.1", 1500, 1 }, { "198.51.100.1", 0, -1 },
		{ "192.0.1.255", 1500, 1 }, { "192.0.2.0", 1500, 2 },
		{ "192.0.2.255", 2000, 2 }, { "192.0.2.255", 2001, 1 },
		{ "192.0.3.0", 1500, 1 }, { "192.0.2.7", 1499, 3 },
		{ "192.0.2.7", 1500, 4 }, { "192.0.2.7", 1555, 5 },
		{ "192.0.2.7", 1556, 4 }, { "192.0.2.7", 1600, 4 },
		{ "192.0.2.7", 1601, 3 },
		{ "192.0.2.7", 2000, 2 }, /* only the shorter prefix has it */
		{ "192.0.2.9", 53, 7 }, { "192.0.2.9", 54, 1 },
		{ "192.0.2.9", 1000, 2 }, { "192.0.2.8", 53, 1 },
		{ "255.255.255.255", 65535, 1 }, { "::1", 443, 8 },
		{ "::1", 442, -1 },
		{ "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 443, 9 },
		{ "2001:db9::", 443, 8 }, { "2001:db9::", 444, -1 },
		{ "::ffff:192.0.2.7", 1555, -1 }, /* not IPv4 */
		{ "192.0.2.7", 1000, 3 }, /* its own rule is an old one */
	};

	(void)state;
	rules[9].last = true;
	assert_int_equal(
	    dispatch_compile(&bank, rules, sizeof rules / sizeof *rules), 0);
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		int slot = slot_of(SOCK_UDP, want[i].address, want[i].port);

		if (slot != want[i].slot)
			fail_msg("%s:%u goes to %d, not %d", want[i].address,
			    want[i].port, slot, want[i].slot);
		assert_int_equal(
		    slot_of(SOCK_TCP, want[i].address, want[i].port), -1);
	}
}

static void
an_old_rule_serves_what_is_left(void **state)
{
	struct dispatch_rule rules[] = {
		rule("192.0.2.7", 32, 1000, 2000, 1),
		rule("192.0.2.7", 32, 1990, 2010, 2),
	};

	(void)state;
	rules[1].last = true;
	assert_int_equal(dispatch_compile(&bank, rules, 2), 0);
	assert_int_equal(slot_of(SOCK_UDP, "192.0.2.7", 1995), 1);
	assert_int_equal(slot_of(SOCK_UDP, "192.0.2.7", 2000), 1);
	assert_int_equal(slot_of(SOCK_UDP, "192.0.2.7", 2001), 2);
	assert_int_equal(slot_of(SOCK_UDP, "192.0.2.7", 2011), -1);
}

static void
no_rule_matches_nothing(void **state)
{
	(void)state;
	assert_int_equal(dispatch_compile(&bank, NULL, 0), 0);
	assert_int_equal(slot_of(SOCK_UDP, "0.0.0.0", 0), -1);
	assert_int_equal(slot_of(SOCK_TCP, "::", 65535), -1);
}

static void
neighbours_are_joined(void **state)
{
	struct dispatch_rule rules[2048];

	(void)state;
	for (unsigned int i = 0; i < 1000; i++)
		rules[i] = rule("192.0.2.7", 32, 1000 + i, 1000 + i, 5);
	assert_int_equal(dispatch_compile(&bank, rules, 1000), 0);
	assert_int_equal(bank.entries, 1);
	assert_int_equal(bank.entry[0].port_first, 1000);
	assert_int_equal(bank.entry[0].port_last, 1999);
}

static void
limits(void **state)
{
	struct dispatch_rule *rules =
	    calloc(DISPATCH_RULES_MAX + 1, sizeof *rules);
	char text[32];

	(void)state;
	assert_non_null(rules);
	/* all that are allowed, each at an address of its own */
	for (unsigned int i = 0; i < DISPATCH_RULES_MAX + 1; i++) {
		snprintf(text, sizeof text, "10.0.%u.%u", i / 100, i % 100 * 2);
		rules[i] = rule(text, 32, 7, 9, i);
	}
	assert_int_equal(dispatch_compile(&bank, rules, DISPATCH_RULES_MAX), 0);
	assert_true(bank.spans <= DISPATCH_SPANS);
	for (unsigned int i = 0; i < DISPATCH_RULES_MAX; i++) {
		snprintf(text, sizeof text, "10.0.%u.%u", i / 100, i % 100 * 2);
		assert_int_equal(slot_of(SOCK_UDP, text, 8), (int)i);
		snprintf(
		    text, sizeof text, "10.0.%u.%u", i / 100, i % 100 * 2 + 1);
		assert_int_equal(slot_of(SOCK_UDP, text, 8), -1);
	}
	errno = 0;
	assert_int_equal(
	    dispatch_compile(&bank, rules, DISPATCH_RULES_MAX + 1), -1);
	assert_int_equal(errno, ENOSPC);
	/* each address repeats the ports of the wildcard: too many pieces */
	for (unsigned int i = 0; i < 100; i++)
		rules[i] = rule("0.0.0.0", 0, 100 * i, 100 * i + 50, i);
	errno = 0;
	assert_int_equal(
	    dispatch_compile(&bank, rules, DISPATCH_RULES_MAX), -1);
	assert_int_equal(errno, ENOSPC);
	free(rules);
}

/* ---- against a plain reading ---- */

static struct addr
random_address(bool six)
{
	struct addr a = sockets_addr(six ? "2001:db8::" : "192.0.2.0");

	/* few bits, so that rules and packets meet; also the very last ones */
	if (six) {
		a.in6.sin6_addr.s6_addr[7] = (uint8_t)(rand() & 3);
		a.in6.sin6_addr.s6_addr[15] = (uint8_t)(rand() & 7);
		if (rand() % 8 == 0)
			memset(&a.in6.sin6_addr, 0xff, 16);
	} else {
		a.in.sin_addr.s_addr |= htonl((uint32_t)(rand() & 31));
		if (rand() % 8 == 0)
			a.in.sin_addr.s_addr = UINT32_MAX;
	}
	return a;
}

static unsigned int
random_bits(bool six)
{
	static const unsigned int four[] = { 0, 24, 28, 30, 31, 32 };
	static const unsigned int sixes[] = { 0, 32, 62, 64, 125, 128 };

	return (six ? sixes : four)[rand() % 6];
}

static struct dispatch_rule
random_rule(unsigned int slot)
{
	bool six = rand() & 1;
	unsigned int first = 1000 + (unsigned int)rand() % 60;
	unsigned int wide = rand() % 3 == 0 ? 0 : (unsigned int)rand() % 40;

	return (
	    struct dispatch_rule){ .proto = rand() & 1 ? SOCK_TCP : SOCK_UDP,
		.prefix = random_address(six),
		.bits = random_bits(six),
		.port_first = (uint16_t)first,
		.port_last = (uint16_t)(first + wide),
		.slot = (uint16_t)slot,
		.sockets = 1,
		.last = rand() % 6 == 0 };
}

static bool
matches(const struct dispatch_rule *r, enum sock_proto proto,
    const struct addr *a, unsigned int port)
{
	bool six = a->sa.sa_family == AF_INET6;
	const uint8_t *x, *y;

	if (r->proto != proto || r->prefix.sa.sa_family != a->sa.sa_family ||
	    port < r->port_first || port > r->port_last)
		return false;
	x = six ? a->in6.sin6_addr.s6_addr : (const uint8_t *)&a->in.sin_addr;
	y = six ? r->prefix.in6.sin6_addr.s6_addr
		: (const uint8_t *)&r->prefix.in.sin_addr;
	for (unsigned int i = 0; i < r->bits; i++) {
		if ((x[i / 8] ^ y[i / 8]) >> (7 - i % 8) & 1)
			return false;
	}
	return true;
}

static bool
is_better(const struct dispatch_rule *a, const struct dispatch_rule *b)
{
	int wide_a = a->port_last - a->port_first;
	int wide_b = b->port_last - b->port_first;

	if (a->last != b->last)
		return b->last;
	return a->bits != b->bits ? a->bits > b->bits : wide_a < wide_b;
}

static void
check_packet(const struct dispatch_rule *rules, size_t n)
{
	enum sock_proto proto = rand() & 1 ? SOCK_TCP : SOCK_UDP;
	struct addr a = random_address(rand() & 1);
	unsigned int port = 995 + (unsigned int)rand() % 110;
	struct dispatch_key key = dispatch_key(proto, &a);
	const struct dispatch_entry *e =
	    dispatch_find(&bank, &key, (uint16_t)port);
	const struct dispatch_rule *want = NULL;
	char text[ADDR_STR_LEN];

	for (size_t i = 0; i < n; i++) {
		if (matches(&rules[i], proto, &a, port) &&
		    (want == NULL || is_better(&rules[i], want)))
			want = &rules[i];
	}
	if ((e == NULL) != (want == NULL) ||
	    (e != NULL && e->slot != want->slot))
		fail_msg("%s port %u goes to %d, not %d", addr_format(text, &a),
		    port, e != NULL ? e->slot : -1,
		    want != NULL ? want->slot : -1);
}

static void
any_rules(void **state)
{
	struct dispatch_rule rules[RULES];

	(void)state;
	srand(1);
	for (int round = 0; round < ROUNDS; round++) {
		size_t n = (size_t)rand() % (RULES + 1);

		for (size_t i = 0; i < n; i++)
			rules[i] = random_rule((unsigned int)i);
		assert_int_equal(dispatch_compile(&bank, rules, n), 0);
		for (int i = 0; i < PACKETS; i++)
			check_packet(rules, n);
	}
}

static void
who_meets_whom(void **state)
{
	struct dispatch_rule one;
	int met = 0, apart = 0;

	(void)state;
	srand(2);
	for (int round = 0; round < 20000; round++) {
		struct dispatch_rule other = random_rule(1);
		bool ports, want;
		unsigned int bits;
		struct dispatch_rule wide;

		one = random_rule(0);
		assert_int_equal(dispatch_compile(&bank, &one, 1), 0);
		ports = one.port_first <= other.port_last &&
		    other.port_first <= one.port_last;
		bits = one.bits < other.bits ? one.bits : other.bits;
		/* the shorter prefix holds the other's address */
		wide = one.bits < other.bits ? one : other;
		wide.bits = bits;
		want = ports && one.proto == other.proto &&
		    matches(&wide, wide.proto,
			one.bits < other.bits ? &other.prefix : &one.prefix,
			wide.port_first);
		assert_int_equal(dispatch_meets(&bank, &other), want);
		met += want;
		apart += !want;
	}
	assert_true(met > 100 && apart > 100);
}

static void
flows_spread_and_stay(void **state)
{
	uint32_t words[4] = { 1, 2, 3, 0 }, seen[4] = { 0 };
	unsigned int moved = 0;

	(void)state;
	for (uint32_t i = 0; i < 4000; i++) {
		uint32_t h;

		words[3] = i;
		h = dispatch_hash(7, words, 4);
		assert_int_equal(h, dispatch_hash(7, words, 4));
		seen[h % 4]++;
		moved += h % 4 != dispatch_hash(8, words, 4) % 4;
	}
	for (int i = 0; i < 4; i++)
		assert_in_range(seen[i], 850, 1150);
	assert_in_range(moved, 2700, 3300); /* another seed, another choice */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(precedence),
		cmocka_unit_test(an_old_rule_serves_what_is_left),
		cmocka_unit_test(no_rule_matches_nothing),
		cmocka_unit_test(neighbours_are_joined),
		cmocka_unit_test(limits),
		cmocka_unit_test(any_rules),
		cmocka_unit_test(who_meets_whom),
		cmocka_unit_test(flows_spread_and_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
