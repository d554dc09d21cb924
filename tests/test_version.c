/* roughtime/version.h: the table of wire formats, names and units of time. */
#include "roughtime/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "roughtime/message.h"
#include "tests/support.h"

#define S 1000000ull /* microseconds */
/* 2026-09-21T14:13:20Z: day 61304 of MJD */
#define MOMENT_S 1790000000ull
#define MOMENT_MJD (61304ull << 40 | 51200 * S)

#define DASHES "RoughTime v1 delegation signature--"
#define PLAIN "RoughTime v1 delegation signature"
#define CAPITAL "RoughTime v1 response signature"

/* Written down a second time, from the texts and not from the table. */
static const struct {
	uint32_t number;
	const char *name;
	bool framed, typed, batched;
	size_t nonce_len, node_len;
	enum version_hash hash;
	enum version_leaf leaf;
	enum version_unit unit;
	enum version_nonce_place place;
	bool on_top, in_srep;
	uint32_t padding;
	enum cert_kind cert;
	const char *response, *delegation;
} rows[VERSION_ROWS] = {
	{ 0, "google", false, false, false, 64, 64, VERSION_SHA512,
	    VERSION_LEAF_NONCE, VERSION_UNIX_US, VERSION_NONCE_TOP, false,
	    false, TAG_PAD_FF, CERT_GOOGLE, CAPITAL, DASHES },
	{ 0x80000001, "draft-01", true, false, false, 64, 32,
	    VERSION_SHA512_TRUNC, VERSION_LEAF_NONCE, VERSION_MJD_US,
	    VERSION_NONCE_SREP, true, false, TAG_PAD, CERT_DRAFT01, CAPITAL,
	    DASHES },
	{ 0x80000002, "draft-02", true, false, false, 64, 32,
	    VERSION_SHA512_256, VERSION_LEAF_NONCE, VERSION_MJD_US,
	    VERSION_NONCE_SREP, true, false, TAG_PAD, CERT_DRAFT01, CAPITAL,
	    DASHES },
	{ 0x80000003, "draft-03", true, false, false, 64, 32,
	    VERSION_SHA512_TRUNC, VERSION_LEAF_NONCE, VERSION_MJD_US,
	    VERSION_NONCE_TOP, true, false, TAG_PAD, CERT_DRAFT01, CAPITAL,
	    DASHES },
	{ 0x80000004, "draft-04", true, false, false, 64, 32,
	    VERSION_SHA512_TRUNC, VERSION_LEAF_NONCE, VERSION_MJD_US,
	    VERSION_NONCE_TOP, true, false, TAG_PAD, CERT_DRAFT01, CAPITAL,
	    DASHES },
	{ 0x80000005, "draft-05", true, false, false, 32, 32,
	    VERSION_SHA512_TRUNC, VERSION_LEAF_NONCE, VERSION_MJD_US,
	    VERSION_NONCE_TOP, true, false, TAG_PAD, CERT_DRAFT01, CAPITAL,
	    DASHES },
	{ 0x80000006, "draft-06", true, false, false, 32, 32,
	    VERSION_SHA512_TRUNC, VERSION_LEAF_NONCE, VERSION_MJD_US,
	    VERSION_NONCE_TOP, true, false, TAG_PAD, CERT_DRAFT01, CAPITAL,
	    DASHES },
	{ 0x80000007, "draft-07", true, false, false, 32, 32,
	    VERSION_SHA512_256, VERSION_LEAF_NONCE, VERSION_MJD_US,
	    VERSION_NONCE_TOP, true, false, TAG_PAD, CERT_DRAFT07, CAPITAL,
	    PLAIN },
	{ 0x80000008, "draft-08", true, false, false, 32, 32,
	    VERSION_SHA512_TRUNC, VERSION_LEAF_NONCE, VERSION_UNIX_S,
	    VERSION_NONCE_TOP, true, false, TAG_ZZZZ, CERT_DRAFT08, CAPITAL,
	    DASHES },
	{ 0x80000009, "draft-09", true, false, false, 32, 32,
	    VERSION_SHA512_TRUNC, VERSION_LEAF_NONCE, VERSION_UNIX_S,
	    VERSION_NONCE_TOP, true, false, TAG_ZZZZ, CERT_DRAFT08, CAPITAL,
	    DASHES },
	{ 0x8000000a, "draft-10", true, false, false, 32, 32,
	    VERSION_SHA512_TRUNC, VERSION_LEAF_NONCE, VERSION_UNIX_S,
	    VERSION_NONCE_TOP, true, false, TAG_ZZZZ, CERT_DRAFT08, CAPITAL,
	    DASHES },
	{ 0x8000000b, "draft-11", true, false, false, 32, 32,
	    VERSION_SHA512_TRUNC, VERSION_LEAF_NONCE, VERSION_UNIX_S,
	    VERSION_NONCE_TOP, true, false, TAG_ZZZZ, CERT_DRAFT08, CAPITAL,
	    DASHES },
	{ 0x8000000c, "draft-12", true, false, false, 32, 32,
	    VERSION_SHA512_TRUNC, VERSION_LEAF_PACKET, VERSION_UNIX_S,
	    VERSION_NONCE_TOP, false, true, TAG_ZZZZ, CERT_DRAFT12, CAPITAL,
	    PLAIN },
	{ 0x8000000c, "draft-14", true, true, true, 32, 32,
	    VERSION_SHA512_TRUNC, VERSION_LEAF_PACKET, VERSION_UNIX_S,
	    VERSION_NONCE_TOP, false, true, TAG_ZZZZ, CERT_DRAFT12, CAPITAL,
	    PLAIN },
	{ 1, "rfc10049", true, true, true, 32, 32, VERSION_SHA512_TRUNC,
	    VERSION_LEAF_PACKET, VERSION_UNIX_S, VERSION_NONCE_TOP, false, true,
	    TAG_ZZZZ, CERT_RFC, "Roughtime v1 response signature",
	    "Roughtime v1 delegation signature" },
};

