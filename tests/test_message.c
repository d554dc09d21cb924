/* roughtime/message.h: maps and frames, every fault by name. */
#include "roughtime/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/wire.h"
#include "tests/support.h"

#define BYTES_MAX 256

static bool message_seen[MESSAGE_FAULTS];
static bool frame_seen[FRAME_FAULTS];

static const char *
message_name(int i)
{
	return message_fault_str((enum message_fault)i);
}

static const char *
frame_name(int i)
{
	return frame_fault_str((enum frame_fault)i);
}

static const struct {
	const char *hex;
	uint32_t count;
	size_t last_len; /* of the last value */
} good[] = {
	{ "01000000 4e4f4e43", 1, 0 },
	{ "01000000 4e4f4e43 aabbccdd", 1, 4 },
	/* two values, the first empty */
	{ "02000000 00000000 50415448 494e4458 aabbccdd", 2, 4 },
	/* the last one empty: its offset is the end */
	{ "02000000 04000000 50415448 494e4458 aabbccdd", 2, 0 },
	/* tags order as numbers: PAD\0 < SIG\0 < VER\0 < NONC < PAD\xff */
	{ "05000000 00000000 00000000 00000000 00000000"
	  "50414400 53494700 56455200 4e4f4e43 504144ff aabbccdd",
	    5, 4 },
};

static const struct {
	const char *hex;
	enum message_fault fault;
} bad[] = {
	{ "", MESSAGE_SHORT },
	{ "010000", MESSAGE_SHORT },
	{ "01000000 4e4f4e43 aa", MESSAGE_UNALIGNED },
	{ "0100000000", MESSAGE_UNALIGNED },
	{ "00000000", MESSAGE_EMPTY },
	{ "00000000 4e4f4e43 aabbccdd", MESSAGE_EMPTY },
	{ "21000000", MESSAGE_TAGS_TOO_MANY },
	{ "ffffffff 4e4f4e43", MESSAGE_TAGS_TOO_MANY },
	{ "01000000", MESSAGE_HEADER_SHORT },
	{ "02000000 00000000 50415448", MESSAGE_HEADER_SHORT },
	{ "20000000 00000000 50415448 494e4458", MESSAGE_HEADER_SHORT },
	{ "02000000 02000000 50415448 494e4458 aabbccdd",
	    MESSAGE_OFFSET_UNALIGNED },
	{ "03000000 08000000 04000000 50415448 43455254 494e4458"
	  "aabbccdd aabbccdd",
	    MESSAGE_OFFSET_ORDER },
	{ "02000000 08000000 50415448 494e4458 aabbccdd",
	    MESSAGE_OFFSET_BEYOND },
	{ "02000000 fcffffff 50415448 494e4458 aabbccdd",
	    MESSAGE_OFFSET_BEYOND },
	{ "02000000 00000000 494e4458 50415448", MESSAGE_TAG_ORDER },
	{ "02000000 00000000 504144ff 4e4f4e43", MESSAGE_TAG_ORDER },
	{ "02000000 00000000 4e4f4e43 4e4f4e43", MESSAGE_TAG_REPEATED },
};

/* Reads every byte of every value, so that a guard page notices. */
static unsigned int
touch(const struct message *m)
{
	unsigned int sum = 0;

	for (uint32_t i = 0; i < m->count; i++) {
		struct view v = message_value(m, i), same;

		assert_true(message_get(m, message_tag(m, i), &same));
		assert_ptr_equal(same.data, v.data);
		assert_int_equal(same.len, v.len);
		for (size_t k = 0; k < v.len; k++)
			sum += v.data[k];
	}
	return sum;
}

static void
decodes_good(void **state)
{
	uint8_t bytes[BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct view in = guard_copy(
		    bytes, support_hex(bytes, sizeof bytes, good[i].hex));
		struct message m;

		assert_int_equal(message_decode(&m, in), MESSAGE_OK);
		assert_int_equal(m.count, good[i].count);
		assert_int_equal(
		    message_value(&m, m.count - 1).len, good[i].last_len);
		touch(&m);
		guard_drop(in);
	}
	message_seen[MESSAGE_OK] = true;
}

static void
names_every_fault(void **state)
{
	uint8_t bytes[BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct view in = guard_copy(
		    bytes, support_hex(bytes, sizeof bytes, bad[i].hex));
		struct message m;
		enum message_fault fault = message_decode(&m, in);

		if (fault != bad[i].fault)
			fail_msg(
			    "%s: %s", bad[i].hex, message_fault_str(fault));
		message_seen[fault] = true;
		guard_drop(in);
	}
	support_all_seen(message_seen, MESSAGE_FAULTS, message_name);
	assert_string_equal(message_name(MESSAGE_FAULTS), "unknown");
}

