/* One check of one origin, against sockets that answer as they should not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/sock.h"
#include "net/tcp.h"
#include "proxy/probe.h"
#include "tests/sockets.h"

/* A check, an origin that the test plays, and how the check ended. */
struct fixture {
	struct ev_loop *loop;
	struct app app;
	struct probe probe;
	struct addr at;
	int origin; /* listening, or the UDP socket */
	int ends;
	enum probe_result result;
	char why[ORIGIN_WHY_LEN];
};

static void
ended(void *arg, enum probe_result result, const char *why)
{
	struct fixture *f = arg;

	f->ends++;
	f->result = result;
	strcpy(f->why, why != NULL ? why : "");
	ev_break(f->loop, EVBREAK_ALL);
}

static struct fixture *
make(enum app_check_kind kind, const char *send, const char *expect)
{
	struct fixture *f = calloc(1, sizeof *f);
	enum sock_proto proto =
	    kind == APP_CHECK_UDP_EXPECT ? SOCK_UDP : SOCK_TCP;
	const struct sock_opts o = { .backlog = 1 };
	struct app_check *c = &f->app.check;
	uint16_t port = 0;

	f->loop = ev_loop_new(EVBACKEND_EPOLL);
	assert_non_null(f->loop);
	f->origin = sockets_open(proto, "127.0.0.1", &o, &port);
	f->at = sockets_addr("127.0.0.1:0");
	addr_set_port(&f->at, port);
	f->app.proto = proto;
	*c = (struct app_check){ .kind = kind,
		.timeout_ms = 300,
		.send_len = (uint16_t)strlen(send),
		.expect_len = (uint16_t)strlen(expect) };
	memcpy(c->send, send, strlen(send));
	memcpy(c->expect, expect, strlen(expect));
	probe_init(&f->probe, f->loop, &f->app, ended, f);
	return f;
}

static void
drop(struct fixture *f)
{
	probe_stop(&f->probe);
	ev_loop_destroy(f->loop);
	if (f->origin >= 0)
		close(f->origin);
	free(f);
}

static void
start(struct fixture *f)
{
	f->ends = 0;
	probe_start(&f->probe, &f->at);
}

/* Until the check ends, and that it does so once. */
static void
expect_end(struct fixture *f, enum probe_result result, const char *why)
{
	if (f->ends == 0)
		ev_run(f->loop, 0);
	assert_int_equal(f->ends, 1);
	assert_string_equal(f->why, why);
	assert_int_equal(f->result, result);
	assert_int_equal(f->probe.fd, -1);
	ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(f->ends, 1);
}

/* The connection of a check that has been started. */
static int
accepted(struct fixture *f)
{
	struct addr peer;
	int fd = -1;

	for (int i = 0; i < 1000 && fd < 0; i++) {
		ev_run(f->loop, EVRUN_NOWAIT);
		fd = tcp_accept(f->origin, &peer);
	}
	assert_true(fd >= 0);
	return fd;
}

/* What the origin hears: exactly `text`. */
static void
expect_heard(struct fixture *f, int fd, const char *text)
{
	char buf[1024] = { 0 };
	ssize_t n = -1;

	for (int i = 0; i < 1000 && n < 0; i++) {
		ev_run(f->loop, EVRUN_NOWAIT);
		n = recv(fd, buf, sizeof buf - 1, 0);
	}
	assert_int_equal(n, (ssize_t)strlen(text));
	assert_string_equal(buf, text);
}

