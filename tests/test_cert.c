/* roughtime/cert.h: certificates of each kind, bundles and their faults. */
#include "roughtime/cert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/wire.h"
#include "tests/support.h"

#define MINT_S 1789990000u
#define MAXT_S 1790090000u

static bool seen[DELEGATION_FAULTS];

static const char *
fault_name(int i)
{
	return delegation_fault_str((enum delegation_fault)i);
}

static const char *
kind_name(int i)
{
	return cert_kind_str((enum cert_kind)i);
}

/* Written down a second time: context and wire times of each kind. */
static const struct {
	const char *name;
	const char *context;
	uint64_t mint, maxt;
} kinds[CERT_KINDS] = {
	[CERT_RFC] = { "rfc", "Roughtime v1 delegation signature", MINT_S,
	    MAXT_S },
	[CERT_DRAFT12] = { "draft12", "RoughTime v1 delegation signature",
	    MINT_S, MAXT_S },
	[CERT_DRAFT08] = { "draft08", "RoughTime v1 delegation signature--",
	    MINT_S, MAXT_S },
	[CERT_DRAFT07] = { "draft07", "RoughTime v1 delegation signature",
	    61304ull << 40 | 41200000000, 61305ull << 40 | 54800000000 },
	[CERT_DRAFT01] = { "draft01", "RoughTime v1 delegation signature--",
	    61304ull << 40 | 41200000000, 61305ull << 40 | 54800000000 },
	[CERT_GOOGLE] = { "google", "RoughTime v1 delegation signature--",
	    MINT_S * 1000000ull, MAXT_S * 1000000ull },
};

static void
each_kind_is_signed_with_its_context(void **state)
{
	struct support_identity id;

	(void)state;
	support_identity(&id, 1, MINT_S, MAXT_S);
	for (enum cert_kind k = 0; k < CERT_KINDS; k++) {
		const struct version_context context = { kinds[k].context,
			strlen(kinds[k].context) + 1 };
		struct view cert = { id.key.delegation.cert[k], CERT_LEN };
		struct view dele = support_value(cert, TAG_DELE);

		assert_string_equal(cert_kind_str(k), kinds[k].name);
		support_signed(&context, dele, support_value(cert, TAG_SIG),
		    id.long_term_public);
		assert_memory_equal(support_value(dele, TAG_PUBK).data,
		    id.key.delegation.online_public, CERT_PUBLIC_LEN);
		assert_true(wire_get64(support_value(dele, TAG_MINT).data) ==
		    kinds[k].mint);
		assert_true(wire_get64(support_value(dele, TAG_MAXT).data) ==
		    kinds[k].maxt);
	}
	assert_string_equal(kind_name(CERT_KINDS), "unknown");
}

static void
exact_wire_times(void **state)
{
	struct support_identity id;
	uint8_t *cert = guard_alloc(CERT_LEN);
	struct view dele;

	(void)state;
	support_identity(&id, 1, MINT_S, MAXT_S);
	cert_make(CERT_RFC, cert, id.long_term_secret,
	    id.key.delegation.online_public, 0, UINT64_MAX);
	dele = support_value((struct view){ cert, CERT_LEN }, TAG_DELE);
	assert_true(wire_get64(support_value(dele, TAG_MINT).data) == 0);
	assert_true(
	    wire_get64(support_value(dele, TAG_MAXT).data) == UINT64_MAX);
	guard_free(cert, CERT_LEN);
}

static struct bundle
bundle_of(const struct support_identity *id)
{
	struct bundle b;

	delegation_to_bundle(
	    &b, &id->key.delegation, id->long_term_public, id->online_seed);
	return b;
}

static void
bundle_round_trip(void **state)
{
	struct support_identity id;
	struct delegation d;
	struct bundle b;

	(void)state;
	support_identity(&id, 2, MINT_S, MAXT_S);
	b = bundle_of(&id);
	assert_int_equal(b.count, CERT_KINDS);
	assert_int_equal(b.not_before_s, MINT_S);
	assert_int_equal(b.not_after_s, MAXT_S);
	assert_memory_equal(b.public_key, id.long_term_public, 32);
	assert_memory_equal(b.online_seed, id.online_seed, 32);
	assert_int_equal(delegation_from_bundle(&d, &b), DELEGATION_OK);
	assert_memory_equal(&d, &id.key.delegation, sizeof d);
	/* the order of certificates in the file does not matter */
	b.certs[0] = bundle_of(&id).certs[5];
	b.certs[5] = bundle_of(&id).certs[0];
	assert_int_equal(delegation_from_bundle(&d, &b), DELEGATION_OK);
	assert_memory_equal(&d, &id.key.delegation, sizeof d);
	seen[DELEGATION_OK] = true;
}

static void
expect(const struct bundle *b, enum delegation_fault want)
{
	struct delegation d;

	assert_int_equal(delegation_from_bundle(&d, b), want);
	seen[want] = true;
}

