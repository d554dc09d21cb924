/* PROXY v1 and v2, Simple Proxy Protocol: tables, every length, round trips. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/header.h"
#include "tests/support.h"

typedef enum header_fault reader(struct view, struct header_ends *, size_t *);

static bool seen[HEADER_FAULTS];

static enum header_fault
read_with(reader *read, struct view bytes, struct header_ends *e, size_t *used)
{
	enum header_fault fault;

	memset(e, 0xee, sizeof *e);
	*used = 0xeeee;
	fault = read(bytes, e, used);
	assert_true(fault < HEADER_FAULTS);
	seen[fault] = true;
	return fault;
}

static void
assert_addr(const struct addr *a, const char *text)
{
	char buf[ADDR_STR_LEN];

	assert_string_equal(addr_format(buf, a), text);
}

static struct addr
make(const char *text)
{
	const char *why;
	struct addr a = { 0 };

	if (text != NULL)
		assert_int_equal(addr_parse(&a, text, 0, &why), 0);
	return a;
}

#define SIX_LONG "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

static const struct {
	const char *line; /* and a payload behind it */
	size_t used;
	const char *client, *proxy; /* NULL: none */
} v1_good[] = {
	/* the specification's own example, and its longest lines */
	{ "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n",
	    47, "192.168.0.1:56324", "192.168.0.11:443" },
	{ "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", 56,
	    "255.255.255.255:65535", "255.255.255.255:65535" },
	{ "PROXY TCP6 " SIX_LONG " " SIX_LONG " 65535 65535\r\n", 104,
	    "[" SIX_LONG "]:65535", "[" SIX_LONG "]:65535" },
	{ "PROXY UNKNOWN\r\n", 15, NULL, NULL },
	{ "PROXY UNKNOWN " SIX_LONG " " SIX_LONG " 65535 65535\r\n", 107, NULL,
	    NULL },
	{ "PROXY UNKNOWN  what\tever\r\n\r\n", 26, NULL, NULL },
	{ "PROXY TCP6 ::1 2001:DB8::2 0 1\r\n", 32, "[::1]:0",
	    "[2001:db8::2]:1" },
	{ "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 7 8\r\n", 45, "192.0.2.1:7",
	    "[2001:db8::2]:8" },
};

static void
test_v1_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof v1_good / sizeof v1_good[0]; i++) {
		struct view whole =
		    guard_copy(v1_good[i].line, strlen(v1_good[i].line));
		struct header_ends e;
		size_t used;

		assert_int_equal(
		    read_with(header_read, whole, &e, &used), HEADER_OK);
		assert_int_equal(used, v1_good[i].used);
		assert_int_equal(e.local, v1_good[i].client == NULL);
		if (v1_good[i].client != NULL) {
			assert_addr(&e.client, v1_good[i].client);
			assert_addr(&e.proxy, v1_good[i].proxy);
		}
		guard_drop(whole);
	}
}

