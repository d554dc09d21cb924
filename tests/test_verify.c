/* roughtime/verify.h against every vector that others have made. */
#include "roughtime/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "roughtime/message.h"
#include "tests/support.h"

static const struct verify_options strict;
static const struct verify_options capital_t = { .compat_capital_t = true };

static enum verify_fault
check(struct verify_result *out, struct view key, struct view request,
    struct view response, const struct verify_options *options)
{
	assert_int_equal(key.len, CERT_PUBLIC_LEN);
	return verify_response(out, key.data, request, response, options);
}

/* Replies of one batch: each verifies, and none for its neighbour's request. */
static void
batch_verifies(const char *name, enum version_row row)
{
	json_t *root = support_vector(name);
	json_t *requests = json_object_get(root, "requests");
	json_t *replies = json_object_get(root, "responses");
	struct view key = support_bytes(root, "publicKey", SUPPORT_BASE64);
	size_t n = json_array_size(requests);
	struct verify_result r;

	assert_true(n > 0 && json_array_size(replies) == n);
	for (size_t i = 0; i < n; i++) {
		struct view request =
		    support_bytes_at(requests, i, SUPPORT_BASE64);
		struct view other =
		    support_bytes_at(requests, (i + 1) % n, SUPPORT_BASE64);
		struct view reply =
		    support_bytes_at(replies, i, SUPPORT_BASE64);

		assert_int_equal(
		    check(&r, key, request, reply, &strict), VERIFY_OK);
		assert_int_equal(r.version->row, row);
		assert_true(r.midpoint_us == 1790000000000000u);
		assert_true(r.radius_us == 3000000);
		assert_true(r.earliest_us == r.midpoint_us - r.radius_us);
		assert_true(r.latest_us == r.midpoint_us + r.radius_us);
		assert_true(r.mint_us == 1789990000000000u);
		assert_true(r.maxt_us == 1790090000000000u);
		assert_int_equal(r.index, i);
		assert_int_equal(r.order, MERKLE_NATURAL);
		assert_false(r.capital_t || r.any_key);
		assert_true((size_t)1 << r.path_nodes >= n);
		if (n > 1)
			assert_int_equal(check(&r, key, other, reply, &strict),
			    VERIFY_NONCE);
		support_free(request);
		support_free(other);
		support_free(reply);
	}
	support_free(key);
	json_decref(root);
}

static void
batches(void **state)
{
	static const int sizes[] = { 1, 2, 3, 5, 64 };
	char name[64];

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		snprintf(name, sizeof name, "v1_batch_%03d.json", sizes[i]);
		batch_verifies(name, VERSION_RFC);
		snprintf(
		    name, sizeof name, "draft19_batch_%03d.json", sizes[i]);
		batch_verifies(name, VERSION_DRAFT14);
	}
}

/* MINT 0, MAXT 100, MIDP 50, RADI 5 seconds; natural order of PATH. */
static void
cloudflare_verifies(const char *name, enum version_row row, size_t n)
{
	json_t *root = support_vector(name);
	json_t *requests = json_object_get(root, "request");
	json_t *replies = json_object_get(root, "replies");
	struct view seed = support_bytes(root, "root_key", SUPPORT_HEX);
	uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	const struct view key = { public_key, sizeof public_key };
	struct verify_result r;

	assert_int_equal(seed.len, crypto_sign_SEEDBYTES);
	crypto_sign_seed_keypair(public_key, secret, seed.data);
	assert_int_equal(json_array_size(replies), n);
	for (size_t i = 0; i < n; i++) {
		struct view request =
		    support_bytes_at(requests, i, SUPPORT_HEX);
		struct view reply = support_bytes_at(replies, i, SUPPORT_HEX);

		assert_int_equal(
		    check(&r, key, request, reply, &strict), VERIFY_OK);
		assert_int_equal(r.version->row, row);
		assert_true(r.midpoint_us == 50000000);
		assert_true(r.radius_us == 5000000);
		assert_true(r.maxt_us == 100000000 && r.mint_us == 0);
		assert_int_equal(r.order, MERKLE_NATURAL);
		assert_int_equal(r.path_nodes, n == 1 ? 0 : 4);
		support_free(request);
		support_free(reply);
	}
	support_free(seed);
	json_decref(root);
}