static void
answer(int fd, const char *text)
{
	assert_int_equal(
	    send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

static void
test_tcp(void **state)
{
	struct fixture *f = make(APP_CHECK_TCP, "", "");

	(void)state;
	start(f);
	expect_end(f, PROBE_GOOD, "");
	start(f); /* and again */
	expect_end(f, PROBE_GOOD, "");
	close(f->origin);
	f->origin = -1;
	start(f);
	expect_end(f, PROBE_BAD, "connect: Connection refused");
	drop(f);
}

static void
test_own_port(void **state)
{
	struct fixture *f = make(APP_CHECK_TCP, "", "");

	(void)state;
	f->app.check.port = addr_port(&f->at);
	addr_set_port(&f->at, 1);
	start(f);
	expect_end(f, PROBE_GOOD, "");
	drop(f);
}

/* The queue of a listener is full: nobody answers a SYN. */
static void
test_connect_timeout(void **state)
{
	struct fixture *f = make(APP_CHECK_TCP, "", "");
	const struct sock_opts o = { .v6only = true };
	int full[8];

	(void)state;
	for (int i = 0; i < 8; i++) {
		full[i] = sock_connect(SOCK_TCP, &f->at, &o);
		assert_true(full[i] >= 0);
	}
	start(f);
	expect_end(f, PROBE_BAD, "connect: no answer within 0.3 s");
	for (int i = 0; i < 8; i++)
		close(full[i]);
	drop(f);
}

static void
test_tcp_expect(void **state)
{
	struct fixture *f = make(APP_CHECK_TCP_EXPECT, "ROLE\r\n", "master");
	int fd;

	(void)state;
	start(f);
	fd = accepted(f);
	expect_heard(f, fd, "ROLE\r\n");
	/* in pieces, and not at the beginning */
	answer(fd, "+role:ma");
	ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(f->ends, 0);
	answer(fd, "ster and more");
	expect_end(f, PROBE_GOOD, "");
	close(fd);
	drop(f);
}

static void
test_tcp_differs(void **state)
{
	struct fixture *f = make(APP_CHECK_TCP_EXPECT, "", "OK");
	char much[PROBE_ANSWER_MAX + 1];
	int fd;

	(void)state;
	/* the end of the stream says it at once */
	start(f);
	fd = accepted(f);
	answer(fd, "no\n");
	close(fd);
	expect_end(f, PROBE_BAD, "answer differs: \"no\\x0a\"");
	/* a stream that stays open: time does */
	start(f);
	fd = accepted(f);
	answer(fd, "no");
	expect_end(f, PROBE_BAD, "answer differs: \"no\"");
	close(fd);
	/* more than anybody reads */
	memset(much, 'x', sizeof much);
	much[sizeof much - 1] = '\0';
	start(f);
	fd = accepted(f);
	answer(fd, much);
	expect_end(f, PROBE_BAD,
	    "answer differs: \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\"");
	close(fd);
	drop(f);
}

static void
test_tcp_silent(void **state)
{
	struct fixture *f = make(APP_CHECK_TCP_EXPECT, "", "OK");
	int fd;

	(void)state;
	start(f);
	fd = accepted(f);
	expect_end(f, PROBE_BAD, "no answer within 0.3 s");
	close(fd);
	start(f);
	close(accepted(f));
	expect_end(f, PROBE_BAD, "closed without an answer");
	start(f);
	fd = accepted(f);
	tcp_reset_on_close(fd);
	close(fd);
	expect_end(f, PROBE_BAD, "answer: Connection reset by peer");
	drop(f);
}

static void
test_udp(void **state)
{
	struct fixture *f = make(APP_CHECK_UDP_EXPECT, "ping", "pong");
	static const struct {
		const char *answer;
		enum probe_result result;
		const char *why;
	} rows[] = {
		{ "well, pong!", PROBE_GOOD, "" },
		{ "no", PROBE_BAD, "answer differs: \"no\"" },
		{ NULL, PROBE_BAD, "no answer within 0.3 s" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct addr peer;
		socklen_t len = sizeof peer;
		char buf[16] = { 0 };
		ssize_t n;

		start(f);
		n = recvfrom(
		    f->origin, buf, sizeof buf, MSG_DONTWAIT, &peer.sa, &len);
		assert_int_equal(n, 4);
		assert_string_equal(buf, "ping");
		if (rows[i].answer != NULL)
			assert_true(
			    sendto(f->origin, rows[i].answer,
				strlen(rows[i].answer), 0, &peer.sa, len) > 0);
		expect_end(f, rows[i].result, rows[i].why);
	}
	/* ICMP does not wait for the time to run out */
	close(f->origin);
	f->origin = -1;
	f->app.check.timeout_ms = 60000;
	start(f);
	expect_end(f, PROBE_BAD, "answer: Connection refused");
	drop(f);
}

/* An empty datagram is sent, and one that comes back is an answer. */
static void
test_udp_empty(void **state)
{
	struct fixture *f = make(APP_CHECK_UDP_EXPECT, "", "");
	struct addr peer;
	socklen_t len = sizeof peer;
	char buf[16];

	(void)state;
	start(f);
	assert_int_equal(
	    recvfrom(f->origin, buf, sizeof buf, MSG_DONTWAIT, &peer.sa, &len),
	    0);
	assert_int_equal(sendto(f->origin, "", 0, 0, &peer.sa, len), 0);
	expect_end(f, PROBE_GOOD, "");
	drop(f);
}

/* Where PROXY headers are wanted, the check brings one that names nobody. */
static void
test_header(void **state)
{
	struct fixture *f = make(APP_CHECK_TCP_EXPECT, "hi", "yes");
	struct header_ends ends;
	uint8_t heard[64];
	size_t used;
	int fd;

	(void)state;
	f->app.header = APP_HEADER_V1;
	start(f);
	fd = accepted(f);
	expect_heard(f, fd, "PROXY UNKNOWN\r\nhi");
	answer(fd, "yes");
	expect_end(f, PROBE_GOOD, "");
	close(fd);
	f->app.header = APP_HEADER_V2;
	start(f);
	fd = accepted(f);
	ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(recv(fd, heard, sizeof heard, 0), 18);
	assert_int_equal(
	    header_read((struct view){ heard, 18 }, &ends, &used), HEADER_OK);
	assert_true(ends.local && used == 16);
	probe_stop(&f->probe);
	close(fd);
	/* another port is another server */
	f->app.check.port = addr_port(&f->at);
	start(f);
	fd = accepted(f);
	expect_heard(f, fd, "hi");
	probe_stop(&f->probe);
	assert_int_equal(f->ends, 0);
	close(fd);
	drop(f);
}

/* That we have no descriptor says nothing about the origin. */
static void
test_no_descriptor(void **state)
{
	struct fixture *f = make(APP_CHECK_TCP, "", "");
	struct rlimit was, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = was;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	start(f);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(f->ends, 1);
	assert_int_equal(f->result, PROBE_UNKNOWN);
	drop(f);
}

static void
test_quote(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *text;
	} rows[] = {
		{ "", 0, "\"\"" },
		{ "ok", 2, "\"ok\"" },
		{ "\0\xff\"\\", 4, "\"\\x00\\xff\\x22\\x5c\"" },
		{ "0123456789012345678901234567890123456789", 38,
		    "\"01234567890123456789012345678901234567\"" },
		{ "0123456789012345678901234567890123456789", 39,
		    "\"01234567890123456789012345678901234567...\"" },
		{ "\1\1\1\1\1\1\1\1\1\1\1\1", 12,
		    "\"\\x01\\x01\\x01\\x01\\x01\\x01\\x01\\x01\\x01"
		    "\\x01...\"" },
	};
	char buf[PROBE_QUOTE_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(
		    probe_quote(
			buf, (const uint8_t *)rows[i].bytes, rows[i].len),
		    rows[i].text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_own_port),
		cmocka_unit_test(test_connect_timeout),
		cmocka_unit_test(test_tcp_expect),
		cmocka_unit_test(test_tcp_differs),
		cmocka_unit_test(test_tcp_silent),
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_udp_empty),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_no_descriptor),
		cmocka_unit_test(test_quote),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
