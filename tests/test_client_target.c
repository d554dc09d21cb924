/* What people type: hosts, ports, keys, versions, seconds. */
#include "roughtime/client/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "roughtime/client/command.h"
#include "roughtime/client/ladder.h"
#include "roughtime/request.h"
#include "tests/support.h"

static void
targets(void **state)
{
	static const struct {
		const char *text, *host, *port;
	} good[] = {
		{ "time.example.net", "time.example.net", "2002" },
		{ "time.example.net:5319", "time.example.net", "5319" },
		{ "192.0.2.1", "192.0.2.1", "2002" },
		{ "192.0.2.1:1", "192.0.2.1", "1" },
		{ "2001:db8::1", "2001:db8::1", "2002" },
		{ "::1", "::1", "2002" },
		{ "[::1]", "::1", "2002" },
		{ "[2001:db8::1]:65535", "2001:db8::1", "65535" },
		{ "[fe80::1%eth0]:2002", "fe80::1%eth0", "2002" },
	};
	static const char *const bad[] = { "", ":2002", "[]:2002", "[::1",
		"[::1]x", "[::1]:", "host:", "host:0", "host:65536", "host:-1",
		"host:+1", "host: 1", "host:1x", "host:99999999999999999999" };
	struct target t;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(target_parse(&t, good[i].text, &why));
		assert_string_equal(t.host, good[i].host);
		assert_string_equal(t.port, good[i].port);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		why = NULL;
		if (target_parse(&t, bad[i], &why))
			fail_msg("\"%s\" was taken", bad[i]);
		assert_non_null(why);
	}
}

static void
long_host(void **state)
{
	char text[TARGET_HOST_LEN + 8];
	struct target t;
	const char *why;

	(void)state;
	memset(text, 'a', sizeof text);
	text[TARGET_HOST_LEN - 1] = '\0';
	assert_true(target_parse(&t, text, &why));
	text[TARGET_HOST_LEN - 1] = 'a';
	text[TARGET_HOST_LEN] = '\0';
	assert_false(target_parse(&t, text, &why));
}

static void
keys(void **state)
{
	static const char *const good[] = {
		"Ixu7gqjJ9TU6IxsO8wxZxAFT5te6FcZZQq5vXFl35JE=",
		"Ixu7gqjJ9TU6IxsO8wxZxAFT5te6FcZZQq5vXFl35JE",
		"231bbb82a8c9f5353a231b0ef30c59c40153e6d7ba15c65942ae6f5c5977"
		"e491",
		"231BBB82A8C9F5353A231B0EF30C59C40153E6D7BA15C65942AE6F5C5977"
		"E491",
	};
	static const char *const bad[] = { "",
		"Ixu7gqjJ9TU6IxsO8wxZxAFT5te6FcZZQq5vXFl35J",
		"Ixu7gqjJ9TU6IxsO8wxZxAFT5te6FcZZQq5vXFl35JE=x",
		"Ixu7gqjJ9TU6IxsO8wxZxAFT5te6FcZZQq5vXFl35JE==",
		"Ixu7gqjJ9TU6IxsO8wxZxAFT5te6FcZZQq5vXFl35JEAAAA=",
		"g31bbb82a8c9f5353a231b0ef30c59c40153e6d7ba15c65942ae6f5c5977"
		"e491",
		"231bbb82a8c9f5353a231b0ef30c59c40153e6d7ba15c65942ae6f5c5977"
		"e4",
		"127.0.0.1:2002" };
	uint8_t want[32], key[32];

	(void)state;
	support_base64(want, sizeof want, good[0]);
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		memset(key, 0, sizeof key);
		assert_true(target_key(key, good[i]));
		assert_memory_equal(key, want, 32);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (target_key(key, bad[i]))
			fail_msg("\"%s\" was taken", bad[i]);
	}
	/* '-' and '_' of the URL-safe alphabet are '+' and '/' */
	assert_true(
	    target_key(want, "/wZ59zUPdYX+mGMUSiO6dExNNvo18th5g+md2X6t/wA="));
	assert_true(
	    target_key(key, "_wZ59zUPdYX-mGMUSiO6dExNNvo18th5g-md2X6t_wA"));
	assert_memory_equal(key, want, 32);
}

static void
numeric_hosts_resolve(void **state)
{
	struct target t;
	struct addr a[TARGET_ADDRS_MAX];
	char text[ADDR_STR_LEN];
	const char *why;

	(void)state;
	assert_true(target_parse(&t, "127.0.0.1:25", &why));
	assert_int_equal(target_resolve(&t, AF_UNSPEC, a, 8, &why), 1);
	assert_string_equal(addr_format(text, &a[0]), "127.0.0.1:25");
	assert_int_equal(target_resolve(&t, AF_INET6, a, 8, &why), 0);
	assert_true(why[0] != '\0');
	assert_true(target_parse(&t, "[::1]:26", &why));
	assert_int_equal(target_resolve(&t, AF_UNSPEC, a, 8, &why), 1);
	assert_string_equal(addr_format(text, &a[0]), "[::1]:26");
	assert_int_equal(target_resolve(&t, AF_UNSPEC, a, 0, &why), 0);
}

