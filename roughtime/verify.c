#include "roughtime/verify.h"

#include <sodium.h>
#include <string.h>

#include "base/wire.h"
#include "roughtime/hash.h"
#include "roughtime/message.h"
#include "roughtime/request.h"

static const struct {
	const char *word;
	const char *plain;
} faults[VERIFY_FAULTS] = {
	[VERIFY_OK] = { "ok", "the reply is valid" },
	[VERIFY_FRAME] = { "frame",
	    "the reply is cut, has bytes too many, or is framed differently "
	    "from the request" },
	[VERIFY_MALFORMED] = { "malformed",
	    "the reply is not a Roughtime "
	    "message" },
	[VERIFY_TAG_MISSING] = { "tag-missing",
	    "the reply lacks a tag that its version requires" },
	[VERIFY_TAG_LENGTH] = { "tag-length",
	    "a tag of the reply has a wrong length" },
	[VERIFY_TYPE] = { "type",
	    "the packet does not say that it is a reply "
	    "(TYPE is not 1)" },
	[VERIFY_VERSION_UNKNOWN] = { "version-unknown",
	    "the reply has a version number that no text defines" },
	[VERIFY_VERSION_NOT_OFFERED] = { "version-not-offered",
	    "the reply has a version that the request did not offer" },
	[VERIFY_VERSION_NOT_LISTED] = { "version-not-listed",
	    "the reply's version is not in the server's own list" },
	[VERIFY_NONCE] = { "nonce", "the reply belongs to another request" },
	[VERIFY_CERT_SIGNATURE] = { "wrong-key",
	    "the delegation is not signed by this public key: wrong key, "
	    "another server, or a forgery" },
	[VERIFY_SIGNATURE] = { "signature",
	    "the time is not signed by the delegated key" },
	[VERIFY_PATH] = { "path",
	    "PATH and INDX do not describe a place in a "
	    "tree" },
	[VERIFY_ROOT] = { "root",
	    "the signed tree does not contain this "
	    "request" },
	[VERIFY_WINDOW] = { "window",
	    "the time lies outside the window of the delegation" },
	[VERIFY_RADIUS] = { "radius",
	    "the server claims no uncertainty at "
	    "all (RADI is 0)" },
	[VERIFY_REQUEST] = { "request",
	    "the request is not a Roughtime "
	    "request" },
};

const char *
verify_fault_str(enum verify_fault fault)
{
	return (unsigned int)fault < VERIFY_FAULTS ? faults[fault].word : "?";
}

const char *
verify_fault_explain(enum verify_fault fault)
{
	return (unsigned int)fault < VERIFY_FAULTS ? faults[fault].plain : "?";
}

/* What the checks pass along: views into the two packets. */
struct check {
	struct view request;
	bool framed;
	bool typed; /* the request carries TYPE */
	struct view nonce;
	struct view offered; /* VER of the request */
	struct message top, srep, cert, dele;
	struct view srep_bytes, dele_bytes;
	struct view sig, cert_sig, online_key;
	struct view path, root;
	uint32_t index;
	uint64_t midp, mint, maxt; /* as on the wire */
	uint32_t radi;
};

static uint32_t
word(struct view list, size_t i)
{
	return wire_get32(list.data + 4 * i);
}

static bool
has_word(struct view list, uint32_t number)
{
	for (size_t i = 0; i < list.len / 4; i++) {
		if (word(list, i) == number)
			return true;
	}
	return false;
}

static bool
is_version_list(struct view list)
{
	return list.len > 0 && list.len % 4 == 0 &&
	    list.len <= (size_t)4 * REQUEST_VERSIONS_MAX;
}

static enum verify_fault
want(const struct message *m, uint32_t tag, size_t len, struct view *value)
{
	if (!message_get(m, tag, value))
		return VERIFY_TAG_MISSING;
	return value->len == len ? VERIFY_OK : VERIFY_TAG_LENGTH;
}

static enum verify_fault
want_u32(const struct message *m, uint32_t tag, uint32_t *value)
{
	struct view v;
	enum verify_fault fault = want(m, tag, 4, &v);

	if (fault == VERIFY_OK)
		*value = wire_get32(v.data);
	return fault;
}

