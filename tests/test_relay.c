/* Bytes of one direction: copy, splice, back-pressure, ends. */
#include "proxy/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SPLICE_AFTER 65536

/* from[1] -> from[0] -> relay -> to[0] -> to[1] */
struct path {
	int from[2], to[2];
	struct relay_pool *pool;
	struct relay relay;
};

static void
open_path(struct path *p)
{
	memset(&p->relay, 0, sizeof p->relay);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->from), 0);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->to), 0);
}

static void
make_path(struct path *p, size_t pipes, int fd_most)
{
	const struct relay_pool_config config = { .relays = 2,
		.pipes = pipes,
		.fd_most = fd_most,
		.splice_after = SPLICE_AFTER };

	open_path(p);
	p->pool = relay_pool_new(&config);
	assert_non_null(p->pool);
}

/* The sockets only: the pool serves the next. */
static void
leave_path(struct path *p)
{
	relay_drop(&p->relay, p->pool);
	close(p->from[0]);
	close(p->from[1]);
	close(p->to[0]);
	close(p->to[1]);
}

static void
close_path(struct path *p)
{
	leave_path(p);
	relay_pool_free(p->pool);
}

/* A turn of its own. */
static enum relay_result
move_some(struct path *p, size_t most)
{
	enum relay_result r =
	    relay_move_some(&p->relay, p->pool, p->from[0], p->to[0], most);

	if (r == RELAY_HELD)
		r = relay_release(&p->relay, p->pool, p->to[0]);
	relay_pool_turn(p->pool);
	return r;
}

static enum relay_result
move(struct path *p)
{
	return move_some(p, SIZE_MAX);
}

static void
expect_text(struct path *p, const char *text)
{
	char buf[256] = { 0 };
	ssize_t n = recv(p->to[1], buf, sizeof buf - 1, 0);

	assert_int_equal(n, (ssize_t)strlen(text));
	assert_string_equal(buf, text);
}

static void
little_is_copied(void **state)
{
	struct path p;

	(void)state;
	make_path(&p, 1, INT_MAX);
	assert_int_equal(move(&p), RELAY_DRAINED);
	assert_int_equal(send(p.from[1], "hello", 5, 0), 5);
	assert_int_equal(move(&p), RELAY_DRAINED);
	expect_text(&p, "hello");
	assert_int_equal(p.relay.bytes, 5);
	assert_null(p.relay.buffer);
	assert_null(p.relay.pipe);
	close_path(&p);
}

static void
what_is_put_goes_first(void **state)
{
	struct path p;

	(void)state;
	make_path(&p, 1, INT_MAX);
	relay_put(&p.relay, p.pool, (const uint8_t *)"PROXY ", 6);
	assert_int_equal(relay_waiting(&p.relay), 6);
	assert_int_equal(send(p.from[1], "data", 4, 0), 4);
	assert_int_equal(move(&p), RELAY_DRAINED);
	expect_text(&p, "PROXY data");
	assert_int_equal(p.relay.bytes, 4); /* the client's only */
	close_path(&p);
}

static void
the_end_comes_after_the_last_byte(void **state)
{
	struct path p;

	(void)state;
	make_path(&p, 1, INT_MAX);
	assert_int_equal(send(p.from[1], "bye", 3, 0), 3);
	shutdown(p.from[1], SHUT_WR);
	assert_int_equal(move(&p), RELAY_DRAINED);
	assert_int_equal(move(&p), RELAY_END);
	expect_text(&p, "bye");
	close_path(&p);
}

static void
a_writer_that_is_gone_fails(void **state)
{
	struct path p;

	(void)state;
	make_path(&p, 1, INT_MAX);
	close(p.to[1]);
	assert_int_equal(send(p.from[1], "x", 1, 0), 1);
	errno = 0;
	assert_int_equal(move(&p), RELAY_WRITE_FAILED);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(relay_waiting(&p.relay), 0);
	p.to[1] = dup(p.to[0]);
	close_path(&p);
}

