#include "tests/forge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/wire.h"
#include "roughtime/message.h"

struct forge_keys forge_keys;
uint8_t forge_spare[FORGE_CAP];

int
forge_init(void)
{
	return sodium_init() < 0 ||
	    crypto_sign_keypair(forge_keys.public_key, forge_keys.secret) !=
	    0 ||
	    crypto_sign_keypair(
		forge_keys.online_public, forge_keys.online_secret) != 0;
}

static void
apply(const struct forge_edit *e, enum forge_level level,
    struct message_field *f, size_t *n, uint8_t scratch[FORGE_CAP])
{
	size_t i = 0;

	if (e->op == NOTHING || e->level != level)
		return;
	while (i < *n && f[i].tag != e->tag)
		i++;
	assert_true(i < *n);
	memcpy(scratch, f[i].value.data, f[i].value.len);
	switch (e->op) {
	case DROP:
		memmove(f + i, f + i + 1, (--*n - i) * sizeof *f);
		return;
	case SHORTEN:
		f[i].value.len -= 4;
		return;
	case SET32:
		wire_put32(scratch, (uint32_t)e->value);
		f[i].value = (struct view){ scratch, 4 };
		return;
	case SET64:
		wire_put64(scratch, e->value);
		f[i].value = (struct view){ scratch, 8 };
		return;
	case LENGTH:
		f[i].value = (struct view){ forge_spare, e->value };
		return;
	case FLIP:
		scratch[0] ^= 1;
		f[i].value.data = scratch;
		return;
	case NOTHING:
		break;
	}
}

static int
by_tag(const void *a, const void *b)
{
	uint32_t x = ((const struct message_field *)a)->tag;
	uint32_t y = ((const struct message_field *)b)->tag;

	return x < y ? -1 : x > y;
}

static size_t
encode(struct forgery *f, enum forge_level level, struct message_field *fields,
    size_t n, uint8_t *out)
{
	uint8_t scratch[FORGE_CAP];
	size_t len;

	qsort(fields, n, sizeof *fields, by_tag);
	apply(&f->edit, level, fields, &n, scratch);
	len = message_encode(out, FORGE_CAP - FRAME_LEN, fields, n);
	assert_true(len > 0);
	return len;
}

static void
sign(uint8_t sig[64], const struct version_context *context,
    const uint8_t *data, size_t len, const uint8_t *secret)
{
	uint8_t joined[FORGE_CAP];

	memcpy(joined, context->text, context->len);
	memcpy(joined + context->len, data, len);
	crypto_sign_detached(sig, NULL, joined, context->len + len, secret);
}

static size_t
framed(const struct version *v, uint8_t *packet, size_t len)
{
	if (!v->framed)
		return len;
	memmove(packet + FRAME_LEN, packet, len);
	frame_encode(packet, (uint32_t)len);
	return FRAME_LEN + len;
}

const uint8_t forge_nonce[64] = "a forge_nonce of sixty-four bytes, or of half";

void
forge_request(struct forgery *f)
{
	const struct version *v = f->version;
	uint8_t ver[4], type[4] = { 0 };
	struct message_field fields[4] = {
		{ TAG_NONC, { forge_nonce, v->nonce_len } },
		{ v->padding_tag, { NULL, 0 } },
	};
	size_t n = 2;

	wire_put32(ver, v->number);
	if (v->framed)
		fields[n++] = (struct message_field){ TAG_VER, { ver, 4 } };
	if (v->typed)
		fields[n++] = (struct message_field){ TAG_TYPE, { type, 4 } };
	fields[1].value.len = 1024 - 8 * n - v->nonce_len;
	f->request_len =
	    framed(v, f->request, encode(f, REQUEST, fields, n, f->request));
}

