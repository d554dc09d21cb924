#include "roughtime/cert.h"

#include <assert.h>
#include <sodium/crypto_sign.h>
#include <sodium/utils.h>
#include <string.h>

#include "base/wire.h"
#include "roughtime/hash.h"
#include "roughtime/message.h"

#define DELE_LEN 72
#define SRV_PREFIX 0xff

static_assert(CERT_LEN == BUNDLE_CERT_LEN, "a bundle holds certificates");
static_assert((int)CERT_KINDS <= BUNDLE_CERTS_MAX, "a bundle holds all kinds");
static_assert(CERT_SECRET_LEN == crypto_sign_SECRETKEYBYTES, "libsodium's");

/* The pieces of a decoded certificate. */
struct cert_parts {
	struct view sig;
	struct view dele;
	struct view public_key;
	uint64_t mint_wire;
	uint64_t maxt_wire;
};

/* DELE behind its context, as it is signed. */
struct signed_dele {
	uint8_t bytes[VERSION_CONTEXT_MAX + DELE_LEN];
	size_t len;
};

const char *
cert_kind_str(enum cert_kind kind)
{
	static const char *const words[CERT_KINDS] = {
		[CERT_RFC] = "rfc",
		[CERT_DRAFT12] = "draft12",
		[CERT_DRAFT08] = "draft08",
		[CERT_DRAFT07] = "draft07",
		[CERT_DRAFT01] = "draft01",
		[CERT_GOOGLE] = "google",
	};

	return (unsigned int)kind < CERT_KINDS ? words[kind] : "unknown";
}

const char *
delegation_fault_str(enum delegation_fault fault)
{
	static const char *const words[DELEGATION_FAULTS] = {
		[DELEGATION_OK] = "ok",
		[DELEGATION_KIND_UNKNOWN] = "certificate-kind-unknown",
		[DELEGATION_KIND_MISSING] = "certificate-kind-missing",
		[DELEGATION_MALFORMED] = "certificate-malformed",
		[DELEGATION_SIGNATURE] = "certificate-signature",
		[DELEGATION_KEY_MISMATCH] = "certificate-key-mismatch",
		[DELEGATION_TIMES_MISMATCH] = "certificate-times-mismatch",
	};

	return (unsigned int)fault < DELEGATION_FAULTS ? words[fault]
						       : "unknown";
}

/* Every row with the same kind has the same context and unit. */
static const struct version_context *
kind_context(enum cert_kind kind)
{
	size_t i = 0;

	while (i + 1 < VERSION_ROWS && version_table[i].cert != kind)
		i++;
	return &version_table[i].delegation_context;
}

static void
signed_dele(struct signed_dele *s, enum cert_kind kind, const uint8_t *dele)
{
	const struct version_context *context = kind_context(kind);

	assert(context->len <= VERSION_CONTEXT_MAX);
	memcpy(s->bytes, context->text, context->len);
	memcpy(s->bytes + context->len, dele, DELE_LEN);
	s->len = context->len + DELE_LEN;
}

void
cert_make(enum cert_kind kind, uint8_t out[static CERT_LEN],
    const uint8_t long_term_secret[static CERT_SECRET_LEN],
    const uint8_t online_public[static CERT_PUBLIC_LEN], uint64_t mint_wire,
    uint64_t maxt_wire)
{
	uint8_t mint[8], maxt[8], sig[CERT_SIG_LEN], dele[DELE_LEN];
	const struct message_field delegation[] = {
		{ TAG_PUBK, { online_public, CERT_PUBLIC_LEN } },
		{ TAG_MINT, { mint, sizeof mint } },
		{ TAG_MAXT, { maxt, sizeof maxt } },
	};
	const struct message_field certificate[] = {
		{ TAG_SIG, { sig, sizeof sig } },
		{ TAG_DELE, { dele, sizeof dele } },
	};
	struct signed_dele s;

	wire_put64(mint, mint_wire);
	wire_put64(maxt, maxt_wire);
	message_encode(dele, sizeof dele, delegation, 3);
	signed_dele(&s, kind, dele);
	crypto_sign_detached(sig, NULL, s.bytes, s.len, long_term_secret);
	message_encode(out, CERT_LEN, certificate, 2);
}

void
delegation_make(struct delegation *d,
    const uint8_t long_term_secret[static CERT_SECRET_LEN],
    const uint8_t online_public[static CERT_PUBLIC_LEN], uint64_t mint_s,
    uint64_t maxt_s)
{
	memcpy(d->online_public, online_public, CERT_PUBLIC_LEN);
	d->mint_s = mint_s;
	d->maxt_s = maxt_s;
	for (enum cert_kind k = 0; k < CERT_KINDS; k++)
		cert_make(k, d->cert[k], long_term_secret, online_public,
		    version_cert_time(k, mint_s), version_cert_time(k, maxt_s));
}

