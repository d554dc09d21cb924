/* net/addr.h: addresses as values. */
#include "net/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define REQUIRED (-1)

static const struct {
	const char *text;
	int default_port;
	const char *printed;
} good[] = {
	{ "192.0.2.1:2002", REQUIRED, "192.0.2.1:2002" },
	{ "192.0.2.1", 2002, "192.0.2.1:2002" },
	{ "0.0.0.0:0", REQUIRED, "0.0.0.0:0" },
	{ "255.255.255.255:65535", 1, "255.255.255.255:65535" },
	{ "127.0.0.1:00080", REQUIRED, "127.0.0.1:80" },
	{ "2001:db8::1", 2002, "[2001:db8::1]:2002" },
	{ "[2001:db8::1]", 2002, "[2001:db8::1]:2002" },
	{ "[2001:DB8::1]:443", 2002, "[2001:db8::1]:443" },
	{ "[::]:2002", REQUIRED, "[::]:2002" },
	{ "::", 7, "[::]:7" },
	{ "[::]", 0, "[::]:0" },
	{ "::1", 7, "[::1]:7" },
	{ "::ffff:192.0.2.1", 7, "[::ffff:192.0.2.1]:7" },
	{ "[::ffff:192.0.2.1]:8", 7, "[::ffff:192.0.2.1]:8" },
	{ "[fe80::1%lo]:9", 7, "[fe80::1%1]:9" },
	{ "fe80::1%1", 7, "[fe80::1%1]:7" },
	{ "[fe80::ffff:ffff:ffff:ffff%999999999]:65535", 7,
	    "[fe80::ffff:ffff:ffff:ffff%999999999]:65535" },
	{ "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535", 7,
	    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535" },
};

static const struct {
	const char *text;
	int default_port;
} bad[] = {
	{ "", 2002 },
	{ ":", 2002 },
	{ ":2002", 2002 },
	{ "192.0.2.1", REQUIRED },
	{ "[::1]", REQUIRED },
	{ "::1", REQUIRED },
	{ "192.0.2.1:", 2002 },
	{ "192.0.2.1:65536", 2002 },
	{ "192.0.2.1:-1", 2002 },
	{ "192.0.2.1:+1", 2002 },
	{ "192.0.2.1: 1", 2002 },
	{ "192.0.2.1:1 ", 2002 },
	{ "192.0.2.1:000001", 2002 },
	{ "192.0.2.1:http", 2002 },
	{ "192.0.2.256:1", 2002 },
	{ "192.0.2:1", 2002 },
	{ "192.0.2.01:1", 2002 },
	{ "localhost:2002", 2002 },
	{ "*:2002", 2002 },
	{ "[192.0.2.1]:2002", 2002 },
	{ "[::1", 2002 },
	{ "::1]", 2002 },
	{ "[::1]2002", 2002 },
	{ "[::1]:", 2002 },
	{ "[::1]:2002x", 2002 },
	{ "[]:2002", 2002 },
	{ "[[::1]]:2002", 2002 },
	{ ":::1", 2002 },
	{ "1:2:3:4:5:6:7:8:9", 2002 },
	{ "fe80::1%", 2002 },
	{ "fe80::1%nosuchinterface", 2002 },
	{ "fe80::1%0", 2002 },
	{ "fe80::1%1x", 2002 },
	{ "fe80::1%99999999999999999999", 2002 },
	{ "192.0.2.1%lo", 2002 },
};

static struct addr
addr(const char *text)
{
	struct addr a;
	const char *why;

	assert_int_equal(addr_parse(&a, text, 2002, &why), 0);
	return a;
}

static void
parses_and_prints(void **state)
{
	char buf[ADDR_STR_LEN];
	struct addr a, again;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_int_equal(
		    addr_parse(&a, good[i].text, good[i].default_port, &why),
		    0);
		assert_null(why);
		assert_string_equal(addr_format(buf, &a), good[i].printed);
		assert_int_equal(addr_parse(&again, buf, REQUIRED, &why), 0);
		assert_true(addr_equal(&a, &again));
	}
}

static void
refuses(void **state)
{
	struct addr a, untouched;
	const char *why;

	(void)state;
	memset(&a, 0x5a, sizeof a);
	memset(&untouched, 0x5a, sizeof untouched);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		why = NULL;
		if (addr_parse(&a, bad[i].text, bad[i].default_port, &why) == 0)
			fail_msg("took \"%s\"", bad[i].text);
		assert_non_null(why);
		assert_memory_equal(&a, &untouched, sizeof a);
	}
}

static void
refuses_any_length(void **state)
{
	char text[300];
	struct addr a;
	const char *why;

	(void)state;
	for (size_t n = 0; n < sizeof text; n++) {
		memset(text, '1', n);
		text[n] = '\0';
		assert_int_equal(addr_parse(&a, text, 1, &why), -1);
		memset(text, ':', n);
		assert_int_equal(
		    addr_parse(&a, text, 1, &why), n == 2 ? 0 : -1);
		memset(text, '[', n);
		assert_int_equal(addr_parse(&a, text, 1, &why), -1);
	}
}

static void
prints_no_address(void **state)
{
	struct addr a = { 0 };
	char buf[ADDR_STR_LEN];

	(void)state;
	assert_string_equal(addr_format(buf, &a), "(no address)");
	assert_false(addr_is_wildcard(&a));
}

