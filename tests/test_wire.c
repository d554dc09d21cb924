/* base/wire.h: bounded cursors and their sticky error. */
#include "base/wire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
reads_little_endian(void **state)
{
	const uint8_t b[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
	struct wire_in w = { b, b + sizeof b, false };

	(void)state;
	assert_int_equal(wire_in_u32(&w), 0x04030201);
	assert_true(wire_in_u64(&w) == 0x0c0b0a0908070605ull);
	assert_false(w.bad);
	assert_int_equal(wire_in_left(&w), 0);
}

static void
read_error_sticks(void **state)
{
	const uint8_t b[] = { 1, 2, 3, 4, 5 };
	struct wire_in w = { b, b + sizeof b, false };

	(void)state;
	assert_int_equal(wire_in_u64(&w), 0);
	assert_true(w.bad);
	assert_int_equal(
	    wire_in_u32(&w), 0); /* four bytes are there, yet bad */
	assert_null(wire_in_view(&w, 0).data);
}

static void
writes_and_refuses(void **state)
{
	uint8_t b[13] = { 0 };
	struct wire_out w = { b, b + 12, false };

	(void)state;
	wire_out_u32(&w, 0x04030201);
	wire_out_u64(&w, 0x0c0b0a0908070605ull);
	assert_false(w.bad);
	for (unsigned int i = 0; i < 12; i++)
		assert_int_equal(b[i], i + 1);
	wire_out_bytes(&w, "x", 1);
	assert_true(w.bad);
	assert_int_equal(b[12], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_little_endian),
		cmocka_unit_test(read_error_sticks),
		cmocka_unit_test(writes_and_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
