/* What two daemons say about a port they share, as bytes. */
#include "net/guard_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "net/steer.h"
#include "tests/sockets.h"
#include "tests/support.h"

#define LEN GUARD_MESSAGE_LEN

static struct guard_place
place(enum sock_proto proto, const char *address, bool v6only)
{
	return (struct guard_place){ proto, sockets_addr(address), v6only };
}

static int
parse(struct guard_message *m, const uint8_t *bytes, size_t len)
{
	struct view v = guard_copy(bytes, len);
	int result = guard_message_parse(m, v);

	guard_drop(v);
	return result;
}

/* One of each type, some twice. */
static size_t
make_good(struct guard_message *list)
{
	const struct guard_place v4 = place(SOCK_UDP, "192.0.2.1:2002", false);
	const struct guard_place v6 = place(SOCK_TCP, "[::]:2002", true);
	const struct guard_message good[] = {
		{ .type = GUARD_HELLO, .name = "roughtimed" },
		{ .type = GUARD_HELLO, .detail = 1, .name = "l4proxyd" },
		{ .type = GUARD_ASK, .number = 7, .uid = 65534, .place = v4 },
		{ .type = GUARD_ASK, .number = 8, .place = v6, .detail = 1 },
		{ .type = GUARD_OPEN, .number = 7, .detail = GUARD_BY_PORT },
		{ .type = GUARD_OPEN,
		    .number = 0xfffffffe,
		    .detail = GUARD_BY_ADDR },
		{ .type = GUARD_NO, .number = 8, .detail = GUARD_SAME_PLACE },
		{ .type = GUARD_DONE, .number = 7 },
		{ .type = GUARD_HAVE, .place = v4, .count = 64 },
		{ .type = GUARD_LEFT, .place = v6 },
		{ .type = GUARD_KEPT, .place = v4, .count = 1 },
		{ .type = GUARD_WANT, .place = v4, .count = 4 },
		{ .type = GUARD_NONE_THERE, .place = v4 },
		{ .type = GUARD_GIVE,
		    .number = 3,
		    .place = v4,
		    .count = 4,
		    .detail = STEER_TIME },
		{ .type = GUARD_CLIENT, .place = v6 },
	};

	memcpy(list, good, sizeof good);
	return sizeof good / sizeof *good;
}
#define GOOD_MAX 20

static void
good_messages(void **state)
{
	struct guard_message good[GOOD_MAX], m;
	bool seen[GUARD_TYPES] = { [GUARD_NONE] = true };
	size_t n = make_good(good);
	uint8_t bytes[LEN];

	(void)state;
	for (size_t i = 0; i < n; i++) {
		guard_message_format(bytes, &good[i]);
		assert_int_equal(parse(&m, bytes, LEN), 0);
		assert_int_equal(m.type, good[i].type);
		assert_int_equal(m.number, good[i].number);
		assert_int_equal(m.uid, good[i].uid);
		assert_int_equal(m.count, good[i].count);
		assert_int_equal(m.detail, good[i].detail);
		assert_string_equal(m.name, good[i].name);
		assert_memory_equal(&m.place, &good[i].place, sizeof m.place);
		seen[m.type] = true;
	}
	for (int i = 0; i < GUARD_TYPES; i++)
		assert_true(seen[i]);
}

static void
every_other_length_is_refused(void **state)
{
	struct guard_message good[GOOD_MAX], m;
	size_t n = make_good(good);
	uint8_t bytes[LEN + 1] = { 0 };

	(void)state;
	for (size_t i = 0; i < n; i++) {
		guard_message_format(bytes, &good[i]);
		for (size_t len = 0; len < LEN; len++)
			assert_int_equal(parse(&m, bytes, len), -1);
		assert_int_equal(parse(&m, bytes, LEN + 1), -1);
	}
}

