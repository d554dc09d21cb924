/*
 * roughtime/request.h: what a server takes and what it drops, by name, and
 * the rules of negotiation.
 */
#include "roughtime/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/wire.h"
#include "tests/support.h"

#define FIELDS_MAX 6
#define PACKET_MAX 2048

#define N32 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define N64 N32 N32
#define SRV_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SRV_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define SRV_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define V1 "01000000"
#define VC "0c000080"
#define VB "0b000080"
#define V9 "09000080"
#define V8 "08000080"
#define V7 "07000080"
#define V5 "05000080"
#define V4 "04000080"
#define V2 "02000080"
/* numbers that nobody knows, ascending */
#define U "02000000"
#define UNKNOWN_8                                                  \
	"03000000040000000500000006000000070000000800000009000000" \
	"0a000000"
#define UNKNOWN_23                                                         \
	"0b0000000c0000000d0000000e0000000f000000100000001100000012000000" \
	"130000001400000015000000160000001700000018000000190000001a000000" \
	"1b0000001c0000001d0000001e0000001f0000002000000021000000"
#define ZERO4 "00000000"

enum framing { BARE, FRAMED, CUT, TRAILING, HEAD_ONLY };

struct field_text {
	uint32_t tag;
	const char *hex;
};

struct packet_text {
	const char *what;
	enum framing framing;
	struct field_text f[FIELDS_MAX];
};

static bool seen[REQUEST_REJECTS];

static const uint8_t srv_list[2][CERT_SRV_LEN] = {
	{ 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa,
	    0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa,
	    0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa },
	{ 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb,
	    0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb,
	    0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb },
};

static const struct request_policy one_key = {
	.versions = VERSION_ALL, .identities = 1, .srv = srv_list
};
static const struct request_policy two_keys = {
	.versions = VERSION_ALL, .identities = 2, .srv = srv_list
};
static const struct request_policy prefers_c = { .versions = VERSION_ALL,
	.prefer_draft14 = true,
	.identities = 1,
	.srv = srv_list };
static const struct request_policy only_rfc = {
	.versions = 1u << VERSION_RFC, .identities = 1, .srv = srv_list
};
static const struct request_policy only_draft12 = {
	.versions = 1u << VERSION_DRAFT12, .identities = 1, .srv = srv_list
};

static const char *
reject_name(int i)
{
	return request_reject_str((enum request_reject)i);
}

/* Builds a packet; fields must be in ascending order of tag. */
static size_t
build(uint8_t out[static PACKET_MAX], const struct packet_text *t)
{
	static uint8_t values[FIELDS_MAX][PACKET_MAX];
	struct message_field f[FIELDS_MAX];
	size_t frame = t->framing == BARE ? 0 : FRAME_LEN;
	size_t n = 0, len;

	while (n < FIELDS_MAX && t->f[n].tag != 0) {
		f[n].tag = t->f[n].tag;
		f[n].value.data = values[n];
		f[n].value.len =
		    support_hex(values[n], PACKET_MAX, t->f[n].hex);
		n++;
	}
	len = message_encode(out + frame, PACKET_MAX - frame, f, n);
	assert_true(len > 0);
	if (frame > 0)
		frame_encode(out, (uint32_t)len);
	if (t->framing == CUT)
		return frame + len - 4;
	if (t->framing == HEAD_ONLY)
		return FRAME_LEN - 1;
	return frame + len + (t->framing == TRAILING ? 4 : 0);
}

static enum request_reject
parse(struct request *r, const struct packet_text *t,
    const struct request_policy *policy)
{
	uint8_t bytes[PACKET_MAX] = { 0 };
	struct view packet = guard_copy(bytes, build(bytes, t));
	enum request_reject reject = request_parse(r, packet, 0, policy);

	seen[reject] = true;
	guard_drop(packet);
	return reject;
}