static void
absent_and_empty_differ(void **state)
{
	uint8_t bytes[BYTES_MAX];
	struct view in = { bytes,
		support_hex(bytes, sizeof bytes,
		    "02000000 00000000 50415448 494e4458 aabbccdd") };
	struct message m;
	struct view v;

	(void)state;
	assert_int_equal(message_decode(&m, in), MESSAGE_OK);
	assert_true(message_get(&m, TAG_PATH, &v));
	assert_non_null(v.data);
	assert_int_equal(v.len, 0);
	assert_false(message_get(&m, TAG_NONC, &v));
	assert_null(v.data);
	assert_int_equal(v.len, 0);
	assert_false(message_get(&m, TAG_ZZZZ, &v)); /* after the last */
}

static const struct {
	const char *hex;
	enum frame_fault fault;
	size_t len;
} frames[] = {
	{ "524f55474854494d 00000000", FRAME_OK, 0 },
	{ "524f55474854494d 04000000 aabbccdd", FRAME_OK, 4 },
	{ "", FRAME_ABSENT, 0 },
	{ "524f55474854494e 04000000 aabbccdd", FRAME_ABSENT, 0 },
	{ "524f55474854 49", FRAME_ABSENT, 0 },
	{ "524f55474854494d", FRAME_SHORT, 0 },
	{ "524f55474854494d 040000", FRAME_SHORT, 0 },
	{ "524f55474854494d 04000000 aabbcc", FRAME_TRUNCATED, 0 },
	{ "524f55474854494d ffffffff aabbccdd", FRAME_TRUNCATED, 0 },
	{ "524f55474854494d 04000000 aabbccdd 00", FRAME_TRAILING, 0 },
	{ "524f55474854494d 00000000 aabbccdd", FRAME_TRAILING, 0 },
};

static void
frames_are_exact(void **state)
{
	uint8_t bytes[BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
		struct view in = guard_copy(
		    bytes, support_hex(bytes, sizeof bytes, frames[i].hex));
		struct view body;

		assert_int_equal(frame_decode(in, &body), frames[i].fault);
		assert_int_equal(body.len, frames[i].len);
		if (frames[i].fault == FRAME_OK)
			assert_ptr_equal(body.data, in.data + FRAME_LEN);
		else
			assert_null(body.data);
		frame_seen[frames[i].fault] = true;
		guard_drop(in);
	}
	support_all_seen(frame_seen, FRAME_FAULTS, frame_name);
	assert_string_equal(frame_name(FRAME_FAULTS), "unknown");
}

/* A whole reply cut at each length: no byte beyond the cut is read. */
static void
truncated_at_each_length(void **state)
{
	json_t *root = support_vector("v1_batch_003.json");
	struct view whole = support_bytes_at(
	    json_object_get(root, "responses"), 0, SUPPORT_BASE64);
	unsigned int decoded = 0;

	(void)state;
	for (size_t len = 0; len <= whole.len; len++) {
		struct view cut = guard_copy(whole.data, len), body;
		enum frame_fault frame = frame_decode(cut, &body);
		struct message m;

		if (len < 8)
			assert_int_equal(frame, FRAME_ABSENT);
		else if (len < FRAME_LEN)
			assert_int_equal(frame, FRAME_SHORT);
		else
			assert_int_equal(frame,
			    len < whole.len ? FRAME_TRUNCATED : FRAME_OK);
		if (len >= FRAME_LEN)
			body = (struct view){ cut.data + FRAME_LEN,
				len - FRAME_LEN };
		if (message_decode(&m, body) == MESSAGE_OK) {
			touch(&m);
			decoded++;
		}
		guard_drop(cut);
	}
	/* cut inside the last value (INDX, 4 bytes): shorter, yet a map */
	assert_int_equal(decoded, 2);
	support_free(whole);
	json_decref(root);
}

/* Any byte of the header set to any value: decode stays inside. */
static void
every_header_byte(void **state)
{
	uint8_t bytes[BYTES_MAX];
	size_t len = support_hex(bytes, sizeof bytes,
	    "03000000 04000000 08000000 50415448 43455254 494e4458"
	    "aabbccdd aabbccdd 00000000");
	uint8_t *p = guard_alloc(len);
	unsigned int decoded = 0;

	(void)state;
	for (size_t at = 0; at < 24; at++) {
		for (unsigned int value = 0; value < 256; value++) {
			struct message m;

			memcpy(p, bytes, len);
			p[at] = (uint8_t)value;
			if (message_decode(&m, (struct view){ p, len }) !=
			    MESSAGE_OK)
				continue;
			touch(&m);
			decoded++;
		}
	}
	assert_in_range(decoded, 24, 24 * 256 - 1);
	guard_free(p, len);
}

