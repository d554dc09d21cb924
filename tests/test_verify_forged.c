/*
 * roughtime/verify.h with replies forged here: every version, every fault,
 * every tag missing or of a wrong length, both path orders, extreme times.
 */
#include "roughtime/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/wire.h"
#include "roughtime/message.h"
#include "tests/support.h"

#define NOW_S 1790000000u
#define PACKET_CAP 4096

enum level { TOP, SREP, CERT, DELE, REQUEST, LEVELS };
enum op { NOTHING, DROP, SHORTEN, SET32, SET64, LENGTH, FLIP };

/* What is done to one tag before its level is signed. */
struct edit {
	enum level level;
	uint32_t tag;
	enum op op;
	uint64_t value;
};

static struct keys {
	uint8_t public_key[32], secret[64];
	uint8_t online_public[32], online_secret[64];
} keys;

struct forgery {
	const struct version *version;
	struct edit edit;
	uint32_t index;
	size_t nodes; /* of PATH, each of it filled with its number */
	enum merkle_order order;
	uint8_t request[PACKET_CAP], reply[PACKET_CAP];
	size_t request_len, reply_len;
};

static uint8_t spare[PACKET_CAP]; /* values that LENGTH makes longer */

static void
apply(const struct edit *e, enum level level, struct message_field *f,
    size_t *n, uint8_t scratch[PACKET_CAP])
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
		f[i].value = (struct view){ spare, e->value };
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
encode(struct forgery *f, enum level level, struct message_field *fields,
    size_t n, uint8_t *out)
{
	uint8_t scratch[PACKET_CAP];
	size_t len;

	qsort(fields, n, sizeof *fields, by_tag);
	apply(&f->edit, level, fields, &n, scratch);
	len = message_encode(out, PACKET_CAP - FRAME_LEN, fields, n);
	assert_true(len > 0);
	return len;
}