static void
assert_context(const struct version_context *c, const char *text)
{
	assert_int_equal(c->len, strlen(text) + 1);
	assert_memory_equal(c->text, text, c->len); /* with its NUL byte */
}

static void
table_is_as_the_texts_say(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSION_ROWS; i++) {
		const struct version *v = &version_table[i];

		assert_int_equal(v->row, i);
		assert_int_equal(v->number, rows[i].number);
		assert_string_equal(v->name, rows[i].name);
		assert_int_equal(v->framed, rows[i].framed);
		assert_int_equal(v->typed, rows[i].typed);
		assert_int_equal(v->batched, rows[i].batched);
		assert_int_equal(v->nonce_len, rows[i].nonce_len);
		assert_int_equal(v->node_len, rows[i].node_len);
		assert_int_equal(v->hash, rows[i].hash);
		assert_int_equal(v->leaf, rows[i].leaf);
		assert_int_equal(v->unit, rows[i].unit);
		assert_int_equal(v->nonce_place, rows[i].place);
		assert_int_equal(v->ver_on_top, rows[i].on_top);
		assert_int_equal(v->ver_in_srep, rows[i].in_srep);
		assert_int_equal(v->padding_tag, rows[i].padding);
		assert_int_equal(v->cert, rows[i].cert);
		assert_context(&v->response_context, rows[i].response);
		assert_context(&v->delegation_context, rows[i].delegation);
	}
	assert_int_equal(VERSION_ALL, 0x7fff);
}