static void
encodes_what_it_decodes(void **state)
{
	uint8_t bytes[BYTES_MAX], out[BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		size_t len = support_hex(bytes, sizeof bytes, good[i].hex);
		struct message_field f[MESSAGE_TAGS_MAX];
		struct message m;

		message_decode(&m, (struct view){ bytes, len });
		for (uint32_t k = 0; k < m.count; k++) {
			f[k].tag = message_tag(&m, k);
			f[k].value = message_value(&m, k);
		}
		assert_int_equal(message_size(f, m.count), len);
		assert_int_equal(
		    message_encode(out, sizeof out, f, m.count), len);
		assert_memory_equal(out, bytes, len);
	}
}

static void
encodes_to_the_last_byte(void **state)
{
	const uint8_t nonce[4] = { 1, 2, 3, 4 };
	const struct message_field f[] = {
		{ TAG_NONC, { nonce, sizeof nonce } },
		{ TAG_TYPE, { NULL, 4 } },
		{ TAG_ZZZZ, { NULL, 0 } },
	};
	size_t size = message_size(f, 3);
	uint8_t *out = guard_alloc(size);
	struct message m;

	(void)state;
	assert_int_equal(size, 3 * 8 + 8);
	memset(out, 0xee, size);
	assert_int_equal(message_encode(out, size - 1, f, 3), 0);
	assert_int_equal(message_encode(out, 0, f, 3), 0);
	assert_int_equal(out[0], 0xee);
	assert_int_equal(message_encode(out, size, f, 3), size);
	assert_int_equal(
	    message_decode(&m, (struct view){ out, size }), MESSAGE_OK);
	assert_memory_equal(message_value(&m, 0).data, nonce, 4);
	assert_int_equal(wire_get32(message_value(&m, 1).data), 0);
	assert_int_equal(message_value(&m, 2).len, 0);
	guard_free(out, size);
}

static void
frame_round_trip(void **state)
{
	uint8_t *out = guard_alloc(FRAME_LEN);
	struct view body;

	(void)state;
	frame_encode(out, 0);
	assert_int_equal(
	    frame_decode((struct view){ out, FRAME_LEN }, &body), FRAME_OK);
	frame_encode(out, 0x01020304);
	assert_memory_equal(out, "ROUGHTIM\4\3\2\1", FRAME_LEN);
	guard_free(out, FRAME_LEN);
}

/* Every length of the first bytes, right and wrong. */
static void
frames_of_a_stream(void **state)
{
	uint8_t whole[100] = { 0 }, wrong[100];
	size_t total;

	(void)state;
	frame_encode(whole, 100 - FRAME_LEN);
	for (size_t len = 0; len < 100; len++)
		assert_int_equal(
		    frame_scan(whole, len, 100, &total), FRAME_SCAN_PART);
	assert_int_equal(frame_scan(whole, 100, 100, &total), FRAME_SCAN_WHOLE);
	assert_int_equal(total, 100);
	assert_int_equal(
	    frame_scan(whole, 100, 99, &total), FRAME_SCAN_TOO_LONG);
	/* the length is believed before the bytes came */
	assert_int_equal(
	    frame_scan(whole, FRAME_LEN, 99, &total), FRAME_SCAN_TOO_LONG);
	for (size_t i = 0; i < 8; i++) {
		memcpy(wrong, whole, 100);
		wrong[i] ^= 1;
		for (size_t len = 0; len <= 100; len++)
			assert_int_equal(frame_scan(wrong, len, 100, &total),
			    len > i ? FRAME_SCAN_ALIEN : FRAME_SCAN_PART);
	}
	memcpy(wrong, whole, 100);
	memset(wrong + 8, 0xff, 4); /* 4 GiB */
	assert_int_equal(
	    frame_scan(wrong, 100, 65535, &total), FRAME_SCAN_TOO_LONG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes_good),
		cmocka_unit_test(names_every_fault),
		cmocka_unit_test(absent_and_empty_differ),
		cmocka_unit_test(frames_are_exact),
		cmocka_unit_test(truncated_at_each_length),
		cmocka_unit_test(every_header_byte),
		cmocka_unit_test(encodes_what_it_decodes),
		cmocka_unit_test(encodes_to_the_last_byte),
		cmocka_unit_test(frame_round_trip),
		cmocka_unit_test(frames_of_a_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