static size_t
forge_cert(struct forgery *f, uint8_t out[FORGE_CAP])
{
	const struct version *v = f->version;
	uint8_t mint[8], maxt[8], dele[FORGE_CAP], sig[64];
	struct message_field d[3] = {
		{ TAG_PUBK, { forge_keys.online_public, 32 } },
		{ TAG_MINT, { mint, 8 } },
		{ TAG_MAXT, { maxt, 8 } },
	};
	struct message_field c[2] = { { TAG_SIG, { sig, 64 } } };
	size_t len;

	wire_put64(mint, version_time(v, (FORGE_NOW_S - 3600) * 1000000ull));
	wire_put64(maxt, version_time(v, (FORGE_NOW_S + 3600) * 1000000ull));
	len = encode(f, DELE, d, 3, dele);
	sign(sig, &v->delegation_context, dele, len, forge_keys.secret);
	c[1] = (struct message_field){ TAG_DELE, { dele, len } };
	return encode(f, CERT, c, 2, out);
}

/* Climbs from the leaf by a path of nodes 00…, 01…, 02… in either order. */
static void
forge_root(struct forgery *f, uint8_t path[FORGE_CAP], uint8_t root[64])
{
	const struct version *v = f->version;
	size_t len = v->node_len;

	merkle_leaf(v, root, (struct view){ f->request, f->request_len },
	    (struct view){ forge_nonce, v->nonce_len });
	for (size_t i = 0; i < f->nodes; i++) {
		uint8_t joined[1 + 128] = { 1 };
		bool left = (f->index >> i & 1) == (f->order == MERKLE_NATURAL);

		memset(path + i * len, (int)i, len);
		memcpy(joined + (left ? 1 : 1 + len), path + i * len, len);
		memcpy(joined + (left ? 1 + len : 1), root, len);
		if (v->hash == VERSION_SHA512_256)
			hash_one_512_256(root, NULL, 0, joined, 1 + 2 * len);
		else
			hash_one(root, NULL, 0, joined, 1 + 2 * len);
	}
}

static size_t
forge_srep(struct forgery *f, const uint8_t *root, uint8_t out[FORGE_CAP])
{
	const struct version *v = f->version;
	uint8_t midp[8], radi[4], ver[4], vers[4];
	struct message_field s[6] = {
		{ TAG_MIDP, { midp, 8 } },
		{ TAG_RADI, { radi, 4 } },
		{ TAG_ROOT, { root, v->node_len } },
	};
	size_t n = 3;

	wire_put64(midp, version_time(v, FORGE_NOW_S * 1000000ull));
	wire_put32(radi, version_radius(v, 3000000));
	wire_put32(ver, v->number);
	wire_put32(vers, v->number);
	if (v->ver_in_srep) {
		s[n++] = (struct message_field){ TAG_VER, { ver, 4 } };
		s[n++] = (struct message_field){ TAG_VERS, { vers, 4 } };
	}
	if (v->nonce_place == VERSION_NONCE_SREP)
		s[n++] = (struct message_field){ TAG_NONC,
			{ forge_nonce, v->nonce_len } };
	return encode(f, SREP, s, n, out);
}

void
forge_reply(struct forgery *f)
{
	const struct version *v = f->version;
	uint8_t cert[FORGE_CAP], srep[FORGE_CAP], path[FORGE_CAP], root[64];
	uint8_t sig[64], index[4], ver[4], type[4] = { 1 };
	struct message_field t[8] = {
		{ TAG_SIG, { sig, 64 } },
		{ TAG_PATH, { path, f->nodes * v->node_len } },
		{ TAG_INDX, { index, 4 } },
	};
	size_t n = 3, len;

	t[n++] =
	    (struct message_field){ TAG_CERT, { cert, forge_cert(f, cert) } };
	forge_root(f, path, root);
	len = forge_srep(f, root, srep);
	sign(sig, &v->response_context, srep, len, forge_keys.online_secret);
	t[n++] = (struct message_field){ TAG_SREP, { srep, len } };
	wire_put32(index, f->index);
	wire_put32(ver, v->number);
	if (v->nonce_place == VERSION_NONCE_TOP)
		t[n++] = (struct message_field){ TAG_NONC,
			{ forge_nonce, v->nonce_len } };
	if (v->ver_on_top)
		t[n++] = (struct message_field){ TAG_VER, { ver, 4 } };
	if (v->typed)
		t[n++] = (struct message_field){ TAG_TYPE, { type, 4 } };
	f->reply_len = framed(v, f->reply, encode(f, TOP, t, n, f->reply));
}