static void
knows_lengths_ports_and_wildcards(void **state)
{
	struct addr four = addr("0.0.0.0:1"), six = addr("[::]:2");

	(void)state;
	assert_int_equal(addr_len(&four), sizeof(struct sockaddr_in));
	assert_int_equal(addr_len(&six), sizeof(struct sockaddr_in6));
	assert_true(addr_is_wildcard(&four));
	assert_true(addr_is_wildcard(&six));
	addr_set_port(&four, 65535);
	addr_set_port(&six, 258);
	assert_int_equal(addr_port(&four), 65535);
	assert_int_equal(addr_port(&six), 258);
	four = addr("127.0.0.1");
	six = addr("::ffff:0.0.0.0");
	assert_false(addr_is_wildcard(&four));
	assert_false(addr_is_wildcard(&six));
}

static void
knows_what_can_be_listened_on(void **state)
{
	static const char *const yes[] = { "0.0.0.0", "127.0.0.1",
		"223.255.255.255", "240.0.0.1", "::", "::1", "fe80::1%1" };
	static const char *const no[] = { "224.0.0.0", "239.255.255.255",
		"255.255.255.255", "ff02::1", "::ffff:127.0.0.1" };
	struct addr none = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
		struct addr a = addr(yes[i]);

		assert_true(addr_is_listenable(&a));
	}
	for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
		struct addr a = addr(no[i]);

		assert_false(addr_is_listenable(&a));
	}
	assert_false(addr_is_listenable(&none));
}

static void
compares(void **state)
{
	static const char *const different[] = { "192.0.2.1:1", "192.0.2.1:2",
		"192.0.2.2:1", "[::ffff:192.0.2.1]:1", "[2001:db8::1]:1",
		"[2001:db8::1]:2", "[2001:db8::2]:1", "[fe80::1%1]:1",
		"[fe80::1%2]:1" };
	size_t n = sizeof different / sizeof *different;

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			struct addr a = addr(different[i]);
			struct addr b = addr(different[j]);

			assert_int_equal(addr_equal(&a, &b), i == j);
		}
}

static const struct {
	const char *text;
	unsigned int prefix4, prefix6;
	uint8_t key[ADDR_KEY_LEN];
} prefixes[] = {
	{ "192.0.2.255", 32, 56, { 4, 192, 0, 2, 255 } },
	{ "192.0.2.255", 24, 56, { 4, 192, 0, 2, 0 } },
	{ "192.0.2.255", 25, 56, { 4, 192, 0, 2, 128 } },
	{ "192.0.2.255", 31, 56, { 4, 192, 0, 2, 254 } },
	{ "192.0.2.255", 1, 56, { 4, 128 } },
	{ "192.0.2.255", 0, 56, { 4 } },
	{ "[::ffff:192.0.2.255]", 24, 56, { 4, 192, 0, 2 } },
	{ "2001:db8:ffff:ffff:ffff::1", 32, 56,
	    { 6, 0x20, 1, 0x0d, 0xb8, 255, 255, 255 } },
	{ "2001:db8:ffff:ffff:ffff::1", 32, 52,
	    { 6, 0x20, 1, 0x0d, 0xb8, 255, 255, 0xf0 } },
	{ "2001:db8:ffff:ffff:ffff::1", 32, 1, { 6 } },
	{ "ffff::1", 32, 128,
	    { 6, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 } },
	{ "ffff::1", 32, 127, { 6, 255, 255 } },
};

static void
masks_prefixes(void **state)
{
	uint8_t key[ADDR_KEY_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		struct addr a = addr(prefixes[i].text);

		memset(key, 0xa5, sizeof key);
		addr_prefix_key(
		    key, &a, prefixes[i].prefix4, prefixes[i].prefix6);
		assert_memory_equal(key, prefixes[i].key, sizeof key);
	}
}

static void
knows_prefixes(void **state)
{
	static const struct {
		const char *address, *prefix;
		unsigned int bits;
		bool in;
	} cases[] = {
		{ "192.0.2.255", "192.0.2.0", 24, true },
		{ "192.0.3.0", "192.0.2.0", 24, false },
		{ "192.0.2.1", "192.0.2.1", 32, true },
		{ "192.0.2.2", "192.0.2.1", 32, false },
		{ "192.0.2.2", "0.0.0.0", 0, true },
		{ "2001:db8::ffff", "2001:db8::", 64, true },
		{ "2001:db8:0:1::", "2001:db8::", 64, false },
		{ "2001:db8::1", "0.0.0.0", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct addr a = addr(cases[i].address);
		struct addr p = addr(cases[i].prefix);

		assert_int_equal(
		    addr_in_prefix(&a, &p, cases[i].bits), cases[i].in);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_and_prints),
		cmocka_unit_test(knows_what_can_be_listened_on),
		cmocka_unit_test(refuses),
		cmocka_unit_test(refuses_any_length),
		cmocka_unit_test(prints_no_address),
		cmocka_unit_test(knows_lengths_ports_and_wildcards),
		cmocka_unit_test(compares),
		cmocka_unit_test(masks_prefixes),
		cmocka_unit_test(knows_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
