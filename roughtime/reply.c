#include "roughtime/reply.h"

#include <assert.h>
#include <sodium/crypto_sign.h>
#include <string.h>

#include "base/wire.h"
#include "roughtime/message.h"

#define SREP_MAX 256

/*
 * The fields of SREP, ascending by tag. RFC 10049 section 5.2.5 for version
 * 1; the drafts before 12 lack VER and VERS here, 01 and 02 have NONC.
 */
static size_t
srep_fields(struct message_field f[static 6], const struct version *v,
    const uint8_t *ver, const uint8_t *radi, const uint8_t *midp,
    struct view vers, struct view nonce, struct view root)
{
	size_t n = 0;

	if (v->ver_in_srep)
		f[n++] = (struct message_field){ TAG_VER, { ver, 4 } };
	if (v->nonce_place == VERSION_NONCE_SREP)
		f[n++] = (struct message_field){ TAG_NONC, nonce };
	f[n++] = (struct message_field){ TAG_RADI, { radi, 4 } };
	f[n++] = (struct message_field){ TAG_MIDP, { midp, 8 } };
	if (v->ver_in_srep)
		f[n++] = (struct message_field){ TAG_VERS, vers };
	f[n++] = (struct message_field){ TAG_ROOT, root };
	return n;
}

/* The fields of a reply, ascending by tag (RFC 10049 section 5.2). */
static size_t
top_fields(struct message_field f[static 8], const struct version *v,
    const uint8_t *sig, const uint8_t *ver, struct view nonce, size_t path_len,
    struct view srep, const uint8_t *cert)
{
	static const uint8_t is_response[4] = { 1, 0, 0, 0 };
	size_t n = 0;

	f[n++] = (struct message_field){ TAG_SIG, { sig, CERT_SIG_LEN } };
	if (v->ver_on_top)
		f[n++] = (struct message_field){ TAG_VER, { ver, 4 } };
	if (v->nonce_place == VERSION_NONCE_TOP)
		f[n++] = (struct message_field){ TAG_NONC, nonce };
	if (v->typed)
		f[n++] = (struct message_field){ TAG_TYPE, { is_response, 4 } };
	f[n++] = (struct message_field){ TAG_PATH, { NULL, path_len } };
	f[n++] = (struct message_field){ TAG_SREP, srep };
	f[n++] = (struct message_field){ TAG_CERT, { cert, CERT_LEN } };
	f[n++] = (struct message_field){ TAG_INDX, { NULL, 4 } };
	return n;
}

size_t
reply_len(const struct version *v, const struct response_versions *versions)
{
	const struct view nonce = { NULL, v->nonce_len };
	const struct view root = { NULL, v->node_len };
	const struct view vers = { NULL, versions->len };
	struct message_field f[8];
	size_t srep, top;

	srep = message_size(
	    f, srep_fields(f, v, NULL, NULL, NULL, vers, nonce, root));
	top = message_size(f,
	    top_fields(
		f, v, NULL, NULL, nonce, 0, (struct view){ NULL, srep }, NULL));
	return (v->framed ? FRAME_LEN : 0) + top;
}

/* Where value `tag` of an encoded message starts. */
static size_t
offset_of(const struct message_field *f, size_t n, uint32_t tag)
{
	size_t at = 8 * n;

	for (size_t i = 0; i < n && f[i].tag != tag; i++)
		at += f[i].value.len;
	return at;
}

/* Writes the signed part behind its context into `out`; returns bytes. */
static size_t
write_srep(uint8_t out[static VERSION_CONTEXT_MAX + SREP_MAX],
    const struct reply_parts *p)
{
	const struct version_context *context = &p->version->response_context;
	const struct view vers = { p->versions->bytes, p->versions->len };
	uint8_t ver[4], radi[4], midp[8];
	struct message_field f[6];
	size_t n;

	assert(context->len <= VERSION_CONTEXT_MAX);
	wire_put32(ver, p->version->number);
	wire_put32(radi, version_radius(p->version, p->now->radius_us));
	wire_put64(midp, version_time(p->version, p->now->midpoint_us));
	n = srep_fields(
	    f, p->version, ver, radi, midp, vers, p->nonce, p->root);
	memcpy(out, context->text, context->len);
	return context->len +
	    message_encode(out + context->len, SREP_MAX, f, n);
}

void
reply_compose(struct reply *reply, const struct reply_parts *p)
{
	const struct version *v = p->version;
	size_t frame = v->framed ? FRAME_LEN : 0;
	size_t context = v->response_context.len;
	uint8_t signed_part[VERSION_CONTEXT_MAX + SREP_MAX];
	uint8_t sig[CERT_SIG_LEN], ver[4];
	struct message_field f[8];
	size_t n, len;

	len = write_srep(signed_part, p);
	crypto_sign_detached(
	    sig, NULL, signed_part, len, p->key->online_secret);
	wire_put32(ver, v->number);
	n = top_fields(f, v, sig, ver, p->nonce, p->path_len,
	    (struct view){ signed_part + context, len - context },
	    p->key->delegation.cert[v->cert]);
	len = message_encode(
	    reply->bytes + frame, sizeof reply->bytes - frame, f, n);
	assert(len > 0);
	if (v->framed)
		frame_encode(reply->bytes, (uint32_t)len);
	reply->len = frame + len;
	reply->nonce_at = frame + offset_of(f, n, TAG_NONC);
	reply->path_at = frame + offset_of(f, n, TAG_PATH);
	reply->indx_at = frame + offset_of(f, n, TAG_INDX);
}
