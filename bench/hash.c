/*
 * Time of a leaf and of a node: our AVX2 lanes beside libsodium, OpenSSL and
 * (when the build found it) Intel's libipsec-mb. The contenders take turns
 * A B C D A B C D …, so that a slow second hits all of them; the figure is
 * the median of the turns, in CPU time of this thread.
 *
 *   hash [--rounds N] [--batch N] [--json]
 */
/* The one-shot SHA512() of OpenSSL 3 looks its algorithm up every time. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "roughtime/hash.h"

#if __has_include(<intel-ipsec-mb.h>)
#include <intel-ipsec-mb.h>
#define HAVE_IPSEC_MB
#endif

#define MESSAGE 1036 /* a UDP request of RFC 10049: frame and 1024 bytes */
#define FILLED 104 /* its frame, header, VER, NONC, TYPE; the rest is zero */
#define BATCH_MAX 1024
#define ROUNDS_MAX 1001
#define TURN_NS 4000000ull /* how long a contender runs before the next */

/* All messages, each with its prefix byte before it, as libraries want it. */
struct input {
	uint8_t leaf[BATCH_MAX][1 + MESSAGE];
	const uint8_t *message[BATCH_MAX];
	uint8_t node[BATCH_MAX][1 + 2 * HASH_LEN];
	uint8_t pair[2 * BATCH_MAX][HASH_LEN];
	size_t n;
};

typedef void hash_run(const struct input *in, uint8_t (*out)[HASH_LEN]);

struct contender {
	const char *name;
	hash_run *leaves;
	hash_run *nodes;
	double leaf_us[ROUNDS_MAX];
	double node_us[ROUNDS_MAX];
};

static void
avx2_leaves(const struct input *in, uint8_t (*out)[HASH_LEN])
{
	hash_select(HASH_AVX2);
	hash_many(0, in->message, MESSAGE, in->n, out);
}

static void
avx2_nodes(const struct input *in, uint8_t (*out)[HASH_LEN])
{
	hash_select(HASH_AVX2);
	hash_nodes(in->pair, in->n, out);
}

static void
sodium_leaves(const struct input *in, uint8_t (*out)[HASH_LEN])
{
	hash_select(HASH_SODIUM);
	hash_many(0, in->message, MESSAGE, in->n, out);
}

static void
sodium_nodes(const struct input *in, uint8_t (*out)[HASH_LEN])
{
	hash_select(HASH_SODIUM);
	hash_nodes(in->pair, in->n, out);
}

static void
openssl_one(uint8_t out[static HASH_LEN], const uint8_t *message, size_t len)
{
	uint8_t full[HASH_FULL_LEN];
	SHA512_CTX c;

	SHA512_Init(&c);
	SHA512_Update(&c, message, len);
	SHA512_Final(full, &c);
	memcpy(out, full, HASH_LEN);
}

static void
openssl_leaves(const struct input *in, uint8_t (*out)[HASH_LEN])
{
	for (size_t i = 0; i < in->n; i++)
		openssl_one(out[i], in->leaf[i], sizeof in->leaf[i]);
}

static void
openssl_nodes(const struct input *in, uint8_t (*out)[HASH_LEN])
{
	for (size_t i = 0; i < in->n; i++)
		openssl_one(out[i], in->node[i], sizeof in->node[i]);
}

#ifdef HAVE_IPSEC_MB
static IMB_MGR *imb;
static uint8_t imb_full[BATCH_MAX][HASH_FULL_LEN];

static void
imb_job(const uint8_t *message, size_t len, uint8_t *tag)
{
	IMB_JOB *job = IMB_GET_NEXT_JOB(imb);

	memset(job, 0, sizeof *job);
	job->cipher_mode = IMB_CIPHER_NULL;
	job->cipher_direction = IMB_DIR_ENCRYPT;
	job->chain_order = IMB_ORDER_HASH_CIPHER;
	job->hash_alg = IMB_AUTH_SHA_512;
	job->src = message;
	job->msg_len_to_hash_in_bytes = len;
	job->auth_tag_output = tag;
	job->auth_tag_output_len_in_bytes = HASH_FULL_LEN;
	IMB_SUBMIT_JOB_NOCHECK(imb);
}

static void
imb_collect(size_t n, uint8_t (*out)[HASH_LEN])
{
	while (IMB_FLUSH_JOB(imb) != NULL)
		continue;
	for (size_t i = 0; i < n; i++)
		memcpy(out[i], imb_full[i], HASH_LEN);
}

static void
imb_leaves(const struct input *in, uint8_t (*out)[HASH_LEN])
{
	for (size_t i = 0; i < in->n; i++)
		imb_job(in->leaf[i], sizeof in->leaf[i], imb_full[i]);
	imb_collect(in->n, out);
}

static void
imb_nodes(const struct input *in, uint8_t (*out)[HASH_LEN])
{
	for (size_t i = 0; i < in->n; i++)
		imb_job(in->node[i], sizeof in->node[i], imb_full[i]);
	imb_collect(in->n, out);
}
#endif

static struct contender contenders[4];
static size_t contender_count;

