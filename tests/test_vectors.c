/*
 * Replies against vectors made by other implementations: the same seeds, times
 * and requests must give the same bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/wire.h"
#include "roughtime/merkle.h"
#include "roughtime/response.h"
#include "tests/support.h"

#define BATCH 64

/* One server: an identity, its policy, and room for a batch of replies. */
struct server {
	uint8_t long_term_public[CERT_PUBLIC_LEN];
	uint8_t srv[1][CERT_SRV_LEN];
	struct response_key key;
	struct request_policy policy;
	struct response_versions versions;
	struct response_time now;
	struct responder *responder;
	struct response_job jobs[BATCH];
	struct view packets[BATCH];
	uint8_t replies[BATCH][RESPONSE_MAX];
	size_t n;
};

static struct server *
server_new(struct view long_term_seed, struct view online_seed, uint64_t mint_s,
    uint64_t maxt_s)
{
	struct server *s = calloc(1, sizeof *s);
	uint8_t secret[CERT_SECRET_LEN], online_public[CERT_PUBLIC_LEN];

	assert_non_null(s);
	assert_int_equal(long_term_seed.len, CERT_SEED_LEN);
	assert_int_equal(online_seed.len, CERT_SEED_LEN);
	crypto_sign_seed_keypair(
	    s->long_term_public, secret, long_term_seed.data);
	crypto_sign_seed_keypair(
	    online_public, s->key.online_secret, online_seed.data);
	delegation_make(
	    &s->key.delegation, secret, online_public, mint_s, maxt_s);
	s->key.usable = true;
	cert_srv(s->srv[0], s->long_term_public);
	s->policy = (struct request_policy){ .versions = VERSION_ALL,
		.identities = 1,
		.srv = (const uint8_t(*)[CERT_SRV_LEN])s->srv };
	/* the batch vectors announce [1, 0x8000000c] */
	response_versions_make(
	    &s->versions, 1u << VERSION_DRAFT14 | 1u << VERSION_RFC);
	s->responder = responder_init(
	    aligned_alloc(64, responder_size(BATCH)), BATCH, &s->versions);
	return s;
}

static void
server_free(struct server *s)
{
	for (size_t i = 0; i < s->n; i++)
		support_free(s->packets[i]);
	free(s->responder);
	free(s);
}

/* Parses and answers every request of `requests` in one batch. */
static size_t
server_answer(struct server *s, const json_t *requests,
    enum support_encoding encoding, size_t min_len)
{
	s->n = json_array_size(requests);
	assert_in_range(s->n, 1, BATCH);
	for (size_t i = 0; i < s->n; i++) {
		struct response_job *job = &s->jobs[i];

		s->packets[i] = support_bytes_at(requests, i, encoding);
		assert_int_equal(request_parse(&job->request, s->packets[i],
				     min_len, &s->policy),
		    REQUEST_OK);
		job->out = s->replies[i];
		job->cap = RESPONSE_MAX;
	}
	return responder_answer(s->responder, s->jobs, s->n, &s->key, &s->now);
}

static void
assert_replies(const struct server *s, const json_t *expected,
    enum support_encoding encoding)
{
	assert_int_equal(json_array_size(expected), s->n);
	for (size_t i = 0; i < s->n; i++) {
		struct view want = support_bytes_at(expected, i, encoding);

		assert_int_equal(s->jobs[i].drop, RESPONSE_SENT);
		assert_int_equal(s->jobs[i].len, want.len);
		assert_memory_equal(s->replies[i], want.data, want.len);
		support_free(want);
	}
}

static uint64_t
number(const json_t *root, const char *key)
{
	const json_t *value = json_object_get(root, key);

	assert_true(json_is_integer(value));
	return (uint64_t)json_integer_value(value);
}

/* A batch file of base64 with its seeds and times beside it. */
static void
batch_file(const char *name, enum version_row row)
{
	json_t *root = support_vector(name);
	struct view seed = support_bytes(root, "rootSeed", SUPPORT_BASE64);
	struct view online = support_bytes(root, "onlineSeed", SUPPORT_BASE64);
	struct view public = support_bytes(root, "publicKey", SUPPORT_BASE64);
	struct server *s = server_new(
	    seed, online, number(root, "mint"), number(root, "maxt"));

	assert_memory_equal(public.data, s->long_term_public, public.len);
	s->now.midpoint_us = number(root, "midp") * 1000000;
	s->now.radius_us = number(root, "radi") * 1000000;
	assert_int_equal(server_answer(s, json_object_get(root, "requests"),
			     SUPPORT_BASE64, REQUEST_UDP_MIN),
	    1);
	assert_int_equal(s->jobs[0].request.version->row, row);
	assert_replies(s, json_object_get(root, "responses"), SUPPORT_BASE64);
	server_free(s);
	support_free(seed);
	support_free(online);
	support_free(public);
	json_decref(root);
}

static void
batches_byte_exact(void **state)
{
	static const char *const sizes[] = { "001", "002", "003", "005",
		"064" };
	char name[64];

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		snprintf(name, sizeof name, "v1_batch_%s.json", sizes[i]);
		batch_file(name, VERSION_RFC);
		snprintf(name, sizeof name, "draft19_batch_%s.json", sizes[i]);
		batch_file(name, VERSION_DRAFT14);
	}
}

/* MINT 0, MAXT 100, MIDP 50, RADI 5: the times of all files in hex. */
static struct server *
hex_server(const json_t *root)
{
	struct view seed = support_bytes(root, "root_key", SUPPORT_HEX);
	struct view online = support_bytes(root, "online_key", SUPPORT_HEX);
	struct server *s = server_new(seed, online, 0, 100);

	s->now = (struct response_time){ 50 * 1000000u, 5 * 1000000u };
	support_free(seed);
	support_free(online);
	return s;
}

