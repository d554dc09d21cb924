/*
 * keys/keyfile.h: the long-term key on disk. The key here is the public test
 * key of the interop lists: it is a test key and protects nothing.
 */
#include "keys/keyfile.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "keys/secret.h"
#include "tests/support.h"

#define TITLE "timeshare-key 1\n"
#define TEST_SEED \
	"06e5e2dc28697bb363de00976af2d422819bc67832ad655ade96081ecc1bcdb5"
#define TEST_PUBLIC "Ixu7gqjJ9TU6IxsO8wxZxAFT5te6FcZZQq5vXFl35JE="
#define PUBLIC "public: " TEST_PUBLIC "\n"
#define SEED "seed: BuXi3Chpe7Nj3gCXavLUIoGbxngyrWVa3pYIHswbzbU=\n"
#define PLAIN TITLE PUBLIC SEED
#define SALT "AAECAwQFBgcICQoLDA0ODw=="
#define ARGON2ID "argon2id: 1 8192 " SALT "\n"
#define NONCE "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define BOX_ZERO \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define SECRETBOX "secretbox: " NONCE " " BOX_ZERO "\n"
#define ENCRYPTED TITLE PUBLIC ARGON2ID SECRETBOX

/* What the whole program has reached; checked last. */
static bool seen[KEYFILE_FAULTS];

static const char *
fault_name(int fault)
{
	return keyfile_fault_str((enum keyfile_fault)fault);
}

static enum keyfile_fault
reach(enum keyfile_fault fault)
{
	assert_in_range(fault, 0, KEYFILE_FAULTS - 1);
	seen[fault] = true;
	return fault;
}

static enum keyfile_fault
parse(struct keyfile *k, const char *text)
{
	struct view v = guard_copy(text, strlen(text));
	enum keyfile_fault fault = reach(keyfile_parse(k, v));

	guard_drop(v);
	return fault;
}

static void
test_seed(uint8_t seed[static KEYFILE_SEED_LEN])
{
	assert_int_equal(support_hex(seed, KEYFILE_SEED_LEN, TEST_SEED), 32);
}

static void
plain_key_parses(void **state)
{
	uint8_t seed[KEYFILE_SEED_LEN], public_key[32];
	struct keyfile k;

	(void)state;
	test_seed(seed);
	support_base64(public_key, sizeof public_key, TEST_PUBLIC);
	assert_int_equal(parse(&k, PLAIN), KEYFILE_OK);
	assert_false(k.encrypted);
	assert_memory_equal(k.seed, seed, sizeof seed);
	assert_memory_equal(k.public_key, public_key, sizeof public_key);
	/* the order of the lines is free */
	assert_int_equal(parse(&k, TITLE SEED PUBLIC), KEYFILE_OK);
	assert_memory_equal(k.seed, seed, sizeof seed);
}

static void
encrypted_key_parses(void **state)
{
	static const uint8_t zeros[48];
	struct keyfile k;

	(void)state;
	assert_int_equal(parse(&k, ENCRYPTED), KEYFILE_OK);
	assert_true(k.encrypted);
	assert_int_equal(k.opslimit, 1);
	assert_int_equal(k.memlimit, 8192);
	for (unsigned int i = 0; i < sizeof k.salt; i++)
		assert_int_equal(k.salt[i], i);
	assert_memory_equal(k.nonce, zeros, sizeof k.nonce);
	assert_memory_equal(k.box, zeros, sizeof k.box);
	assert_memory_equal(k.seed, zeros, sizeof k.seed);
}