static void
cloudflare(void **state)
{
	(void)state;
	cloudflare_verifies("roughtime_google_001.json", VERSION_GOOGLE, 1);
	cloudflare_verifies("roughtime_google_010.json", VERSION_GOOGLE, 10);
	cloudflare_verifies(
	    "roughtime_ietf_draft08_001.json", VERSION_DRAFT08, 1);
	cloudflare_verifies(
	    "roughtime_ietf_draft08_010.json", VERSION_DRAFT08, 10);
	cloudflare_verifies(
	    "roughtime_ietf_draft11_001.json", VERSION_DRAFT11, 1);
	cloudflare_verifies(
	    "roughtime_ietf_draft11_010.json", VERSION_DRAFT11, 10);
}

/* A live server's reply; VERS of that server holds a 0. */
static void
int08h_pair(void **state)
{
	struct view request =
	    support_file("tests/vectors/int08h/rfc-request.071039e5");
	struct view reply =
	    support_file("tests/vectors/int08h/rfc-response.071039e5");
	uint8_t key[32];
	struct verify_result r;

	(void)state;
	support_base64(
	    key, sizeof key, "AW5uAoTSTDfG5NfY1bTh08GUnOqlRb+HVhbJ3ODJvsE=");
	assert_int_equal(
	    verify_response(&r, key, request, reply, NULL), VERIFY_OK);
	assert_int_equal(r.version->row, VERSION_DRAFT14);
	assert_true(
	    r.midpoint_us == 0x682f840200000000u / 0x100000000u * 1000000u);
	assert_true(r.maxt_us == UINT64_MAX && r.mint_us == 0);
	assert_int_equal(r.versions.len, 8);
	assert_int_equal(r.downgrade, 0);
	key[0] ^= 1;
	assert_int_equal(verify_response(&r, key, request, reply, NULL),
	    VERIFY_CERT_SIGNATURE);
	support_free(request);
	support_free(reply);
}

/*
 * A path of eight whose request and key were not kept: with the pair's request
 * and the reply's nonce in it, and without a key, all holds but the root.
 */
static void
int08h_path_of_eight(void **state)
{
	static const struct verify_options any = { .any_key = true };
	struct view request =
	    support_file("tests/vectors/int08h/rfc-request.071039e5");
	struct view reply = support_file(
	    "tests/vectors/int08h/rfc-response.path8.index2.4c16c619");
	static const uint8_t key[32] = { 1 };
	uint8_t *bytes = guard_alloc(request.len);
	struct view asked = { bytes, request.len };
	struct verify_result r;
	struct message m;
	struct view nonce, body;

	(void)state;
	memcpy(bytes, request.data, request.len);
	assert_int_equal(frame_decode(reply, &body), FRAME_OK);
	assert_int_equal(message_decode(&m, body), MESSAGE_OK);
	assert_true(message_get(&m, TAG_NONC, &nonce));
	memcpy(bytes + FRAME_LEN + 32 + 4, nonce.data, nonce.len);
	assert_int_equal(verify_response(&r, key, asked, reply, NULL),
	    VERIFY_CERT_SIGNATURE);
	assert_int_equal(
	    verify_response(&r, key, asked, reply, &any), VERIFY_ROOT);
	assert_true(r.any_key);
	assert_int_equal(r.path_nodes, 8);
	assert_int_equal(r.index, 2);
	guard_free(bytes, request.len);
	support_free(request);
	support_free(reply);
}

/* A reply with filler for signatures and a request that is not kept. */
static void
int08h_golden_layout(void **state)
{
	struct view request =
	    support_file("tests/vectors/int08h/rfc-request.071039e5");
	struct view reply =
	    support_file("tests/vectors/int08h/golden-response.phase8");
	static const uint8_t key[32];
	uint8_t *bytes = guard_alloc(request.len);
	struct verify_result r;

	(void)state;
	memcpy(bytes, request.data, request.len);
	memset(bytes + FRAME_LEN + 32 + 4, 0x44, 32);
	assert_int_equal(
	    verify_response(&r, key, request, reply, NULL), VERIFY_NONCE);
	assert_int_equal(verify_response(&r, key,
			     (struct view){ bytes, request.len }, reply, NULL),
	    VERIFY_CERT_SIGNATURE);
	assert_int_equal(r.version->row, VERSION_DRAFT14);
	assert_int_equal(r.path_nodes, 2);
	assert_int_equal(r.index, 7);
	guard_free(bytes, request.len);
	support_free(request);
	support_free(reply);
}

