/* From DNS records to origins: order, weights, when to look again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/dnsset.h"
#include "tests/support.h"

#define RECORDS 6

static struct addr
make(const char *text)
{
	const char *why;
	struct addr a;

	assert_int_equal(addr_parse(&a, text, -1, &why), 0);
	return a;
}

static const struct {
	const char *name;
	struct {
		const char *address;
		uint16_t weight;
		uint32_t srv;
	} records[RECORDS];
	const char *origins; /* address*weight, in order */
} sets[] = {
	{ "none", { { NULL, 0, 0 } }, "" },
	{ "one", { { "192.0.2.1:5", 1, 0 } }, "192.0.2.1:5*1 " },
	{ "any order is one order, IPv4 first",
	    { { "[2001:db8::1]:5", 1, 0 }, { "192.0.2.9:5", 1, 0 },
		{ "192.0.2.10:5", 1, 0 } },
	    "192.0.2.9:5*1 192.0.2.10:5*1 [2001:db8::1]:5*1 " },
	{ "twice is once", { { "192.0.2.1:5", 1, 0 }, { "192.0.2.1:5", 1, 0 } },
	    "192.0.2.1:5*1 " },
	{ "weights are kept, as small numbers",
	    { { "192.0.2.1:5", 60, 1 }, { "192.0.2.2:5", 20, 2 } },
	    "192.0.2.1:5*3 192.0.2.2:5*1 " },
	{ "ports tell apart",
	    { { "192.0.2.1:6", 1, 1 }, { "192.0.2.1:5", 2, 2 } },
	    "192.0.2.1:5*2 192.0.2.1:6*1 " },
	{ "addresses of one record share its weight",
	    { { "192.0.2.1:5", 10, 1 }, { "192.0.2.2:5", 10, 2 },
		{ "[2001:db8::2]:5", 10, 2 } },
	    "192.0.2.1:5*2 192.0.2.2:5*1 [2001:db8::2]:5*1 " },
	{ "two records at one address add up",
	    { { "192.0.2.1:5", 1, 1 }, { "192.0.2.1:5", 2, 2 },
		{ "192.0.2.2:5", 1, 3 } },
	    "192.0.2.1:5*3 192.0.2.2:5*1 " },
	{ "all zero: all the same",
	    { { "192.0.2.1:5", 0, 1 }, { "192.0.2.2:5", 0, 2 } },
	    "192.0.2.1:5*1 192.0.2.2:5*1 " },
	{ "zero has a very small chance",
	    { { "192.0.2.1:5", 0, 1 }, { "192.0.2.2:5", 1, 2 } },
	    "192.0.2.1:5*1 192.0.2.2:5*840 " },
	{ "the largest",
	    { { "192.0.2.1:5", 65535, 1 }, { "192.0.2.2:5", 0, 2 } },
	    "192.0.2.1:5*55049400 192.0.2.2:5*1 " },
};

static void
test_sets(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
		struct dnsset_record records[RECORDS];
		struct app_origin out[RECORDS];
		char text[400] = "", one[ADDR_STR_LEN];
		size_t n = 0, count;

		for (; n < RECORDS && sets[i].records[n].address != NULL; n++)
			records[n] = (struct dnsset_record){
				.address = make(sets[i].records[n].address),
				.weight = sets[i].records[n].weight,
				.srv = sets[i].records[n].srv
			};
		count = dnsset_origins(out, RECORDS, records, n);
		for (size_t k = 0; k < count; k++)
			snprintf(text + strlen(text),
			    sizeof text - strlen(text), "%s*%u ",
			    addr_format(one, &out[k].address), out[k].weight);
		if (strcmp(text, sets[i].origins) != 0)
			fail_msg("%s: %s", sets[i].name, text);
	}
}

/* More than there is room for: the first, whatever order they came in. */
static void
test_too_many(void **state)
{
	static struct dnsset_record records[200];
	struct app_origin *out =
	    (struct app_origin *)guard_alloc(64 * sizeof *out);

	(void)state;
	for (uint32_t i = 0; i < 200; i++)
		records[i] = (struct dnsset_record){
			.address.in = { .sin_family = AF_INET,
			    .sin_addr.s_addr = htonl(0xc0000200 + 199 - i) },
			.weight = 1
		};
	assert_int_equal(dnsset_origins(out, 64, records, 200), 64);
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(
		    ntohl(out[i].address.in.sin_addr.s_addr), 0xc0000200 + i);
	guard_free((uint8_t *)out, 64 * sizeof *out);
}

static void
test_same(void **state)
{
	struct app_origin a[2] = { { make("192.0.2.1:5"), 1 },
		{ make("192.0.2.2:5"), 1 } };
	struct app_origin b[2] = { a[0], a[1] };

	(void)state;
	assert_true(dnsset_same(a, 2, b, 2));
	assert_true(dnsset_same(a, 0, b, 0));
	assert_false(dnsset_same(a, 2, b, 1));
	assert_false(dnsset_same(a, 0, b, 1));
	b[1].weight = 2;
	assert_false(dnsset_same(a, 2, b, 2));
	b[1] = (struct app_origin){ make("192.0.2.2:6"), 1 };
	assert_false(dnsset_same(a, 2, b, 2));
}

static void
test_again(void **state)
{
	static const struct {
		uint32_t ttl_s, wanted_s, ms;
	} rows[] = {
		{ 60, 0, 60000 },
		{ 0, 0, 1000 },
		{ 1, 0, 1000 },
		{ 86400, 0, 86400000 },
		{ 86401, 0, 86400000 },
		{ UINT32_MAX, 0, 86400000 },
		{ 60, 5, 5000 },
		{ 0, 5, 5000 },
		{ UINT32_MAX, 86400, 86400000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(
		    dnsset_again_ms(rows[i].ttl_s, rows[i].wanted_s),
		    rows[i].ms);
}

static void
test_retry(void **state)
{
	static const uint32_t most_ms[] = { 1000, 1000, 2000, 4000, 8000, 16000,
		30000, 30000 };

	(void)state;
	for (unsigned int n = 0; n < 8; n++) {
		uint32_t least = UINT32_MAX, most = 0;

		for (uint32_t random = 0; random < 20000; random++) {
			uint32_t ms = dnsset_retry_ms(n, random * 214741u);

			least = ms < least ? ms : least;
			most = ms > most ? ms : most;
		}
		assert_int_equal(most, most_ms[n]);
		assert_in_range(least, most_ms[n] * 3 / 4,
		    most_ms[n] * 3 / 4 + most_ms[n] / 100);
	}
	assert_in_range(dnsset_retry_ms(UINT32_MAX, UINT32_MAX), 22500, 30000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_retry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
