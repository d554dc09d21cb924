/* The two formats of the kernel's UDP numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/udpstat.h"

static const struct {
	const char *text;
	uint64_t want;
} cases[] = {
	{ "\nTcp: A B\nTcp: 1 2\n"
	  "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors X\n"
	  "Udp: 10 20 30 40 50 60\n"
	  "UdpLite: RcvbufErrors\nUdpLite: 9\n",
	    50 },
	{ "\nUdp: RcvbufErrors\nUdp: 7\n", 7 },
	{ "\nUdp: A RcvbufErrorsNot\nUdp: 1 2\n", 0 },
	{ "\nUdp: A RcvbufErrors\nUdp: 1\n", 0 }, /* a column short */
	{ "\nUdp: A RcvbufErrors\n", 0 },
	{ "\nIp6InReceives 3\nUdp6InErrors 4\nUdp6RcvbufErrors \t12\n"
	  "UdpLite6RcvbufErrors 99\n",
	    12 },
	{ "\n", 0 },
	{ "", 0 },
};

static void
test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(udpstat_parse(cases[i].text), cases[i].want);
}

static void
test_live(void **state)
{
	struct udpstat u;

	(void)state;
	udpstat_open(&u);
	assert_true(u.fd4 >= 0);
	/* other programs may drop, but hardly a million in this moment */
	assert_true(udpstat_queue_full(&u) < 1000000);
	udpstat_close(&u);
	assert_int_equal(u.fd4, -1);
	assert_int_equal(udpstat_queue_full(&u), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
