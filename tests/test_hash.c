/* roughtime/hash.h: known answers (FIPS 180-4, RFC 6234). */
#include "roughtime/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
full_is_sha512(void **state)
{
	/* "abc": RFC 6234 section 8.5 */
	static const uint8_t want[] = { 0xdd, 0xaf, 0x35, 0xa1, 0x93, 0x61,
		0x7a, 0xba, 0xcc, 0x41, 0x73, 0x49, 0xae, 0x20, 0x41, 0x31 };
	uint8_t out[HASH_FULL_LEN];

	(void)state;
	hash_one(out, (const uint8_t *)"a", 1, (const uint8_t *)"bc", 2);
	assert_memory_equal(out, want, sizeof want);
}

static void
short_is_sha512_256(void **state)
{
	static const uint8_t want[] = { 0x53, 0x04, 0x8e, 0x26, 0x81, 0x94,
		0x1e, 0xf9, 0x9b, 0x2e, 0x29, 0xb7, 0x6b, 0x4c, 0x7d, 0xab };
	uint8_t out[HASH_LEN];

	(void)state;
	hash_one_512_256(
	    out, (const uint8_t *)"a", 1, (const uint8_t *)"bc", 2);
	assert_memory_equal(out, want, sizeof want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_is_sha512),
		cmocka_unit_test(short_is_sha512_256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
