/* DNS replies: addresses, targets, TTLs; every length against a guard page. */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/dnsreply.h"
#include "tests/dnsmessage.h"
#include "tests/support.h"

static void
assert_addr(const struct addr *a, const char *text)
{
	char buf[ADDR_STR_LEN];

	assert_string_equal(addr_format(buf, a), text);
}

static void
test_addresses(void **state)
{
	static struct dnsreply_addresses a;
	static struct dnsmessage r;

	(void)state;
	dnsmessage_begin(&r, "a.example", ns_t_a);
	dnsmessage_address(&r, "a.example", "192.0.2.2", 60);
	dnsmessage_address(&r, "a.example", "192.0.2.1", 30);
	assert_int_equal(dnsreply_addresses(&a, DNSREPLY_A, r.bytes, r.len), 0);
	assert_int_equal(a.count, 2);
	assert_int_equal(a.ttl_s, 30);
	assert_addr(&a.list[0], "192.0.2.2:0");
	assert_addr(&a.list[1], "192.0.2.1:0");

	dnsmessage_begin(&r, "a.example", ns_t_aaaa);
	dnsmessage_address(&r, "a.example", "2001:db8::1", 60);
	assert_int_equal(
	    dnsreply_addresses(&a, DNSREPLY_AAAA, r.bytes, r.len), 0);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.ttl_s, 60);
	assert_addr(&a.list[0], "[2001:db8::1]:0");
}

/* An alias is followed, and its TTL counts. */
static void
test_alias(void **state)
{
	static struct dnsreply_addresses a;
	static struct dnsmessage r;

	(void)state;
	dnsmessage_begin(&r, "www.example", ns_t_a);
	dnsmessage_alias(&r, "www.example", "b.example", 7);
	dnsmessage_alias(&r, "b.example", "c.example", 90);
	dnsmessage_address(&r, "c.example", "192.0.2.1", 60);
	assert_int_equal(dnsreply_addresses(&a, DNSREPLY_A, r.bytes, r.len), 0);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.ttl_s, 7);
}

/* An alias of something that has no such records; or of nothing. */
static void
test_none(void **state)
{
	static struct dnsreply_addresses a;
	static struct dnsreply_targets t;
	static struct dnsmessage r;

	(void)state;
	for (int aliases = 0; aliases < 2; aliases++) {
		dnsmessage_begin(&r, "www.example", ns_t_a);
		if (aliases > 0)
			dnsmessage_alias(&r, "www.example", "b.example", 7);
		assert_int_equal(
		    dnsreply_addresses(&a, DNSREPLY_A, r.bytes, r.len), 0);
		assert_int_equal(a.count, 0);
		dnsmessage_begin(&r, "www.example", ns_t_aaaa);
		if (aliases > 0)
			dnsmessage_alias(&r, "www.example", "b.example", 7);
		assert_int_equal(
		    dnsreply_addresses(&a, DNSREPLY_AAAA, r.bytes, r.len), 0);
		assert_int_equal(a.count, 0);
		dnsmessage_begin(&r, "www.example", ns_t_srv);
		if (aliases > 0)
			dnsmessage_alias(&r, "www.example", "b.example", 7);
		assert_int_equal(dnsreply_targets(&t, r.bytes, r.len), 0);
		assert_int_equal(t.count, 0);
	}
}

/* RFC 2181, section 8: a TTL with its first bit set is 0. */
static void
test_ttl(void **state)
{
	static const struct {
		uint32_t ttl, want;
	} rows[] = { { 0, 0 }, { 1, 1 }, { 0x7fffffff, 0x7fffffff },
		{ 0x80000000, 0 }, { 0xffffffff, 0 } };
	static struct dnsreply_addresses a;
	static struct dnsreply_targets t;
	static struct dnsmessage r;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		dnsmessage_begin(&r, "a.example", ns_t_a);
		dnsmessage_address(&r, "a.example", "192.0.2.1", rows[i].ttl);
		assert_int_equal(
		    dnsreply_addresses(&a, DNSREPLY_A, r.bytes, r.len), 0);
		assert_int_equal(a.ttl_s, rows[i].want);
		dnsmessage_begin(&r, "a.example", ns_t_srv);
		dnsmessage_srv(&r, "a.example", rows[i].ttl,
		    (const unsigned int[]){ 1, 1, 1 }, "b.example");
		assert_int_equal(dnsreply_targets(&t, r.bytes, r.len), 0);
		assert_int_equal(t.ttl_s, rows[i].want);
	}
}