/* `fill` more bytes of 'x' behind the text. */
static const struct {
	const char *line;
	size_t fill;
	enum header_fault fault;
} v1_bad[] = {
	{ "GET / HTTP/1.1\r\n", 0, HEADER_ABSENT },
	{ "PROXYTCP4 ", 0, HEADER_ABSENT },
	{ "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 0, HEADER_ABSENT },
	{ "\x16\x03\x01", 0, HEADER_ABSENT },
	{ "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 0, HEADER_V1_FAMILY },
	{ "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", 0, HEADER_V1_FAMILY },
	{ "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", 0, HEADER_V1_FAMILY },
	{ "PROXY UNKNOWNX\r\n", 0, HEADER_V1_FAMILY },
	{ "PROXY \r\n", 0, HEADER_V1_FAMILY },
	{ "PROXY TCP4\r\n", 0, HEADER_V1_FAMILY },
	{ "PROXY TCP4 \r\n", 0, HEADER_V1_LINE },
	{ "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", 0, HEADER_V1_LINE },
	{ "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", 0, HEADER_V1_LINE },
	{ "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", 0, HEADER_V1_LINE },
	{ "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", 0, HEADER_V1_LINE },
	{ "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", 0, HEADER_V1_LINE },
	{ "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX", 0, HEADER_V1_LINE },
	{ "PROXY UNKNOWN \n\r\n", 0, HEADER_V1_LINE },
	{ "PROXY TCP4 ", 96, HEADER_V1_LINE }, /* 107 bytes, no end */
	{ "PROXY UNKNOWN ", 93, HEADER_V1_LINE },
	{ "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", 0, HEADER_V1_ADDRESS },
	{ "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", 0, HEADER_V1_ADDRESS },
	{ "PROXY TCP4 ::1 ::1 1 2\r\n", 0, HEADER_V1_ADDRESS },
	{ "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", 0, HEADER_V1_ADDRESS },
	{ "PROXY TCP6 ::1 ::1%eth0 1 2\r\n", 0, HEADER_V1_ADDRESS },
	{ "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", 0, HEADER_V1_PORT },
	{ "PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\r\n", 0, HEADER_V1_PORT },
	{ "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", 0, HEADER_V1_PORT },
	{ "PROXY TCP4 1.2.3.4 1.2.3.4 1 000002\r\n", 0, HEADER_V1_PORT },
	{ "PROXY TCP4 1.2.3.4 1.2.3.4 1 2x\r\n", 0, HEADER_V1_PORT },
	{ "PROXY TCP4 ", 95, HEADER_MORE }, /* 106 bytes: CR may follow */
};

static void
test_v1_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof v1_bad / sizeof v1_bad[0]; i++) {
		size_t len = strlen(v1_bad[i].line);
		size_t all = len + v1_bad[i].fill;
		uint8_t *p = guard_alloc(all);
		struct header_ends e;
		enum header_fault got;
		size_t used;

		memset(p, 'x', all);
		memcpy(p, v1_bad[i].line, len);
		got =
		    read_with(header_read, (struct view){ p, all }, &e, &used);
		if (got != v1_bad[i].fault)
			fail_msg("%s: expected \"%s\", got \"%s\"",
			    v1_bad[i].line, header_fault_str(v1_bad[i].fault),
			    header_fault_str(got));
		guard_free(p, all);
	}
}

/* A NUL cannot hide words behind it. */
static void
test_v1_nul(void **state)
{
	static const char line[] = "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\0 3\r\n";
	struct view bytes = guard_copy(line, sizeof line - 1);
	struct header_ends e;
	size_t used;

	(void)state;
	assert_int_equal(
	    read_with(header_read, bytes, &e, &used), HEADER_V1_LINE);
	guard_drop(bytes);
}

#define SIGNATURE "0d0a0d0a000d0a515549540a"
#define FOUR "c0000201 c6336407 dc04 01bb" /* 192.0.2.1:56324, …100.7:443 */
#define SIX                                                                  \
	"20010db8000000000000000000000001 20010db8000000000000000000000002 " \
	"0001 ffff"

static const struct {
	const char *hex;
	size_t used;
	const char *client, *proxy;
} v2_good[] = {
	{ SIGNATURE "21 11 000c" FOUR "474554", 28, "192.0.2.1:56324",
	    "198.51.100.7:443" },
	{ SIGNATURE "21 12 000c" FOUR, 28, "192.0.2.1:56324",
	    "198.51.100.7:443" },
	{ SIGNATURE "21 21 0024" SIX, 52, "[2001:db8::1]:1",
	    "[2001:db8::2]:65535" },
	{ SIGNATURE "21 22 0024" SIX, 52, "[2001:db8::1]:1",
	    "[2001:db8::2]:65535" },
	/* mapped addresses are the IPv4 that they mean */
	{ SIGNATURE "21 21 0024 00000000000000000000ffffc0000201"
		    "00000000000000000000ffffc0000202 0001 0002",
	    52, "192.0.2.1:1", "192.0.2.2:2" },
	/* a NOOP of two bytes behind the addresses, and one that lies */
	{ SIGNATURE "21 11 0011" FOUR "04 0002 0000 47", 33, "192.0.2.1:56324",
	    "198.51.100.7:443" },
	{ SIGNATURE "21 11 000f" FOUR "04 ffff", 31, "192.0.2.1:56324",
	    "198.51.100.7:443" },
	/* LOCAL: the rest is skipped, whatever family it says */
	{ SIGNATURE "20 00 0000", 16, NULL, NULL },
	{ SIGNATURE "20 00 0003 aabbcc 47", 19, NULL, NULL },
	{ SIGNATURE "20 11 0000", 16, NULL, NULL },
	{ SIGNATURE "20 ff 0000", 16, NULL, NULL },
	/* UNSPEC in either half */
	{ SIGNATURE "21 00 0000", 16, NULL, NULL },
	{ SIGNATURE "21 10 0000", 16, NULL, NULL },
	{ SIGNATURE "21 01 0002 abcd", 18, NULL, NULL },
};