/* `policy` NULL: one_key */
static const struct {
	struct packet_text packet;
	const struct request_policy *policy;
	enum version_row row;
} good[] = {
	{ { "google", BARE, { { TAG_NONC, N64 } } }, NULL, VERSION_GOOGLE },
	{ { "google, padded", BARE,
	      { { TAG_NONC, N64 }, { TAG_PAD_FF, ZERO4 } } },
	    NULL, VERSION_GOOGLE },
	{ { "1", FRAMED,
	      { { TAG_VER, V1 }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    NULL, VERSION_RFC },
	{ { "c with TYPE", FRAMED,
	      { { TAG_VER, VC }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    NULL, VERSION_DRAFT14 },
	{ { "c without TYPE", FRAMED, { { TAG_VER, VC }, { TAG_NONC, N32 } } },
	    NULL, VERSION_DRAFT12 },
	{ { "1 and c", FRAMED,
	      { { TAG_VER, V1 VC }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    NULL, VERSION_RFC },
	{ { "1 and c, setting", FRAMED,
	      { { TAG_VER, V1 VC }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    &prefers_c, VERSION_DRAFT14 },
	{ { "1 alone, setting", FRAMED,
	      { { TAG_VER, V1 }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    &prefers_c, VERSION_RFC },
	{ { "1 and c, no TYPE: only c can be meant", FRAMED,
	      { { TAG_VER, V1 VC }, { TAG_NONC, N32 } } },
	    NULL, VERSION_DRAFT12 },
	{ { "1 and c, no TYPE, setting", FRAMED,
	      { { TAG_VER, V1 VC }, { TAG_NONC, N32 } } },
	    &prefers_c, VERSION_DRAFT12 },
	{ { "1 and c, only 1 served", FRAMED,
	      { { TAG_VER, V1 VC }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    &only_rfc, VERSION_RFC },
	{ { "1, b and c, TYPE", FRAMED,
	      { { TAG_VER, V1 VB VC }, { TAG_NONC, N32 },
		  { TAG_TYPE, ZERO4 } } },
	    NULL, VERSION_RFC },
	{ { "b with TYPE", FRAMED,
	      { { TAG_VER, VB }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    NULL, VERSION_DRAFT11 },
	{ { "descending without 1 or c", FRAMED,
	      { { TAG_VER, VB V8 }, { TAG_NONC, N32 } } },
	    NULL, VERSION_DRAFT11 },
	{ { "repeated without 1 or c", FRAMED,
	      { { TAG_VER, V8 V8 }, { TAG_NONC, N32 } } },
	    NULL, VERSION_DRAFT08 },
	{ { "unknown numbers are skipped", FRAMED,
	      { { TAG_VER, U V9 "ffffffff" }, { TAG_NONC, N32 } } },
	    NULL, VERSION_DRAFT09 },
	{ { "the 32nd of 32 is read", FRAMED,
	      { { TAG_VER, UNKNOWN_8 UNKNOWN_23 VC }, { TAG_NONC, N32 },
		  { TAG_TYPE, ZERO4 } } },
	    NULL, VERSION_DRAFT14 },
	{ { "the nonce decides: 64", FRAMED,
	      { { TAG_VER, V4 V5 V8 }, { TAG_NONC, N64 } } },
	    NULL, VERSION_DRAFT04 },
	{ { "the nonce decides: 32", FRAMED,
	      { { TAG_VER, V4 V5 }, { TAG_NONC, N32 } } },
	    NULL, VERSION_DRAFT05 },
	{ { "a long nonce with 2", FRAMED,
	      { { TAG_VER, V2 }, { TAG_NONC, N64 } } },
	    NULL, VERSION_DRAFT02 },
	{ { "unknown tags are ignored", FRAMED,
	      { { TAG('A', 0, 0, 0), ZERO4 }, { TAG_VER, V7 },
		  { TAG_NONC, N32 }, { TAG('Q', 'Q', 'Q', 'Q'), ZERO4 } } },
	    NULL, VERSION_DRAFT07 },
	{ { "SRV of the one key", FRAMED,
	      { { TAG_VER, V1 }, { TAG_SRV, SRV_A }, { TAG_NONC, N32 },
		  { TAG_TYPE, ZERO4 } } },
	    NULL, VERSION_RFC },
};

static void
takes_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		const struct request_policy *policy = good[i].policy;
		struct request r;
		enum request_reject reject = parse(
		    &r, &good[i].packet, policy != NULL ? policy : &one_key);

		if (reject != REQUEST_OK || r.version->row != good[i].row)
			fail_msg("%s: %s %s", good[i].packet.what,
			    request_reject_str(reject),
			    r.version != NULL ? r.version->name : "-");
		assert_int_equal(r.nonce.len, r.version->nonce_len);
		assert_int_equal(r.identity, 0);
	}
}

static const struct {
	struct packet_text packet;
	const struct request_policy *policy;
	enum request_reject reject;
} bad[] = {
	{ { "frame cut in its header", HEAD_ONLY,
	      { { TAG_VER, V1 }, { TAG_NONC, N32 } } },
	    NULL, REQUEST_FRAME_TRUNCATED },
	{ { "frame cut", CUT, { { TAG_VER, V1 }, { TAG_NONC, N32 } } }, NULL,
	    REQUEST_FRAME_TRUNCATED },
	{ { "bytes after the frame", TRAILING,
	      { { TAG_VER, V1 }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    NULL, REQUEST_FRAME_TRAILING },
	{ { "SIG", FRAMED,
	      { { TAG_SIG, "" }, { TAG_VER, V1 }, { TAG_NONC, N32 },
		  { TAG_TYPE, ZERO4 } } },
	    NULL, REQUEST_IS_RESPONSE },
	{ { "SIG, bare", BARE, { { TAG_SIG, ZERO4 }, { TAG_NONC, N64 } } },
	    NULL, REQUEST_IS_RESPONSE },
	{ { "TYPE 1", FRAMED,
	      { { TAG_VER, V1 }, { TAG_NONC, N32 },
		  { TAG_TYPE, "01000000" } } },
	    NULL, REQUEST_TYPE_NOT_ZERO },
	{ { "TYPE 1 for a version that has no TYPE", FRAMED,
	      { { TAG_VER, V8 }, { TAG_NONC, N32 },
		  { TAG_TYPE, "01000000" } } },
	    NULL, REQUEST_TYPE_NOT_ZERO },
	{ { "TYPE in the high byte", FRAMED,
	      { { TAG_VER, VC }, { TAG_NONC, N32 },
		  { TAG_TYPE, "00000001" } } },
	    NULL, REQUEST_TYPE_NOT_ZERO },
	{ { "TYPE 1, bare", BARE,
	      { { TAG_NONC, N64 }, { TAG_TYPE, "01000000" } } },
	    NULL, REQUEST_TYPE_NOT_ZERO },
	{ { "TYPE of eight bytes", FRAMED,
	      { { TAG_VER, V1 }, { TAG_NONC, N32 },
		  { TAG_TYPE, ZERO4 ZERO4 } } },
	    NULL, REQUEST_TYPE_NOT_ZERO },
	{ { "TYPE of none", FRAMED,
	      { { TAG_VER, V1 }, { TAG_NONC, N32 }, { TAG_TYPE, "" } } },
	    NULL, REQUEST_TYPE_NOT_ZERO },
	{ { "no VER", FRAMED, { { TAG_NONC, N64 } } }, NULL,
	    REQUEST_NO_VERSION },
	{ { "VER in a bare packet", BARE,
	      { { TAG_VER, V1 }, { TAG_NONC, N64 } } },
	    NULL, REQUEST_VERSION_UNFRAMED },
	{ { "empty VER", FRAMED, { { TAG_VER, "" }, { TAG_NONC, N32 } } }, NULL,
	    REQUEST_VERSION_LIST },
	{ { "33 versions", FRAMED,
	      { { TAG_VER, V1 UNKNOWN_8 UNKNOWN_23 VC }, { TAG_NONC, N32 },
		  { TAG_TYPE, ZERO4 } } },
	    NULL, REQUEST_VERSION_LIST },
	{ { "0 alone", FRAMED, { { TAG_VER, ZERO4 }, { TAG_NONC, N64 } } },
	    NULL, REQUEST_VERSION_LIST },
	{ { "0 among others", FRAMED,
	      { { TAG_VER, ZERO4 V1 }, { TAG_NONC, N32 },
		  { TAG_TYPE, ZERO4 } } },
	    NULL, REQUEST_VERSION_LIST },
	{ { "0 last", FRAMED, { { TAG_VER, VB V8 ZERO4 }, { TAG_NONC, N32 } } },
	    NULL, REQUEST_VERSION_LIST },
	{ { "c before 1", FRAMED,
	      { { TAG_VER, VC V1 }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    NULL, REQUEST_VERSION_ORDER },
	{ { "1 twice", FRAMED,
	      { { TAG_VER, V1 V1 }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    NULL, REQUEST_VERSION_ORDER },
	{ { "c, b", FRAMED, { { TAG_VER, VC VB }, { TAG_NONC, N32 } } }, NULL,
	    REQUEST_VERSION_ORDER },
	{ { "unsorted before c", FRAMED,
	      { { TAG_VER, VB V8 VC }, { TAG_NONC, N32 } } },
	    NULL, REQUEST_VERSION_ORDER },
	{ { "only unknown versions", FRAMED,
	      { { TAG_VER, U UNKNOWN_8 }, { TAG_NONC, N32 } } },
	    NULL, REQUEST_VERSION_UNKNOWN },
	{ { "1 without TYPE", FRAMED, { { TAG_VER, V1 }, { TAG_NONC, N32 } } },
	    NULL, REQUEST_VERSION_UNKNOWN },
	{ { "c, only 1 served", FRAMED,
	      { { TAG_VER, VC }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    &only_rfc, REQUEST_VERSION_UNKNOWN },
	{ { "c with TYPE, only c without it served", FRAMED,
	      { { TAG_VER, VC }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    &only_draft12, REQUEST_VERSION_UNKNOWN },
	{ { "google, not served", BARE, { { TAG_NONC, N64 } } }, &only_rfc,
	    REQUEST_VERSION_UNKNOWN },
	{ { "no NONC", FRAMED, { { TAG_VER, V1 }, { TAG_TYPE, ZERO4 } } }, NULL,
	    REQUEST_NO_NONCE },
	{ { "no NONC, bare", BARE, { { TAG_PAD_FF, N64 } } }, NULL,
	    REQUEST_NO_NONCE },
	{ { "long NONC with 1", FRAMED,
	      { { TAG_VER, V1 }, { TAG_NONC, N64 }, { TAG_TYPE, ZERO4 } } },
	    NULL, REQUEST_NONCE_LENGTH },
	{ { "short NONC with 4", FRAMED,
	      { { TAG_VER, V4 }, { TAG_NONC, N32 } } },
	    NULL, REQUEST_NONCE_LENGTH },
	{ { "NONC of 36", FRAMED,
	      { { TAG_VER, V4 V8 }, { TAG_NONC, N32 ZERO4 } } },
	    NULL, REQUEST_NONCE_LENGTH },
	{ { "empty NONC", FRAMED,
	      { { TAG_VER, V1 }, { TAG_NONC, "" }, { TAG_TYPE, ZERO4 } } },
	    NULL, REQUEST_NONCE_LENGTH },
	{ { "short NONC, bare", BARE, { { TAG_NONC, N32 } } }, NULL,
	    REQUEST_NONCE_LENGTH },
	{ { "SRV of 36", FRAMED,
	      { { TAG_VER, V1 }, { TAG_SRV, SRV_A ZERO4 }, { TAG_NONC, N32 },
		  { TAG_TYPE, ZERO4 } } },
	    NULL, REQUEST_SRV_LENGTH },
	{ { "empty SRV", FRAMED,
	      { { TAG_VER, VB }, { TAG_SRV, "" }, { TAG_NONC, N32 } } },
	    NULL, REQUEST_SRV_LENGTH },
	{ { "SRV of somebody else", FRAMED,
	      { { TAG_VER, V1 }, { TAG_SRV, SRV_C }, { TAG_NONC, N32 },
		  { TAG_TYPE, ZERO4 } } },
	    NULL, REQUEST_SRV_UNKNOWN },
	{ { "SRV of a key that is not ours yet", FRAMED,
	      { { TAG_VER, V1 }, { TAG_SRV, SRV_B }, { TAG_NONC, N32 },
		  { TAG_TYPE, ZERO4 } } },
	    NULL, REQUEST_SRV_UNKNOWN },
	{ { "no SRV, two keys", FRAMED,
	      { { TAG_VER, V1 }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } },
	    &two_keys, REQUEST_SRV_MISSING },
	{ { "google, two keys", BARE, { { TAG_NONC, N64 } } }, &two_keys,
	    REQUEST_SRV_MISSING },
};

static void
names_every_reject(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		const struct request_policy *policy = bad[i].policy;
		struct request r;
		enum request_reject reject = parse(
		    &r, &bad[i].packet, policy != NULL ? policy : &one_key);

		if (reject != bad[i].reject)
			fail_msg("%s: %s", bad[i].packet.what,
			    request_reject_str(reject));
	}
}

static void
srv_chooses_the_identity(void **state)
{
	struct packet_text t = { "SRV", FRAMED,
		{ { TAG_VER, V1 }, { TAG_SRV, SRV_B }, { TAG_NONC, N32 },
		    { TAG_TYPE, ZERO4 } } };
	struct request r;

	(void)state;
	assert_int_equal(parse(&r, &t, &two_keys), REQUEST_OK);
	assert_int_equal(r.identity, 1);
	t.f[1].hex = SRV_A;
	assert_int_equal(parse(&r, &t, &two_keys), REQUEST_OK);
	assert_int_equal(r.identity, 0);
}

static void
short_and_malformed(void **state)
{
	static const char *const malformed[] = { "00000000",
		"0200000002000000504154484e4f4e43aabbccdd",
		"524f55474854494d 00000000", /* a frame around nothing */
		"524f55474854494d 05000000 0100000000",
		"524f5547" }; /* the start of the frame's name */
	uint8_t bytes[PACKET_MAX] = { 0 };
	struct packet_text t = { "short", FRAMED,
		{ { TAG_VER, V1 }, { TAG_NONC, N32 }, { TAG_TYPE, ZERO4 } } };
	size_t len = build(bytes, &t);
	struct request r;

	(void)state;
	assert_int_equal(
	    request_parse(&r, (struct view){ bytes, len }, len, &one_key),
	    REQUEST_OK);
	assert_int_equal(
	    request_parse(&r, (struct view){ bytes, len }, len + 1, &one_key),
	    REQUEST_SHORT);
	assert_int_equal(request_parse(&r, (struct view){ bytes, len },
			     REQUEST_UDP_MIN, &one_key),
	    REQUEST_SHORT);
	seen[REQUEST_SHORT] = true;
	for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
		struct view p = { bytes,
			support_hex(bytes, sizeof bytes, malformed[i]) };

		assert_int_equal(
		    request_parse(&r, p, 0, &one_key), REQUEST_MALFORMED);
	}
	seen[REQUEST_MALFORMED] = true;
}

static void
all_rejects_were_seen(void **state)
{
	(void)state;
	support_all_seen(seen, REQUEST_REJECTS, reject_name);
	assert_string_equal(reject_name(REQUEST_REJECTS), "unknown");
}

/* Every made request, cut at every length, ends at a guard page. */
static void
truncated_at_each_length(void **state)
{
	uint8_t nonce[64] = { 1 }, out[1036];

	(void)state;
	for (unsigned int row = 0; row < VERSION_ROWS; row++) {
		struct request_spec spec = {
			.versions = 1u << row, .nonce = nonce, .size = 1036
		};
		size_t len = request_make(out, sizeof out, &spec);

		for (size_t cut = 0; cut < len; cut++) {
			struct view p = guard_copy(out, cut);
			struct request r;
			enum request_reject reject =
			    request_parse(&r, p, 0, &one_key);

			/* a bare map may end anywhere in its padding */
			if (row != VERSION_GOOGLE || cut < 16 + 64)
				assert_int_not_equal(reject, REQUEST_OK);
			else
				assert_int_equal(reject,
				    cut % 4 == 0 ? REQUEST_OK
						 : REQUEST_MALFORMED);
			guard_drop(p);
		}
	}
}

/* Each byte of the part that is parsed, changed: views stay inside. */
static void
every_byte_changed(void **state)
{
	struct packet_text t = { "whole", FRAMED,
		{ { TAG_VER, V1 VC }, { TAG_SRV, SRV_A }, { TAG_NONC, N32 },
		    { TAG_TYPE, ZERO4 }, { TAG_ZZZZ, ZERO4 } } };
	uint8_t bytes[PACKET_MAX];
	size_t len = build(bytes, &t);
	uint8_t *p = guard_alloc(len);
	unsigned int taken = 0;

	(void)state;
	for (size_t at = 0; at < len; at++) {
		for (unsigned int bit = 0; bit < 8; bit++) {
			struct request r;

			memcpy(p, bytes, len);
			p[at] ^= (uint8_t)(1u << bit);
			if (request_parse(&r, (struct view){ p, len }, 0,
				&one_key) != REQUEST_OK)
				continue;
			taken++;
			assert_true(r.nonce.data >= p &&
			    r.nonce.data + r.nonce.len <= p + len);
			assert_int_equal(r.nonce.len, r.version->nonce_len);
		}
	}
	/* the nonce, the padding and most bits of version numbers are free */
	assert_in_range(taken, 256 + 32, len * 8 - 1);
	guard_free(p, len);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_good),
		cmocka_unit_test(names_every_reject),
		cmocka_unit_test(srv_chooses_the_identity),
		cmocka_unit_test(short_and_malformed),
		cmocka_unit_test(all_rejects_were_seen),
		cmocka_unit_test(truncated_at_each_length),
		cmocka_unit_test(every_byte_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