static void
finds_by_number(void **state)
{
	static const uint32_t unknown[] = { 0, 2, 0x7fffffff, 0x80000000,
		0x8000000d, 0xffffffff };

	(void)state;
	for (size_t i = VERSION_DRAFT01; i < VERSION_DRAFT12; i++) {
		uint32_t number = 0x80000000u + (uint32_t)i;

		assert_ptr_equal(
		    version_find(number, false), &version_table[i]);
		assert_ptr_equal(version_find(number, true), &version_table[i]);
	}
	assert_int_equal(version_find(0x8000000c, false)->row, VERSION_DRAFT12);
	assert_int_equal(version_find(0x8000000c, true)->row, VERSION_DRAFT14);
	assert_int_equal(version_find(1, true)->row, VERSION_RFC);
	assert_null(version_find(1, false)); /* TYPE is mandatory */
	for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
		assert_null(version_find(unknown[i], true));
		assert_null(version_find(unknown[i], false));
	}
}

static void
finds_by_name(void **state)
{
	static const struct {
		const char *name;
		enum version_row row;
	} known[] = {
		{ "google", VERSION_GOOGLE },
		{ "rfc", VERSION_RFC },
		{ "1", VERSION_RFC },
		{ "0x1", VERSION_RFC },
		{ "0x80000001", VERSION_DRAFT01 },
		{ "8000000b", VERSION_DRAFT11 },
		{ "8000000B", VERSION_DRAFT11 },
		{ "0x8000000c", VERSION_DRAFT14 },
		{ "draft-12", VERSION_DRAFT12 },
		{ "draft-13", VERSION_DRAFT12 },
		{ "draft-14", VERSION_DRAFT14 },
		{ "draft-19", VERSION_DRAFT14 },
	};
	static const char *const unknown[] = { "", "0", "0x", "2", "rfc1",
		"draft-", "draft-00", "draft-20", "draft-7", "draft-07 ",
		"draft--1", "draft-+1", "8000000d", "180000001", "-1", " 1",
		"1x", "Google" };

	(void)state;
	for (size_t i = 0; i < VERSION_ROWS; i++)
		assert_ptr_equal(
		    version_by_name(version_table[i].name), &version_table[i]);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		const struct version *v = version_by_name(known[i].name);

		assert_non_null(v);
		assert_int_equal(v->row, known[i].row);
	}
	for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
		assert_null(version_by_name(unknown[i]));
}

static void
numbers_ascend(void **state)
{
	uint8_t *out = guard_alloc(4 * VERSION_ROWS);
	uint8_t want[64];
	size_t len;

	(void)state;
	len = support_hex(want, sizeof want,
	    "01000000 01000080 02000080 03000080 04000080 05000080 06000080"
	    "07000080 08000080 09000080 0a000080 0b000080 0c000080");
	assert_int_equal(version_numbers(out, VERSION_ALL), len);
	assert_memory_equal(out, want, len);
	assert_int_equal(version_numbers(out, 1u << VERSION_GOOGLE), 0);
	assert_int_equal(version_numbers(out, 1u << VERSION_DRAFT12), 4);
	assert_memory_equal(out, want + len - 4, 4);
	guard_free(out, 4 * VERSION_ROWS);
}

static void
times_in_each_unit(void **state)
{
	const struct version *google = &version_table[VERSION_GOOGLE];
	const struct version *mjd = &version_table[VERSION_DRAFT07];
	const struct version *rfc = &version_table[VERSION_RFC];
	const uint64_t us = MOMENT_S * S + 654321;

	(void)state;
	assert_true(version_time(google, us) == us);
	assert_true(version_unix_us(google, us) == us);
	/* MJD is not a count of microseconds: the day stands above bit 40 */
	assert_true(version_time(mjd, us) == MOMENT_MJD + 654321);
	assert_true(version_unix_us(mjd, MOMENT_MJD + 654321) == us);
	assert_true(version_time(mjd, 0) == 40587ull << 40);
	assert_true(version_time(mjd, 86400 * S - 1) ==
	    (40587ull << 40 | (86400 * S - 1)));
	assert_true(version_time(mjd, 86400 * S) == 40588ull << 40);
	/* seconds are cut, not rounded */
	assert_true(version_time(rfc, us) == MOMENT_S);
	assert_true(version_unix_us(rfc, MOMENT_S) == MOMENT_S * S);
}