static void
contender_add(const char *name, hash_run *leaves, hash_run *nodes)
{
	struct contender *c = &contenders[contender_count++];

	c->name = name;
	c->leaves = leaves;
	c->nodes = nodes;
}

static void
contenders_find(void)
{
	if (hash_available(HASH_AVX2))
		contender_add("timeshare avx2", avx2_leaves, avx2_nodes);
	else
		fputs("note: this CPU has no AVX2\n", stderr);
	contender_add("libsodium", sodium_leaves, sodium_nodes);
	contender_add("openssl", openssl_leaves, openssl_nodes);
#ifdef HAVE_IPSEC_MB
	imb = alloc_mb_mgr(0);
	if (imb != NULL && hash_available(HASH_AVX2)) {
		init_mb_mgr_avx2(imb);
		contender_add("libipsec-mb", imb_leaves, imb_nodes);
	}
#else
	fputs("note: built without libipsec-mb\n", stderr);
#endif
}

static void
input_make(struct input *in, size_t n)
{
	uint32_t r = 1;

	memset(in, 0, sizeof *in);
	in->n = n;
	for (size_t i = 0; i < n; i++) {
		in->message[i] = in->leaf[i] + 1;
		for (size_t j = 1; j <= FILLED; j++)
			in->leaf[i][j] = (uint8_t)((r = r * 69069 + 1) >> 24);
		in->node[i][0] = 1;
		for (size_t j = 1; j < sizeof in->node[i]; j++)
			in->node[i][j] = (uint8_t)((r = r * 69069 + 1) >> 24);
		memcpy(in->pair[2 * i], in->node[i] + 1, 2 * HASH_LEN);
	}
}

/* Nobody is timed whose answers differ from OpenSSL's. */
static void
check_equal(const struct input *in)
{
	static uint8_t want[BATCH_MAX][HASH_LEN], got[BATCH_MAX][HASH_LEN];

	for (size_t i = 0; i < contender_count; i++) {
		const struct contender *c = &contenders[i];

		openssl_leaves(in, want);
		c->leaves(in, got);
		if (memcmp(want, got, in->n * HASH_LEN) != 0)
			goto differ;
		openssl_nodes(in, want);
		c->nodes(in, got);
		if (memcmp(want, got, in->n * HASH_LEN) != 0)
			goto differ;
		continue;
	differ:
		fprintf(stderr, "hash: %s gives other hashes\n", c->name);
		exit(1);
	}
}

/* Microseconds a message, over one turn. */
static double
turn(hash_run *run, const struct input *in)
{
	static uint8_t out[BATCH_MAX][HASH_LEN];
	const uint64_t start = clock_thread_cpu_ns();
	uint64_t ns;
	size_t done = 0;

	do {
		run(in, out);
		done += in->n;
		ns = clock_thread_cpu_ns() - start;
	} while (ns < TURN_NS);
	return (double)ns / 1e3 / (double)done;
}

static int
compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts the turns, then: the fastest, the quartiles, the median. */
static void
print_spread(double *us, size_t rounds, bool json)
{
	qsort(us, rounds, sizeof *us, compare);
	printf(json ? "[%.4f,%.4f,%.4f,%.4f]" : "  %.3f %.3f %.3f %.3f", us[0],
	    us[rounds / 4], us[rounds / 2], us[rounds * 3 / 4]);
}

static void
print_results(size_t rounds, bool json)
{
	if (!json)
		printf("%-16s  leaf, us: min, 1/4, median, 3/4    node\n", "");
	for (size_t i = 0; i < contender_count; i++) {
		struct contender *c = &contenders[i];

		if (json)
			printf("%s{\"name\":\"%s\",\"leaf_us\":",
			    i == 0 ? "[" : ",", c->name);
		else
			printf("%-16s", c->name);
		print_spread(c->leaf_us, rounds, json);
		printf("%s", json ? ",\"node_us\":" : "  ");
		print_spread(c->node_us, rounds, json);
		printf("%s", json ? "}" : "\n");
	}
	if (json)
		puts("]");
}

int
main(int argc, char **argv)
{
	static struct input in;
	size_t rounds = 51, batch = 256;
	bool json = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
			rounds = strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--batch") == 0 && i + 1 < argc)
			batch = strtoul(argv[++i], NULL, 10);
		else
			goto usage;
	}
	if (rounds < 1 || rounds > ROUNDS_MAX || batch < 1 || batch > BATCH_MAX)
		goto usage;
	contenders_find();
	input_make(&in, batch);
	check_equal(&in);
	for (size_t r = 0; r < rounds; r++) {
		for (size_t i = 0; i < contender_count; i++) {
			struct contender *c = &contenders[i];

			c->leaf_us[r] = turn(c->leaves, &in);
			c->node_us[r] = turn(c->nodes, &in);
		}
	}
	print_results(rounds, json);
	return 0;
usage:
	fprintf(stderr, "usage: hash [--rounds 1-%d] [--batch 1-%d] [--json]\n",
	    ROUNDS_MAX, BATCH_MAX);
	return 2;
}
