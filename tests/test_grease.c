/* roughtime/grease.h: what is spoiled, and that a wrong time never verifies. */
#include "roughtime/grease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/wire.h"
#include "roughtime/response.h"
#include "tests/support.h"

#define NOW_US 1790000000000000ull
#define REQUEST_LEN 1024

/* One request and its good reply in each format. */
static struct {
	struct support_identity id;
	struct request request[VERSION_ROWS];
	uint8_t packet[VERSION_ROWS][REQUEST_LEN];
	uint8_t reply[VERSION_ROWS][RESPONSE_MAX];
	size_t len[VERSION_ROWS];
} t;

static bool seen[GREASE_KINDS];

static const char *
kind_name(int i)
{
	return grease_kind_str((enum grease_kind)i);
}

static int
setup(void **state)
{
	static uint8_t memory[1 << 16] __attribute__((aligned(64)));
	struct response_versions versions;
	struct response_time now = { NOW_US, 3000000 };
	struct request_policy policy = { .versions = VERSION_ALL,
		.identities = 1 };
	struct responder *r;

	(void)state;
	support_identity(&t.id, 9, 1789990000, 1790090000);
	policy.srv = (const uint8_t(*)[CERT_SRV_LEN]) & t.id.srv;
	response_versions_make(&versions, VERSION_ALL);
	assert_true(responder_size(1) <= sizeof memory);
	r = responder_init(memory, 1, &versions);
	for (unsigned int row = 0; row < VERSION_ROWS; row++) {
		static const uint8_t nonce[64] = { 1, 2, 3 };
		struct request_spec spec = { .versions = 1u << row,
			.nonce = nonce,
			.size = REQUEST_LEN };
		struct response_job job = { .out = t.reply[row],
			.cap = RESPONSE_MAX };

		request_make(t.packet[row], REQUEST_LEN, &spec);
		if (request_parse(&job.request,
			(struct view){ t.packet[row], REQUEST_LEN },
			REQUEST_UDP_MIN, &policy) != REQUEST_OK ||
		    responder_answer(r, &job, 1, &t.id.key, &now) != 1)
			return -1;
		t.request[row] = job.request;
		t.len[row] = job.len;
	}
	return 0;
}

static struct view
body_of(unsigned int row, struct view reply)
{
	struct view body = reply;

	if (row != VERSION_GOOGLE)
		assert_int_equal(frame_decode(reply, &body), FRAME_OK);
	return body;
}

static bool
has(struct view message, uint32_t tag, struct view *value)
{
	struct message m;

	assert_int_equal(message_decode(&m, message), MESSAGE_OK);
	return message_get(&m, tag, value);
}

static uint32_t
count_of(struct view message)
{
	struct message m;

	assert_int_equal(message_decode(&m, message), MESSAGE_OK);
	return m.count;
}

/* SIG verifies over SREP under the key that CERT names. */
static bool
signature_holds(unsigned int row, struct view body)
{
	const struct version_context *c = &version_table[row].response_context;
	struct view sig, srep;
	uint8_t text[512];

	if (!has(body, TAG_SIG, &sig) || !has(body, TAG_SREP, &srep))
		return false;
	memcpy(text, c->text, c->len);
	memcpy(text + c->len, srep.data, srep.len);
	return crypto_sign_verify_detached(sig.data, text, c->len + srep.len,
		   t.id.key.delegation.online_public) == 0;
}

static void
check_missing(unsigned int row, struct view body, struct view good)
{
	struct message m;
	struct view value, other;
	unsigned int missing = 0;

	assert_int_equal(count_of(body), count_of(good) - 1);
	assert_int_equal(message_decode(&m, good), MESSAGE_OK);
	for (uint32_t i = 0; i < m.count; i++) {
		value = message_value(&m, i);
		if (!has(body, message_tag(&m, i), &other)) {
			missing++;
			continue;
		}
		assert_int_equal(value.len, other.len);
		assert_memory_equal(value.data, other.data, value.len);
	}
	assert_int_equal(missing, 1);
	(void)row;
}

static void
check_version(unsigned int row, struct view body, struct view good)
{
	bool inside = row >= VERSION_DRAFT12;
	struct view ver = support_value(
	    inside ? support_value(body, TAG_SREP) : body, TAG_VER);

	/* private use: no version of ours, and none that clients offer */
	assert_true(wire_get32(ver.data) >= 0xc0000000u);
	assert_null(version_find(wire_get32(ver.data), true));
	assert_int_equal(body.len, good.len);
	assert_int_equal(signature_holds(row, body), !inside);
}

static void
check_undefined(unsigned int row, struct view body, struct view good)
{
	struct message m;
	struct view value, other;

	assert_int_equal(count_of(body), count_of(good) + 1);
	assert_int_equal(message_decode(&m, good), MESSAGE_OK);
	for (uint32_t i = 0; i < m.count; i++) {
		value = message_value(&m, i);
		assert_true(has(body, message_tag(&m, i), &other));
		assert_int_equal(value.len, other.len);
		assert_memory_equal(value.data, other.data, value.len);
	}
	assert_true(signature_holds(row, body));
}