/* Only the exact layout that cert_make() writes passes. */
static bool
cert_split(struct cert_parts *p, const uint8_t cert[static CERT_LEN])
{
	struct message outer, inner;
	struct view mint, maxt;

	if (message_decode(&outer, (struct view){ cert, CERT_LEN }) !=
		MESSAGE_OK ||
	    outer.count != 2 || !message_get(&outer, TAG_SIG, &p->sig) ||
	    !message_get(&outer, TAG_DELE, &p->dele) ||
	    p->sig.len != CERT_SIG_LEN || p->dele.len != DELE_LEN)
		return false;
	if (message_decode(&inner, p->dele) != MESSAGE_OK || inner.count != 3 ||
	    !message_get(&inner, TAG_MINT, &mint) ||
	    !message_get(&inner, TAG_MAXT, &maxt) ||
	    !message_get(&inner, TAG_PUBK, &p->public_key) || mint.len != 8 ||
	    maxt.len != 8 || p->public_key.len != CERT_PUBLIC_LEN)
		return false;
	p->mint_wire = wire_get64(mint.data);
	p->maxt_wire = wire_get64(maxt.data);
	return true;
}

static enum delegation_fault
cert_check(const struct delegation *d, enum cert_kind kind,
    const uint8_t long_term_public[static CERT_PUBLIC_LEN])
{
	struct cert_parts p;
	struct signed_dele s;

	if (!cert_split(&p, d->cert[kind]))
		return DELEGATION_MALFORMED;
	signed_dele(&s, kind, p.dele.data);
	if (crypto_sign_verify_detached(
		p.sig.data, s.bytes, s.len, long_term_public) != 0)
		return DELEGATION_SIGNATURE;
	if (memcmp(p.public_key.data, d->online_public, CERT_PUBLIC_LEN) != 0)
		return DELEGATION_KEY_MISMATCH;
	if (p.mint_wire != version_cert_time(kind, d->mint_s) ||
	    p.maxt_wire != version_cert_time(kind, d->maxt_s))
		return DELEGATION_TIMES_MISMATCH;
	return DELEGATION_OK;
}

static enum cert_kind
kind_by_name(const char name[static BUNDLE_KIND_LEN])
{
	enum cert_kind k = 0;

	while (k < CERT_KINDS &&
	    strncmp(name, cert_kind_str(k), BUNDLE_KIND_LEN) != 0)
		k++;
	return k;
}

static void
public_of_seed(uint8_t public_key[static CERT_PUBLIC_LEN],
    const uint8_t seed[static CERT_SEED_LEN])
{
	uint8_t secret[CERT_SECRET_LEN];

	crypto_sign_seed_keypair(public_key, secret, seed);
	sodium_memzero(secret, sizeof secret);
}

enum delegation_fault
delegation_from_bundle(struct delegation *d, const struct bundle *b)
{
	unsigned int have = 0;

	memset(d, 0, sizeof *d);
	public_of_seed(d->online_public, b->online_seed);
	d->mint_s = b->not_before_s;
	d->maxt_s = b->not_after_s;
	for (size_t i = 0; i < b->count && i < BUNDLE_CERTS_MAX; i++) {
		enum cert_kind k = kind_by_name(b->certs[i].kind);
		enum delegation_fault fault;

		if (k == CERT_KINDS)
			return DELEGATION_KIND_UNKNOWN;
		memcpy(d->cert[k], b->certs[i].bytes, CERT_LEN);
		fault = cert_check(d, k, b->public_key);
		if (fault != DELEGATION_OK)
			return fault;
		have |= 1u << k;
	}
	return have == (1u << CERT_KINDS) - 1 ? DELEGATION_OK
					      : DELEGATION_KIND_MISSING;
}

void
delegation_to_bundle(struct bundle *b, const struct delegation *d,
    const uint8_t long_term_public[static CERT_PUBLIC_LEN],
    const uint8_t online_seed[static CERT_SEED_LEN])
{
	memset(b, 0, sizeof *b);
	memcpy(b->public_key, long_term_public, CERT_PUBLIC_LEN);
	memcpy(b->online_seed, online_seed, CERT_SEED_LEN);
	b->not_before_s = d->mint_s;
	b->not_after_s = d->maxt_s;
	b->count = CERT_KINDS;
	for (enum cert_kind k = 0; k < CERT_KINDS; k++) {
		const char *name = cert_kind_str(k);

		memcpy(b->certs[k].kind, name, strlen(name) + 1);
		memcpy(b->certs[k].bytes, d->cert[k], CERT_LEN);
	}
}

void
cert_srv(uint8_t srv[static CERT_SRV_LEN],
    const uint8_t long_term_public[static CERT_PUBLIC_LEN])
{
	const uint8_t prefix = SRV_PREFIX;
	uint8_t full[HASH_FULL_LEN];

	hash_one(full, &prefix, 1, long_term_public, CERT_PUBLIC_LEN);
	memcpy(srv, full, CERT_SRV_LEN);
}
