/*
 * roughtime/hash.h: known answers, then every backend against hash_one() over
 * lengths around each block boundary, contents that mix zero and other blocks
 * over the lanes, and messages between two guard pages.
 */
#include "roughtime/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support.h"

#define N_MAX 24
#define LEN_MAX 1536

/* RFC 6234 section 8.5; FIPS 180-4's examples for SHA-512/256. */
static const struct {
	const char *text;
	size_t repeat;
	const char *sha512;
	const char *sha512_256;
} known[] = {
	{ "", 1,
	    "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
	    "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
	    "c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a" },
	{ "abc", 1,
	    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
	    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
	    "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23" },
	{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklm"
	  "ghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
	  "mnopqrstnopqrstu",
	    1,
	    "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
	    "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
	    "3928e184fb8690f840da3988121d31be65cb9d3ef83ee6146feac861e19b563a" },
	{ "a", 1000000,
	    "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
	    "de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
	    "9a59a052930187a97038cae692f30708aa6491923ef5194394dc68d56c74fb21" },
	{ "0123456701234567012345670123456701234567012345670123456701234567",
	    10,
	    "89d05ba632c699c31231ded4ffc127d5a894dad412c0e024db872d1abd2ba814"
	    "1a0f85072a9be1e2aa04cf33c765cb510813a39cd5a84c4acaa64d3f3fb7bae9",
	    "cf78e4ba935b4d9eb91052aeddf8e2d606c590f708573693ea94be826a666ee4" },
};
#define KNOWN_COUNT (sizeof known / sizeof known[0])

static const enum hash_backend backends[] = { HASH_SODIUM, HASH_AVX2 };
#define BACKEND_COUNT (sizeof backends / sizeof backends[0])