/* Both readers of it; `used` is what the table says. */
static void
test_v2_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof v2_good / sizeof v2_good[0]; i++) {
		uint8_t bytes[128];
		size_t len = support_hex(bytes, sizeof bytes, v2_good[i].hex);
		struct view whole = guard_copy(bytes, len);
		struct header_ends e;
		size_t used;

		assert_int_equal(
		    read_with(header_read, whole, &e, &used), HEADER_OK);
		assert_int_equal(used, v2_good[i].used);
		assert_int_equal(e.local, v2_good[i].client == NULL);
		if (v2_good[i].client != NULL) {
			assert_addr(&e.client, v2_good[i].client);
			assert_addr(&e.proxy, v2_good[i].proxy);
		}
		guard_drop(whole);
	}
}

/* Whole headers of `len` bytes after the 16: UNIX names, the longest TLVs. */
static const struct {
	uint8_t command, family;
	uint16_t len;
	enum header_fault fault;
} v2_lengths[] = {
	{ 0x21, 0x31, 216, HEADER_OK },
	{ 0x21, 0x32, 217, HEADER_OK },
	{ 0x21, 0x31, 215, HEADER_V2_LENGTH },
	{ 0x21, 0x11, 520, HEADER_OK },
	{ 0x21, 0x11, 521, HEADER_V2_LENGTH },
	{ 0x21, 0x11, 65535, HEADER_V2_LENGTH },
	{ 0x20, 0x00, 520, HEADER_OK },
	{ 0x20, 0x00, 521, HEADER_V2_LENGTH },
	{ 0x21, 0x11, 11, HEADER_V2_LENGTH },
	{ 0x21, 0x12, 0, HEADER_V2_LENGTH },
	{ 0x21, 0x21, 35, HEADER_V2_LENGTH },
	{ 0x21, 0x22, 12, HEADER_V2_LENGTH },
	{ 0x21, 0x13, 12, HEADER_V2_FAMILY },
	{ 0x21, 0x41, 12, HEADER_V2_FAMILY },
	{ 0x21, 0x0f, 12, HEADER_V2_FAMILY },
	{ 0x22, 0x11, 12, HEADER_V2_COMMAND },
	{ 0x2f, 0x11, 12, HEADER_V2_COMMAND },
	{ 0x11, 0x11, 12, HEADER_V2_VERSION },
	{ 0x31, 0x11, 12, HEADER_V2_VERSION },
	{ 0x01, 0x11, 12, HEADER_V2_VERSION },
};

static void
test_v2_lengths(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof v2_lengths / sizeof v2_lengths[0]; i++) {
		size_t all = 16u + v2_lengths[i].len;
		uint8_t *p = guard_alloc(all);
		struct header_ends e;
		enum header_fault got;
		size_t used;

		memset(p, 0x5a, all);
		support_hex(p, all, SIGNATURE);
		p[12] = v2_lengths[i].command;
		p[13] = v2_lengths[i].family;
		p[14] = (uint8_t)(v2_lengths[i].len >> 8);
		p[15] = (uint8_t)v2_lengths[i].len;
		got =
		    read_with(header_read, (struct view){ p, all }, &e, &used);
		if (got != v2_lengths[i].fault)
			fail_msg("row %zu: expected \"%s\", got \"%s\"", i,
			    header_fault_str(v2_lengths[i].fault),
			    header_fault_str(got));
		if (got == HEADER_OK)
			assert_int_equal(used, all);
		guard_free(p, all);
	}
}

static void
test_v2_signature(void **state)
{
	uint8_t good[28];
	size_t len =
	    support_hex(good, sizeof good, SIGNATURE "21 11 000c" FOUR);

	(void)state;
	for (size_t i = 0; i < 12; i++) {
		struct header_ends e;
		size_t used;

		good[i] ^= 0x80;
		assert_int_equal(read_with(header_read,
				     (struct view){ good, len }, &e, &used),
		    HEADER_ABSENT);
		good[i] ^= 0x80;
	}
}