struct link {
	struct view key, request, reply;
	struct verify_result result;
};

static size_t
load_chain(const char *name, struct link *links, size_t cap)
{
	json_t *root = support_vector(name);
	json_t *list = json_object_get(root, "responses");
	size_t n = json_array_size(list);

	assert_true(n > 1 && n <= cap);
	for (size_t i = 0; i < n; i++) {
		json_t *o = json_array_get(list, i);

		links[i].key = support_bytes(o, "publicKey", SUPPORT_BASE64);
		links[i].request = support_bytes(o, "request", SUPPORT_BASE64);
		links[i].reply = support_bytes(o, "response", SUPPORT_BASE64);
	}
	/* nonce_n = H(previous reply || rand), section 8.2 */
	for (size_t i = 1; i < n; i++) {
		struct view rand = support_bytes(
		    json_array_get(list, i), "rand", SUPPORT_BASE64);
		struct message m;
		struct view body, nonce;
		uint8_t want[32];

		assert_int_equal(rand.len, 32);
		verify_chain_nonce(want, 32, links[i - 1].reply, rand.data);
		assert_int_equal(
		    frame_decode(links[i].request, &body), FRAME_OK);
		assert_int_equal(message_decode(&m, body), MESSAGE_OK);
		assert_true(message_get(&m, TAG_NONC, &nonce));
		assert_memory_equal(nonce.data, want, 32);
		support_free(rand);
	}
	json_decref(root);
	return n;
}

static void
free_chain(struct link *links, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		support_free(links[i].key);
		support_free(links[i].request);
		support_free(links[i].reply);
	}
}

/* All replies verify; all pairs that conflict are those with server `liar`. */
static void
chain_has_liar(const char *name, int liar)
{
	struct link links[6];
	size_t n = load_chain(name, links, 6), conflicts = 0;

	for (size_t i = 0; i < n; i++)
		assert_int_equal(check(&links[i].result, links[i].key,
				     links[i].request, links[i].reply, &strict),
		    VERIFY_OK);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; j < n; j++) {
			if (verify_causal(&links[i].result, &links[j].result))
				continue;
			conflicts++;
			/* a clock behind: it is the later one of each pair */
			assert_int_equal(j % 3, liar);
			assert_int_not_equal(i % 3, liar);
		}
	}
	assert_int_equal(conflicts, liar < 0 ? 0 : 6);
	free_chain(links, n);
}

static void
chains(void **state)
{
	(void)state;
	chain_has_liar("v1_chain_consistent.json", -1);
	chain_has_liar("v1_chain_liar.json", 2);
	chain_has_liar("draft19_chain_consistent.json", -1);
	chain_has_liar("draft19_chain_liar.json", 2);
}

/* The RFC's own example: small t in the text, capital T in its bytes. */
static void
appendix_b(void **state)
{
	struct link links[3];
	size_t n = load_chain("rfc10049-appendix-b.json", links, 3);

	(void)state;
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++) {
		struct link *l = &links[i];

		assert_int_equal(
		    check(&l->result, l->key, l->request, l->reply, &strict),
		    VERIFY_CERT_SIGNATURE);
		assert_false(l->result.capital_t);
		assert_int_equal(
		    check(&l->result, l->key, l->request, l->reply, &capital_t),
		    VERIFY_OK);
		assert_true(l->result.capital_t);
		assert_int_equal(l->result.version->row, VERSION_RFC);
	}
	/* by its bytes the first is a day ahead (its text blames the third) */
	assert_false(verify_causal(&links[0].result, &links[1].result));
	assert_false(verify_causal(&links[0].result, &links[2].result));
	assert_true(verify_causal(&links[1].result, &links[2].result));
	free_chain(links, n);
}

