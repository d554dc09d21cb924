#include "roughtime/request.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

#define NUMBER_RFC 1u
#define NUMBER_DRAFT12 0x8000000cu
#define GOOGLE_SET (1u << VERSION_GOOGLE)

const char *
request_reject_str(enum request_reject reject)
{
	static const char *const words[REQUEST_REJECTS] = {
		[REQUEST_OK] = "ok",
		[REQUEST_SHORT] = "short",
		[REQUEST_FRAME_TRUNCATED] = "frame-truncated",
		[REQUEST_FRAME_TRAILING] = "frame-trailing",
		[REQUEST_MALFORMED] = "malformed",
		[REQUEST_IS_RESPONSE] = "is-response",
		[REQUEST_TYPE_NOT_ZERO] = "type-not-zero",
		[REQUEST_NO_VERSION] = "no-version",
		[REQUEST_VERSION_UNFRAMED] = "version-unframed",
		[REQUEST_VERSION_LIST] = "version-list",
		[REQUEST_VERSION_ORDER] = "version-order",
		[REQUEST_VERSION_UNKNOWN] = "version-unknown",
		[REQUEST_NO_NONCE] = "no-nonce",
		[REQUEST_NONCE_LENGTH] = "nonce-length",
		[REQUEST_SRV_LENGTH] = "srv-length",
		[REQUEST_SRV_UNKNOWN] = "srv-unknown",
		[REQUEST_SRV_MISSING] = "srv-missing",
	};

	return (unsigned int)reject < REQUEST_REJECTS ? words[reject]
						      : "unknown";
}

static uint32_t
entry(struct view list, size_t i)
{
	return wire_get32(list.data + 4 * i);
}

/*
 * The shape of a VER list. Order is a rule only of the texts that define 1
 * and 0x8000000c: clients of older ones send their lists as they like.
 */
static enum request_reject
check_list(struct view list)
{
	size_t n = list.len / 4;
	bool sorted = true, strict = false;

	if (n == 0 || list.len % 4 != 0 || n > REQUEST_VERSIONS_MAX)
		return REQUEST_VERSION_LIST;
	for (size_t i = 0; i < n; i++) {
		uint32_t number = entry(list, i);

		if (number == 0)
			return REQUEST_VERSION_LIST;
		if (number == NUMBER_RFC || number == NUMBER_DRAFT12)
			strict = true;
		if (i > 0 && number <= entry(list, i - 1))
			sorted = false;
	}
	return strict && !sorted ? REQUEST_VERSION_ORDER : REQUEST_OK;
}

/* The best of `rows` (not empty) by the table's order and the setting. */
static const struct version *
best_row(uint32_t rows, bool prefer_draft14)
{
	if (prefer_draft14 && (rows & 1u << VERSION_DRAFT14))
		return &version_table[VERSION_DRAFT14];
	return &version_table[31 - __builtin_clz(rows)];
}

/*
 * RFC 10049 section 5.1.1: unknown numbers are skipped. A version whose nonce
 * has another length is not what this packet can be: "compatible with each
 * other and the packet contents". Version 1 does not exist without TYPE.
 */
static enum request_reject
negotiate(struct request *r, struct view list, bool typed,
    const struct request_policy *policy)
{
	uint32_t served = 0, fitting = 0;

	for (size_t i = 0; i < list.len / 4; i++) {
		const struct version *v = version_find(entry(list, i), typed);

		if (v == NULL || !(policy->versions & 1u << v->row))
			continue;
		served |= 1u << v->row;
		if (v->nonce_len == r->nonce.len)
			fitting |= 1u << v->row;
	}
	if (served == 0)
		return REQUEST_VERSION_UNKNOWN;
	if (fitting == 0)
		return REQUEST_NONCE_LENGTH;
	r->version = best_row(fitting, policy->prefer_draft14);
	return REQUEST_OK;
}

static enum request_reject
parse_framed(struct request *r, const struct message *m, bool typed,
    const struct request_policy *policy)
{
	enum request_reject reject;
	struct view list;

	if (!message_get(m, TAG_VER, &list))
		return REQUEST_NO_VERSION;
	reject = check_list(list);
	if (reject != REQUEST_OK)
		return reject;
	if (!message_get(m, TAG_NONC, &r->nonce))
		return REQUEST_NO_NONCE;
	return negotiate(r, list, typed, policy);
}

static enum request_reject
parse_bare(struct request *r, const struct message *m,
    const struct request_policy *policy)
{
	const struct version *google = &version_table[VERSION_GOOGLE];
	struct view unused;

	if (message_get(m, TAG_VER, &unused))
		return REQUEST_VERSION_UNFRAMED;
	if (!message_get(m, TAG_NONC, &r->nonce))
		return REQUEST_NO_NONCE;
	if (r->nonce.len != google->nonce_len)
		return REQUEST_NONCE_LENGTH;
	if (!(policy->versions & GOOGLE_SET))
		return REQUEST_VERSION_UNKNOWN;
	r->version = google;
	return REQUEST_OK;
}

/* RFC 10049 section 5.2, the two steps that choose the long-term key. */
static enum request_reject
choose_identity(struct request *r, const struct message *m,
    const struct request_policy *policy)
{
	struct view srv;

	if (!message_get(m, TAG_SRV, &srv)) {
		r->identity = 0;
		return policy->identities == 1 ? REQUEST_OK
					       : REQUEST_SRV_MISSING;
	}
	if (srv.len != CERT_SRV_LEN)
		return REQUEST_SRV_LENGTH;
	for (size_t i = 0; i < policy->identities; i++) {
		if (memcmp(policy->srv[i], srv.data, CERT_SRV_LEN) == 0) {
			r->identity = (uint32_t)i;
			return REQUEST_OK;
		}
	}
	return REQUEST_SRV_UNKNOWN;
}