/* Every prefix of a good header asks for more, and reads nothing past it. */
static void
cut(reader *read, const uint8_t *bytes, size_t used, enum header_fault fault)
{
	for (size_t len = 0; len < used; len++) {
		struct view part = guard_copy(bytes, len);
		struct header_ends e;
		size_t got;

		assert_int_equal(read_with(read, part, &e, &got), fault);
		guard_drop(part);
	}
}

static void
test_cut(void **state)
{
	uint8_t bytes[128];

	(void)state;
	for (size_t i = 0; i < sizeof v1_good / sizeof v1_good[0]; i++) {
		memcpy(bytes, v1_good[i].line, v1_good[i].used);
		cut(header_read, bytes, v1_good[i].used, HEADER_MORE);
		cut(header_v1_read, bytes, v1_good[i].used, HEADER_MORE);
	}
	for (size_t i = 0; i < sizeof v2_good / sizeof v2_good[0]; i++) {
		support_hex(bytes, sizeof bytes, v2_good[i].hex);
		cut(header_read, bytes, v2_good[i].used, HEADER_MORE);
		cut(header_v2_read, bytes, v2_good[i].used, HEADER_MORE);
	}
	support_hex(bytes, sizeof bytes, "56ec" SIX SIX);
	cut(header_spp_read, bytes, HEADER_SPP_LEN, HEADER_SPP_LENGTH);
}

/* What a bad header is told of does not change with the bytes still to come. */
static void
test_bad_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof v1_bad / sizeof v1_bad[0]; i++) {
		size_t len = strlen(v1_bad[i].line);

		for (size_t n = 0; n < len; n++) {
			struct view part = guard_copy(v1_bad[i].line, n);
			struct header_ends e;
			enum header_fault got;
			size_t used;

			got = read_with(header_read, part, &e, &used);
			if (got != HEADER_MORE)
				assert_int_equal(got, v1_bad[i].fault);
			guard_drop(part);
		}
	}
}

/* The header's own picture: magic, client, proxy, two ports. */
static void
test_spp(void **state)
{
	static const char hex[] = "56ec 00000000000000000000ffffc0000201"
				  "20010db8000000000000000000000035"
				  "dc04 0035 68656c6c6f";
	uint8_t bytes[64];
	size_t len = support_hex(bytes, sizeof bytes, hex);
	struct view whole = guard_copy(bytes, len);
	struct header_ends e;
	size_t used;

	(void)state;
	assert_int_equal(
	    read_with(header_spp_read, whole, &e, &used), HEADER_OK);
	assert_int_equal(used, 38);
	assert_addr(&e.client, "192.0.2.1:56324");
	assert_addr(&e.proxy, "[2001:db8::35]:53");
	guard_drop(whole);
	bytes[1] = 0xed;
	assert_int_equal(
	    read_with(header_spp_read, (struct view){ bytes, len }, &e, &used),
	    HEADER_SPP_MAGIC);
	assert_int_equal(
	    read_with(header_spp_read, (struct view){ bytes, 1 }, &e, &used),
	    HEADER_SPP_LENGTH);
	bytes[0] = 0;
	assert_int_equal(
	    read_with(header_spp_read, (struct view){ bytes, 1 }, &e, &used),
	    HEADER_SPP_MAGIC);
}

/* What is written, byte for byte. */
static const struct {
	const char *client, *proxy; /* NULL: local */
	const char *line;
	const char *v2_tcp, *v2_udp, *spp;
} written[] = {
	{ "192.0.2.1:56324", "198.51.100.7:443",
	    "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
	    SIGNATURE "21 11 000c" FOUR, SIGNATURE "21 12 000c" FOUR,
	    "56ec 00000000000000000000ffffc0000201"
	    "00000000000000000000ffffc6336407 dc04 01bb" },
	{ "[::ffff:192.0.2.1]:56324", "198.51.100.7:443",
	    "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
	    SIGNATURE "21 11 000c" FOUR, SIGNATURE "21 12 000c" FOUR,
	    "56ec 00000000000000000000ffffc0000201"
	    "00000000000000000000ffffc6336407 dc04 01bb" },
	{ "[2001:db8::1]:1", "[2001:db8::2]:65535",
	    "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
	    SIGNATURE "21 21 0024" SIX, SIGNATURE "21 22 0024" SIX,
	    "56ec" SIX },
	{ "192.0.2.1:7", "[2001:db8::2]:8",
	    "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 7 8\r\n",
	    SIGNATURE "21 21 0024 00000000000000000000ffffc0000201"
		      "20010db8000000000000000000000002 0007 0008",
	    SIGNATURE "21 22 0024 00000000000000000000ffffc0000201"
		      "20010db8000000000000000000000002 0007 0008",
	    "56ec 00000000000000000000ffffc0000201"
	    "20010db8000000000000000000000002 0007 0008" },
	{ NULL, NULL, "PROXY UNKNOWN\r\n", SIGNATURE "20 00 0000",
	    SIGNATURE "20 00 0000",
	    "56ec 00000000000000000000000000000000"
	    "00000000000000000000000000000000 0000 0000" },
};