/* What two have received in one turn goes out together, unmixed. */
static void
a_turn_holds_what_is_little(void **state)
{
	struct path a, b;

	(void)state;
	make_path(&a, 1, INT_MAX);
	open_path(&b);
	assert_int_equal(send(a.from[1], "one", 3, 0), 3);
	assert_int_equal(send(b.from[1], "two", 3, 0), 3);
	b.pool = a.pool;
	for (struct path *p = &a; p != NULL; p = p == &a ? &b : NULL) {
		assert_int_equal(
		    relay_move(&p->relay, p->pool, p->from[0], p->to[0]),
		    RELAY_HELD);
		assert_int_equal(relay_waiting(&p->relay), 3);
		assert_int_equal(recv(p->to[1], &(char){ 0 }, 1, 0), -1);
	}
	assert_int_equal(
	    relay_release(&a.relay, a.pool, a.to[0]), RELAY_DRAINED);
	assert_int_equal(
	    relay_release(&b.relay, b.pool, b.to[0]), RELAY_DRAINED);
	expect_text(&a, "one");
	expect_text(&b, "two");
	leave_path(&b);
	close_path(&a);
}

/* Another move of the same turn sends what is held first. */
static void
what_is_held_goes_first(void **state)
{
	struct path p;

	(void)state;
	make_path(&p, 1, INT_MAX);
	for (const char *text = "ab"; *text != '\0'; text++) {
		assert_int_equal(send(p.from[1], text, 1, 0), 1);
		assert_int_equal(
		    relay_move(&p.relay, p.pool, p.from[0], p.to[0]),
		    RELAY_HELD);
	}
	expect_text(&p, "a");
	assert_int_equal(move(&p), RELAY_DRAINED);
	expect_text(&p, "b");
	close_path(&p);
}

/* However many come in one turn: who finds no room is not held. */
static void
the_room_is_bounded(void **state)
{
	struct path p;
	size_t held = 0, len = 0;
	uint8_t block[20000] = { 0 };

	(void)state;
	make_path(&p, 0, INT_MAX);
	for (int i = 0; i < 2 * RELAY_HELD_MAX; i++) {
		/* now so many that a turn has, now so much that it holds */
		len = i < RELAY_HELD_MAX ? 1 : sizeof block;
		if (i == RELAY_HELD_MAX)
			relay_pool_turn(p.pool);
		assert_int_equal(send(p.from[1], block, len, 0), (ssize_t)len);
		held += relay_move(&p.relay, p.pool, p.from[0], p.to[0]) ==
		    RELAY_HELD;
		(void)relay_release(&p.relay, p.pool, p.to[0]);
		assert_int_equal(
		    recv(p.to[1], block, sizeof block, 0), (ssize_t)len);
		if (i == RELAY_HELD_MAX - 1)
			assert_int_equal(held, RELAY_HELD_MAX);
	}
	assert_in_range(held, RELAY_HELD_MAX + 1, RELAY_HELD_MAX + 20);
	close_path(&p);
}

/* What its receiver does not take leaves the room to others. */
static void
what_is_not_taken_is_not_overwritten(void **state)
{
	uint8_t block[4096] = { 0 };
	struct path slow, quick;

	(void)state;
	make_path(&slow, 0, INT_MAX);
	open_path(&quick);
	quick.pool = slow.pool;
	while (send(slow.to[0], block, sizeof block, 0) > 0)
		continue;
	assert_int_equal(send(slow.from[1], "late", 4, 0), 4);
	assert_int_equal(move(&slow), RELAY_BLOCKED);
	assert_int_equal(send(quick.from[1], "soon", 4, 0), 4);
	assert_int_equal(move(&quick), RELAY_DRAINED);
	while (recv(slow.to[1], block, sizeof block, 0) > 0)
		continue;
	assert_int_equal(move(&slow), RELAY_DRAINED);
	expect_text(&slow, "late");
	expect_text(&quick, "soon");
	leave_path(&quick);
	close_path(&slow);
}