static void
names_every_fault(void **state)
{
	struct support_identity id, other;
	struct bundle b;

	(void)state;
	support_identity(&id, 3, MINT_S, MAXT_S);
	support_identity(&other, 4, MINT_S, MAXT_S);

	b = bundle_of(&id);
	memcpy(b.certs[2].kind, "draft99", 8);
	expect(&b, DELEGATION_KIND_UNKNOWN);
	memset(b.certs[2].kind, 'x', sizeof b.certs[2].kind); /* no NUL */
	expect(&b, DELEGATION_KIND_UNKNOWN);

	b = bundle_of(&id);
	b.count--;
	expect(&b, DELEGATION_KIND_MISSING);
	b.count = 0;
	expect(&b, DELEGATION_KIND_MISSING);
	b = bundle_of(&id);
	b.certs[1] = b.certs[0]; /* one twice, one not at all */
	expect(&b, DELEGATION_KIND_MISSING);

	b = bundle_of(&id);
	b.public_key[5] ^= 1;
	expect(&b, DELEGATION_SIGNATURE);
	b = bundle_of(&id);
	memcpy(b.public_key, other.long_term_public, 32);
	expect(&b, DELEGATION_SIGNATURE);
	b = bundle_of(&id);
	memcpy(b.certs[0].bytes, b.certs[1].bytes, CERT_LEN); /* context */
	expect(&b, DELEGATION_SIGNATURE);

	b = bundle_of(&id);
	memcpy(b.online_seed, other.online_seed, 32);
	expect(&b, DELEGATION_KEY_MISMATCH);

	b = bundle_of(&id);
	b.not_before_s++;
	expect(&b, DELEGATION_TIMES_MISMATCH);
	b = bundle_of(&id);
	b.not_after_s--;
	expect(&b, DELEGATION_TIMES_MISMATCH);
}

/* Any changed byte of a certificate is noticed. */
static void
every_byte_counts(void **state)
{
	struct support_identity id;

	(void)state;
	support_identity(&id, 5, MINT_S, MAXT_S);
	for (size_t at = 0; at < CERT_LEN; at++) {
		struct bundle b = bundle_of(&id);
		struct delegation d;
		enum delegation_fault fault;

		b.certs[CERT_RFC].bytes[at] ^= 0x41;
		fault = delegation_from_bundle(&d, &b);
		assert_true(fault == DELEGATION_MALFORMED ||
		    fault == DELEGATION_SIGNATURE);
		seen[fault] = true;
	}
}

/* Well-formed maps of 152 bytes that are no certificates. */
static void
other_maps_are_malformed(void **state)
{
	const struct message_field no_dele[] = {
		{ TAG_SIG, { NULL, 64 } },
		{ TAG_CERT, { NULL, 72 } },
	};
	const struct message_field lengths[] = {
		{ TAG_SIG, { NULL, 60 } },
		{ TAG_DELE, { NULL, 76 } },
	};
	const struct message_field third[] = {
		{ TAG_SIG, { NULL, 64 } },
		{ TAG_DELE, { NULL, 60 } },
		{ TAG_ZZZZ, { NULL, 4 } },
	};
	struct support_identity id;
	struct bundle b;

	(void)state;
	support_identity(&id, 6, MINT_S, MAXT_S);
	b = bundle_of(&id);
	assert_int_equal(
	    message_encode(b.certs[0].bytes, CERT_LEN, no_dele, 2), CERT_LEN);
	expect(&b, DELEGATION_MALFORMED);
	assert_int_equal(
	    message_encode(b.certs[0].bytes, CERT_LEN, lengths, 2), CERT_LEN);
	expect(&b, DELEGATION_MALFORMED);
	assert_int_equal(
	    message_encode(b.certs[0].bytes, CERT_LEN, third, 3), CERT_LEN);
	expect(&b, DELEGATION_MALFORMED);
}

static void
all_faults_were_seen(void **state)
{
	static const bool all_kinds[CERT_KINDS] = { true, true, true, true,
		true, true };

	(void)state;
	support_all_seen(seen, DELEGATION_FAULTS, fault_name);
	support_all_seen(all_kinds, CERT_KINDS, kind_name);
	assert_string_equal(fault_name(DELEGATION_FAULTS), "unknown");
}

/* Against the SRV that another implementation's client sent. */
static void
srv_of_a_known_key(void **state)
{
	json_t *root = support_vector("v1_batch_001.json");
	struct view key = support_bytes(root, "publicKey", SUPPORT_BASE64);
	struct view request = support_bytes_at(
	    json_object_get(root, "requests"), 0, SUPPORT_BASE64);
	struct view body, sent;
	uint8_t srv[CERT_SRV_LEN];

	(void)state;
	assert_int_equal(frame_decode(request, &body), FRAME_OK);
	sent = support_value(body, TAG_SRV);
	cert_srv(srv, key.data);
	assert_int_equal(sent.len, sizeof srv);
	assert_memory_equal(srv, sent.data, sizeof srv);
	support_free(request);
	support_free(key);
	json_decref(root);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_is_signed_with_its_context),
		cmocka_unit_test(exact_wire_times),
		cmocka_unit_test(bundle_round_trip),
		cmocka_unit_test(names_every_fault),
		cmocka_unit_test(every_byte_counts),
		cmocka_unit_test(other_maps_are_malformed),
		cmocka_unit_test(all_faults_were_seen),
		cmocka_unit_test(srv_of_a_known_key),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
