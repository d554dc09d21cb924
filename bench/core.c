/*
 * CPU time of the pure core, no socket near: a request parsed, one signature,
 * and a batch of version 1 requests answered (leaves, tree, one signature,
 * replies), by the size of the batch.
 *
 *   core [--rounds N] [--json]
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "roughtime/cert.h"
#include "roughtime/hash.h"
#include "roughtime/request.h"
#include "roughtime/response.h"

#define PACKET 1036
#define STRIDE 2112 /* as net/batch.c lays 2048 bytes out */
#define BATCH 256
#define ROUNDS_MAX 1001
#define TURN_NS 3000000ull
#define NOW_US 1800000000000000ull
#define SREP_LEN 180 /* of version 1, with its context, to a few bytes */

static const size_t sizes[] = { 1, 4, 16, 64, BATCH };
#define SIZES (sizeof sizes / sizeof sizes[0])

struct bench {
	uint8_t packets[BATCH][STRIDE];
	uint8_t replies[BATCH][RESPONSE_MAX + 64];
	struct response_job jobs[BATCH];
	struct response_key key;
	struct response_versions versions;
	struct request_policy policy;
	struct responder *responder;
	double parse_us[ROUNDS_MAX];
	double sign_us[ROUNDS_MAX];
	double answer_us[SIZES][ROUNDS_MAX];
};

static void
make_requests(struct bench *b)
{
	uint8_t nonce[32];
	const struct request_spec spec = {
		.versions = 1u << VERSION_RFC, .nonce = nonce, .size = PACKET
	};

	for (size_t i = 0; i < BATCH; i++) {
		randombytes_buf(nonce, sizeof nonce);
		if (request_make(b->packets[i], PACKET, &spec) != PACKET)
			abort();
		b->jobs[i].out = b->replies[i];
		b->jobs[i].cap = RESPONSE_MAX;
		b->jobs[i].any_length = false;
	}
}

static void
make_server(struct bench *b)
{
	uint8_t online_public[CERT_PUBLIC_LEN], public[CERT_PUBLIC_LEN];
	uint8_t secret[CERT_SECRET_LEN];
	static uint8_t srv[1][CERT_SRV_LEN];

	crypto_sign_keypair(public, secret);
	crypto_sign_keypair(online_public, b->key.online_secret);
	delegation_make(&b->key.delegation, secret, online_public,
	    NOW_US / 1000000 - 3600, NOW_US / 1000000 + 3600);
	b->key.usable = true;
	cert_srv(srv[0], public);
	b->policy = (struct request_policy){ .versions = VERSION_ALL,
		.identities = 1,
		.srv = (const uint8_t(*)[CERT_SRV_LEN])srv };
	response_versions_make(&b->versions, VERSION_ALL);
	b->responder = responder_init(
	    aligned_alloc(64, (responder_size(BATCH) + 63) / 64 * 64), BATCH,
	    &b->versions);
}

static void
parse_all(struct bench *b)
{
	for (size_t i = 0; i < BATCH; i++)
		if (request_parse(&b->jobs[i].request,
			(struct view){ b->packets[i], PACKET }, REQUEST_UDP_MIN,
			&b->policy) != REQUEST_OK)
			abort();
}

static void
answer(struct bench *b, size_t n)
{
	const struct response_time now = { NOW_US, 3000000 };

	responder_answer(b->responder, b->jobs, n, &b->key, &now);
	if (b->jobs[n - 1].len == 0)
		abort();
}

static double
turn_parse(struct bench *b)
{
	const uint64_t start = clock_thread_cpu_ns();
	uint64_t ns;
	size_t done = 0;

	do {
		parse_all(b);
		done += BATCH;
		ns = clock_thread_cpu_ns() - start;
	} while (ns < TURN_NS);
	return (double)ns / 1e3 / (double)done;
}

/* What a batch costs whatever it holds: one signature of an SREP's length. */
static double
turn_sign(struct bench *b)
{
	const uint64_t start = clock_thread_cpu_ns();
	uint8_t signed_part[SREP_LEN] = { 0 }, sig[CERT_SIG_LEN];
	uint64_t ns;
	size_t done = 0;

	do {
		crypto_sign_detached(
		    sig, NULL, signed_part, SREP_LEN, b->key.online_secret);
		signed_part[done++ % SREP_LEN] ^= sig[0];
		ns = clock_thread_cpu_ns() - start;
	} while (ns < TURN_NS);
	return (double)ns / 1e3 / (double)done;
}

static double
turn_answer(struct bench *b, size_t n)
{
	const uint64_t start = clock_thread_cpu_ns();
	uint64_t ns;
	size_t done = 0;

	do {
		answer(b, n);
		done += n;
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

static void
print_row(const char *what, size_t n, double *us, size_t rounds, bool json)
{
	qsort(us, rounds, sizeof *us, compare);
	printf(json ? "{\"what\":\"%s\",\"batch\":%zu,\"us\":[%.4f,%.4f,%.4f,"
		      "%.4f]}"
		    : "%-7s batch %4zu  us a request: %.3f %.3f %.3f %.3f\n",
	    what, n, us[0], us[rounds / 4], us[rounds / 2], us[rounds * 3 / 4]);
}

int
main(int argc, char **argv)
{
	static struct bench b;
	size_t rounds = 31;
	bool json = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
			rounds = strtoul(argv[++i], NULL, 10);
	}
	if (rounds < 1 || rounds > ROUNDS_MAX || sodium_init() < 0)
		return 2;
	hash_select(HASH_AUTO);
	make_requests(&b);
	make_server(&b);
	for (size_t r = 0; r < rounds; r++) {
		b.parse_us[r] = turn_parse(&b);
		b.sign_us[r] = turn_sign(&b);
		for (size_t i = 0; i < SIZES; i++)
			b.answer_us[i][r] = turn_answer(&b, sizes[i]);
	}
	printf("%s", json ? "[" : "columns: min, quartile, median, quartile\n");
	print_row("parse", BATCH, b.parse_us, rounds, json);
	printf("%s", json ? "," : "");
	print_row("sign", 1, b.sign_us, rounds, json);
	for (size_t i = 0; i < SIZES; i++) {
		printf("%s", json ? "," : "");
		print_row("answer", sizes[i], b.answer_us[i], rounds, json);
	}
	printf("%s", json ? "]\n" : "");
	return 0;
}