static void
assert_bytes(const uint8_t *got, size_t len, const char *hex)
{
	uint8_t want[HEADER_V2_MAX];

	assert_int_equal(len, support_hex(want, sizeof want, hex));
	assert_memory_equal(got, want, len);
}

static void
test_written(void **state)
{
	uint8_t *v1 = guard_alloc(HEADER_V1_MAX);
	uint8_t *v2 = guard_alloc(HEADER_V2_MAX);
	uint8_t *spp = guard_alloc(HEADER_SPP_LEN);

	(void)state;
	for (size_t i = 0; i < sizeof written / sizeof written[0]; i++) {
		struct header_ends e = { .local = written[i].client == NULL,
			.client = make(written[i].client),
			.proxy = make(written[i].proxy) };
		size_t len = header_v1(v1, &e);

		assert_int_equal(len, strlen(written[i].line));
		assert_memory_equal(v1, written[i].line, len);
		len = header_v2(v2, SOCK_TCP, &e);
		assert_bytes(v2, len, written[i].v2_tcp);
		len = header_v2(v2, SOCK_UDP, &e);
		assert_bytes(v2, len, written[i].v2_udp);
		len = header_spp(spp, &e);
		assert_bytes(spp, len, written[i].spp);
	}
	guard_free(v1, HEADER_V1_MAX);
	guard_free(v2, HEADER_V2_MAX);
	guard_free(spp, HEADER_SPP_LEN);
}

static void
back(reader *read, const uint8_t *bytes, size_t len,
    const struct header_ends *want)
{
	struct view whole = guard_copy(bytes, len);
	struct header_ends e;
	size_t used;

	assert_int_equal(read_with(read, whole, &e, &used), HEADER_OK);
	assert_int_equal(used, len);
	assert_false(e.local);
	assert_true(addr_equal(&e.client, &want->client));
	assert_true(addr_equal(&e.proxy, &want->proxy));
	guard_drop(whole);
}

/* All that is written is read again, for every pair of these. */
static void
test_round_trips(void **state)
{
	static const char *const ends[] = { "0.0.0.0:0", "127.0.0.1:1",
		"255.255.255.255:65535", "192.0.2.1:443", "[::]:0",
		"[::1]:65535", "[2001:db8::1]:53", "[" SIX_LONG "]:65535",
		"[fe80::1:2:3:4]:9" };
	uint8_t out[HEADER_V2_MAX];
	size_t n = sizeof ends / sizeof ends[0];

	(void)state;
	for (size_t i = 0; i < n * n; i++) {
		struct header_ends e = { .client = make(ends[i / n]),
			.proxy = make(ends[i % n]) };

		back(header_read, out, header_v1(out, &e), &e);
		back(header_read, out, header_v2(out, SOCK_TCP, &e), &e);
		back(header_v2_read, out, header_v2(out, SOCK_UDP, &e), &e);
		back(header_spp_read, out, header_spp(out, &e), &e);
	}
}

static const char *
fault_name(int fault)
{
	return header_fault_str((enum header_fault)fault);
}

/* Last: every fault was reached by one of the tables above. */
static void
test_all_faults(void **state)
{
	(void)state;
	support_all_seen(seen, HEADER_FAULTS, fault_name);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1_good),
		cmocka_unit_test(test_v1_bad),
		cmocka_unit_test(test_v1_nul),
		cmocka_unit_test(test_v2_good),
		cmocka_unit_test(test_v2_lengths),
		cmocka_unit_test(test_v2_signature),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_bad_cut),
		cmocka_unit_test(test_spp),
		cmocka_unit_test(test_written),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_all_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
