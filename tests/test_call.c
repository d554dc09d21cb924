/* strace's lines read back: what people see of a call, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "portshare/call.h"
#include "tests/support.h"

static const struct {
	const char *line, *told;
	int tid, fd, value;
} good[] = {
	{ "17504 socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 4",
	    "socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 4", 17504,
	    4, 4 },
	{ "7     setsockopt(4, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0",
	    "setsockopt(4, SOL_SOCKET, SO_REUSEADDR, 1) = 0", 7, 4, 0 },
	{ "7 setsockopt(4, SOL_SOCKET, SO_LINGER, {l_onoff=1, l_linger=0}, 8) "
	  "= 0",
	    "setsockopt(4, SOL_SOCKET, SO_LINGER, {l_onoff=1, l_linger=0}) = 0",
	    7, 4, 0 },
	{ "7 bind(4, {sa_family=AF_INET, sin_port=htons(2002), "
	  "sin_addr=inet_addr(\"0.0.0.0\")}, 16) = 0",
	    "bind(4, 0.0.0.0:2002) = 0", 7, 4, 0 },
	{ "7 bind(4, {sa_family=AF_INET, sin_port=htons(2002), "
	  "sin_addr=inet_addr(\"192.0.2.1\")}, 16) = -1 EADDRINUSE (Address "
	  "already in use)",
	    "bind(4, 192.0.2.1:2002) = EADDRINUSE", 7, 4, -1 },
	{ "7 connect(13, {sa_family=AF_INET6, sin6_port=htons(7), "
	  "sin6_flowinfo=htonl(0), inet_pton(AF_INET6, \"2001:db8::1\", "
	  "&sin6_addr), sin6_scope_id=0}, 28) = -1 EINPROGRESS (Operation now "
	  "in progress)",
	    "connect(13, [2001:db8::1]:7) = EINPROGRESS", 7, 13, -1 },
	{ "7 connect(13, 0x7fce47ffd600, 16) = 0", "connect(13, ?) = 0", 7, 13,
	    0 },
	{ "7 connect(4, {sa_family=AF_UNIX, sun_path=\"/a, (b)\"}, 110) = 0",
	    "connect(4, /a, (b)) = 0", 7, 4, 0 },
	{ "7 listen(5, 4096)                   = 0", "listen(5, 4096) = 0", 7,
	    5, 0 },
	{ "7 accept4(5, {sa_family=AF_INET, sin_port=htons(9), "
	  "sin_addr=inet_addr(\"192.0.2.9\")}, [28 => 16], SOCK_CLOEXEC) = 15",
	    "accept4(5, 192.0.2.9:9, SOCK_CLOEXEC) = 15", 7, 5, 15 },
	{ "7 accept4(5, 0x7ff1, [28], SOCK_CLOEXEC) = -1 EAGAIN (Resource "
	  "temporarily unavailable)",
	    "accept4(5, SOCK_CLOEXEC) = EAGAIN", 7, 5, -1 },
};

static void
test_good(void **state)
{
	char told[CALL_TEXT_LEN];
	struct call c;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_true(call_parse(&c, good[i].line, strlen(good[i].line)));
		assert_string_equal(call_format(told, &c), good[i].told);
		assert_int_equal(c.tid, good[i].tid);
		assert_int_equal(c.fd, good[i].fd);
		assert_int_equal(c.value, good[i].value);
	}
}

static const char *const bad[] = {
	"",
	"7",
	"7 ",
	"7 bind",
	"bind(4, 5, 6) = 0",
	"7 bind(4, 5, 6)",
	"7 bind(4, 5, 6) = ",
	"7 bind(4, 5, 6) = ?",
	"7 bind(4, 5, 6) = -1 ",
	"7 bin(4, 5, 6) = 0",
	"7 ind(4, 5, 6) = 0",
	"7 accept(4, 5",
	"7 accept(4, \"5) = 0",
	"7 bind(1, 2, 3, 4, 5, 6, 7) = 0",
	"7 +++ exited with 0 +++",
	"7 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER} ---",
	"7 accept4(4,  <unfinished ...>",
	"7 close(4) = 0",
};

static void
test_bad(void **state)
{
	struct call c;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(call_parse(&c, bad[i], strlen(bad[i])));
}

/* Of each length: no byte behind it is read, and none is taken for whole. */
static void
test_truncated(void **state)
{
	struct call c;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		const char *line = good[i].line;
		size_t result = (size_t)(strrchr(line, '=') - line);

		for (size_t n = 0; n < strlen(line); n++) {
			struct view v = guard_copy(line, n);

			if (call_parse(&c, (const char *)v.data, n))
				assert_true(n > result);
			guard_drop(v);
		}
	}
}

static void
test_internet(void **state)
{
	static const struct {
		const char *family;
		bool internet;
	} table[] = { { "AF_INET", true }, { "AF_INET6", true },
		{ "AF_UNIX", false }, { "AF_NETLINK", false } };
	char line[64];
	struct call c;

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		snprintf(line, sizeof line, "7 socket(%s, SOCK_STREAM, 0) = 3",
		    table[i].family);
		assert_true(call_parse(&c, line, strlen(line)));
		assert_int_equal(c.internet, table[i].internet);
	}
}

static void
test_long_arguments_are_cut(void **state)
{
	char line[1024], value[600];
	struct call c;

	(void)state;
	memset(value, 'x', sizeof value);
	value[sizeof value - 1] = '\0';
	snprintf(line, sizeof line, "7 setsockopt(4, a, b, %s, 4) = 0", value);
	assert_true(call_parse(&c, line, strlen(line)));
	assert_int_equal(strlen(c.arguments), CALL_ARGUMENTS_LEN - 1);
	assert_string_equal(c.result, "0");
}

static void
test_halves_are_joined(void **state)
{
	static struct call_halves h;
	char line[64];

	(void)state;
	assert_null(call_join(&h, "7 accept4(4,  <unfinished ...>"));
	assert_string_equal(
	    call_join(&h, "8 listen(5, 1) = 0"), "8 listen(5, 1) = 0");
	assert_null(call_join(&h, "8 accept4(5,  <unfinished ...>"));
	assert_string_equal(call_join(&h, "7 <... accept4 resumed>x) = 1"),
	    "7 accept4(4, x) = 1");
	assert_string_equal(call_join(&h, "8 <... accept4 resumed>y) = 2"),
	    "8 accept4(5, y) = 2");
	assert_null(call_join(&h, "9 <... accept4 resumed>z) = 3"));
	/* more threads than there is room for: the last ones are not told */
	for (int i = 0; i < 2 * CALL_HALVES; i++) {
		snprintf(line, sizeof line, "%d bind(4,  <unfinished ...>", i);
		assert_null(call_join(&h, line));
	}
	assert_int_equal(h.n, CALL_HALVES);
	assert_null(call_join(&h, "15 <... bind resumed>z) = 3"));
	assert_non_null(call_join(&h, "0 <... bind resumed>z) = 3"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_internet),
		cmocka_unit_test(test_long_arguments_are_cut),
		cmocka_unit_test(test_halves_are_joined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
