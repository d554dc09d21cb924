/* keys/bundle.h: delegation bundles as text. The keys here protect nothing. */
#include "keys/bundle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "keys/secret.h"
#include "tests/support.h"

#define TITLE "timeshare-delegation 1\n"
#define ZERO_32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define PUBLIC "public: " ZERO_32 "\n"
#define SEED "seed: " ZERO_32 "\n"
#define BEFORE "not-before: 1795399200\n"
#define AFTER "not-after: 1797991200\n"
#define HEAD TITLE PUBLIC SEED BEFORE AFTER
#define A50 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define ZERO_152 A50 A50 A50 A50 "AAA="
#define CERT(kind) "cert-" kind ": " ZERO_152 "\n"
#define GOOD HEAD CERT("rfc") CERT("draft12")

/* What the whole program has reached; checked last. */
static bool seen[BUNDLE_FAULTS];

static const char *
fault_name(int fault)
{
	return bundle_fault_str((enum bundle_fault)fault);
}

static enum bundle_fault
parse(struct bundle *b, const char *text)
{
	struct view v = guard_copy(text, strlen(text));
	enum bundle_fault fault = bundle_parse(b, v);

	assert_in_range(fault, 0, BUNDLE_FAULTS - 1);
	seen[fault] = true;
	guard_drop(v);
	return fault;
}

static void
fill(uint8_t *p, size_t len, uint8_t first)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(first + i);
}

static void
good_text_parses(void **state)
{
	struct bundle b;

	(void)state;
	assert_int_equal(parse(&b, GOOD), BUNDLE_OK);
	assert_true(b.not_before_s == 1795399200);
	assert_true(b.not_after_s == 1797991200);
	assert_int_equal(b.count, 2);
	assert_string_equal(b.certs[0].kind, "rfc");
	assert_string_equal(b.certs[1].kind, "draft12");
	/* the order of the lines is free, but that of kinds is kept */
	assert_int_equal(parse(&b,
			     TITLE CERT("z-9") AFTER SEED PUBLIC CERT(
				 "a23456789012345") BEFORE),
	    BUNDLE_OK);
	assert_string_equal(b.certs[0].kind, "z-9");
	assert_string_equal(b.certs[1].kind, "a23456789012345");
	/* 0 and all ones are numbers */
	assert_int_equal(parse(&b,
			     TITLE PUBLIC SEED CERT(
				 "x") "not-before: 0\n"
				      "not-after: 18446744073709551615\n"),
	    BUNDLE_OK);
	assert_true(b.not_after_s == UINT64_MAX);
}

static void
bad_texts_are_named(void **state)
{
	static const struct {
		enum bundle_fault fault;
		const char *text;
	} bad[] = {
		{ BUNDLE_NOT_A_BUNDLE, "" },
		{ BUNDLE_NOT_A_BUNDLE, "timeshare-delegation 1" },
		{ BUNDLE_NOT_A_BUNDLE, "timeshare-delegation 2\n" },
		{ BUNDLE_NOT_A_BUNDLE, "timeshare-key 1\n" PUBLIC SEED },
		{ BUNDLE_TOO_LONG,
		    HEAD CERT("1") CERT("2") CERT("3") CERT("4") CERT("5")
			CERT("6") CERT("7") CERT("8") CERT("9") },
		{ BUNDLE_UNKNOWN_LINE, GOOD "\n" },
		{ BUNDLE_UNKNOWN_LINE, GOOD "public\n" },
		{ BUNDLE_UNKNOWN_LINE, GOOD "other: 1\n" },
		{ BUNDLE_UNKNOWN_LINE, GOOD "cert: 1\n" },
		{ BUNDLE_UNKNOWN_LINE, GOOD "cer: 1\n" },
		{ BUNDLE_UNKNOWN_LINE, GOOD "cert-: 1\n" },
		{ BUNDLE_UNKNOWN_LINE, GOOD CERT("Rfc") },
		{ BUNDLE_UNKNOWN_LINE, GOOD CERT("r/f") },
		{ BUNDLE_UNKNOWN_LINE, GOOD CERT("a234567890123456") },
		{ BUNDLE_UNKNOWN_LINE, GOOD "cert-x: " ZERO_152 },
		{ BUNDLE_REPEATED_LINE, GOOD PUBLIC },
		{ BUNDLE_REPEATED_LINE, GOOD SEED },
		{ BUNDLE_REPEATED_LINE, GOOD BEFORE },
		{ BUNDLE_REPEATED_LINE, GOOD AFTER },
		{ BUNDLE_REPEATED_LINE, GOOD CERT("rfc") },
		{ BUNDLE_REPEATED_LINE, GOOD CERT("draft12") },
		{ BUNDLE_MISSING_LINE, TITLE },
		{ BUNDLE_MISSING_LINE, HEAD },
		{ BUNDLE_MISSING_LINE, TITLE SEED BEFORE AFTER CERT("x") },
		{ BUNDLE_MISSING_LINE, TITLE PUBLIC BEFORE AFTER CERT("x") },
		{ BUNDLE_MISSING_LINE, TITLE PUBLIC SEED AFTER CERT("x") },
		{ BUNDLE_MISSING_LINE, TITLE PUBLIC SEED BEFORE CERT("x") },
		{ BUNDLE_BAD_BASE64, TITLE "public: AAAA\n" },
		{ BUNDLE_BAD_BASE64, TITLE "seed: \n" },
		{ BUNDLE_BAD_BASE64, TITLE "seed: " ZERO_32 "=\n" },
		{ BUNDLE_BAD_BASE64, HEAD "cert-x: " ZERO_32 "\n" },
		{ BUNDLE_BAD_BASE64, HEAD "cert-x: " A50 A50 A50 A50 "AA=A\n" },
		{ BUNDLE_BAD_NUMBER, TITLE "not-before: \n" },
		{ BUNDLE_BAD_NUMBER, TITLE "not-before: -1\n" },
		{ BUNDLE_BAD_NUMBER, TITLE "not-before: 00\n" },
		{ BUNDLE_BAD_NUMBER, TITLE "not-after: 1 \n" },
		{ BUNDLE_BAD_NUMBER, TITLE "not-after: 1e9\n" },
		{ BUNDLE_BAD_NUMBER,
		    TITLE "not-after: 18446744073709551616\n" },
		{ BUNDLE_BAD_WINDOW,
		    TITLE PUBLIC SEED CERT("x") BEFORE
		    "not-after: 1795399200\n" },
		{ BUNDLE_BAD_WINDOW,
		    TITLE PUBLIC SEED CERT("x") BEFORE "not-after: 0\n" },
	};
	static const struct bundle empty;
	struct bundle b;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		enum bundle_fault fault = parse(&b, bad[i].text);

		if (fault != bad[i].fault)
			fail_msg(
			    "bad[%zu] gives: %s", i, bundle_fault_str(fault));
		assert_memory_equal(&b, &empty, sizeof b);
	}
}