static void
bad_texts_are_named(void **state)
{
	static const struct {
		enum keyfile_fault fault;
		const char *text;
	} bad[] = {
		{ KEYFILE_NOT_A_KEY, "" },
		{ KEYFILE_NOT_A_KEY, "timeshare-key 1" },
		{ KEYFILE_NOT_A_KEY, "timeshare-key 2\n" PUBLIC SEED },
		{ KEYFILE_NOT_A_KEY, "timeshare-key 11\n" PUBLIC SEED },
		{ KEYFILE_NOT_A_KEY, "timeshare-delegation 1\n" },
		{ KEYFILE_NOT_A_KEY, "\n" PLAIN },
		{ KEYFILE_NOT_A_KEY, "timeshare-key 1\r\n" PUBLIC SEED },
		{ KEYFILE_UNKNOWN_LINE, PLAIN "\n" },
		{ KEYFILE_UNKNOWN_LINE, PLAIN "comment: none\n" },
		{ KEYFILE_UNKNOWN_LINE, TITLE "public\n" },
		{ KEYFILE_UNKNOWN_LINE, TITLE "public:\n" },
		{ KEYFILE_UNKNOWN_LINE, TITLE "public:x\n" },
		{ KEYFILE_UNKNOWN_LINE, TITLE "Public: x\n" },
		{ KEYFILE_UNKNOWN_LINE, TITLE "publi: x\n" },
		{ KEYFILE_UNKNOWN_LINE, TITLE ": x\n" },
		{ KEYFILE_UNKNOWN_LINE, TITLE "public: x" },
		{ KEYFILE_REPEATED_LINE, PLAIN PUBLIC },
		{ KEYFILE_REPEATED_LINE, PLAIN SEED },
		{ KEYFILE_REPEATED_LINE, PLAIN ARGON2ID },
		{ KEYFILE_REPEATED_LINE, PLAIN SECRETBOX },
		{ KEYFILE_REPEATED_LINE, ENCRYPTED SEED },
		{ KEYFILE_REPEATED_LINE, ENCRYPTED SECRETBOX },
		{ KEYFILE_MISSING_LINE, TITLE },
		{ KEYFILE_MISSING_LINE, TITLE PUBLIC },
		{ KEYFILE_MISSING_LINE, TITLE SEED },
		{ KEYFILE_MISSING_LINE, TITLE PUBLIC ARGON2ID },
		{ KEYFILE_MISSING_LINE, TITLE PUBLIC SECRETBOX },
		{ KEYFILE_MISSING_LINE, TITLE ARGON2ID SECRETBOX },
		{ KEYFILE_BAD_BASE64, TITLE "public: \n" },
		{ KEYFILE_BAD_BASE64, TITLE "public: " TEST_PUBLIC " \n" },
		{ KEYFILE_BAD_BASE64, TITLE "public:  " TEST_PUBLIC "\n" },
		{ KEYFILE_BAD_BASE64, TITLE "seed: BuXi3Chpe7Nj3gCX\n" },
		{ KEYFILE_BAD_BASE64, /* no padding */
		    TITLE
		    "seed: BuXi3Chpe7Nj3gCXavLUIoGbxngyrWVa3pYIHswbzbU\n" },
		{ KEYFILE_BAD_BASE64, /* bits after the end */
		    TITLE
		    "seed: BuXi3Chpe7Nj3gCXavLUIoGbxngyrWVa3pYIHswbzbV=\n" },
		{ KEYFILE_BAD_BASE64, /* 33 bytes */
		    TITLE
		    "seed: BuXi3Chpe7Nj3gCXavLUIoGbxngyrWVa3pYIHswbzbUA\n" },
		{ KEYFILE_BAD_BASE64, /* the URL alphabet */
		    TITLE
		    "seed: -_Xi3Chpe7Nj3gCXavLUIoGbxngyrWVa3pYIHswbzbU=\n" },
		{ KEYFILE_BAD_BASE64, TITLE "argon2id: 1 8192 AAAA\n" },
		{ KEYFILE_BAD_BASE64, TITLE "argon2id: 1 8192\n" },
		{ KEYFILE_BAD_BASE64, TITLE "secretbox: " NONCE "\n" },
		{ KEYFILE_BAD_BASE64, TITLE "secretbox: " BOX_ZERO "\n" },
		{ KEYFILE_BAD_BASE64, TITLE "secretbox: AAAA " BOX_ZERO "\n" },
		{ KEYFILE_BAD_NUMBER, TITLE "argon2id: 0 8192 " SALT "\n" },
		{ KEYFILE_BAD_NUMBER, TITLE "argon2id: 65 8192 " SALT "\n" },
		{ KEYFILE_BAD_NUMBER, TITLE "argon2id: 1 8191 " SALT "\n" },
		{ KEYFILE_BAD_NUMBER,
		    TITLE "argon2id: 1 4294967297 " SALT "\n" },
		{ KEYFILE_BAD_NUMBER,
		    TITLE "argon2id: 18446744073709551617 8192 " SALT "\n" },
		{ KEYFILE_BAD_NUMBER, TITLE "argon2id: 01 8192 " SALT "\n" },
		{ KEYFILE_BAD_NUMBER, TITLE "argon2id: +1 8192 " SALT "\n" },
		{ KEYFILE_BAD_NUMBER, TITLE "argon2id: 1  8192 " SALT "\n" },
		{ KEYFILE_BAD_NUMBER, TITLE "argon2id: " SALT "\n" },
		{ KEYFILE_PUBLIC_MISMATCH,
		    TITLE PUBLIC
		    "seed: AuXi3Chpe7Nj3gCXavLUIoGbxngyrWVa3pYIHswbzbU=\n" },
	};
	static const struct keyfile empty;
	struct keyfile k;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		enum keyfile_fault fault = parse(&k, bad[i].text);

		if (fault != bad[i].fault)
			fail_msg(
			    "bad[%zu] gives: %s", i, keyfile_fault_str(fault));
		assert_memory_equal(&k, &empty, sizeof k);
	}
}

