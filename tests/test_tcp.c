/* Listeners that refuse for a while, or are held. */
#include "net/tcp.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stopped_listener_refuses),
		cmocka_unit_test(nobody_else_gets_its_port),
		cmocka_unit_test(a_held_listener_takes_those_that_came),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