/* A good message of a type, with one byte changed. */
static const struct {
	enum guard_type type;
	size_t at;
	uint8_t byte;
	const char *what;
} bad[] = {
	{ GUARD_ASK, 0, 'X', "another protocol" },
	{ GUARD_ASK, 3, 2, "another version" },
	{ GUARD_ASK, 4, GUARD_NONE, "no type" },
	{ GUARD_ASK, 4, GUARD_TYPES, "a type of later" },
	{ GUARD_ASK, 5, 2, "neither UDP nor TCP" },
	{ GUARD_ASK, 6, 0, "no family" },
	{ GUARD_ASK, 6, 5, "no such family" },
	{ GUARD_ASK, 7, 1, "IPv4 that is IPv6 only" },
	{ GUARD_OPEN, 12, 1, "a user who is not asked" },
	{ GUARD_ASK, 18, 1, "a count of nothing" },
	{ GUARD_ASK, 20, 2, "more than would you" },
	{ GUARD_ASK, 21, 1, "not zero" },
	{ GUARD_ASK, 28, 1, "IPv4 of more than four bytes" },
	{ GUARD_ASK, 40, 1, "IPv4 with a scope" },
	{ GUARD_ASK, 44, 'x', "a name where none is due" },
	{ GUARD_OPEN, 5, 1, "a protocol where none is due" },
	{ GUARD_OPEN, 16, 1, "a port where none is due" },
	{ GUARD_OPEN, 24, 1, "an address where none is due" },
	{ GUARD_OPEN, 20, 0, "no way" },
	{ GUARD_OPEN, 20, GUARD_WAYS, "a way of later" },
	{ GUARD_NO, 20, 0, "no reason" },
	{ GUARD_NO, 20, GUARD_WHYS, "a reason of later" },
	{ GUARD_DONE, 20, 1, "a detail where none is due" },
	{ GUARD_HAVE, 8, 1, "a number where none is due" },
	{ GUARD_HELLO, 44, 0, "no name" },
	{ GUARD_HELLO, 45, ' ', "a name with a blank" },
	{ GUARD_HELLO, 46, 0x1b, "a name that moves the cursor" },
	{ GUARD_HELLO, 46, 0, "a name that goes on after its end" },
	{ GUARD_HELLO, 63, 'x', "a name without its end" },
};

static void
bad_messages(void **state)
{
	struct guard_message good[GOOD_MAX], m;
	size_t n = make_good(good);
	uint8_t bytes[LEN];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		size_t k = 0;

		while (k < n && good[k].type != bad[i].type)
			k++;
		guard_message_format(bytes, &good[k]);
		assert_int_not_equal(bytes[bad[i].at], bad[i].byte);
		bytes[bad[i].at] = bad[i].byte;
		if (parse(&m, bytes, LEN) != -1)
			fail_msg("taken: %s", bad[i].what);
	}
}

static void
a_place_without_port_or_count_is_none(void **state)
{
	struct guard_message have = { .type = GUARD_HAVE,
		.place = place(SOCK_UDP, "192.0.2.1:2002", false),
		.count = 1 },
			     m;
	uint8_t bytes[LEN];

	(void)state;
	guard_message_format(bytes, &have);
	bytes[16] = bytes[17] = 0;
	assert_int_equal(parse(&m, bytes, LEN), -1);
	guard_message_format(bytes, &have);
	bytes[18] = 0;
	assert_int_equal(parse(&m, bytes, LEN), -1);
}

static const char *
type_str(int type)
{
	return guard_type_str((enum guard_type)type);
}

static const char *
why_str(int why)
{
	return guard_why_str((enum guard_why)why);
}

static void
every_word_is_its_own(void **state)
{
	bool all[GUARD_TYPES];

	(void)state;
	memset(all, true, sizeof all);
	support_all_seen(all, GUARD_TYPES, type_str);
	support_all_seen(all, GUARD_WHYS, why_str);
	assert_string_equal(guard_type_str(GUARD_TYPES), "?");
	assert_string_equal(guard_why_str(GUARD_WHYS), "?");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_messages),
		cmocka_unit_test(every_other_length_is_refused),
		cmocka_unit_test(bad_messages),
		cmocka_unit_test(a_place_without_port_or_count_is_none),
		cmocka_unit_test(every_word_is_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