static uint8_t
pattern(size_t at)
{
	return (uint8_t)(at * 131 + at / 251);
}

/* Sends as much as fits of the endless pattern from *at on. */
static void
feed(struct path *p, size_t *at, size_t total)
{
	uint8_t block[8192];

	for (;;) {
		size_t want =
		    total - *at < sizeof block ? total - *at : sizeof block;
		ssize_t n;

		for (size_t i = 0; i < want; i++)
			block[i] = pattern(*at + i);
		n = want > 0 ? send(p->from[1], block, want, 0) : 0;
		if (n <= 0)
			return;
		*at += (size_t)n;
	}
}

static void
drink(struct path *p, size_t *at, size_t most)
{
	uint8_t block[8192];
	size_t end = *at + most;

	while (*at < end) {
		ssize_t n = recv(p->to[1], block, sizeof block, 0);

		if (n <= 0)
			return;
		for (ssize_t i = 0; i < n; i++)
			if (block[i] != pattern(*at + (size_t)i))
				fail_msg("byte %zu is wrong", *at + (size_t)i);
		*at += (size_t)n;
	}
}

/* Everything arrives in order whoever is slow, and never waits in heaps.
 * True: a pipe was used. */
static bool
carry(struct path *p, size_t total)
{
	size_t in = 0, out = 0, rounds = 0, most = 0;
	bool spliced = false;

	while (out < total) {
		enum relay_result r;

		assert_true(rounds++ < 100000);
		feed(p, &in, total);
		r = move(p);
		assert_true(r <= RELAY_BLOCKED);
		spliced |= p->relay.pipe != NULL;
		if (relay_waiting(&p->relay) > most)
			most = relay_waiting(&p->relay);
		/* now a sip, now a gulp */
		drink(p, &out, rounds % 3 == 0 ? 1u << 20 : 10000);
	}
	assert_int_equal(p->relay.bytes, total);
	assert_int_equal(relay_waiting(&p->relay), 0);
	assert_true(most > 0 && most <= RELAY_PIPE);
	return spliced;
}

static void
bulk_is_spliced(void **state)
{
	struct path p;

	(void)state;
	make_path(&p, 2, INT_MAX);
	assert_true(carry(&p, 4u << 20));
	close_path(&p);
}

static void
bulk_is_copied_where_there_is_no_pipe(void **state)
{
	struct path p;

	(void)state;
	make_path(&p, 0, INT_MAX);
	assert_false(carry(&p, 4u << 20));
	close_path(&p);
	make_path(&p, 2, STDERR_FILENO); /* descriptors are short */
	assert_false(carry(&p, 4u << 20));
	close_path(&p);
}

static void
pipes_in_nobodys_use_are_spared(void **state)
{
	struct path p;
	int before, after;

	(void)state;
	make_path(&p, 2, INT_MAX);
	before = dup(STDERR_FILENO);
	assert_true(carry(&p, 4u << 20));
	relay_pool_spare(p.pool);
	after = dup(STDERR_FILENO);
	assert_int_equal(after, before + 1); /* the lowest free number again */
	close(before);
	close(after);
	leave_path(&p);
	open_path(&p);
	assert_true(carry(&p, 4u << 20));
	close_path(&p);
}

/* Reads nothing of what comes once a pipe holds some of it. */
static void
fill_the_pipe(struct path *p)
{
	size_t in = 0, rounds = 0;
	uint8_t sink[65536];

	while (p->relay.piped == 0) {
		assert_true(rounds++ < 10000);
		feed(p, &in, SIZE_MAX);
		move(p);
		if (p->relay.buffer == NULL && p->relay.bytes > SPLICE_AFTER)
			continue;
		while (recv(p->to[1], sink, sizeof sink, 0) > 0)
			continue;
	}
}

