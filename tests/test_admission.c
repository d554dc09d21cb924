/* Limits of connections: whole server, one prefix, and the table's probes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "net/admission.h"
#include "tests/sockets.h"

static void
test_limits(void **state)
{
	struct admission_config c = { 5, 2, 32, 56 };
	struct admission *a = admission_new(&c);
	struct addr one = sockets_addr("192.0.2.1"),
		    two = sockets_addr("192.0.2.2");
	struct addr six = sockets_addr("2001:db8::1"),
		    same = sockets_addr("2001:db8::2");

	(void)state;
	assert_int_equal(admission_enter(a, &one), ADMISSION_OK);
	assert_int_equal(admission_enter(a, &one), ADMISSION_OK);
	assert_int_equal(admission_enter(a, &one), ADMISSION_CLIENT);
	assert_int_equal(admission_enter(a, &two), ADMISSION_OK);
	assert_int_equal(admission_enter(a, &six), ADMISSION_OK);
	assert_int_equal(admission_enter(a, &same), ADMISSION_OK);
	assert_int_equal(admission_open(a), 5);
	assert_int_equal(admission_enter(a, &two), ADMISSION_FULL);
	admission_leave(a, &one);
	/* six and same are one /56 */
	assert_int_equal(admission_enter(a, &six), ADMISSION_CLIENT);
	assert_int_equal(admission_enter(a, &one), ADMISSION_OK);
	admission_free(a);
	admission_free(NULL);
}

/* Many prefixes come and go in random order; counts never drift. */
static void
test_churn(void **state)
{
	enum { CLIENTS = 300, STEPS = 20000, LIMIT = 3, TOTAL = 200 };
	struct admission_config c = { TOTAL, LIMIT, 32, 64 };
	struct admission *a = admission_new(&c);
	size_t open[CLIENTS] = { 0 }, total = 0;
	struct addr who = sockets_addr("10.0.0.0");

	(void)state;
	for (int step = 0; step < STEPS; step++) {
		uint32_t i = randombytes_uniform(CLIENTS);
		enum admission_result want = total == TOTAL ? ADMISSION_FULL
		    : open[i] == LIMIT			    ? ADMISSION_CLIENT
							    : ADMISSION_OK;

		who.in.sin_addr.s_addr = htonl(0x0a000000 + i);
		if (randombytes_uniform(2) == 0 && open[i] > 0) {
			admission_leave(a, &who);
			open[i]--;
			total--;
			continue;
		}
		assert_int_equal(admission_enter(a, &who), want);
		if (want == ADMISSION_OK) {
			open[i]++;
			total++;
		}
	}
	assert_int_equal(admission_open(a), total);
	admission_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_churn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
