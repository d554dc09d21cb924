/* net/steer.h: one group of sockets, two services told apart by content. */
#include "net/steer.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/sockets.h"
#include "tests/support.h"

#define GROUP 7
#define CLIENTS 64

static const enum steer_kind layout[GROUP] = { STEER_TIME, STEER_CUSTOMER,
	STEER_CUSTOMER, STEER_IDLE, STEER_TIME, STEER_CUSTOMER,
	STEER_CUSTOMER };

struct world {
	int group[GROUP];
	int clients[CLIENTS];
};

static void
open_world(struct world *w, const char *at)
{
	const struct sock_opts o = { .reuseport = true, .v6only = true };
	struct addr to = sockets_addr(at);
	uint16_t port = 0;

	for (size_t i = 0; i < GROUP; i++)
		w->group[i] = sockets_open(SOCK_UDP, at, &o, &port);
	addr_set_port(&to, port);
	for (size_t i = 0; i < CLIENTS; i++) {
		w->clients[i] = sock_connect(SOCK_UDP, &to, &o);
		assert_true(w->clients[i] >= 0);
	}
}

static void
close_world(struct world *w)
{
	for (size_t i = 0; i < GROUP; i++)
		close(w->group[i]);
	for (size_t i = 0; i < CLIENTS; i++)
		close(w->clients[i]);
}

/* On a busy machine loopback delivers a moment after send(2). */
static void
wait_for_one(const struct world *w)
{
	struct pollfd group[GROUP];

	for (int i = 0; i < GROUP; i++)
		group[i] =
		    (struct pollfd){ .fd = w->group[i], .events = POLLIN };
	assert_true(poll(group, GROUP, 10000) > 0);
}

/* Which of the group has it; it is taken. */
static int
who_has(struct world *w, size_t len)
{
	static uint8_t got[65536];
	int found = -1;

	wait_for_one(w);
	for (int i = 0; i < GROUP; i++) {
		ssize_t n = recv(w->group[i], got, sizeof got, 0);

		if (n < 0)
			continue;
		assert_int_equal(n, len);
		assert_int_equal(found, -1);
		found = i;
	}
	assert_true(found >= 0);
	return found;
}

static int
goes_to(struct world *w, size_t client, const void *bytes, size_t len)
{
	assert_int_equal(send(w->clients[client], bytes, len, 0), len);
	return who_has(w, len);
}

static const struct {
	const char *start; /* then zeros up to len */
	size_t start_len, len;
	enum steer_kind kind;
} cases[] = {
	{ "", 0, 0, STEER_CUSTOMER },
	{ "R", 1, 1, STEER_CUSTOMER },
	{ "ROUGHTIM", 8, 8, STEER_CUSTOMER },
	{ "ROUGHTIM\0\4\0", 11, 11, STEER_CUSTOMER },
	{ "ROUGHTIM\0\4\0\0", 12, 12, STEER_TIME },
	{ "ROUGHTIM\0\4\0\0", 12, 1036, STEER_TIME },
	{ "ROUGHTIN\0\4\0\0", 12, 1036, STEER_CUSTOMER },
	{ "ROUGHTI", 7, 1036, STEER_CUSTOMER },
	{ "roughtim", 8, 1036, STEER_CUSTOMER },
	{ "hello, customer", 15, 15, STEER_CUSTOMER },
	{ "\2\0\0\0\100\0\0\0NONCPAD\377", 16, 1024, STEER_TIME },
	{ "\2\0\0\0\100\0\0\0NONCPAD\377", 16, 1023, STEER_CUSTOMER },
	{ "\2\0\0\0\100\0\0\0NONCPAD\377", 16, 16, STEER_CUSTOMER },
	{ "\2\0\0\0\100\0\0\0NONC", 12, 12, STEER_CUSTOMER },
	{ "\2\0\0\0\100\0\0\0NONC", 12, 13, STEER_CUSTOMER },
	{ "\2\0\0\0", 4, 12, STEER_CUSTOMER },
	{ "\3\0\0\0\100\0\0\0NONCPAD\377", 16, 1024, STEER_CUSTOMER },
	{ "\2\0\0\0\100\0\0\0NONDPAD\377", 16, 1024, STEER_CUSTOMER },
	{ "\2\0\0\0\100\0\0\0NONCPAD\376", 16, 1024, STEER_CUSTOMER },
	{ "ROUG\2\0\0\0NONCPAD\377", 16, 1024, STEER_CUSTOMER },
};

