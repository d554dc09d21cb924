/* TCP connections: frames, order of replies, back-pressure, time limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/wire.h"
#include "roughtime/conn.h"
#include "roughtime/counters.h"
#include "roughtime/message.h"
#include "roughtime/stream.h"

#define IN_CAP 2048
#define OUT_CAP (3 * RESPONSE_MAX)
#define MS 1000000u

static uint8_t in[IN_CAP], out[OUT_CAP];

/* A connection on one end of a socket pair; *far gets the other. */
static struct conn
make_conn(int *far)
{
	struct conn c = { .in = in,
		.in_cap = IN_CAP,
		.max_frame = IN_CAP,
		.out = out,
		.out_cap = OUT_CAP };
	struct addr nobody = { .sa.sa_family = AF_INET };
	int pair[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	conn_reset(&c, &nobody, 1);
	c.io.fd = pair[0];
	*far = pair[1];
	return c;
}

static void
close_both(struct conn *c, int far)
{
	close(c->io.fd);
	close(far);
}

/* A frame of `total` bytes filled with `fill`. */
static const uint8_t *
frame(size_t total, uint8_t fill)
{
	static uint8_t bytes[4096];

	memset(bytes, fill, total);
	frame_encode(bytes, (uint32_t)(total - FRAME_LEN));
	return bytes;
}

static void
say(int far, const uint8_t *bytes, size_t len)
{
	assert_int_equal(write(far, bytes, len), len);
}

static void
test_overdue(void **state)
{
	static const struct conn_limits limits = { 30, 5, 7 };
	static const struct {
		struct conn_times t;
		uint64_t now;
		unsigned int reason;
	} cases[] = {
		{ { 100, 0, 0 }, 130, 0 },
		{ { 100, 0, 0 }, 131, COUNTER_TCP_CLOSED_IDLE },
		{ { 100, 120, 0 }, 125, 0 },
		{ { 100, 120, 0 }, 126, COUNTER_TCP_CLOSED_SLOW_WRITER },
		{ { 100, 130, 0 }, 134, 0 }, /* idle does not count then */
		{ { 100, 0, 140 }, 147, 0 },
		{ { 100, 0, 140 }, 148, COUNTER_TCP_CLOSED_SLOW_READER },
		{ { 100, 120, 140 }, 145, 0 }, /* we hold it up ourselves */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(
		    conn_overdue(&cases[i].t, &limits, cases[i].now),
		    cases[i].reason);
}

/* A request for somebody else is ignored; a broken one ends the stream. */
static void
test_fatal(void **state)
{
	static const enum request_reject mild[] = { REQUEST_OK,
		REQUEST_VERSION_UNKNOWN, REQUEST_NONCE_LENGTH,
		REQUEST_SRV_UNKNOWN, REQUEST_SRV_MISSING };
	int fatal = 0;

	(void)state;
	for (int r = 0; r < REQUEST_REJECTS; r++)
		fatal += stream_fatal((enum request_reject)r);
	for (size_t i = 0; i < sizeof mild / sizeof mild[0]; i++)
		assert_false(stream_fatal(mild[i]));
	assert_int_equal(fatal, REQUEST_REJECTS - sizeof mild / sizeof mild[0]);
}

/* One byte at a time: whole only with the last, timed from the first. */
static void
test_trickle(void **state)
{
	int far;
	struct conn c = make_conn(&far);
	const uint8_t *f = frame(60, 9);
	struct view v;

	(void)state;
	for (size_t i = 0; i < 59; i++) {
		say(far, f + i, 1);
		conn_read(&c);
		assert_false(conn_next(&c, 10 + i, &v));
		assert_int_equal(c.times.frame_since_ns, 10);
		assert_int_equal(conn_events(&c), EV_READ);
	}
	say(far, f + 59, 1);
	conn_read(&c);
	assert_true(conn_next(&c, 100, &v));
	assert_int_equal(v.len, 60);
	assert_memory_equal(v.data, f, 60);
	assert_int_equal(c.times.frame_since_ns, 0);
	assert_int_equal(c.times.idle_since_ns, 100);
	assert_false(conn_next(&c, 100, &v));
	conn_shift(&c);
	assert_int_equal(c.in_len, 0);
	close_both(&c, far);
}

/* Several frames in one read: as many as there is room for, in order. */
static void
test_pipeline(void **state)
{
	int far;
	struct conn c = make_conn(&far);
	uint8_t got[4 * RESPONSE_MAX];
	struct view v;
	uint8_t *room;

	(void)state;
	for (uint8_t i = 0; i < 5; i++)
		say(far, frame(100, i), 100);
	conn_read(&c);
	for (uint8_t i = 0; i < 3; i++) {
		assert_true(conn_next(&c, 1, &v));
		assert_int_equal(v.data[50], i);
		room = conn_reply_room(&c);
		assert_ptr_equal(room, out + i * RESPONSE_MAX);
		memset(room, 'a' + i, RESPONSE_MAX);
	}
	assert_false(conn_next(&c, 1, &v));
	assert_true(c.held);
	assert_int_equal(conn_events(&c) & EV_READ, 0);
	/* replies may be shorter than their room: they close up */
	conn_reply(&c, out, 10);
	conn_reply(&c, out + RESPONSE_MAX, 20);
	conn_reply(&c, out + 2 * RESPONSE_MAX, 30);
	conn_shift(&c);
	assert_true(conn_write(&c, 2));
	assert_false(conn_waiting(&c));
	assert_int_equal(read(far, got, sizeof got), 60);
	assert_int_equal(got[9], 'a');
	assert_int_equal(got[10], 'b');
	assert_int_equal(got[59], 'c');
	/* and the two frames that were held are next */
	assert_true(conn_next(&c, 3, &v));
	assert_int_equal(v.data[50], 3);
	conn_reply_room(&c);
	assert_true(conn_next(&c, 3, &v));
	assert_int_equal(v.data[50], 4);
	assert_false(c.held);
	close_both(&c, far);
}

/* A client that never reads: the buffer fills, reading stops, time counts. */
static void
test_back_pressure(void **state)
{
	static const struct conn_limits limits = { 1000 * MS, 1000 * MS,
		5 * MS };
	static uint8_t sink[OUT_CAP];
	int far, small = 1;
	struct conn c = make_conn(&far);
	struct view v;
	int replies = 0;

	(void)state;
	setsockopt(c.io.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	say(far, frame(100, 1), 100);
	conn_read(&c);
	while (replies < 1000 && conn_next(&c, 2, &v)) {
		conn_reply(&c, conn_reply_room(&c), RESPONSE_MAX);
		conn_shift(&c);
		assert_true(conn_write(&c, MS));
		say(far, frame(100, 1), 100);
		conn_read(&c);
		replies++;
	}
	assert_true(replies > 0 && replies < 1000);
	assert_true(c.held && conn_waiting(&c));
	assert_int_equal(conn_events(&c), EV_WRITE);
	assert_int_equal(conn_overdue(&c.times, &limits, 6 * MS), 0);
	assert_int_equal(conn_overdue(&c.times, &limits, 6 * MS + 1),
	    COUNTER_TCP_CLOSED_SLOW_READER);
	/* a client that goes on reading gets time again */
	assert_true(read(far, sink, sizeof sink) > 0);
	assert_true(conn_write(&c, 6 * MS));
	assert_int_equal(conn_overdue(&c.times, &limits, 7 * MS), 0);
	close_both(&c, far);
}

static void
test_closing(void **state)
{
	int far;
	struct conn c = make_conn(&far);
	struct view v;

	(void)state;
	/* half-close: what came before it is still there to be answered */
	say(far, frame(100, 1), 100);
	shutdown(far, SHUT_WR);
	conn_read(&c);
	assert_true(conn_next(&c, 1, &v));
	conn_read(&c);
	assert_true(c.eof);
	assert_int_equal(conn_events(&c), 0);
	close_both(&c, far);

	c = make_conn(&far);
	say(far, (const uint8_t *)"GET / HTTP/1.1\r\n", 16);
	conn_read(&c);
	assert_false(conn_next(&c, 1, &v));
	assert_true(c.closing);
	assert_int_equal(c.reason, COUNTER_TCP_CLOSED_NOT_ROUGHTIME);
	conn_end(&c, COUNTER_TCP_CLOSED_PEER); /* the first reason stays */
	assert_int_equal(c.reason, COUNTER_TCP_CLOSED_NOT_ROUGHTIME);
	close_both(&c, far);

	c = make_conn(&far);
	say(far, frame(IN_CAP + 4, 1), 12);
	conn_read(&c);
	assert_false(conn_next(&c, 1, &v));
	assert_int_equal(c.reason, COUNTER_TCP_CLOSED_FRAME_TOO_LONG);
	/* the peer went away before its reply */
	c.closing = false;
	close(far);
	conn_reply(&c, conn_reply_room(&c), 100);
	assert_false(conn_write(&c, 1));
	assert_int_equal(c.reason, COUNTER_TCP_CLOSED_PEER);
	close(c.io.fd);
}

/* A frame as long as the buffer fits; the buffer is then full, not stuck. */
static void
test_full_buffer(void **state)
{
	int far;
	struct conn c = make_conn(&far);
	struct view v;

	(void)state;
	say(far, frame(IN_CAP, 3), IN_CAP);
	say(far, frame(100, 4), 100);
	conn_read(&c);
	assert_int_equal(conn_events(&c), 0);
	assert_true(conn_next(&c, 1, &v));
	assert_int_equal(v.len, IN_CAP);
	conn_shift(&c);
	assert_int_equal(conn_events(&c), EV_READ);
	conn_read(&c);
	assert_true(conn_next(&c, 1, &v));
	assert_int_equal(v.data[50], 4);
	close_both(&c, far);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overdue),
		cmocka_unit_test(test_fatal),
		cmocka_unit_test(test_trickle),
		cmocka_unit_test(test_pipeline),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_closing),
		cmocka_unit_test(test_full_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