/* The compatibility mode changes nothing for a reply that needs none. */
static void
compat_is_no_amnesty(void **state)
{
	json_t *root = support_vector("v1_batch_003.json");
	struct view key = support_bytes(root, "publicKey", SUPPORT_BASE64);
	struct view request = support_bytes_at(
	    json_object_get(root, "requests"), 1, SUPPORT_BASE64);
	struct view reply = support_bytes_at(
	    json_object_get(root, "responses"), 1, SUPPORT_BASE64);
	uint8_t *bytes = guard_alloc(reply.len);
	struct view bad = { bytes, reply.len };
	struct verify_result r;

	(void)state;
	assert_int_equal(check(&r, key, request, reply, &capital_t), VERIFY_OK);
	assert_false(r.capital_t);
	memcpy(bytes, reply.data, reply.len);
	bytes[FRAME_LEN + 56] ^= 1; /* the first byte of SIG */
	assert_int_equal(
	    check(&r, key, request, bad, &capital_t), VERIFY_SIGNATURE);
	assert_false(r.capital_t);
	guard_free(bytes, reply.len);
	support_free(key);
	support_free(request);
	support_free(reply);
	json_decref(root);
}

/*
 * Flips each bit of a reply in turn and counts those that still verify; all
 * of them must lie in bytes [from, to).
 */
static void
flips_are_caught(const char *name, size_t i, size_t from, size_t to)
{
	json_t *root = support_vector(name);
	struct view key = support_bytes(root, "publicKey", SUPPORT_BASE64);
	struct view request = support_bytes_at(
	    json_object_get(root, "requests"), i, SUPPORT_BASE64);
	struct view reply = support_bytes_at(
	    json_object_get(root, "responses"), i, SUPPORT_BASE64);
	uint8_t *bytes = guard_alloc(reply.len);
	struct verify_result r;

	memcpy(bytes, reply.data, reply.len);
	for (size_t bit = 0; bit < reply.len * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (check(&r, key, request, (struct view){ bytes, reply.len },
			&strict) == VERIFY_OK &&
		    (bit / 8 < from || bit / 8 >= to))
			fail_msg("%s: bit %zu of byte %zu goes unseen", name,
			    bit % 8, bit / 8);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(
	    check(&r, key, request, (struct view){ bytes, reply.len }, &strict),
	    VERIFY_OK);
	guard_free(bytes, reply.len);
	support_free(key);
	support_free(request);
	support_free(reply);
	json_decref(root);
}

/*
 * In 0x8000000c the tag TYPE itself may be damaged: a reply without TYPE is
 * that of drafts 12 and 13, whose servers ignore a request's TYPE.
 */
static void
every_bit_counts(void **state)
{
	const size_t type_tag = FRAME_LEN + 4 + 6 * 4 + 2 * 4;

	(void)state;
	flips_are_caught("v1_batch_001.json", 0, 0, 0);
	flips_are_caught("v1_batch_003.json", 1, 0, 0);
	flips_are_caught("v1_batch_005.json", 4, 0, 0);
	flips_are_caught("draft19_batch_003.json", 2, type_tag, type_tag + 4);
}

/* Any prefix is refused, and nothing is read past its end. */
static void
truncated_everywhere(void **state)
{
	static const char *const names[] = { "v1_batch_003.json",
		"draft19_batch_003.json" };
	struct verify_result r;

	(void)state;
	for (size_t v = 0; v < 2; v++) {
		json_t *root = support_vector(names[v]);
		struct view key =
		    support_bytes(root, "publicKey", SUPPORT_BASE64);
		struct view request = support_bytes_at(
		    json_object_get(root, "requests"), 0, SUPPORT_BASE64);
		struct view reply = support_bytes_at(
		    json_object_get(root, "responses"), 0, SUPPORT_BASE64);

		for (size_t len = 0; len < reply.len; len++) {
			struct view cut = guard_copy(reply.data, len);

			assert_int_equal(check(&r, key, request, cut, &strict),
			    VERIFY_FRAME);
			guard_drop(cut);
		}
		for (size_t len = 0; len < request.len; len++) {
			struct view cut = guard_copy(request.data, len);

			assert_int_equal(check(&r, key, cut, reply, &strict),
			    VERIFY_REQUEST);
			guard_drop(cut);
		}
		support_free(key);
		support_free(request);
		support_free(reply);
		json_decref(root);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches),
		cmocka_unit_test(cloudflare),
		cmocka_unit_test(int08h_pair),
		cmocka_unit_test(int08h_path_of_eight),
		cmocka_unit_test(int08h_golden_layout),
		cmocka_unit_test(chains),
		cmocka_unit_test(appendix_b),
		cmocka_unit_test(compat_is_no_amnesty),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(truncated_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
