/* roughtime/request.h: requests as a client makes them. */
#include "roughtime/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support.h"

/* Numbers as they stand in VER. */
#define V1 "01000000"
#define VC "0c000080"
#define VB "0b000080"
#define V8 "08000080"
#define V7 "07000080"

/* A request of each row, as a client makes it, is taken as that row. */
static void
made_requests_parse(void **state)
{
	static const size_t sizes[] = { 0, 1024, 1036, 1500 };
	static const uint8_t srv[1][CERT_SRV_LEN] = { "one key" };
	static const struct request_policy policy = {
		.versions = VERSION_ALL, .identities = 1, .srv = srv
	};
	uint8_t nonce[64];
	struct request r;

	(void)state;
	memset(nonce, 0x5a, sizeof nonce);
	for (unsigned int row = 0; row < VERSION_ROWS; row++) {
		for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
			struct request_spec spec = { .versions = 1u << row,
				.nonce = nonce,
				.srv = srv[0],
				.size = sizes[i] };
			uint8_t *out = guard_alloc(1500);
			size_t len = request_make(out, 1500, &spec);

			if (sizes[i] > 0)
				assert_int_equal(len, sizes[i]);
			else
				assert_in_range(len, 32, 200);
			assert_int_equal(
			    request_parse(&r, (struct view){ out, len },
				sizes[i] > 0 ? REQUEST_UDP_MIN : 0, &policy),
			    REQUEST_OK);
			assert_int_equal(r.version->row, row);
			assert_memory_equal(r.nonce.data, nonce, r.nonce.len);
			guard_free(out, 1500);
		}
	}
}

static size_t
make(uint32_t rows, size_t size, size_t cap, bool descending, uint8_t *out)
{
	static const uint8_t nonce[64] = { 9 };
	struct request_spec spec = { .versions = rows,
		.nonce = nonce,
		.size = size,
		.descending = descending };

	return request_make(out, cap, &spec);
}

static void
offers_sets(void **state)
{
	const uint32_t modern = 1u << VERSION_RFC | 1u << VERSION_DRAFT14 |
	    1u << VERSION_DRAFT11 | 1u << VERSION_DRAFT08 |
	    1u << VERSION_DRAFT07;
	uint8_t out[1200], want[64];
	struct view body, ver;

	(void)state;
	assert_int_equal(make(modern, 1036, sizeof out, false, out), 1036);
	frame_decode((struct view){ out, 1036 }, &body);
	ver = support_value(body, TAG_VER);
	assert_int_equal(
	    ver.len, support_hex(want, sizeof want, V1 V7 V8 VB VC));
	assert_memory_equal(ver.data, want, ver.len);
	support_value(body, TAG_TYPE);
	support_value(body, TAG_ZZZZ);

	assert_int_equal(make(1u << VERSION_DRAFT11 | 1u << VERSION_DRAFT08,
			     1024, sizeof out, true, out),
	    1024);
	frame_decode((struct view){ out, 1024 }, &body);
	ver = support_value(body, TAG_VER);
	assert_int_equal(ver.len, support_hex(want, sizeof want, VB V8));
	assert_memory_equal(ver.data, want, ver.len);
}

static void
refuses_sets_and_sizes(void **state)
{
	const uint32_t rfc = 1u << VERSION_RFC;
	static const uint32_t mixed[] = { 0, VERSION_ALL, VERSION_ALL + 1,
		1u << VERSION_GOOGLE | 1u << VERSION_RFC,
		1u << VERSION_DRAFT04 | 1u << VERSION_DRAFT05,
		1u << VERSION_DRAFT12 | 1u << VERSION_DRAFT14,
		1u << VERSION_DRAFT12 | 1u << VERSION_RFC };
	uint8_t *out = guard_alloc(1036);

	(void)state;
	for (size_t i = 0; i < sizeof mixed / sizeof mixed[0]; i++)
		assert_int_equal(make(mixed[i], 1024, 1036, false, out), 0);
	assert_int_equal(make(rfc, 1036, 1036, false, out), 1036);
	assert_int_equal(make(rfc, 1036, 1035, false, out), 0);
	assert_int_equal(make(rfc, 1036, 11, false, out), 0);
	assert_int_equal(make(rfc, 1036, 0, false, out), 0);
	/* a size that is no multiple of four is rounded up */
	assert_int_equal(make(rfc, 1033, 1036, false, out), 1036);
	/* a size below what the fields need: no padding, still a request */
	assert_in_range(make(rfc, 12, 1036, false, out), 76, 92);
	assert_in_range(make(rfc, 4, 1036, false, out), 76, 92);
	guard_free(out, 1036);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(made_requests_parse),
		cmocka_unit_test(offers_sets),
		cmocka_unit_test(refuses_sets_and_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