/* Every row of the table is on the ladder, and each rung can be made. */
static void
ladder_reaches_all_versions(void **state)
{
	static const uint8_t nonce[64] = "n", srv[32] = "s";
	struct rung rungs[LADDER_MAX];
	uint8_t packet[2048];
	uint32_t rows = 0;
	size_t n;

	(void)state;
	n = ladder_default(rungs, true, false);
	for (size_t i = 0; i < n; i++) {
		const struct request_spec spec = { .versions = rungs[i].rows,
			.nonce = nonce,
			.srv = rungs[i].srv ? srv : NULL,
			.size = 1036 };

		rows |= rungs[i].rows;
		assert_int_equal(
		    request_make(packet, sizeof packet, &spec), 1036);
		assert_int_equal(rungs[i].delay_ms > 0, i > 0);
		assert_int_equal(ladder_on_tcp(&rungs[i]),
		    rungs[i].rows != 1u << VERSION_GOOGLE);
	}
	assert_int_equal(rows, VERSION_ALL);
	/* a wrong key shows only where no SRV hides us from the server */
	assert_true(rungs[0].srv);
	assert_false(rungs[n - 1].srv);
	assert_int_equal(rungs[n - 1].rows, rungs[0].rows);
	assert_int_equal(ladder_default(rungs, false, false), n - 1);
	assert_int_equal(ladder_no_srv(rungs), 1);
	assert_false(rungs[0].srv);
	n = ladder_default(rungs, true, true);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(rungs[i].delay_ms == 0,
		    rungs[i].rows == 1u << VERSION_GOOGLE);
	assert_int_equal(ladder_rows(rungs, VERSION_ALL), VERSION_ROWS);
	assert_int_equal(rungs[0].rows, 1u << VERSION_RFC);
	assert_int_equal(rungs[VERSION_ROWS - 1].rows, 1u << VERSION_GOOGLE);
}

static void
version_lists(void **state)
{
	(void)state;
	assert_int_equal(ladder_parse("1"), 1u << VERSION_RFC);
	assert_int_equal(ladder_parse("rfc10049"), 1u << VERSION_RFC);
	assert_int_equal(ladder_parse("draft-07,google"),
	    1u << VERSION_DRAFT07 | 1u << VERSION_GOOGLE);
	assert_int_equal(ladder_parse("0x8000000b"), 1u << VERSION_DRAFT11);
	assert_int_equal(ladder_parse(""), 0);
	assert_int_equal(ladder_parse(","), 0);
	assert_int_equal(ladder_parse("1,"), 0);
	assert_int_equal(ladder_parse(",1"), 0);
	assert_int_equal(ladder_parse("2"), 0);
	assert_int_equal(ladder_parse("draft-20"), 0);
	assert_int_equal(
	    ladder_parse("11111111111111111111111111111111111111111"), 0);
}

/* min(1.5^(n-1), 86400) s, RFC 10049 section 5 */
static void
backoff(void **state)
{
	(void)state;
	assert_true(ladder_backoff_ns(0) == 1000000000);
	assert_true(ladder_backoff_ns(1) == 1000000000);
	assert_true(ladder_backoff_ns(2) == 1500000000);
	assert_true(ladder_backoff_ns(3) == 2250000000);
	assert_true(ladder_backoff_ns(28) < 86400000000000);
	assert_true(ladder_backoff_ns(30) == 86400000000000);
	assert_true(ladder_backoff_ns(~0u) == 86400000000000);
}

static void
numbers_and_seconds(void **state)
{
	static const char *const bad[] = { "", "0", "-1", "+1", " 1", "1 s",
		"x", "nan", "inf", "1e300", "1x", "0s" };
	uint64_t n;

	(void)state;
	assert_true(command_number("0", 0, 9, &n) && n == 0);
	assert_true(command_number("9", 0, 9, &n) && n == 9);
	assert_false(command_number("10", 0, 9, &n));
	assert_false(command_number("", 0, 9, &n));
	assert_false(command_number("-1", 0, UINT64_MAX, &n));
	assert_false(command_number("1.5", 0, 9, &n));
	assert_true(command_seconds("1.5", &n) && n == 1500000000);
	assert_true(command_seconds("500ms", &n) && n == 500000000);
	assert_true(command_seconds("2m", &n) && n == 120000000000);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (command_seconds(bad[i], &n))
			fail_msg("\"%s\" was taken", bad[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets),
		cmocka_unit_test(long_host),
		cmocka_unit_test(keys),
		cmocka_unit_test(numeric_hosts_resolve),
		cmocka_unit_test(ladder_reaches_all_versions),
		cmocka_unit_test(version_lists),
		cmocka_unit_test(backoff),
		cmocka_unit_test(numbers_and_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