static void
tells_them_apart(void **state)
{
	static const char *const places[] = { "127.0.0.1", "::1" };
	uint8_t bytes[2048];

	(void)state;
	for (size_t p = 0; p < 2; p++) {
		struct world w;

		open_world(&w, places[p]);
		assert_int_equal(steer_demux(w.group[0], layout, GROUP, 99), 0);
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
			memset(bytes, 0, sizeof bytes);
			memcpy(bytes, cases[i].start, cases[i].start_len);
			for (size_t c = 0; c < 8; c++)
				assert_int_equal(
				    layout[goes_to(&w, c, bytes, cases[i].len)],
				    cases[i].kind);
		}
		close_world(&w);
	}
}

/* All sockets of a kind have clients, and a client has one of them. */
static void
a_client_keeps_its_socket(void **state)
{
	static const char *const places[] = { "127.0.0.1", "::1" };
	uint8_t frame[12] = "ROUGHTIM";
	bool seen[GROUP];

	(void)state;
	for (size_t p = 0; p < 2; p++) {
		struct world w;

		open_world(&w, places[p]);
		memset(seen, 0, sizeof seen);
		assert_int_equal(
		    steer_demux(w.group[0], layout, GROUP, 0x1234567), 0);
		for (size_t c = 0; c < CLIENTS; c++) {
			int time = goes_to(&w, c, frame, sizeof frame);
			int other = goes_to(&w, c, "x", 1);

			seen[time] = seen[other] = true;
			for (int i = 0; i < 3; i++) {
				assert_int_equal(
				    goes_to(&w, c, frame, sizeof frame), time);
				assert_int_equal(
				    goes_to(&w, c, "yy", 2), other);
			}
		}
		/* 64 ports all at one of two: one chance in 2^63 */
		for (size_t i = 0; i < GROUP; i++)
			assert_int_equal(seen[i], layout[i] != STEER_IDLE);
		close_world(&w);
	}
}

static void
wants_both_kinds(void **state)
{
	static const enum steer_kind all[] = { STEER_TIME, STEER_TIME },
				     none[] = { STEER_CUSTOMER, STEER_IDLE };
	enum steer_kind big[STEER_GROUP_MAX + 1] = { STEER_TIME };
	struct world w;

	(void)state;
	for (size_t i = 1; i <= STEER_GROUP_MAX; i++)
		big[i] = STEER_CUSTOMER;
	open_world(&w, "127.0.0.1");
	assert_int_equal(steer_demux(w.group[0], all, 2, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(steer_demux(w.group[0], none, 2, 0), -1);
	assert_int_equal(steer_demux(w.group[0], none, 0, 0), -1);
	assert_int_equal(
	    steer_demux(w.group[0], big, STEER_GROUP_MAX + 1, 0), -1);
	assert_int_equal(steer_demux(w.group[0], big, STEER_GROUP_MAX, 0), 0);
	close_world(&w);
}

static void
streams(void **state)
{
	static const struct {
		const char *bytes;
		enum steer_kind want;
	} starts[] = {
		{ "", STEER_IDLE },
		{ "R", STEER_IDLE },
		{ "ROUGHTI", STEER_IDLE },
		{ "ROUGHTIM", STEER_TIME },
		{ "ROUGHTIMES", STEER_TIME },
		{ "ROUGHTIN", STEER_CUSTOMER },
		{ "r", STEER_CUSTOMER },
		{ "SSH-2.0-", STEER_CUSTOMER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
		struct view v =
		    guard_copy(starts[i].bytes, strlen(starts[i].bytes));

		assert_int_equal(steer_stream(v.data, v.len), starts[i].want);
		guard_drop(v);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_them_apart),
		cmocka_unit_test(a_client_keeps_its_socket),
		cmocka_unit_test(wants_both_kinds),
		cmocka_unit_test(streams),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
