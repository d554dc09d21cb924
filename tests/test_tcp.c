/* Listeners that refuse for a while, or are held; what connections are told and
 * asked. */
#include "net/tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/sockets.h"

#define LONG_MS 10000
#define MOMENT_MS 100 /* loopback connects at once, or not at all */

static const struct sock_opts shared = { .reuseaddr = true, .v6only = true };

static struct addr
at(const char *host, uint16_t port)
{
	struct addr a = sockets_addr(host);

	addr_set_port(&a, port);
	return a;
}

/* errno of a connect(2), 0 for a good one (in *fd), ETIMEDOUT. */
static int
try_connect(const struct addr *to, int *fd, int ms)
{
	struct pollfd p;

	*fd = sock_connect(SOCK_TCP, to, &(struct sock_opts){ .v6only = true });
	if (*fd < 0)
		return errno;
	p = (struct pollfd){ *fd, POLLOUT, 0 };
	return poll(&p, 1, ms) == 1 ? tcp_error(*fd) : ETIMEDOUT;
}

static void
assert_serves(int listener, const struct addr *to)
{
	struct addr peer;
	char c;
	int client, server;
	struct pollfd p;

	assert_int_equal(try_connect(to, &client, LONG_MS), 0);
	p = (struct pollfd){ listener, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, LONG_MS), 1);
	server = tcp_accept(listener, &peer);
	assert_true(server >= 0);
	assert_int_equal(write(client, "x", 1), 1);
	p = (struct pollfd){ server, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, LONG_MS), 1);
	assert_int_equal(read(server, &c, 1), 1);
	close(server);
	close(client);
}

static void
refuses_and_serves_again(const char *host)
{
	uint16_t port = 0;
	int listener = sockets_open(SOCK_TCP, host, &shared, &port), fd;
	struct addr to = at(host, port);

	assert_serves(listener, &to);
	/* twice: the second one changes nothing */
	assert_int_equal(tcp_listen_stop(listener), 0);
	assert_int_equal(tcp_listen_stop(listener), 0);
	assert_int_equal(try_connect(&to, &fd, LONG_MS), ECONNREFUSED);
	close(fd);
	assert_int_equal(tcp_listen_again(listener), 0);
	assert_serves(listener, &to);
	assert_serves(listener, &to);
	close(listener);
}

static void
a_stopped_listener_refuses(void **state)
{
	(void)state;
	refuses_and_serves_again("127.0.0.1");
	refuses_and_serves_again("::1");
}

static void
nobody_else_gets_its_port(void **state)
{
	uint16_t port = 0;
	int listener = sockets_open(SOCK_TCP, "127.0.0.1", &shared, &port);
	struct addr same = at("127.0.0.1", port), all = at("0.0.0.0", port);
	enum sock_step step;

	(void)state;
	assert_int_equal(tcp_listen_stop(listener), 0);
	assert_int_equal(sock_open(SOCK_TCP, &same, &shared, &step), -1);
	assert_int_equal(errno, EADDRINUSE);
	assert_int_equal(sock_open(SOCK_TCP, &all, &shared, &step), -1);
	assert_int_equal(errno, EADDRINUSE);
	close(listener);
}

/* Who is in the queue by then can still be taken; others come later. */
static void
held(const char *host)
{
	uint16_t port = 0;
	int listener = sockets_open(SOCK_TCP, host, &shared, &port);
	struct addr to = at(host, port), peer;
	int before, after, server;
	struct pollfd p;
	char c;

	assert_int_equal(try_connect(&to, &before, LONG_MS), 0);
	tcp_hold(listener, true);
	assert_int_equal(try_connect(&to, &after, MOMENT_MS), ETIMEDOUT);
	server = tcp_accept(listener, &peer);
	assert_true(server >= 0);
	assert_int_equal(write(before, "x", 1), 1);
	p = (struct pollfd){ server, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, LONG_MS), 1);
	assert_int_equal(read(server, &c, 1), 1);
	assert_int_equal(tcp_accept(listener, &peer), -1);
	tcp_hold(listener, false);
	p = (struct pollfd){ after, POLLOUT, 0 };
	assert_int_equal(poll(&p, 1, LONG_MS), 1); /* its SYN came again */
	assert_int_equal(tcp_error(after), 0);
	close(server);
	close(before);
	close(after);
	close(listener);
}

static void
a_held_listener_takes_those_that_came(void **state)
{
	(void)state;
	held("127.0.0.1");
	held("::1");
}

/* Both ends of a connection over loopback; the listener is gone. */
static void
make_pair(int *client, int *server)
{
	uint16_t port = 0;
	int listener = sockets_open(SOCK_TCP, "127.0.0.1", &shared, &port);
	struct addr to = at("127.0.0.1", port), peer;
	struct pollfd p = { listener, POLLIN, 0 };

	assert_int_equal(try_connect(&to, client, LONG_MS), 0);
	assert_int_equal(poll(&p, 1, LONG_MS), 1);
	*server = tcp_accept(listener, &peer);
	assert_true(*server >= 0);
	close(listener);
}

static bool
is_readable(int fd, int ms)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return poll(&p, 1, ms) == 1;
}