static void
check_time(unsigned int row, struct view body, struct view good)
{
	struct view was =
	    support_value(support_value(good, TAG_SREP), TAG_MIDP);
	struct view is = support_value(support_value(body, TAG_SREP), TAG_MIDP);

	assert_memory_not_equal(was.data, is.data, 8);
	assert_false(signature_holds(row, body));
	/* S is over the group order: invalid for whatever was signed */
	assert_int_equal(support_value(body, TAG_SIG).data[63] & 0xe0, 0xe0);
}

/* RFC 10049 section 7: never a wrong time under a valid signature. */
static void
check_never(unsigned int row, struct view body)
{
	struct view srep, midp;

	if (!signature_holds(row, body))
		return;
	assert_true(has(body, TAG_SREP, &srep));
	midp = support_value(srep, TAG_MIDP);
	assert_true(
	    wire_get64(midp.data) == version_time(&version_table[row], NOW_US));
}

static enum grease_kind
apply(unsigned int row, uint64_t random, size_t cap, size_t max)
{
	struct view good = { t.reply[row], t.len[row] }, body;
	uint8_t *p = guard_alloc(cap);
	size_t len = t.len[row];
	enum grease_kind kind;

	memcpy(p, good.data, good.len);
	kind = grease_apply(p, &len, cap, max, random);
	assert_true(len <= cap && len <= max);
	body = body_of(row, (struct view){ p, len });
	good = body_of(row, good);
	seen[kind] = true;
	if (kind == GREASE_MISSING_TAG)
		check_missing(row, body, good);
	if (kind == GREASE_WRONG_VERSION)
		check_version(row, body, good);
	if (kind == GREASE_UNDEFINED_TAG)
		check_undefined(row, body, good);
	if (kind == GREASE_WRONG_TIME)
		check_time(row, body, good);
	check_never(row, body);
	guard_free(p, cap);
	return kind;
}

static void
each_kind_in_each_format(void **state)
{
	uint64_t random = 88172645463325252ull;

	(void)state;
	for (unsigned int row = 0; row < VERSION_ROWS; row++) {
		unsigned int count[GREASE_KINDS] = { 0 };

		for (unsigned int i = 0; i < 200; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			count[apply(row, random, RESPONSE_MAX, REQUEST_LEN)]++;
		}
		assert_int_equal(count[GREASE_NONE], 0);
		assert_true(count[GREASE_MISSING_TAG] > 0);
		assert_true(count[GREASE_UNDEFINED_TAG] > 0);
		assert_true(count[GREASE_WRONG_TIME] > 0);
		/* Google's replies have no VER to change */
		assert_int_equal(
		    count[GREASE_WRONG_VERSION] > 0, row != VERSION_GOOGLE);
	}
}

/* No room for one tag more: another kind takes its turn. */
static void
never_longer_than_allowed(void **state)
{
	(void)state;
	for (unsigned int row = 0; row < VERSION_ROWS; row++) {
		size_t len = t.len[row];

		for (uint64_t i = 0; i < 64; i++) {
			assert_int_not_equal(apply(row, i, len, REQUEST_LEN),
			    GREASE_UNDEFINED_TAG);
			assert_int_not_equal(
			    apply(row, i, RESPONSE_MAX, len + 11),
			    GREASE_UNDEFINED_TAG);
		}
		assert_int_equal(
		    apply(row, 2, len + 12, REQUEST_LEN), GREASE_UNDEFINED_TAG);
	}
}

/* What is no reply stays as it is. */
static void
leaves_others_alone(void **state)
{
	static const char *const others[] = { "", "00", "00000000",
		"ffffffff00000000", "524f55474854494d 00000000",
		"524f55474854494d 04000000 00000000" };
	uint8_t bytes[RESPONSE_MAX + 4] = { 0 }, before[RESPONSE_MAX + 4];

	(void)state;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		size_t len = support_hex(bytes, sizeof bytes, others[i]);
		size_t was = len;

		memcpy(before, bytes, sizeof bytes);
		for (uint64_t random = 0; random < 16; random++) {
			assert_int_equal(grease_apply(bytes, &len, sizeof bytes,
					     2000, random),
			    GREASE_NONE);
			assert_int_equal(len, was);
			assert_memory_equal(bytes, before, sizeof bytes);
		}
	}
	/* one tag, no SREP, no room: nothing to drop, to change or to add */
	for (uint64_t random = 0; random < 16; random++) {
		size_t len = support_hex(
		    bytes, sizeof bytes, "01000000 53494700 aabbccdd");

		assert_int_equal(
		    grease_apply(bytes, &len, sizeof bytes, len, random),
		    GREASE_NONE);
	}
	for (uint64_t random = 0; random < 16; random++) {
		size_t len = RESPONSE_MAX + 4; /* longer than ours can be */

		memcpy(bytes, t.reply[0], t.len[0]);
		assert_int_equal(
		    grease_apply(bytes, &len, sizeof bytes, 2000, random),
		    GREASE_NONE);
	}
	seen[GREASE_NONE] = true;
}

static void
all_kinds_were_seen(void **state)
{
	(void)state;
	support_all_seen(seen, GREASE_KINDS, kind_name);
	assert_string_equal(kind_name(GREASE_KINDS), "unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_in_each_format),
		cmocka_unit_test(never_longer_than_allowed),
		cmocka_unit_test(leaves_others_alone),
		cmocka_unit_test(all_kinds_were_seen),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, setup, NULL);
}
