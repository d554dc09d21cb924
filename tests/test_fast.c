/* proxy/fast.h: every reason has a case, and nothing else is one. */
#include "proxy/fast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sockets.h"

static struct app
plain(void)
{
	struct app a = { .name = "story",
		.proto = SOCK_UDP,
		.port_first = 53,
		.port_last = 53,
		.edges = 2,
		.origins = 2 };

	a.edge[0] = sockets_addr("192.0.2.1");
	a.edge[1] = sockets_addr("127.0.0.1"); /* not all of them */
	a.origin[0].address = sockets_addr("192.0.2.9:53");
	a.origin[1].address = sockets_addr("[::1]:53");
	return a;
}

static struct app
with(enum fast_why why)
{
	struct app a = plain();

	switch (why) {
	case FAST_WHY_TCP:
		a.proto = SOCK_TCP;
		break;
	case FAST_WHY_OFF:
		a.fast_path = APP_FAST_OFF;
		break;
	case FAST_WHY_HEADER:
		a.header = APP_HEADER_V2;
		break;
	case FAST_WHY_TRUST:
		a.trusts = 1;
		break;
	case FAST_WHY_BYTES:
		a.limits.bytes_per_s = 1;
		break;
	case FAST_WHY_CLIENT_BYTES:
		a.limits.bytes_per_s_per_prefix = 1;
		break;
	case FAST_WHY_HINTS:
		a.udp.responses = 1;
		break;
	case FAST_WHY_TRANSPARENT:
		a.transparent = true;
		break;
	case FAST_WHY_LOOPBACK:
		a.edges = a.origins = 1;
		a.origin[0].address = sockets_addr("127.0.0.1:53");
		break;
	case FAST_WHY_NONE:
	case FAST_WHYS:
		break;
	}
	return a;
}

static void
every_reason_is_found(void **state)
{
	(void)state;
	for (int i = FAST_WHY_NONE; i < FAST_WHYS; i++) {
		struct app a = with((enum fast_why)i);

		assert_int_equal(fast_why_not(&a), i);
		assert_true(strlen(fast_why_str((enum fast_why)i)) > 10);
		/* a row of l4proxyctl has room for it */
		assert_true(strlen(fast_why_str((enum fast_why)i)) < 80);
	}
	assert_string_equal(fast_why_str(FAST_WHYS), "unknown");
}

static void
what_is_no_reason(void **state)
{
	struct app a = plain();

	(void)state;
	a.header = APP_HEADER_V2_FIRST;
	a.limits.connections = 1;
	a.fast_path = APP_FAST_REQUIRE;
	a.timeouts.lifetime_ms = 1;
	assert_int_equal(fast_why_not(&a), FAST_WHY_NONE);
	a.origins = 0; /* by a name */
	assert_int_equal(fast_why_not(&a), FAST_WHY_NONE);
	a.edge[0] = a.edge[1]; /* it may lead to loopback too */
	assert_int_equal(fast_why_not(&a), FAST_WHY_NONE);
	a.origins = 1;
	assert_int_equal(fast_why_not(&a), FAST_WHY_LOOPBACK);
	a.edge[0] = sockets_addr("0.0.0.0"); /* who asks from here */
	a.origin[0].address = sockets_addr("127.0.0.1:53");
	assert_int_equal(fast_why_not(&a), FAST_WHY_NONE);
	a.edge[0] = a.edge[1];
	a.origin[0].address = sockets_addr("192.0.2.9:53");
	a.origins = 2; /* one of them is here */
	assert_int_equal(fast_why_not(&a), FAST_WHY_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reason_is_found),
		cmocka_unit_test(what_is_no_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