static void
long_text_is_refused(void **state)
{
	char text[2 * KEYFILE_TEXT_MAX];
	struct keyfile k;

	(void)state;
	memset(text, 'x', sizeof text);
	memcpy(text, TITLE, strlen(TITLE));
	text[sizeof text - 1] = '\0';
	assert_int_equal(parse(&k, text), KEYFILE_TOO_LONG);
}

/* Cut at any length it is no key, and nobody reads past the cut. */
static void
every_truncation_is_refused(void **state)
{
	static const char *const whole[] = { PLAIN, ENCRYPTED };
	struct keyfile k;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		for (size_t len = 0; len < strlen(whole[i]); len++) {
			struct view v = guard_copy(whole[i], len);

			assert_int_not_equal(keyfile_parse(&k, v), KEYFILE_OK);
			guard_drop(v);
		}
	}
}

static void
plain_round_trip(void **state)
{
	uint8_t seed[KEYFILE_SEED_LEN];
	size_t len = strlen(PLAIN);
	char text[KEYFILE_TEXT_MAX];

	(void)state;
	test_seed(seed);
	assert_int_equal(keyfile_format(text, sizeof text, seed, NULL, 0), len);
	assert_string_equal(text, PLAIN);
	for (size_t cap = 0; cap <= len; cap++) { /* the NUL must fit, too */
		char *out = (char *)guard_alloc(cap);

		assert_int_equal(keyfile_format(out, cap, seed, NULL, 0), 0);
		for (size_t i = 0; i < cap; i++)
			assert_int_equal(out[i], 0); /* no part of the seed */
		guard_free((uint8_t *)out, cap);
	}
}

static void
passphrase_round_trip(void **state)
{
	static const uint8_t zeros[KEYFILE_SEED_LEN];
	uint8_t seed[KEYFILE_SEED_LEN];
	char text[KEYFILE_TEXT_MAX];
	struct keyfile k;

	(void)state;
	test_seed(seed);
	assert_true(keyfile_format(text, sizeof text, seed, "open", 4) > 0);
	assert_null(strstr(text, "seed:"));
	assert_non_null(strstr(text, "\nargon2id: 3 268435456 "));
	assert_int_equal(parse(&k, text), KEYFILE_OK);
	assert_true(k.encrypted);
	assert_int_equal(reach(keyfile_unlock(&k, NULL, 0)), KEYFILE_ENCRYPTED);
	assert_int_equal(
	    reach(keyfile_unlock(&k, "Open", 4)), KEYFILE_WRONG_PASSPHRASE);
	assert_true(k.encrypted);
	assert_memory_equal(k.seed, zeros, sizeof zeros);
	assert_int_equal(reach(keyfile_unlock(&k, "open", 4)), KEYFILE_OK);
	assert_false(k.encrypted);
	assert_memory_equal(k.seed, seed, sizeof seed);
	/* open already: nothing to do, whatever is said */
	assert_int_equal(keyfile_unlock(&k, "other", 5), KEYFILE_OK);
	assert_memory_equal(k.seed, seed, sizeof seed);
}