static enum verify_fault
want_u64(const struct message *m, uint32_t tag, uint64_t *value)
{
	struct view v;
	enum verify_fault fault = want(m, tag, 8, &v);

	if (fault == VERIFY_OK)
		*value = wire_get64(v.data);
	return fault;
}

static enum verify_fault
want_map(const struct message *m, uint32_t tag, struct message *inner,
    struct view *bytes)
{
	if (!message_get(m, tag, bytes))
		return VERIFY_TAG_MISSING;
	return message_decode(inner, *bytes) == MESSAGE_OK ? VERIFY_OK
							   : VERIFY_MALFORMED;
}

static enum verify_fault
read_request(struct check *c, struct view packet)
{
	enum frame_fault frame;
	struct view bytes = packet, type;
	struct message m;

	frame = frame_decode(packet, &bytes);
	if (frame == FRAME_ABSENT)
		bytes = packet;
	else if (frame != FRAME_OK)
		return VERIFY_REQUEST;
	c->request = packet;
	c->framed = frame == FRAME_OK;
	if (message_decode(&m, bytes) != MESSAGE_OK ||
	    !message_get(&m, TAG_NONC, &c->nonce))
		return VERIFY_REQUEST;
	c->typed = message_get(&m, TAG_TYPE, &type);
	if (message_get(&m, TAG_VER, &c->offered) != c->framed)
		return VERIFY_REQUEST;
	if (c->framed && !is_version_list(c->offered))
		return VERIFY_REQUEST;
	return VERIFY_OK;
}

static enum verify_fault
read_maps(struct check *c, struct view packet)
{
	struct view bytes = packet, cert_bytes;
	enum frame_fault frame = frame_decode(packet, &bytes);
	enum verify_fault fault;

	if (frame != (c->framed ? FRAME_OK : FRAME_ABSENT))
		return VERIFY_FRAME;
	if (message_decode(&c->top, c->framed ? bytes : packet) != MESSAGE_OK)
		return VERIFY_MALFORMED;
	fault = want_map(&c->top, TAG_SREP, &c->srep, &c->srep_bytes);
	if (fault == VERIFY_OK)
		fault = want_map(&c->top, TAG_CERT, &c->cert, &cert_bytes);
	if (fault == VERIFY_OK)
		fault = want_map(&c->cert, TAG_DELE, &c->dele, &c->dele_bytes);
	return fault;
}

/*
 * The version is in SREP (0x8000000c and 1) or on top (older). TYPE in the
 * reply tells the two texts of 0x8000000c apart: a server of drafts 12 and 13
 * ignores the TYPE of a request as an undefined tag.
 */
static enum verify_fault
read_version(struct check *c, const struct version **version)
{
	uint32_t number = 0, type = 1;
	struct view v;
	bool inside = message_get(&c->srep, TAG_VER, &v);
	bool typed = message_get(&c->top, TAG_TYPE, &v);
	enum verify_fault fault;

	if (typed) {
		fault = want_u32(&c->top, TAG_TYPE, &type);
		if (fault != VERIFY_OK)
			return fault;
	}
	if (type != 1)
		return VERIFY_TYPE;
	if (!c->framed) {
		*version = &version_table[VERSION_GOOGLE];
		return VERIFY_OK;
	}
	fault = want_u32(inside ? &c->srep : &c->top, TAG_VER, &number);
	if (fault != VERIFY_OK)
		return fault;
	if ((*version = version_find(number, typed)) == NULL &&
	    (*version = version_find(number, !typed)) == NULL)
		return VERIFY_VERSION_UNKNOWN;
	if (!has_word(c->offered, number))
		return VERIFY_VERSION_NOT_OFFERED;
	if ((*version)->ver_in_srep != inside || ((*version)->typed && !typed))
		return VERIFY_TAG_MISSING;
	return VERIFY_OK;
}

