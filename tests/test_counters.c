/* Every counter has a name of its own, and sums are right. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "roughtime/counters.h"

/* The zero of an enum is no event: it has no name and is not printed. */
static bool
is_event(unsigned int which)
{
	return which != COUNTER_REJECT + REQUEST_OK &&
	    which != COUNTER_DROP + RESPONSE_SENT &&
	    which != COUNTER_GREASE + GREASE_NONE;
}

static void
test_names(void **state)
{
	static char names[COUNTER_COUNT][COUNTERS_NAME_LEN];

	(void)state;
	for (unsigned int i = 0; i < COUNTER_COUNT; i++) {
		counters_name(names[i], i);
		assert_int_equal(names[i][0] != '\0', is_event(i));
		for (const char *p = names[i]; *p != '\0'; p++)
			assert_true(islower((unsigned char)*p) ||
			    isdigit((unsigned char)*p) || *p == '_');
		for (unsigned int j = 0; j < i && is_event(i); j++)
			assert_string_not_equal(names[i], names[j]);
	}
	assert_string_equal(names[COUNTER_UDP_RECEIVED], "udp_received");
	assert_string_equal(
	    names[COUNTER_REJECT + REQUEST_SHORT], "reject_short");
	assert_string_equal(
	    names[COUNTER_VERSION + VERSION_GOOGLE], "answered_google");
}

static void
test_sum(void **state)
{
	static struct counters a, b;
	static char text[COUNTERS_TEXT_MAX];
	const struct counters *const list[] = { &a, &b };
	struct counters_kernel kernel = {
		.drops = 10, .queue_full = 3, .connections = 2, .kept_drops = 4
	};
	size_t len;

	(void)state;
	counters_add(&a, COUNTER_UDP_RECEIVED, 5);
	counters_add(&a, COUNTER_UDP_RECEIVED, 2);
	counters_add(&b, COUNTER_UDP_RECEIVED, 100);
	counters_add(&b, COUNTER_REJECT + REQUEST_IS_RESPONSE, 1);
	len = counters_format(text, sizeof text, list, 2, &kernel);
	assert_int_equal(len, strlen(text));
	assert_true(strncmp(text, "udp_received 107\n", 17) == 0);
	assert_non_null(strstr(text, "\nudp_sent 0\n"));
	assert_non_null(strstr(text, "\ntcp_connections 2\n"));
	assert_non_null(strstr(text, "\nkept_drop 4\n"));
	assert_non_null(strstr(text, "\nkernel_drop 10\n"));
	assert_non_null(strstr(text, "\nkernel_drop_queue_full_estimated 3\n"));
	assert_non_null(strstr(text, "\nkernel_drop_filter_estimated 7\n"));
}

/* The largest values fit into COUNTERS_TEXT_MAX. */
static void
test_room(void **state)
{
	static struct counters a;
	static char text[COUNTERS_TEXT_MAX];
	const struct counters *const list[] = { &a };
	struct counters_kernel kernel = { UINT64_MAX, 0, UINT64_MAX,
		UINT64_MAX };
	size_t len, lines = 0;

	(void)state;
	for (unsigned int i = 0; i < COUNTER_COUNT; i++)
		counters_add(&a, i, UINT64_MAX);
	len = counters_format(text, sizeof text, list, 1, &kernel);
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	assert_int_equal(lines, COUNTER_COUNT - 3 + 5);
	/* a small buffer gets whole lines only */
	len = counters_format(text, 40, list, 1, &kernel);
	assert_int_equal(text[len - 1], '\n');
	assert_true(len < 40);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_sum),
		cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