static void
times_saturate(void **state)
{
	const struct version *google = &version_table[VERSION_GOOGLE];
	const struct version *mjd = &version_table[VERSION_DRAFT01];
	const struct version *rfc = &version_table[VERSION_RFC];

	(void)state;
	assert_true(version_unix_us(rfc, UINT64_MAX) == UINT64_MAX);
	assert_true(version_unix_us(rfc, UINT64_MAX / S + 1) == UINT64_MAX);
	assert_true(version_unix_us(google, UINT64_MAX) == UINT64_MAX);
	assert_true(version_unix_us(mjd, UINT64_MAX) == UINT64_MAX);
	assert_true(version_unix_us(mjd, 0) == 0);
	assert_true(version_unix_us(mjd, (40586ull << 40) + 5) == 0);
	assert_true(version_time(mjd, UINT64_MAX) == UINT64_MAX);
	assert_true(version_cert_time(CERT_GOOGLE, UINT64_MAX) == UINT64_MAX);
	assert_true(version_cert_time(CERT_DRAFT01, UINT64_MAX) == UINT64_MAX);
	assert_true(version_cert_time(CERT_RFC, UINT64_MAX) == UINT64_MAX);
	/* the last day that fits 24 bits, and the next */
	assert_true(version_cert_time(CERT_DRAFT07,
			(0xffffffull - 40587) * 86400) == 0xffffffull << 40);
	assert_true(version_cert_time(CERT_DRAFT07,
			(0x1000000ull - 40587) * 86400) == UINT64_MAX);
}

static void
certificate_times(void **state)
{
	(void)state;
	for (enum cert_kind k = 0; k < CERT_KINDS; k++) {
		uint64_t want = MOMENT_S;

		if (k == CERT_DRAFT01 || k == CERT_DRAFT07)
			want = MOMENT_MJD;
		if (k == CERT_GOOGLE)
			want = MOMENT_S * S;
		assert_true(version_cert_time(k, MOMENT_S) == want);
	}
	/* each row agrees with the kind it uses */
	for (size_t i = 0; i < VERSION_ROWS; i++) {
		const struct version *v = &version_table[i];

		assert_true(version_cert_time(v->cert, MOMENT_S) ==
		    version_time(v, MOMENT_S * S));
	}
}

static void
radius_rounds_up(void **state)
{
	const struct version *google = &version_table[VERSION_GOOGLE];
	const struct version *mjd = &version_table[VERSION_DRAFT03];
	const struct version *rfc = &version_table[VERSION_RFC];

	(void)state;
	assert_int_equal(version_radius(rfc, 0), 1); /* RADI is never 0 */
	assert_int_equal(version_radius(rfc, 1), 1);
	assert_int_equal(version_radius(rfc, S), 1);
	assert_int_equal(version_radius(rfc, S + 1), 2);
	assert_int_equal(version_radius(rfc, 3 * S), 3);
	assert_int_equal(version_radius(rfc, UINT64_MAX), UINT32_MAX);
	assert_int_equal(version_radius(google, 0), 1);
	assert_int_equal(version_radius(google, 3 * S), 3 * S);
	assert_int_equal(version_radius(mjd, 1234567), 1234567);
	assert_int_equal(version_radius(mjd, 1ull << 32), UINT32_MAX);
	assert_true(version_radius_us(rfc, 3) == 3 * S);
	assert_true(version_radius_us(rfc, UINT32_MAX) == UINT32_MAX * S);
	assert_true(version_radius_us(google, 5) == 5);
	assert_true(version_radius_us(mjd, 5) == 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_as_the_texts_say),
		cmocka_unit_test(finds_by_number),
		cmocka_unit_test(finds_by_name),
		cmocka_unit_test(numbers_ascend),
		cmocka_unit_test(times_in_each_unit),
		cmocka_unit_test(times_saturate),
		cmocka_unit_test(certificate_times),
		cmocka_unit_test(radius_rounds_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