/* Some Google servers send NONC back and some do not; the tree has it. */
static enum verify_fault
check_nonce(const struct check *c, const struct version *version)
{
	const struct message *m =
	    version->nonce_place == VERSION_NONCE_SREP ? &c->srep : &c->top;
	struct view echo;

	if (c->nonce.len != version->nonce_len)
		return VERIFY_REQUEST;
	if (!message_get(m, TAG_NONC, &echo))
		return !c->framed ? VERIFY_OK : VERIFY_TAG_MISSING;
	if (echo.len != c->nonce.len ||
	    memcmp(echo.data, c->nonce.data, echo.len) != 0)
		return VERIFY_NONCE;
	return VERIFY_OK;
}

static enum verify_fault
read_signed_time(struct check *c, const struct version *version)
{
	enum verify_fault fault[] = {
		want_u64(&c->srep, TAG_MIDP, &c->midp),
		want_u32(&c->srep, TAG_RADI, &c->radi),
		want(&c->srep, TAG_ROOT, version->node_len, &c->root),
		want(&c->dele, TAG_PUBK, CERT_PUBLIC_LEN, &c->online_key),
		want_u64(&c->dele, TAG_MINT, &c->mint),
		want_u64(&c->dele, TAG_MAXT, &c->maxt),
		want(&c->cert, TAG_SIG, CERT_SIG_LEN, &c->cert_sig),
		want(&c->top, TAG_SIG, CERT_SIG_LEN, &c->sig),
		want_u32(&c->top, TAG_INDX, &c->index),
	};

	for (size_t i = 0; i < sizeof fault / sizeof fault[0]; i++) {
		if (fault[i] != VERIFY_OK)
			return fault[i];
	}
	return message_get(&c->top, TAG_PATH, &c->path) ? VERIFY_OK
							: VERIFY_TAG_MISSING;
}

static void
fill_time(struct verify_result *out, const struct check *c)
{
	const struct version *v = out->version;

	out->midpoint_us = version_unix_us(v, c->midp);
	out->radius_us = version_radius_us(v, c->radi);
	out->earliest_us = out->midpoint_us > out->radius_us
	    ? out->midpoint_us - out->radius_us
	    : 0;
	out->latest_us = out->midpoint_us < UINT64_MAX - out->radius_us
	    ? out->midpoint_us + out->radius_us
	    : UINT64_MAX;
	out->mint_us = version_unix_us(v, c->mint);
	out->maxt_us = version_unix_us(v, c->maxt);
	out->index = c->index;
	out->path_nodes = c->path.len / v->node_len;
}

/* VERS holds VER; and is there a better one that the request offered? */
static enum verify_fault
check_versions(struct verify_result *out, const struct check *c)
{
	struct view vers;
	const struct version *best = out->version;

	if (!out->version->ver_in_srep)
		return VERIFY_OK;
	if (!message_get(&c->srep, TAG_VERS, &vers))
		return VERIFY_TAG_MISSING;
	if (!is_version_list(vers))
		return VERIFY_TAG_LENGTH;
	out->versions = vers;
	if (!has_word(vers, out->version->number))
		return VERIFY_VERSION_NOT_LISTED;
	for (size_t i = 0; i < vers.len / 4; i++) {
		const struct version *v = version_find(word(vers, i), c->typed);

		if (v == NULL || v->number == best->number ||
		    v->row < best->row || !has_word(c->offered, v->number))
			continue;
		best = v;
		out->downgrade = v->number;
	}
	return VERIFY_OK;
}

/*
 * Ed25519 over context || value in pieces, because the value may be as long
 * as a packet and the core has no heap: the multi-part verify of libsodium is
 * Ed25519ph, another scheme. So the bytes are joined in a packet's room.
 */
static bool
signature_ok(const uint8_t *public_key, const struct version_context *context,
    struct view value, struct view sig)
{
	uint8_t joined[VERSION_CONTEXT_MAX + REQUEST_SIZE_MAX];

	if (context->len > VERSION_CONTEXT_MAX || value.len > REQUEST_SIZE_MAX)
		return false;
	memcpy(joined, context->text, context->len);
	memcpy(joined + context->len, value.data, value.len);
	return crypto_sign_verify_detached(
		   sig.data, joined, context->len + value.len, public_key) == 0;
}

static enum verify_fault
check_signatures(const struct check *c, const uint8_t *public_key,
    const struct version *contexts)
{
	if (public_key != NULL &&
	    !signature_ok(public_key, &contexts->delegation_context,
		c->dele_bytes, c->cert_sig))
		return VERIFY_CERT_SIGNATURE;
	if (!signature_ok(c->online_key.data, &contexts->response_context,
		c->srep_bytes, c->sig))
		return VERIFY_SIGNATURE;
	return VERIFY_OK;
}