/* The public line of an encrypted key is not covered by the box. */
static void
changed_public_key_is_found(void **state)
{
	uint8_t seed[KEYFILE_SEED_LEN];
	char text[KEYFILE_TEXT_MAX];
	struct keyfile k;

	(void)state;
	test_seed(seed);
	assert_true(keyfile_format(text, sizeof text, seed, "", 0) > 0);
	text[strlen(TITLE "public: ")] = 'J';
	assert_int_equal(parse(&k, text), KEYFILE_OK);
	assert_int_equal(
	    reach(keyfile_unlock(&k, "", 0)), KEYFILE_PUBLIC_MISMATCH);
	assert_true(k.encrypted);
}

/* Address space in use, in bytes (proc(5)). */
static rlim_t
address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &pages), 1);
	fclose(f);
	return pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* The file asks for 4 GiB where 1 GiB is to be had. */
static void
argon2id_without_memory(void **state)
{
	struct rlimit old, low;
	enum keyfile_fault fault;
	struct keyfile k;

	(void)state;
	assert_int_equal(
	    parse(
		&k, TITLE PUBLIC SECRETBOX "argon2id: 1 4294967296 " SALT "\n"),
	    KEYFILE_OK);
	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	low = old;
	low.rlim_cur = address_space() + (1u << 30);
	assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
	fault = keyfile_unlock(&k, "open", 4);
	assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
	assert_int_equal(reach(fault), KEYFILE_NO_MEMORY);
	assert_true(k.encrypted);
}

static void
load_reads_files(void **state)
{
	char path[] = "/tmp/timeshare-keyfile-XXXXXX", why[FILE_WHY_LEN];
	struct keyfile *k = secret_alloc(sizeof *k);
	int fd = mkstemp(path);

	(void)state;
	assert_non_null(k);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, PLAIN, strlen(PLAIN)), strlen(PLAIN));
	assert_int_equal(keyfile_load(k, path, why, sizeof why), 0);
	assert_false(k->encrypted);
	assert_int_equal(fchmod(fd, 0644), 0);
	assert_int_equal(keyfile_load(k, path, why, sizeof why), -1);
	assert_non_null(strstr(why, ": mode 0644 lets others read it"));
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(write(fd, "x\n", 2), 2);
	assert_int_equal(keyfile_load(k, path, why, sizeof why), -1);
	assert_memory_equal(why, path, strlen(path));
	assert_non_null(strstr(why, ": a line that is unknown or cut off"));
	close(fd);
	unlink(path);
	assert_int_equal(keyfile_load(k, path, why, sizeof why), -1);
	assert_non_null(strstr(why, "No such file"));
	secret_free(k);
}

static void
every_fault_was_reached(void **state)
{
	(void)state;
	support_all_seen(seen, KEYFILE_FAULTS, fault_name);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_key_parses),
		cmocka_unit_test(encrypted_key_parses),
		cmocka_unit_test(bad_texts_are_named),
		cmocka_unit_test(long_text_is_refused),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(plain_round_trip),
		cmocka_unit_test(passphrase_round_trip),
		cmocka_unit_test(changed_public_key_is_found),
		cmocka_unit_test(argon2id_without_memory),
		cmocka_unit_test(load_reads_files),
		cmocka_unit_test(every_fault_was_reached),
	};

	if (secret_init() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