/* Two servers must never be made to talk to each other. */
static enum request_reject
check_direction(const struct message *m, bool *typed)
{
	struct view v;

	if (message_get(m, TAG_SIG, &v))
		return REQUEST_IS_RESPONSE;
	*typed = message_get(m, TAG_TYPE, &v);
	if (*typed && (v.len != 4 || wire_get32(v.data) != 0))
		return REQUEST_TYPE_NOT_ZERO;
	return REQUEST_OK;
}

enum request_reject
request_parse(struct request *r, struct view packet, size_t min_len,
    const struct request_policy *policy)
{
	enum request_reject reject;
	enum frame_fault frame;
	struct view body;
	struct message m;
	bool typed;

	memset(r, 0, sizeof *r);
	r->packet = packet;
	if (packet.len < min_len)
		return REQUEST_SHORT;
	frame = frame_decode(packet, &body);
	if (frame == FRAME_SHORT || frame == FRAME_TRUNCATED)
		return REQUEST_FRAME_TRUNCATED;
	if (frame == FRAME_TRAILING)
		return REQUEST_FRAME_TRAILING;
	if (message_decode(&m, frame == FRAME_OK ? body : packet) != MESSAGE_OK)
		return REQUEST_MALFORMED;
	reject = check_direction(&m, &typed);
	if (reject != REQUEST_OK)
		return reject;
	reject = frame == FRAME_OK ? parse_framed(r, &m, typed, policy)
				   : parse_bare(r, &m, policy);
	return reject != REQUEST_OK ? reject : choose_identity(r, &m, policy);
}

/*
 * True when one packet can offer all of `rows`: Google's has no VER, one
 * nonce has one length, and 0x8000000c means another format with TYPE than
 * without. The rows before it do not know TYPE and ignore it.
 */
static bool
fits_one_packet(uint32_t rows)
{
	const uint32_t typed = 1u << VERSION_DRAFT14 | 1u << VERSION_RFC;
	uint8_t nonce_len = 0;

	if (rows == 0 || rows > VERSION_ALL)
		return false;
	if ((rows & GOOGLE_SET) && rows != GOOGLE_SET)
		return false;
	if ((rows & typed) && (rows & 1u << VERSION_DRAFT12))
		return false;
	for (size_t i = 0; i < VERSION_ROWS; i++) {
		if (!(rows & 1u << i))
			continue;
		if (nonce_len != 0 && version_table[i].nonce_len != nonce_len)
			return false;
		nonce_len = version_table[i].nonce_len;
	}
	return true;
}

/* Turns a list of `len` bytes around. */
static void
reverse(uint8_t *list, size_t len)
{
	for (size_t low = 0, high = len; low + 4 < high; low += 4) {
		uint32_t first = wire_get32(list + low);

		high -= 4;
		wire_put32(list + low, wire_get32(list + high));
		wire_put32(list + high, first);
	}
}

/* Zero bytes that bring `have` up to a message of `want` bytes, the padding
 * tag's own eight bytes of header counted. */
static size_t
padding(size_t have, size_t want)
{
	return want > have + 8 ? (want - have - 8 + 3) / 4 * 4 : 0;
}

/* Fields of a request in ascending order of tag; returns how many. */
static size_t
request_fields(struct message_field f[static 6], const struct version *best,
    const struct request_spec *spec, struct view list)
{
	size_t frame = best->framed ? FRAME_LEN : 0;
	size_t n = 0, pad = 0;

	if (best->padding_tag == TAG_PAD && spec->size > 0)
		f[pad = n++] = (struct message_field){ TAG_PAD, { NULL, 0 } };
	if (list.len > 0)
		f[n++] = (struct message_field){ TAG_VER, list };
	if (spec->srv != NULL)
		f[n++] = (struct message_field){ TAG_SRV,
			{ spec->srv, CERT_SRV_LEN } };
	f[n++] = (struct message_field){ TAG_NONC,
		{ spec->nonce, best->nonce_len } };
	if (best->typed)
		f[n++] = (struct message_field){ TAG_TYPE, { NULL, 4 } };
	if (best->padding_tag != TAG_PAD && spec->size > 0)
		f[pad = n++] =
		    (struct message_field){ best->padding_tag, { NULL, 0 } };
	if (spec->size > frame)
		f[pad].value.len =
		    padding(message_size(f, n) - 8, spec->size - frame);
	return n;
}

size_t
request_make(uint8_t *out, size_t cap, const struct request_spec *spec)
{
	const struct version *best;
	struct message_field fields[6];
	uint8_t list[4 * VERSION_ROWS];
	size_t n, frame, len;

	if (!fits_one_packet(spec->versions))
		return 0;
	best = best_row(spec->versions, false);
	frame = best->framed ? FRAME_LEN : 0;
	len = version_numbers(list, spec->versions);
	if (spec->descending)
		reverse(list, len);
	if (cap < frame)
		return 0;
	n = request_fields(fields, best, spec, (struct view){ list, len });
	len = message_encode(out + frame, cap - frame, fields, n);
	if (len > 0 && best->framed)
		frame_encode(out, (uint32_t)len);
	return len > 0 ? frame + len : 0;
}