/* RFC 10049 Appendix B: version 1 under the contexts of 0x8000000c. */
static enum verify_fault
check_signatures_compat(struct verify_result *out, const struct check *c,
    const uint8_t *public_key, const struct verify_options *options)
{
	enum verify_fault fault;

	out->any_key = options != NULL && options->any_key;
	if (out->any_key)
		public_key = NULL;
	fault = check_signatures(c, public_key, out->version);
	if (fault == VERIFY_OK || out->version->row != VERSION_RFC ||
	    options == NULL || !options->compat_capital_t)
		return fault;
	if (check_signatures(c, public_key, &version_table[VERSION_DRAFT14]) !=
	    VERIFY_OK)
		return fault;
	out->capital_t = true;
	return VERIFY_OK;
}

/* Older than 0x8000000c: the texts contradict the field on PATH's order. */
static enum verify_fault
check_tree(struct verify_result *out, const struct check *c)
{
	const struct version *v = out->version;
	uint8_t leaf[HASH_FULL_LEN];

	if (c->path.len % v->node_len != 0 ||
	    out->path_nodes > MERKLE_DEPTH_MAX)
		return VERIFY_PATH;
	if (out->path_nodes < 32 && c->index >> out->path_nodes != 0)
		return VERIFY_PATH;
	merkle_leaf(v, leaf, c->request, c->nonce);
	out->order = MERKLE_NATURAL;
	if (merkle_verify(v, MERKLE_NATURAL, leaf, c->path, c->index, c->root))
		return VERIFY_OK;
	if (v->row >= VERSION_DRAFT12 ||
	    !merkle_verify(
		v, MERKLE_MIRRORED, leaf, c->path, c->index, c->root))
		return VERIFY_ROOT;
	out->order = MERKLE_MIRRORED;
	return VERIFY_OK;
}

/* Compared as on the wire: every unit keeps the order, none is saturated. */
static enum verify_fault
check_time(const struct check *c)
{
	if (c->mint > c->maxt || c->midp < c->mint || c->midp > c->maxt)
		return VERIFY_WINDOW;
	return c->radi == 0 ? VERIFY_RADIUS : VERIFY_OK;
}

/* Up to where nothing is believed yet: structure, version, nonce. */
static enum verify_fault
read_response(struct verify_result *out, struct check *c, struct view response)
{
	enum verify_fault fault = read_maps(c, response);

	if (fault == VERIFY_OK)
		fault = read_version(c, &out->version);
	if (fault == VERIFY_OK)
		fault = check_nonce(c, out->version);
	if (fault == VERIFY_OK)
		fault = read_signed_time(c, out->version);
	if (fault == VERIFY_OK) {
		fill_time(out, c);
		fault = check_versions(out, c);
	}
	return fault;
}

enum verify_fault
verify_response(struct verify_result *out,
    const uint8_t public_key[static CERT_PUBLIC_LEN], struct view request,
    struct view response, const struct verify_options *options)
{
	struct check c = { 0 };
	enum verify_fault fault;

	memset(out, 0, sizeof *out);
	fault = read_request(&c, request);
	if (fault == VERIFY_OK)
		fault = read_response(out, &c, response);
	if (fault == VERIFY_OK)
		fault = check_signatures_compat(out, &c, public_key, options);
	if (fault == VERIFY_OK)
		fault = check_tree(out, &c);
	if (fault == VERIFY_OK)
		fault = check_time(&c);
	return fault;
}

void
verify_chain_nonce(uint8_t *out, size_t nonce_len, struct view previous,
    const uint8_t rand[static 32])
{
	uint8_t full[HASH_FULL_LEN];

	hash_one(full, previous.data, previous.len, rand, 32);
	memcpy(out, full, nonce_len == HASH_FULL_LEN ? HASH_FULL_LEN : 32);
}

bool
verify_causal(const struct verify_result *i, const struct verify_result *j)
{
	return i->earliest_us <= j->latest_us;
}