static void
singles_byte_exact(void **state)
{
	static const struct {
		const char *name;
		enum version_row row;
	} files[] = {
		{ "roughtime_google_001.json", VERSION_GOOGLE },
		{ "roughtime_ietf_draft08_001.json", VERSION_DRAFT08 },
		{ "roughtime_ietf_draft11_001.json", VERSION_DRAFT11 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		json_t *root = support_vector(files[i].name);
		struct server *s = hex_server(root);

		assert_int_equal(
		    server_answer(s, json_object_get(root, "request"),
			SUPPORT_HEX, REQUEST_UDP_MIN),
		    1);
		assert_int_equal(s->jobs[0].request.version->row, files[i].row);
		assert_replies(
		    s, json_object_get(root, "replies"), SUPPORT_HEX);
		server_free(s);
		json_decref(root);
	}
}

/* Both signatures and the path hold, and the times are those of the file. */
static void
assert_fifty(const struct server *s, const struct request *q, struct view reply)
{
	const struct version *v = q->version;
	struct view srep =
	    support_reply(v, s->long_term_public, q->packet, q->nonce, reply);

	assert_int_equal(
	    version_unix_us(v, wire_get64(support_value(srep, TAG_MIDP).data)),
	    50000000);
	assert_int_equal(version_radius_us(
			     v, wire_get32(support_value(srep, TAG_RADI).data)),
	    5000000);
}

/* Batches of ten: the certificate is ours to the byte, the trees verify. */
static void
tens_verify(void **state)
{
	static const struct {
		const char *name;
		enum version_row row;
	} files[] = {
		{ "roughtime_google_010.json", VERSION_GOOGLE },
		{ "roughtime_ietf_draft08_010.json", VERSION_DRAFT08 },
		{ "roughtime_ietf_draft11_010.json", VERSION_DRAFT11 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		const struct version *v = &version_table[files[i].row];
		json_t *root = support_vector(files[i].name);
		json_t *replies = json_object_get(root, "replies");
		struct server *s = hex_server(root);

		/* we sign these one by one: as many signatures as requests */
		assert_int_equal(
		    server_answer(s, json_object_get(root, "request"),
			SUPPORT_HEX, REQUEST_UDP_MIN),
		    10);
		for (size_t k = 0; k < s->n; k++) {
			struct view reply =
			    support_bytes_at(replies, k, SUPPORT_HEX);
			struct view body = reply, cert;

			assert_ptr_equal(s->jobs[k].request.version, v);
			assert_fifty(s, &s->jobs[k].request, reply);
			assert_fifty(s, &s->jobs[k].request,
			    (struct view){ s->replies[k], s->jobs[k].len });
			if (v->framed)
				frame_decode(reply, &body);
			cert = support_value(body, TAG_CERT);
			assert_memory_equal(cert.data,
			    s->key.delegation.cert[v->cert], CERT_LEN);
			support_free(reply);
		}
		server_free(s);
		json_decref(root);
	}
}

/* Requests recorded from the field. */
static void
recorded_requests_parse(void **state)
{
	uint8_t srv[1][CERT_SRV_LEN] = { { 0 } };
	struct request_policy policy = { .versions = VERSION_ALL,
		.identities = 1,
		.srv = (const uint8_t(*)[CERT_SRV_LEN])srv };
	struct request q;
	struct view p;

	(void)state;
	p = support_file("tests/vectors/int08h/rfc-request.071039e5");
	assert_int_equal(
	    request_parse(&q, p, REQUEST_UDP_MIN, &policy), REQUEST_OK);
	assert_int_equal(q.version->row, VERSION_DRAFT14);
	assert_int_equal(wire_get32(q.nonce.data), 0xe5391007);
	support_free(p);

	p = support_file("tests/vectors/int08h/rfc-request.SRV.417aa962");
	assert_int_equal(request_parse(&q, p, REQUEST_UDP_MIN, &policy),
	    REQUEST_SRV_UNKNOWN);
	support_hex(srv[0], sizeof srv[0],
	    "eef088f0684de21fe8f081799bd69a6b8362297d85e97ab2a1acc94ef4cafd46");
	assert_int_equal(
	    request_parse(&q, p, REQUEST_UDP_MIN, &policy), REQUEST_OK);
	assert_int_equal(q.version->row, VERSION_DRAFT14);
	assert_int_equal(q.identity, 0);
	support_free(p);

	/* recorded replies are never answered */
	p = support_file("tests/vectors/int08h/rfc-response.071039e5");
	assert_int_equal(request_parse(&q, p, 0, &policy), REQUEST_IS_RESPONSE);
	support_free(p);
}

/* A request and the reply a live server gave to it. */
static void
recorded_pair_verifies(void **state)
{
	const struct version *v = &version_table[VERSION_DRAFT14];
	struct view q =
	    support_file("tests/vectors/int08h/rfc-request.071039e5");
	struct view p =
	    support_file("tests/vectors/int08h/rfc-response.071039e5");
	uint8_t live_key[CERT_PUBLIC_LEN + 4];
	struct view nonce;

	(void)state;
	support_base64(live_key, sizeof live_key,
	    "AW5uAoTSTDfG5NfY1bTh08GUnOqlRb+HVhbJ3ODJvsE=");
	nonce = (struct view){ q.data + FRAME_LEN + 8 * 4 + 4, 32 };
	support_reply(v, live_key, q, nonce, p);
	support_free(p);
	support_free(q);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_byte_exact),
		cmocka_unit_test(singles_byte_exact),
		cmocka_unit_test(tens_verify),
		cmocka_unit_test(recorded_requests_parse),
		cmocka_unit_test(recorded_pair_verifies),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