static void
sign(uint8_t sig[64], const struct version_context *context,
    const uint8_t *data, size_t len, const uint8_t *secret)
{
	uint8_t joined[PACKET_CAP];

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

static const uint8_t nonce[64] = "a nonce of sixty-four bytes, or of half";

static void
forge_request(struct forgery *f)
{
	const struct version *v = f->version;
	uint8_t ver[4], type[4] = { 0 };
	struct message_field fields[4] = {
		{ TAG_NONC, { nonce, v->nonce_len } },
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
forge_cert(struct forgery *f, uint8_t out[PACKET_CAP])
{
	const struct version *v = f->version;
	uint8_t mint[8], maxt[8], dele[PACKET_CAP], sig[64];
	struct message_field d[3] = {
		{ TAG_PUBK, { keys.online_public, 32 } },
		{ TAG_MINT, { mint, 8 } },
		{ TAG_MAXT, { maxt, 8 } },
	};
	struct message_field c[2] = { { TAG_SIG, { sig, 64 } } };
	size_t len;

	wire_put64(mint, version_time(v, (NOW_S - 3600) * 1000000ull));
	wire_put64(maxt, version_time(v, (NOW_S + 3600) * 1000000ull));
	len = encode(f, DELE, d, 3, dele);
	sign(sig, &v->delegation_context, dele, len, keys.secret);
	c[1] = (struct message_field){ TAG_DELE, { dele, len } };
	return encode(f, CERT, c, 2, out);
}

/* Climbs from the leaf by a path of nodes 00…, 01…, 02… in either order. */
static void
forge_root(struct forgery *f, uint8_t path[PACKET_CAP], uint8_t root[64])
{
	const struct version *v = f->version;
	size_t len = v->node_len;

	merkle_leaf(v, root, (struct view){ f->request, f->request_len },
	    (struct view){ nonce, v->nonce_len });
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
forge_srep(struct forgery *f, const uint8_t *root, uint8_t out[PACKET_CAP])
{
	const struct version *v = f->version;
	uint8_t midp[8], radi[4], ver[4], vers[4];
	struct message_field s[6] = {
		{ TAG_MIDP, { midp, 8 } },
		{ TAG_RADI, { radi, 4 } },
		{ TAG_ROOT, { root, v->node_len } },
	};
	size_t n = 3;

	wire_put64(midp, version_time(v, NOW_S * 1000000ull));
	wire_put32(radi, version_radius(v, 3000000));
	wire_put32(ver, v->number);
	wire_put32(vers, v->number);
	if (v->ver_in_srep) {
		s[n++] = (struct message_field){ TAG_VER, { ver, 4 } };
		s[n++] = (struct message_field){ TAG_VERS, { vers, 4 } };
	}
	if (v->nonce_place == VERSION_NONCE_SREP)
		s[n++] =
		    (struct message_field){ TAG_NONC, { nonce, v->nonce_len } };
	return encode(f, SREP, s, n, out);
}

static void
forge_reply(struct forgery *f)
{
	const struct version *v = f->version;
	uint8_t cert[PACKET_CAP], srep[PACKET_CAP], path[PACKET_CAP], root[64];
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
	sign(sig, &v->response_context, srep, len, keys.online_secret);
	t[n++] = (struct message_field){ TAG_SREP, { srep, len } };
	wire_put32(index, f->index);
	wire_put32(ver, v->number);
	if (v->nonce_place == VERSION_NONCE_TOP)
		t[n++] =
		    (struct message_field){ TAG_NONC, { nonce, v->nonce_len } };
	if (v->ver_on_top)
		t[n++] = (struct message_field){ TAG_VER, { ver, 4 } };
	if (v->typed)
		t[n++] = (struct message_field){ TAG_TYPE, { type, 4 } };
	f->reply_len = framed(v, f->reply, encode(f, TOP, t, n, f->reply));
}

static bool seen[VERIFY_FAULTS];

static enum verify_fault
judge(struct verify_result *r, const struct forgery *f)
{
	struct view request = guard_copy(f->request, f->request_len);
	struct view reply = guard_copy(f->reply, f->reply_len);
	enum verify_fault fault =
	    verify_response(r, keys.public_key, request, reply, NULL);

	guard_drop(request);
	guard_drop(reply);
	r->versions = (struct view){ 0 }; /* pointed into the reply */
	seen[fault] = true;
	return fault;
}

static enum verify_fault
forge(struct verify_result *r, struct forgery *f)
{
	forge_request(f);
	forge_reply(f);
	return judge(r, f);
}

static void
expect(enum version_row row, struct edit edit, enum verify_fault want)
{
	struct forgery f = { .version = &version_table[row], .edit = edit };
	struct verify_result r;
	enum verify_fault got = forge(&r, &f);

	if (got != want)
		fail_msg("%s: level %d, tag %.4s, op %d, value %llu: %s, not "
			 "%s",
		    f.version->name, edit.level, (const char *)&edit.tag,
		    edit.op, (unsigned long long)edit.value,
		    verify_fault_str(got), verify_fault_str(want));
}

static void
every_version(void **state)
{
	(void)state;
	for (enum version_row row = 0; row < VERSION_ROWS; row++) {
		struct forgery f = { .version = &version_table[row] };
		struct verify_result r;

		for (f.nodes = 0; f.nodes < 4; f.nodes++) {
			f.index = f.nodes > 0 ? 1u << (f.nodes - 1) : 0;
			assert_int_equal(forge(&r, &f), VERIFY_OK);
			assert_int_equal(r.version->row, row);
			assert_true(r.midpoint_us == NOW_S * 1000000ull);
			assert_true(r.radius_us == 3000000);
			assert_true(r.mint_us == (NOW_S - 3600) * 1000000ull);
			assert_true(r.maxt_us == (NOW_S + 3600) * 1000000ull);
			assert_int_equal(r.path_nodes, f.nodes);
		}
	}
}

/* Both orders for the old versions, and which one is told; one for the new. */
static void
mirrored_paths(void **state)
{
	(void)state;
	for (enum version_row row = 0; row < VERSION_ROWS; row++) {
		struct forgery f = { .version = &version_table[row],
			.nodes = 3,
			.index = 5,
			.order = MERKLE_MIRRORED };
		struct verify_result r;
		enum verify_fault fault = forge(&r, &f);

		if (row < VERSION_DRAFT12) {
			assert_int_equal(fault, VERIFY_OK);
			assert_int_equal(r.order, MERKLE_MIRRORED);
		} else {
			assert_int_equal(fault, VERIFY_ROOT);
		}
	}
}

static void
missing_and_short_tags(void **state)
{
	static const struct {
		enum level level;
		uint32_t tag;
	} tags[] = {
		{ TOP, TAG_SIG },
		{ TOP, TAG_SREP },
		{ TOP, TAG_CERT },
		{ TOP, TAG_INDX },
		{ TOP, TAG_PATH },
		{ SREP, TAG_MIDP },
		{ SREP, TAG_RADI },
		{ SREP, TAG_ROOT },
		{ CERT, TAG_SIG },
		{ CERT, TAG_DELE },
		{ DELE, TAG_PUBK },
		{ DELE, TAG_MINT },
		{ DELE, TAG_MAXT },
	};

	(void)state;
	for (enum version_row row = 0; row < VERSION_ROWS; row++) {
		for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
			struct edit e = { tags[i].level, tags[i].tag, DROP, 0 };

			expect(row, e, VERIFY_TAG_MISSING);
			e.op = SHORTEN;
			/* a map may be cut where a value of its own ends */
			if (e.tag == TAG_SREP || e.tag == TAG_CERT ||
			    e.tag == TAG_DELE || e.tag == TAG_PATH)
				continue;
			expect(row, e, VERIFY_TAG_LENGTH);
		}
	}
}

static const struct {
	enum version_row row;
	struct edit edit;
	enum verify_fault want;
} bad[] = {
	{ VERSION_RFC, { TOP, TAG_TYPE, DROP, 0 }, VERIFY_TAG_MISSING },
	{ VERSION_RFC, { TOP, TAG_TYPE, SET32, 0 }, VERIFY_TYPE },
	{ VERSION_RFC, { TOP, TAG_TYPE, SET32, 2 }, VERIFY_TYPE },
	{ VERSION_RFC, { TOP, TAG_TYPE, SHORTEN, 0 }, VERIFY_TAG_LENGTH },
	{ VERSION_RFC, { TOP, TAG_NONC, DROP, 0 }, VERIFY_TAG_MISSING },
	{ VERSION_RFC, { TOP, TAG_NONC, FLIP, 0 }, VERIFY_NONCE },
	{ VERSION_RFC, { TOP, TAG_NONC, SHORTEN, 0 }, VERIFY_NONCE },
	{ VERSION_GOOGLE, { TOP, TAG_NONC, FLIP, 0 }, VERIFY_NONCE },
	{ VERSION_GOOGLE, { TOP, TAG_NONC, DROP, 0 }, VERIFY_OK },
	{ VERSION_DRAFT02, { SREP, TAG_NONC, FLIP, 0 }, VERIFY_NONCE },
	{ VERSION_DRAFT02, { SREP, TAG_NONC, DROP, 0 }, VERIFY_TAG_MISSING },
	{ VERSION_RFC, { TOP, TAG_SREP, LENGTH, 8 }, VERIFY_MALFORMED },
	{ VERSION_RFC, { TOP, TAG_CERT, LENGTH, 0 }, VERIFY_MALFORMED },
	{ VERSION_RFC, { CERT, TAG_DELE, LENGTH, 4 }, VERIFY_MALFORMED },
	{ VERSION_RFC, { SREP, TAG_VER, DROP, 0 }, VERIFY_TAG_MISSING },
	{ VERSION_RFC, { SREP, TAG_VER, LENGTH, 8 }, VERIFY_TAG_LENGTH },
	{ VERSION_RFC, { SREP, TAG_VER, SET32, 2 }, VERIFY_VERSION_UNKNOWN },
	{ VERSION_RFC, { SREP, TAG_VER, SET32, 0x8000000c },
	    VERIFY_VERSION_NOT_OFFERED },
	{ VERSION_DRAFT11, { TOP, TAG_VER, SET32, 0x80000001 },
	    VERIFY_VERSION_NOT_OFFERED },
	{ VERSION_DRAFT11, { TOP, TAG_VER, DROP, 0 }, VERIFY_TAG_MISSING },
	{ VERSION_RFC, { SREP, TAG_VERS, DROP, 0 }, VERIFY_TAG_MISSING },
	{ VERSION_RFC, { SREP, TAG_VERS, LENGTH, 0 }, VERIFY_TAG_LENGTH },
	{ VERSION_RFC, { SREP, TAG_VERS, LENGTH, 132 }, VERIFY_TAG_LENGTH },
	{ VERSION_RFC, { SREP, TAG_VERS, LENGTH, 128 },
	    VERIFY_VERSION_NOT_LISTED },
	{ VERSION_RFC, { SREP, TAG_VERS, SET32, 7 },
	    VERIFY_VERSION_NOT_LISTED },
	{ VERSION_RFC, { CERT, TAG_SIG, FLIP, 0 }, VERIFY_CERT_SIGNATURE },
	{ VERSION_RFC, { TOP, TAG_SIG, FLIP, 0 }, VERIFY_SIGNATURE },
	{ VERSION_RFC, { DELE, TAG_PUBK, FLIP, 0 }, VERIFY_SIGNATURE },
	{ VERSION_RFC, { DELE, TAG_PUBK, LENGTH, 32 }, VERIFY_SIGNATURE },
	{ VERSION_RFC, { SREP, TAG_ROOT, FLIP, 0 }, VERIFY_ROOT },
	{ VERSION_RFC, { TOP, TAG_INDX, SET32, 1 }, VERIFY_PATH },
	{ VERSION_RFC, { TOP, TAG_PATH, LENGTH, 4 }, VERIFY_PATH },
	{ VERSION_RFC, { TOP, TAG_PATH, LENGTH, 32 }, VERIFY_ROOT },
	{ VERSION_RFC, { TOP, TAG_PATH, LENGTH, 1024 }, VERIFY_ROOT },
	{ VERSION_RFC, { TOP, TAG_PATH, LENGTH, 1056 }, VERIFY_PATH },
	{ VERSION_GOOGLE, { TOP, TAG_PATH, LENGTH, 32 }, VERIFY_PATH },
	{ VERSION_RFC, { SREP, TAG_RADI, SET32, 0 }, VERIFY_RADIUS },
	{ VERSION_RFC, { SREP, TAG_MIDP, SET64, NOW_S - 3601 }, VERIFY_WINDOW },
	{ VERSION_RFC, { SREP, TAG_MIDP, SET64, NOW_S - 3600 }, VERIFY_OK },
	{ VERSION_RFC, { SREP, TAG_MIDP, SET64, NOW_S + 3600 }, VERIFY_OK },
	{ VERSION_RFC, { SREP, TAG_MIDP, SET64, NOW_S + 3601 }, VERIFY_WINDOW },
	{ VERSION_RFC, { DELE, TAG_MAXT, SET64, UINT64_MAX }, VERIFY_OK },
	{ VERSION_RFC, { DELE, TAG_MINT, SET64, UINT64_MAX }, VERIFY_WINDOW },
	{ VERSION_RFC, { DELE, TAG_MAXT, SET64, 0 }, VERIFY_WINDOW },
	{ VERSION_RFC, { REQUEST, TAG_NONC, DROP, 0 }, VERIFY_REQUEST },
	{ VERSION_RFC, { REQUEST, TAG_NONC, SHORTEN, 0 }, VERIFY_REQUEST },
	{ VERSION_RFC, { REQUEST, TAG_VER, DROP, 0 }, VERIFY_REQUEST },
	{ VERSION_RFC, { REQUEST, TAG_VER, LENGTH, 0 }, VERIFY_REQUEST },
	{ VERSION_RFC, { REQUEST, TAG_VER, LENGTH, 132 }, VERIFY_REQUEST },
	{ VERSION_RFC, { REQUEST, TAG_VER, SET32, 9 },
	    VERIFY_VERSION_NOT_OFFERED },
	/* a server of drafts 12 and 13 ignores TYPE and sends none */
	{ VERSION_DRAFT14, { TOP, TAG_TYPE, DROP, 0 }, VERIFY_OK },
};

static void
faults_by_edit(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		expect(bad[i].row, bad[i].edit, bad[i].want);
}

/* The frame must be there when the request had one, and only then. */
static void
frames(void **state)
{
	struct forgery f = { .version = &version_table[VERSION_RFC] };
	struct forgery g = { .version = &version_table[VERSION_GOOGLE] };
	struct verify_result r;

	(void)state;
	assert_int_equal(forge(&r, &f), VERIFY_OK);
	assert_int_equal(forge(&r, &g), VERIFY_OK);
	memmove(f.reply, f.reply + FRAME_LEN, f.reply_len - FRAME_LEN);
	f.reply_len -= FRAME_LEN;
	assert_int_equal(judge(&r, &f), VERIFY_FRAME);
	memmove(g.reply + FRAME_LEN, g.reply, g.reply_len);
	frame_encode(g.reply, (uint32_t)g.reply_len);
	g.reply_len += FRAME_LEN;
	assert_int_equal(judge(&r, &g), VERIFY_FRAME);
	forge_reply(&f);
	f.reply[f.reply_len] = 0; /* one byte after the declared length */
	f.reply_len++;
	assert_int_equal(judge(&r, &f), VERIFY_FRAME);
}

/* Bare replies have no frame to tell where they end: still refused. */
static void
google_truncated(void **state)
{
	struct forgery f = { .version = &version_table[VERSION_GOOGLE],
		.nodes = 2 };
	struct verify_result r;

	(void)state;
	assert_int_equal(forge(&r, &f), VERIFY_OK);
	for (size_t len = f.reply_len; len-- > 0;) {
		f.reply_len = len;
		assert_int_not_equal(judge(&r, &f), VERIFY_OK);
	}
}

static void
saturated_times(void **state)
{
	static const enum version_row row = VERSION_RFC;
	struct forgery f = { .version = &version_table[row] };
	struct verify_result r;

	(void)state;
	f.edit = (struct edit){ SREP, TAG_RADI, SET32, UINT32_MAX };
	assert_int_equal(forge(&r, &f), VERIFY_OK);
	assert_true(r.earliest_us == 0);
	assert_true(r.latest_us == (NOW_S + (uint64_t)UINT32_MAX) * 1000000u);
	f.edit = (struct edit){ SREP, TAG_MIDP, SET64, UINT64_MAX };
	assert_int_equal(forge(&r, &f), VERIFY_WINDOW);
	assert_true(r.midpoint_us == UINT64_MAX);
	assert_true(r.latest_us == UINT64_MAX);
	assert_true(r.earliest_us == UINT64_MAX - 3000000);
	f.edit = (struct edit){ DELE, TAG_MAXT, SET64, UINT64_MAX };
	assert_int_equal(forge(&r, &f), VERIFY_OK);
	assert_true(r.maxt_us == UINT64_MAX);
}

/* Offers [1, c], gets c from a server whose VERS holds 1 as well. */
static void
downgrade_is_told(void **state)
{
	static const uint8_t both[8] = { 1, 0, 0, 0, 0x0c, 0, 0, 0x80 };
	struct forgery f = { .version = &version_table[VERSION_DRAFT14] };
	struct verify_result r;

	(void)state;
	memcpy(spare, both, sizeof both);
	forge_request(&f);
	/* VER of the request is the first value; 4 bytes become 8 */
	f.edit = (struct edit){ REQUEST, TAG_VER, LENGTH, 8 };
	forge_request(&f);
	f.edit = (struct edit){ SREP, TAG_VERS, LENGTH, 8 };
	forge_reply(&f);
	assert_int_equal(judge(&r, &f), VERIFY_OK);
	assert_int_equal(r.version->row, VERSION_DRAFT14);
	assert_int_equal(r.downgrade, 1);
	/* not offered: no downgrade */
	f.edit = (struct edit){ .op = NOTHING };
	forge_request(&f);
	f.edit = (struct edit){ SREP, TAG_VERS, LENGTH, 8 };
	forge_reply(&f);
	assert_int_equal(judge(&r, &f), VERIFY_OK);
	assert_int_equal(r.downgrade, 0);
	memset(spare, 0, sizeof both);
}

static void
any_key_checks_the_rest(void **state)
{
	static const struct verify_options any = { .any_key = true };
	struct forgery f = { .version = &version_table[VERSION_RFC],
		.edit = { CERT, TAG_SIG, FLIP, 0 } };
	struct verify_result r;
	struct view request, reply;

	(void)state;
	assert_int_equal(forge(&r, &f), VERIFY_CERT_SIGNATURE);
	assert_false(r.any_key);
	request = (struct view){ f.request, f.request_len };
	reply = (struct view){ f.reply, f.reply_len };
	assert_int_equal(
	    verify_response(&r, keys.public_key, request, reply, &any),
	    VERIFY_OK);
	assert_true(r.any_key);
	f.edit = (struct edit){ TOP, TAG_SIG, FLIP, 0 };
	forge_reply(&f);
	reply.len = f.reply_len;
	assert_int_equal(
	    verify_response(&r, keys.public_key, request, reply, &any),
	    VERIFY_SIGNATURE);
}

static void
chain_nonce_lengths(void **state)
{
	static const uint8_t rand[32] = "thirty-two bytes of randomness.";
	const struct view previous = { nonce, 60 };
	uint8_t joined[92], want[64], got[65] = { 0 };

	(void)state;
	memcpy(joined, nonce, 60);
	memcpy(joined + 60, rand, 32);
	crypto_hash_sha512(want, joined, sizeof joined);
	verify_chain_nonce(got, 64, previous, rand);
	assert_memory_equal(got, want, 64);
	assert_int_equal(got[64], 0);
	memset(got, 0, sizeof got);
	verify_chain_nonce(got, 32, previous, rand);
	assert_memory_equal(got, want, 32);
	assert_int_equal(got[32], 0);
}

static const char *
fault_word(int i)
{
	return verify_fault_str((enum verify_fault)i);
}

static const char *
fault_sentence(int i)
{
	return verify_fault_explain((enum verify_fault)i);
}

/* Last: the tests before it have reached every fault. */
static void
all_faults_reached(void **state)
{
	(void)state;
	support_all_seen(seen, VERIFY_FAULTS, fault_word);
	support_all_seen(seen, VERIFY_FAULTS, fault_sentence);
}

static int
make_keys(void **state)
{
	(void)state;
	return sodium_init() < 0 ||
	    crypto_sign_keypair(keys.public_key, keys.secret) != 0 ||
	    crypto_sign_keypair(keys.online_public, keys.online_secret) != 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_version),
		cmocka_unit_test(mirrored_paths),
		cmocka_unit_test(missing_and_short_tags),
		cmocka_unit_test(faults_by_edit),
		cmocka_unit_test(frames),
		cmocka_unit_test(google_truncated),
		cmocka_unit_test(saturated_times),
		cmocka_unit_test(downgrade_is_told),
		cmocka_unit_test(any_key_checks_the_rest),
		cmocka_unit_test(chain_nonce_lengths),
		cmocka_unit_test(all_faults_reached),
	};

	return cmocka_run_group_tests(tests, make_keys, NULL);
}
