/* errno to Spectrum's status codes, row by row. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/status.h"

#define CLIENT STATUS_SIDE_CLIENT
#define ORIGIN STATUS_SIDE_ORIGIN
#define CONNECT STATUS_SIDE_CONNECT

/* Numbers on purpose: what log readers see. */
static const struct {
	enum status_side side;
	int error;
	int code;
} rows[] = {
	{ CLIENT, 0, 200 },
	{ CLIENT, ECONNREFUSED, 495 },
	{ CLIENT, EHOSTUNREACH, 496 },
	{ CLIENT, ENETUNREACH, 496 },
	{ CLIENT, EHOSTDOWN, 496 },
	{ CLIENT, ENETDOWN, 496 },
	{ CLIENT, ETIMEDOUT, 497 },
	{ CLIENT, EPIPE, 498 },
	{ CLIENT, ECONNRESET, 499 },
	{ CLIENT, ECONNABORTED, 499 },
	{ CLIENT, EIO, 499 },

	{ ORIGIN, 0, 200 },
	{ ORIGIN, ECONNRESET, 444 },
	{ ORIGIN, ECONNABORTED, 444 },
	{ ORIGIN, ETIMEDOUT, 445 },
	{ ORIGIN, EHOSTUNREACH, 446 },
	{ ORIGIN, ENETUNREACH, 446 },
	{ ORIGIN, EHOSTDOWN, 446 },
	{ ORIGIN, ENETDOWN, 446 },
	{ ORIGIN, ECONNREFUSED, 447 },
	{ ORIGIN, EPIPE, 448 },
	{ ORIGIN, EIO, 444 },

	{ CONNECT, 0, 0 },
	{ CONNECT, ECONNREFUSED, 521 },
	{ CONNECT, ETIMEDOUT, 522 },
	{ CONNECT, ENETUNREACH, 523 },
	{ CONNECT, EHOSTUNREACH, 523 },
	{ CONNECT, EHOSTDOWN, 523 },
	{ CONNECT, ENETDOWN, 523 },
	{ CONNECT, EADDRNOTAVAIL, 524 },
	{ CONNECT, EADDRINUSE, 524 },
	{ CONNECT, EMFILE, 524 },
	{ CONNECT, ENFILE, 524 },
	{ CONNECT, ENOBUFS, 524 },
	{ CONNECT, ENOMEM, 524 },
	{ CONNECT, EACCES, 524 },
	{ CONNECT, EPERM, 524 },
	{ CONNECT, EAFNOSUPPORT, 524 },
	{ CONNECT, ECONNRESET, 520 },
	{ CONNECT, EPROTO, 520 },
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int got = (int)status_from_errno(rows[i].side, rows[i].error);

		if (got != rows[i].code)
			fail_msg("side %d, %s: expected %d, got %d",
			    (int)rows[i].side, strerror(rows[i].error),
			    rows[i].code, got);
	}
}

/* No errno of an open connection is told as an open or orderly one. */
static void
test_every_errno(void **state)
{
	(void)state;
	for (int error = 1; error < 134; error++) {
		int client = (int)status_from_errno(CLIENT, error);
		int origin = (int)status_from_errno(ORIGIN, error);
		int connect = (int)status_from_errno(CONNECT, error);

		assert_in_range(client, 495, 499);
		assert_in_range(origin, 444, 448);
		assert_in_range(connect, 520, 524);
	}
}

static void
test_words(void **state)
{
	static const int codes[] = { 0, 200, 400, 403, 408, 444, 445, 446, 447,
		448, 495, 496, 497, 498, 499, 503, 520, 521, 522, 523, 524, 530,
		531, 532, 533 };
	size_t n = sizeof codes / sizeof codes[0], known = 0;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		const char *words = status_str((enum status)codes[i]);

		assert_string_not_equal(words, "unknown");
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(
			    words, status_str((enum status)codes[j]));
	}
	assert_int_equal(n, STATUS_KINDS);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(status_index((enum status)codes[i]), i);
		assert_int_equal(status_at((unsigned int)i), codes[i]);
	}
	for (int code = 0; code < 1000; code++)
		known += strcmp(status_str((enum status)code), "unknown") != 0;
	assert_int_equal(known, n);
}

/* What we lack is ours; what the origin does is told as ever. */
static void
test_failed_at_once(void **state)
{
	static const int ours[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM, EAGAIN,
		EADDRNOTAVAIL };

	(void)state;
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		assert_int_equal(status_from_connect(ours[i]), 503);
	assert_int_equal(status_from_connect(ECONNREFUSED), 521);
	assert_int_equal(status_from_connect(ENETUNREACH), 523);
	assert_int_equal(status_from_connect(EIO), 520);
}

static void
test_without_origin(void **state)
{
	(void)state;
	assert_int_equal(status_without_origin(ENOENT, 522), 531);
	assert_int_equal(status_without_origin(EHOSTDOWN, 520), 503);
	assert_int_equal(status_without_origin(EAGAIN, 522), 522);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_every_errno),
		cmocka_unit_test(test_failed_at_once),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_without_origin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