/* xorshift64: the same trials on every run. */
static uint64_t
draw(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/*
 * Chooses the backend; a CPU without it must be told so, and then the trial
 * runs on libsodium, so that it still checks something.
 */
static void
use(enum hash_backend backend)
{
	const int rc = hash_select(backend);

	assert_int_equal(rc, hash_available(backend) ? 0 : -1);
	if (rc != 0)
		assert_int_equal(hash_select(HASH_SODIUM), 0);
}

static uint8_t *
known_message(size_t i, size_t *len)
{
	const size_t piece = strlen(known[i].text);
	uint8_t *m = malloc(piece * known[i].repeat + 1);

	assert_non_null(m);
	*len = piece * known[i].repeat;
	for (size_t at = 0; at < *len; at += piece)
		memcpy(m + at, known[i].text, piece);
	return m;
}

static void
known_answers_of_one(void **state)
{
	uint8_t want[HASH_FULL_LEN], full[HASH_FULL_LEN], half[HASH_LEN];

	(void)state;
	for (size_t i = 0; i < KNOWN_COUNT; i++) {
		size_t len;
		uint8_t *m = known_message(i, &len);

		for (size_t cut = 0; cut <= len && cut < 200; cut += 3) {
			support_hex(want, sizeof want, known[i].sha512);
			hash_one(full, m, cut, m + cut, len - cut);
			assert_memory_equal(full, want, HASH_FULL_LEN);
			support_hex(want, sizeof want, known[i].sha512_256);
			hash_one_512_256(half, m, cut, m + cut, len - cut);
			assert_memory_equal(half, want, HASH_LEN);
			if (len > LEN_MAX)
				break;
		}
		free(m);
	}
}

static void
known_answers_of_many(void **state)
{
	(void)state;
	for (size_t b = 0; b < BACKEND_COUNT; b++) {
		use(backends[b]);
		/* Not the empty one: the prefix is a byte of every message. */
		for (size_t i = 1; i < KNOWN_COUNT; i++) {
			uint8_t want[HASH_FULL_LEN], out[6][HASH_LEN];
			const uint8_t *each[6];
			size_t len;
			uint8_t *m = known_message(i, &len);

			for (size_t j = 0; j < 6; j++)
				each[j] = m + 1;
			support_hex(want, sizeof want, known[i].sha512);
			hash_many(m[0], each, len - 1, 6, out);
			for (size_t j = 0; j < 6; j++)
				assert_memory_equal(out[j], want, HASH_LEN);
			free(m);
		}
	}
}

/* A message as a request is, or as nobody would send it. */
static void
fill(uint8_t *m, size_t len)
{
	const uint64_t kind = draw() % 6;

	memset(m, 0, len);
	if (len == 0 || kind == 0)
		return;
	if (kind == 1) {
		m[draw() % len] = (uint8_t)(draw() | 1);
	} else if (kind == 2) {
		m[len - 1] = 0x80;
	} else if (kind == 3) {
		for (size_t i = 0; i < len; i++)
			m[i] = (uint8_t)draw();
	} else if (kind == 4) {
		for (size_t i = 0; i < len && i < 104; i++)
			m[i] = (uint8_t)draw();
	} else {
		/* Some blocks of 128, which begin at byte -1, and not others. */
		const uint64_t mask = draw();

		for (size_t i = 0; i < len; i++)
			if (mask >> ((i + 1) / 128) & 1)
				m[i] = (uint8_t)draw();
	}
}

/* Hashes with the chosen backend and compares each with hash_one(). */
static void
check_many(uint8_t prefix, const uint8_t *const m[], size_t len, size_t n)
{
	uint8_t want[HASH_FULL_LEN], out[N_MAX + 1][HASH_LEN];

	memset(out, 0xa5, sizeof out);
	hash_many(prefix, m, len, n, out);
	for (size_t i = 0; i < n; i++) {
		hash_one(want, &prefix, 1, m[i], len);
		if (memcmp(out[i], want, HASH_LEN) != 0)
			fail_msg("%s: message %zu of %zu, %zu bytes",
			    hash_name(), i, n, len);
	}
	for (size_t i = 0; i < HASH_LEN; i++)
		assert_int_equal(out[n][i], 0xa5); /* wrote n, not more */
}

static void
trial(size_t len, size_t n)
{
	static uint8_t m[N_MAX][LEN_MAX];
	const uint8_t *each[N_MAX];
	const uint8_t prefix = (uint8_t)draw();

	for (size_t i = 0; i < n; i++) {
		fill(m[i], len);
		each[i] = m[i];
	}
	for (size_t b = 0; b < BACKEND_COUNT; b++) {
		use(backends[b]);
		check_many(prefix, each, len, n);
	}
}

static void
lengths_and_counts(void **state)
{
	(void)state;
	for (size_t len = 0; len <= 300; len++)
		trial(len, 1 + draw() % 9);
	for (size_t len = 1000; len <= 1040; len++)
		trial(len, 1 + draw() % 9);
	for (size_t block = 128; block < LEN_MAX; block += 128)
		for (size_t len = block - 18; len <= block + 2; len++)
			for (size_t n = 1; n <= 9; n++)
				trial(len, n);
}

static void
random_trials(void **state)
{
	(void)state;
	for (int i = 0; i < 2000; i++)
		trial(draw() % (LEN_MAX + 1), 1 + draw() % N_MAX);
	for (int i = 0; i < 500; i++)
		trial(1036, 1 + draw() % N_MAX); /* the request of RFC 10049 */
}

/* Every lane in turn has the only byte that is not zero, at every place. */
static void
one_byte_in_one_lane(void **state)
{
	static uint8_t m[9][1036];
	const uint8_t *each[9];

	(void)state;
	memset(m, 0, sizeof m);
	for (size_t i = 0; i < 9; i++)
		each[i] = m[i];
	for (size_t at = 0; at < sizeof m[0]; at++) {
		const size_t lane = at % 9;

		m[lane][at] = 1;
		use(HASH_AVX2);
		check_many(0, each, sizeof m[0], 9);
		m[lane][at] = 0;
	}
}

/* Pages that can be touched between two that cannot. */
struct fence {
	uint8_t *map;
	size_t page;
	size_t room;
};

static void
fence_make(struct fence *f, size_t room)
{
	f->page = (size_t)sysconf(_SC_PAGESIZE);
	f->room = (room + f->page - 1) / f->page * f->page;
	f->map = mmap(NULL, f->room + 2 * f->page, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(f->map, MAP_FAILED);
	assert_int_equal(
	    mprotect(f->map + f->page, f->room, PROT_READ | PROT_WRITE), 0);
}

static uint8_t *
fence_first(const struct fence *f)
{
	return f->map + f->page;
}

static uint8_t *
fence_last(const struct fence *f, size_t len)
{
	return f->map + f->page + f->room - len;
}

static void
fence_free(struct fence *f)
{
	munmap(f->map, f->room + 2 * f->page);
}

static void
reads_nothing_outside_a_message(void **state)
{
	struct fence f[6];
	const uint8_t *each[6];

	(void)state;
	for (size_t i = 0; i < 6; i++)
		fence_make(&f[i], LEN_MAX);
	for (size_t len = 0; len <= 1300; len++) {
		for (int round = 0; round < 2; round++) {
			for (size_t i = 0; i < 6; i++) {
				uint8_t *m = (i + (size_t)round) % 2 == 0
				    ? fence_first(&f[i])
				    : fence_last(&f[i], len);

				fill(m, len);
				each[i] = m;
			}
			use(HASH_AVX2);
			check_many(0, each, len, 6);
		}
	}
	for (size_t i = 0; i < 6; i++)
		fence_free(&f[i]);
}

static void
check_nodes(uint8_t (*in)[HASH_LEN], uint8_t (*out)[HASH_LEN], size_t n)
{
	const uint8_t prefix = 1;
	uint8_t want[HASH_FULL_LEN];

	for (size_t i = 0; i < 2 * n * HASH_LEN; i++)
		in[i / HASH_LEN][i % HASH_LEN] = (uint8_t)draw();
	hash_nodes((const uint8_t(*)[HASH_LEN])in, n, out);
	for (size_t i = 0; i < n; i++) {
		hash_one(want, &prefix, 1, in[2 * i], 2 * HASH_LEN);
		assert_memory_equal(out[i], want, HASH_LEN);
	}
}

static void
nodes_right_behind(void **state)
{
	static uint8_t level[3 * N_MAX + 1][HASH_LEN];

	(void)state;
	for (size_t b = 0; b < BACKEND_COUNT; b++) {
		use(backends[b]);
		for (size_t n = 1; n <= N_MAX; n++) {
			memset(level, 0xa5, sizeof level);
			check_nodes(level, level + 2 * n, n);
			for (size_t i = 0; i < HASH_LEN; i++)
				assert_int_equal(level[3 * n][i], 0xa5);
		}
	}
}

static void
nodes_between_guard_pages(void **state)
{
	struct fence in, out;

	(void)state;
	for (size_t n = 1; n <= N_MAX; n++) {
		/* Exactly one page: the pairs end, or begin, at its edge. */
		fence_make(&in, 2 * n * HASH_LEN);
		fence_make(&out, n * HASH_LEN);
		use(HASH_AVX2);
		check_nodes((uint8_t(*)[HASH_LEN])(void *)fence_first(&in),
		    (uint8_t(*)[HASH_LEN])(void *)fence_first(&out), n);
		check_nodes((uint8_t(*)[HASH_LEN])(void *)fence_last(
				&in, 2 * n * HASH_LEN),
		    (uint8_t(*)[HASH_LEN])(void *)fence_last(
			&out, n * HASH_LEN),
		    n);
		fence_free(&in);
		fence_free(&out);
	}
}

static void
nothing_to_hash(void **state)
{
	uint8_t out[1][HASH_LEN] = { { 7 } };

	(void)state;
	for (size_t b = 0; b < BACKEND_COUNT; b++) {
		use(backends[b]);
		hash_many(0, NULL, 1036, 0, out);
		hash_nodes(NULL, 0, out);
		assert_int_equal(out[0][0], 7);
	}
}

static void
chooses_the_best_there_is(void **state)
{
	(void)state;
	assert_true(hash_available(HASH_AUTO));
	assert_true(hash_available(HASH_SODIUM));
	assert_int_equal(hash_select(HASH_SODIUM), 0);
	assert_string_equal(hash_name(), "libsodium");
	assert_int_equal(hash_select(HASH_AUTO), 0);
	assert_string_equal(
	    hash_name(), hash_available(HASH_AVX2) ? "avx2" : "libsodium");
	assert_int_equal(hash_select((enum hash_backend)99), -1);
	assert_false(hash_available((enum hash_backend)99));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers_of_one),
		cmocka_unit_test(known_answers_of_many),
		cmocka_unit_test(lengths_and_counts),
		cmocka_unit_test(random_trials),
		cmocka_unit_test(one_byte_in_one_lane),
		cmocka_unit_test(reads_nothing_outside_a_message),
		cmocka_unit_test(nodes_right_behind),
		cmocka_unit_test(nodes_between_guard_pages),
		cmocka_unit_test(nothing_to_hash),
		cmocka_unit_test(chooses_the_best_there_is),
	};

	printf("note: AVX2 backend %s\n",
	    hash_available(HASH_AVX2) ? "tested" : "absent on this CPU");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