/* As a PROXY header in two pieces comes. */
static void
bytes_are_looked_at_before_they_are_taken(void **state)
{
	uint8_t bytes[16] = { 0 };
	int client, server;

	(void)state;
	make_pair(&client, &server);
	assert_int_equal(tcp_peek(server, bytes, sizeof bytes), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(write(client, "abc", 3), 3);
	assert_true(is_readable(server, LONG_MS));
	assert_int_equal(tcp_peek(server, bytes, sizeof bytes), 3);
	assert_int_equal(tcp_peek(server, bytes, 2), 2);
	tcp_readable_from(server, 4);
	assert_false(is_readable(server, MOMENT_MS));
	assert_int_equal(write(client, "def", 3), 3);
	assert_true(is_readable(server, LONG_MS));
	assert_int_equal(tcp_peek(server, bytes, sizeof bytes), 6);
	assert_int_equal(tcp_take(server, bytes, 5), 5);
	assert_memory_equal(bytes, "abcde", 5);
	assert_false(is_readable(server, MOMENT_MS));
	tcp_readable_from(server, 1);
	assert_true(is_readable(server, LONG_MS));
	close(client);
	close(server);
}

/* The end is told even when fewer bytes wait than were asked for. */
static void
the_end_is_readable(void **state)
{
	uint8_t bytes[16];
	int client, server;

	(void)state;
	make_pair(&client, &server);
	assert_int_equal(write(client, "abc", 3), 3);
	tcp_readable_from(server, 9);
	assert_false(is_readable(server, MOMENT_MS));
	assert_false(tcp_is_ended(server));
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	assert_true(is_readable(server, LONG_MS));
	assert_int_equal(tcp_peek(server, bytes, sizeof bytes), 3);
	assert_true(tcp_is_ended(server));
	assert_false(tcp_is_ended(client));
	assert_int_equal(tcp_take(server, bytes, sizeof bytes), 3);
	assert_int_equal(tcp_peek(server, bytes, sizeof bytes), 0);
	close(client);
	close(server);
}

static int
keepalive(int fd, int *idle_s)
{
	int on = -1;
	socklen_t len = sizeof on;

	assert_int_equal(
	    getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
	len = sizeof *idle_s;
	assert_int_equal(
	    getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s, &len), 0);
	return on;
}

static void
keepalive_goes_on_and_off(void **state)
{
	int client, server, idle_s;

	(void)state;
	make_pair(&client, &server);
	assert_int_equal(keepalive(client, &idle_s), 0);
	assert_int_equal(tcp_keepalive(client, 77), 0);
	assert_int_equal(keepalive(client, &idle_s), 1);
	assert_int_equal(idle_s, 77);
	assert_int_equal(tcp_keepalive(client, 0), 0);
	assert_int_equal(keepalive(client, &idle_s), 0);
	assert_int_equal(tcp_keepalive(client, 40000), -1);
	close(client);
	close(server);
}

/* Whatever the host allows: bytes that did not go early go later. */
static void
early_bytes_come_once(void **state)
{
	struct sock_opts listening = shared;
	uint16_t port = 0;
	int listener;

	(void)state;
	listening.fast_open = 16;
	listener = sockets_open(SOCK_TCP, "127.0.0.1", &listening, &port);
	for (int i = 0; i < 3; i++) {
		struct addr to = at("127.0.0.1", port), peer;
		struct sock_early early = { (const uint8_t *)"early", 5, 9 };
		struct sock_opts o = { .early = &early };
		int fd = sock_connect(SOCK_TCP, &to, &o), server;
		char bytes[9];

		assert_true(fd >= 0);
		assert_true(early.sent == 0 || early.sent == 5);
		assert_true(is_readable(listener, LONG_MS));
		server = tcp_accept(listener, &peer);
		assert_int_equal(
		    write(fd, "early!" + early.sent, 6 - early.sent),
		    (ssize_t)(6 - early.sent));
		tcp_readable_from(server, 6);
		assert_true(is_readable(server, LONG_MS));
		assert_int_equal(read(server, bytes, sizeof bytes), 6);
		assert_memory_equal(bytes, "early!", 6);
		close(fd);
		close(server);
	}
	assert_int_equal(tcp_fast_open(listener, 0), 0);
	assert_int_equal(tcp_fast_open(listener, -1), -1);
	close(listener);
}

static void
expect_congestion(int fd, const char *name)
{
	char has[16] = "";
	socklen_t len = sizeof has;

	assert_int_equal(
	    getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, has, &len), 0);
	assert_string_equal(has, name);
}

/* reno is built into every kernel, and anybody may have it. */
static void
congestion_control_is_inherited(void **state)
{
	struct sock_opts opts = shared;
	struct addr to, peer;
	uint16_t port = 0;
	int listener, fd, server;

	(void)state;
	opts.congestion = "reno";
	listener = sockets_open(SOCK_TCP, "127.0.0.1", &opts, &port);
	to = at("127.0.0.1", port);
	fd = sock_connect(SOCK_TCP, &to, &opts);
	assert_true(fd >= 0);
	assert_true(is_readable(listener, LONG_MS));
	server = tcp_accept(listener, &peer);
	expect_congestion(fd, "reno");
	expect_congestion(server, "reno");
	tcp_congestion(server, "none-such");
	tcp_congestion(server, NULL);
	expect_congestion(server, "reno");
	assert_true(tcp_may_congestion("reno"));
	assert_false(tcp_may_congestion("none-such"));
	assert_false(tcp_may_congestion("ren"));
	close(fd);
	close(server);
	close(listener);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stopped_listener_refuses),
		cmocka_unit_test(nobody_else_gets_its_port),
		cmocka_unit_test(a_held_listener_takes_those_that_came),
		cmocka_unit_test(bytes_are_looked_at_before_they_are_taken),
		cmocka_unit_test(the_end_is_readable),
		cmocka_unit_test(keepalive_goes_on_and_off),
		cmocka_unit_test(early_bytes_come_once),
		cmocka_unit_test(congestion_control_is_inherited),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