static void
long_text_is_refused(void **state)
{
	char text[2 * BUNDLE_TEXT_MAX];
	struct bundle b;

	(void)state;
	memset(text, '\n', sizeof text);
	memcpy(text, TITLE, strlen(TITLE));
	text[sizeof text - 1] = '\0';
	assert_int_equal(parse(&b, text), BUNDLE_TOO_LONG);
}

/* Cut inside any line it is no bundle; nobody reads past the cut. */
static void
truncations(void **state)
{
	struct bundle b;

	(void)state;
	for (size_t len = 0; len < strlen(GOOD); len++) {
		struct view v = guard_copy(GOOD, len);
		bool one_cert = len == strlen(HEAD CERT("rfc"));

		assert_int_equal(bundle_parse(&b, v) == BUNDLE_OK, one_cert);
		guard_drop(v);
	}
}

static void
full_bundle_round_trip(void **state)
{
	struct bundle in = { .not_before_s = 1795399200,
		.not_after_s = UINT64_MAX,
		.count = BUNDLE_CERTS_MAX };
	struct bundle out;
	char text[BUNDLE_TEXT_MAX];
	size_t len;

	(void)state;
	fill(in.public_key, sizeof in.public_key, 1);
	fill(in.online_seed, sizeof in.online_seed, 100);
	for (size_t i = 0; i < in.count; i++) {
		/* the longest name there is */
		memcpy(in.certs[i].kind, "longest-kind-00", BUNDLE_KIND_LEN);
		in.certs[i].kind[BUNDLE_KIND_LEN - 2] = (char)('0' + i);
		fill(in.certs[i].bytes, BUNDLE_CERT_LEN, (uint8_t)i);
	}
	len = bundle_format(text, sizeof text, &in);
	assert_true(len > 0 && len < sizeof text);
	assert_int_equal(text[len], '\0');
	assert_int_equal(parse(&out, text), BUNDLE_OK);
	assert_memory_equal(&in, &out, sizeof in);
	for (size_t cap = 0; cap <= len; cap++) {
		char *small = (char *)guard_alloc(cap);

		assert_int_equal(bundle_format(small, cap, &in), 0);
		for (size_t i = 0; i < cap; i++)
			assert_int_equal(small[i], 0);
		guard_free((uint8_t *)small, cap);
	}
}

static void
load_reads_files(void **state)
{
	char path[] = "/tmp/timeshare-bundle-XXXXXX", why[FILE_WHY_LEN];
	struct bundle *b = secret_alloc(sizeof *b);
	int fd = mkstemp(path);

	(void)state;
	assert_non_null(b);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, GOOD, strlen(GOOD)), strlen(GOOD));
	assert_int_equal(bundle_load(b, path, why, sizeof why), 0);
	assert_int_equal(b->count, 2);
	assert_int_equal(fchmod(fd, 0640), 0);
	assert_int_equal(bundle_load(b, path, why, sizeof why), -1);
	assert_non_null(strstr(why, ": mode 0640 lets others read it"));
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(write(fd, BEFORE, strlen(BEFORE)), strlen(BEFORE));
	assert_int_equal(bundle_load(b, path, why, sizeof why), -1);
	assert_memory_equal(why, path, strlen(path));
	assert_non_null(strstr(why, ": a line twice"));
	close(fd);
	unlink(path);
	assert_int_equal(bundle_load(b, path, why, sizeof why), -1);
	assert_non_null(strstr(why, "No such file"));
	secret_free(b);
}

static void
every_fault_was_reached(void **state)
{
	(void)state;
	support_all_seen(seen, BUNDLE_FAULTS, fault_name);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_text_parses),
		cmocka_unit_test(bad_texts_are_named),
		cmocka_unit_test(long_text_is_refused),
		cmocka_unit_test(truncations),
		cmocka_unit_test(full_bundle_round_trip),
		cmocka_unit_test(load_reads_files),
		cmocka_unit_test(every_fault_was_reached),
	};

	if (secret_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
