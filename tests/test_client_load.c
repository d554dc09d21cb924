/* The pure parts of `roughtime bench`: the window. */
#include "roughtime/client/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "roughtime/request.h"
#include "tests/support.h"

static struct view
a_request(uint8_t *packet, size_t cap)
{
	static const uint8_t nonce[32] = "0123456789abcdef0123456789abcde";
	const struct request_spec spec = {
		.versions = 1u << VERSION_RFC, .nonce = nonce, .size = 1036
	};

	return (struct view){ packet, request_make(packet, cap, &spec) };
}

static void
nonces_find_their_slot(void **state)
{
	uint8_t packet[1100];
	struct slots s;
	uint32_t a, b, c;

	(void)state;
	assert_true(slots_init(&s, 2, a_request(packet, sizeof packet)));
	a = slots_take(&s, 10);
	b = slots_take(&s, 20);
	assert_true(a != b && a < 2 && b < 2);
	assert_int_equal(slots_take(&s, 30), SLOTS_NONE);
	assert_int_equal(slots_match(&s, slots_packet(&s, a) + s.nonce_at), a);
	assert_int_equal(slots_match(&s, slots_packet(&s, b) + s.nonce_at), b);
	/* the rest of the packet is the request as it was */
	assert_memory_equal(slots_packet(&s, b), packet, s.nonce_at);
	assert_memory_equal(slots_packet(&s, b) + s.nonce_at + 8,
	    packet + s.nonce_at + 8, 1036 - s.nonce_at - 8);
	/* a late reply to a slot that was given away again */
	memcpy(packet, slots_packet(&s, a) + s.nonce_at, 8);
	slots_release(&s, a);
	assert_int_equal(slots_match(&s, packet), SLOTS_NONE);
	c = slots_take(&s, 40);
	assert_int_equal(c, a);
	assert_int_equal(slots_match(&s, packet), SLOTS_NONE);
	memset(packet, 0xff, 8);
	assert_int_equal(slots_match(&s, packet), SLOTS_NONE);
	slots_free(&s);
}

/* A lost datagram gives its place back: the window does not shrink. */
static void
lost_requests_free_their_place(void **state)
{
	uint8_t packet[1100];
	struct slots s;
	uint32_t middle;

	(void)state;
	assert_true(slots_init(&s, 4, a_request(packet, sizeof packet)));
	for (int round = 0; round < 100; round++) {
		assert_int_equal(slots_under_way(&s), 0);
		(void)slots_take(&s, 1);
		middle = slots_take(&s, 2);
		(void)slots_take(&s, 3);
		(void)slots_take(&s, 4);
		slots_release(&s, middle);
		slots_release(&s, middle); /* twice does nothing */
		assert_int_equal(slots_under_way(&s), 3);
		assert_int_equal(slots_expire(&s, 1), 0);
		assert_int_equal(slots_expire(&s, 4), 2);
		assert_int_equal(slots_under_way(&s), 1);
		assert_int_equal(s.slots[slots_oldest(&s)].sent_ns, 4);
		assert_int_equal(slots_expire(&s, UINT64_MAX), 1);
		assert_int_equal(slots_oldest(&s), SLOTS_NONE);
	}
	slots_free(&s);
}

static void
no_nonce_no_slots(void **state)
{
	static const uint8_t junk[64];
	struct slots s;

	(void)state;
	assert_false(slots_init(&s, 4, (struct view){ junk, sizeof junk }));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nonces_find_their_slot),
		cmocka_unit_test(lost_requests_free_their_place),
		cmocka_unit_test(no_nonce_no_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