static void
test_targets(void **state)
{
	static const struct {
		unsigned int numbers[3]; /* priority, weight, port */
		const char *host;
		uint32_t ttl;
	} records[] = {
		{ { 20, 5, 80 }, "z.example", 60 },
		{ { 10, 7, 81 }, "b.example", 50 },
		{ { 10, 0, 82 }, "a.example", 40 },
		{ { 10, 1, 79 }, "a.example", 70 },
		{ { 0, 1, 80 }, "", 70 }, /* "." */
		{ { 0, 1, 0 }, "c.example", 70 }, /* no port */
	};
	static struct dnsreply_targets t;
	static struct dnsmessage r;

	(void)state;
	dnsmessage_begin(&r, "_x._tcp.example", ns_t_srv);
	for (size_t i = 0; i < sizeof records / sizeof records[0]; i++)
		dnsmessage_srv(&r, "_x._tcp.example", records[i].ttl,
		    records[i].numbers, records[i].host);
	assert_int_equal(dnsreply_targets(&t, r.bytes, r.len), 0);
	assert_int_equal(t.count, 4);
	assert_int_equal(t.ttl_s, 40);
	assert_string_equal(t.list[0].host, "a.example");
	assert_int_equal(t.list[0].port, 79);
	assert_string_equal(t.list[1].host, "a.example");
	assert_int_equal(t.list[1].port, 82);
	assert_int_equal(t.list[1].weight, 0);
	assert_string_equal(t.list[2].host, "b.example");
	assert_int_equal(t.list[2].weight, 7);
	assert_string_equal(t.list[3].host, "z.example");
	assert_int_equal(t.list[3].priority, 20);
}

static void
test_too_many(void **state)
{
	static struct dnsreply_targets t;
	static struct dnsmessage r;
	char host[32];

	(void)state;
	dnsmessage_begin(&r, "_x._tcp.example", ns_t_srv);
	for (unsigned int i = 0; i < DNSREPLY_TARGETS_MAX + 9; i++) {
		snprintf(host, sizeof host, "h%u.example", i);
		dnsmessage_srv(&r, "_x._tcp.example", 60,
		    (const unsigned int[]){ 1, 1, 80 }, host);
	}
	assert_int_equal(dnsreply_targets(&t, r.bytes, r.len), 0);
	assert_int_equal(t.count, DNSREPLY_TARGETS_MAX);
}

/* How many there are, or -1. */
static int
read_as(int kind, struct view v)
{
	static struct dnsreply_addresses a;
	static struct dnsreply_targets t;

	if (kind == DNSREPLY_SRV)
		return dnsreply_targets(&t, v.data, v.len) == 0 ? (int)t.count
								: -1;
	return dnsreply_addresses(
		   &a, (enum dnsreply_kind)kind, v.data, v.len) == 0
	    ? (int)a.count
	    : -1;
}

/* Cut off anywhere a reply is none; nothing is read past its end. */
static void
test_cut(void **state)
{
	static struct dnsmessage r[3];

	(void)state;
	dnsmessage_begin(&r[DNSREPLY_A], "a.example", ns_t_a);
	dnsmessage_alias(&r[DNSREPLY_A], "a.example", "b.example", 5);
	dnsmessage_address(&r[DNSREPLY_A], "b.example", "192.0.2.1", 5);
	dnsmessage_begin(&r[DNSREPLY_AAAA], "a.example", ns_t_aaaa);
	dnsmessage_address(&r[DNSREPLY_AAAA], "a.example", "2001:db8::1", 5);
	dnsmessage_begin(&r[DNSREPLY_SRV], "a.example", ns_t_srv);
	dnsmessage_srv(&r[DNSREPLY_SRV], "a.example", 5,
	    (const unsigned int[]){ 1, 2, 3 }, "b.example");
	for (int kind = 0; kind < 3; kind++) {
		for (size_t len = 0; len <= r[kind].len; len++) {
			struct view v = guard_copy(r[kind].bytes, len);

			assert_int_equal(
			    read_as(kind, v), len == r[kind].len ? 1 : -1);
			guard_drop(v);
		}
	}
}

/* Names that point at themselves, past the end, or beyond their length. */
static void
test_bad(void **state)
{
	static struct dnsmessage r;
	size_t at;

	(void)state;
	for (unsigned int pointer = 0; pointer < 0x4000; pointer += 7) {
		dnsmessage_begin(&r, "a.example", ns_t_srv);
		at = r.len;
		dnsmessage_record(
		    &r, "a.example", ns_t_srv, 5, "\0\1\0\1\0\1\300\0", 8);
		r.bytes[r.len - 2] = (uint8_t)(0xc0 | pointer >> 8);
		r.bytes[r.len - 1] = (uint8_t)pointer;
		for (int kind = 0; kind < 3; kind++) {
			struct view v = guard_copy(r.bytes, r.len);

			if (read_as(kind, v) > 0)
				assert_true(
				    kind == DNSREPLY_SRV && pointer < r.len);
			guard_drop(v);
		}
	}
	assert_true(at > 0);
	/* too long for any message */
	assert_int_equal(
	    read_as(DNSREPLY_A, (struct view){ r.bytes, 65536 }), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_alias),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_ttl),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
