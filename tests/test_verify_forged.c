/*
 * roughtime/verify.h with forged replies: every version, every fault, every
 * tag missing or of a wrong length, both path orders, extreme times.
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
#include "tests/forge.h"
#include "tests/support.h"

static bool seen[VERIFY_FAULTS];

static enum verify_fault
judge(struct verify_result *r, const struct forgery *f)
{
	struct view request = guard_copy(f->request, f->request_len);
	struct view reply = guard_copy(f->reply, f->reply_len);
	enum verify_fault fault =
	    verify_response(r, forge_keys.public_key, request, reply, NULL);

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
expect(enum version_row row, struct forge_edit edit, enum verify_fault want)
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
			assert_true(r.midpoint_us == FORGE_NOW_S * 1000000ull);
			assert_true(r.radius_us == 3000000);
			assert_true(
			    r.mint_us == (FORGE_NOW_S - 3600) * 1000000ull);
			assert_true(
			    r.maxt_us == (FORGE_NOW_S + 3600) * 1000000ull);
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
		enum forge_level level;
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
			struct forge_edit e = { tags[i].level, tags[i].tag,
				DROP, 0 };

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
	struct forge_edit edit;
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
	{ VERSION_RFC, { SREP, TAG_MIDP, SET64, FORGE_NOW_S - 3601 },
	    VERIFY_WINDOW },
	{ VERSION_RFC, { SREP, TAG_MIDP, SET64, FORGE_NOW_S - 3600 },
	    VERIFY_OK },
	{ VERSION_RFC, { SREP, TAG_MIDP, SET64, FORGE_NOW_S + 3600 },
	    VERIFY_OK },
	{ VERSION_RFC, { SREP, TAG_MIDP, SET64, FORGE_NOW_S + 3601 },
	    VERIFY_WINDOW },
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
	f.edit = (struct forge_edit){ SREP, TAG_RADI, SET32, UINT32_MAX };
	assert_int_equal(forge(&r, &f), VERIFY_OK);
	assert_true(r.earliest_us == 0);
	assert_true(
	    r.latest_us == (FORGE_NOW_S + (uint64_t)UINT32_MAX) * 1000000u);
	f.edit = (struct forge_edit){ SREP, TAG_MIDP, SET64, UINT64_MAX };
	assert_int_equal(forge(&r, &f), VERIFY_WINDOW);
	assert_true(r.midpoint_us == UINT64_MAX);
	assert_true(r.latest_us == UINT64_MAX);
	assert_true(r.earliest_us == UINT64_MAX - 3000000);
	f.edit = (struct forge_edit){ DELE, TAG_MAXT, SET64, UINT64_MAX };
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
	memcpy(forge_spare, both, sizeof both);
	forge_request(&f);
	/* VER of the request is the first value; 4 bytes become 8 */
	f.edit = (struct forge_edit){ REQUEST, TAG_VER, LENGTH, 8 };
	forge_request(&f);
	f.edit = (struct forge_edit){ SREP, TAG_VERS, LENGTH, 8 };
	forge_reply(&f);
	assert_int_equal(judge(&r, &f), VERIFY_OK);
	assert_int_equal(r.version->row, VERSION_DRAFT14);
	assert_int_equal(r.downgrade, 1);
	/* not offered: no downgrade */
	f.edit = (struct forge_edit){ .op = NOTHING };
	forge_request(&f);
	f.edit = (struct forge_edit){ SREP, TAG_VERS, LENGTH, 8 };
	forge_reply(&f);
	assert_int_equal(judge(&r, &f), VERIFY_OK);
	assert_int_equal(r.downgrade, 0);
	memset(forge_spare, 0, sizeof both);
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
	    verify_response(&r, forge_keys.public_key, request, reply, &any),
	    VERIFY_OK);
	assert_true(r.any_key);
	f.edit = (struct forge_edit){ TOP, TAG_SIG, FLIP, 0 };
	forge_reply(&f);
	reply.len = f.reply_len;
	assert_int_equal(
	    verify_response(&r, forge_keys.public_key, request, reply, &any),
	    VERIFY_SIGNATURE);
}

static void
chain_nonce_lengths(void **state)
{
	static const uint8_t rand[32] = "thirty-two bytes of randomness.";
	const struct view previous = { forge_nonce, 60 };
	uint8_t joined[92], want[64], got[65] = { 0 };

	(void)state;
	memcpy(joined, forge_nonce, 60);
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
	return forge_init();
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