/* A pipe with bytes of one session in it must not serve another. */
static void
a_dropped_pipe_leaves_nothing_behind(void **state)
{
	struct path p;

	(void)state;
	make_path(&p, 1, INT_MAX);
	for (int i = 0; i < 4; i++) {
		fill_the_pipe(&p);
		leave_path(&p);
		open_path(&p);
		assert_true(carry(&p, 1u << 20)); /* by the only pipe */
		leave_path(&p);
		open_path(&p);
	}
	close_path(&p);
}

static void
buffers_come_back(void **state)
{
	uint8_t byte = 'x';
	struct relay a = { 0 }, b = { 0 };
	struct path p;

	(void)state;
	make_path(&p, 0, INT_MAX);
	for (int i = 0; i < 1000; i++) { /* the pool has two */
		relay_put(&a, p.pool, &byte, 1);
		relay_put(&b, p.pool, &byte, 1);
		assert_ptr_not_equal(a.buffer, b.buffer);
		relay_drop(&a, p.pool);
		relay_drop(&b, p.pool);
	}
	close_path(&p);
}

static void
no_more_than_asked_is_received(void **state)
{
	struct path p;

	(void)state;
	make_path(&p, 1, INT_MAX);
	assert_int_equal(send(p.from[1], "hello", 5, 0), 5);
	assert_int_equal(move_some(&p, 0), RELAY_TURN);
	assert_int_equal(p.relay.bytes, 0);
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(move_some(&p, 2), RELAY_DRAINED);
		assert_int_equal(p.relay.bytes, 2 * i);
	}
	expect_text(&p, "hell");
	assert_int_equal(move(&p), RELAY_DRAINED);
	expect_text(&p, "o");
	close_path(&p);
}

/* What waits is passed on even when nothing may be received. */
static void
what_waits_needs_no_leave(void **state)
{
	struct path p;

	(void)state;
	make_path(&p, 1, INT_MAX);
	relay_put(&p.relay, p.pool, (const uint8_t *)"PROXY ", 6);
	assert_int_equal(send(p.from[1], "data", 4, 0), 4);
	assert_int_equal(move_some(&p, 0), RELAY_TURN);
	expect_text(&p, "PROXY ");
	assert_int_equal(p.relay.bytes, 0);
	close_path(&p);
}

/* Also when it is spliced. */
static void
bulk_is_received_by_portions(void **state)
{
	static uint8_t block[1 << 16], sink[1 << 18];
	size_t passed = 0, portion = 40000, before;
	bool spliced = false;
	struct path p;

	(void)state;
	make_path(&p, 1, INT_MAX);
	while (passed < 16 * sizeof block) {
		while (send(p.from[1], block, sizeof block, MSG_DONTWAIT) > 0)
			continue;
		before = p.relay.bytes;
		(void)move_some(&p, portion);
		assert_true(p.relay.bytes - before <= portion);
		spliced |= p.relay.bytes > SPLICE_AFTER && p.relay.bulk;
		passed += (size_t)(p.relay.bytes - before);
		while (recv(p.to[1], sink, sizeof sink, MSG_DONTWAIT) > 0)
			continue;
	}
	assert_true(spliced);
	close_path(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(little_is_copied),
		cmocka_unit_test(what_is_put_goes_first),
		cmocka_unit_test(the_end_comes_after_the_last_byte),
		cmocka_unit_test(a_writer_that_is_gone_fails),
		cmocka_unit_test(a_turn_holds_what_is_little),
		cmocka_unit_test(what_is_held_goes_first),
		cmocka_unit_test(the_room_is_bounded),
		cmocka_unit_test(what_is_not_taken_is_not_overwritten),
		cmocka_unit_test(bulk_is_spliced),
		cmocka_unit_test(bulk_is_copied_where_there_is_no_pipe),
		cmocka_unit_test(pipes_in_nobodys_use_are_spared),
		cmocka_unit_test(a_dropped_pipe_leaves_nothing_behind),
		cmocka_unit_test(buffers_come_back),
		cmocka_unit_test(no_more_than_asked_is_received),
		cmocka_unit_test(what_waits_needs_no_leave),
		cmocka_unit_test(bulk_is_received_by_portions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
