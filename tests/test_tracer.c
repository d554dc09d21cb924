/* net/tracer.h in a network of its own: who takes a packet in. */
#include "net/tracer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/chooser.h"
#include "net/portscan.h"
#include "tests/sockets.h"

static const struct sock_opts none = { 0 };

#ifdef HAVE_TRACER

static uint64_t
cookie_of(int fd)
{
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie = 0;

	assert_int_equal(
	    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
	return cookie;
}

static struct tracer *
opened(enum sock_proto proto, const char *from, const struct addr *to)
{
	struct addr source = sockets_addr(from);
	char why[TRACER_WHY_LEN] = "";
	struct tracer *t = tracer_open(proto, &source, to, why);

	if (t == NULL)
		fail_msg("%s", why);
	return t;
}

/* The sender's port. */
static uint16_t
sent(enum sock_proto proto, const struct addr *to)
{
	int fd = sock_connect(proto, to, &none);
	struct addr local;

	assert_true(fd >= 0);
	if (proto == SOCK_UDP)
		assert_int_equal(send(fd, "x", 1, 0), 1);
	assert_int_equal(sock_local(fd, &local), 0);
	close(fd);
	return addr_port(&local);
}

/* Waits until something was seen. */
static size_t
seen(const struct tracer *t, struct tracer_sight *s, size_t cap)
{
	size_t n = 0;

	for (int i = 0; i < 10000 && n == 0; i++) {
		n = tracer_sights(t, s, cap);
		usleep(1000);
	}
	return n;
}

/* Where the server is bound, and where it is asked. */
static const struct {
	enum sock_proto proto;
	const char *bound, *asked;
} cases[] = {
	{ SOCK_UDP, "127.0.0.1", "127.0.0.1" },
	{ SOCK_UDP, "0.0.0.0", "127.0.0.1" },
	{ SOCK_UDP, "::", "127.0.0.1" },
	{ SOCK_UDP, "::1", "::1" },
	{ SOCK_TCP, "127.0.0.1", "127.0.0.1" },
	{ SOCK_TCP, "::", "127.0.0.1" },
	{ SOCK_TCP, "::1", "::1" },
};

static void
sees_the_socket_that_takes_it_in(void **state)
{
	struct tracer_sight s[4];

	(void)state;
	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint16_t port = 0, from;
		int fd =
		    sockets_open(cases[i].proto, cases[i].bound, &none, &port);
		struct addr to = sockets_addr(cases[i].asked);
		struct tracer *t;

		addr_set_port(&to, port);
		t = opened(cases[i].proto, cases[i].asked, &to);
		assert_int_equal(tracer_sights(t, s, 4), 0);
		from = sent(cases[i].proto, &to);
		assert_int_equal(seen(t, s, 4), 1);
		assert_int_equal(s[0].cookie, cookie_of(fd));
		assert_int_equal(s[0].port, from);
		assert_int_equal(s[0].count, 1);
		tracer_close(t);
		close(fd);
	}
}

/* Another port of the same socket's address, another address, nobody. */
static void
counts_what_was_asked_for_alone(void **state)
{
	struct tracer_sight s[4];
	uint16_t port = 0, other = 0;
	int fd = sockets_open(SOCK_UDP, "0.0.0.0", &none, &port);
	int near = sockets_open(SOCK_UDP, "127.0.0.1", &none, &other);
	struct addr to = sockets_addr("127.0.0.1"), away = to;
	struct addr second = sockets_addr("127.0.0.2");
	struct tracer *t;

	(void)state;
	if (geteuid() != 0)
		skip();
	addr_set_port(&to, port);
	addr_set_port(&away, other);
	addr_set_port(&second, port);
	t = opened(SOCK_UDP, "127.0.0.1", &to);
	sent(SOCK_UDP, &away);
	sent(SOCK_UDP, &second);
	sent(SOCK_UDP, &to); /* in order, on one loopback */
	assert_int_equal(seen(t, s, 4), 1);
	assert_int_equal(s[0].cookie, cookie_of(fd));
	tracer_close(t);
	close(fd);
	close(near);
}

/* What a program of others chose, which nobody can read off a map. */
static void
sees_what_a_program_chose(void **state)
{
	struct tracer_sight s[4];
	uint16_t port = 0, other = 0;
	int bound = sockets_open(SOCK_UDP, "127.0.0.1", &none, &port);
	int chosen = sockets_open(SOCK_UDP, "127.0.0.1", &none, &other);
	int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), link;
	struct addr to = sockets_addr("127.0.0.1");
	struct tracer *t;

	(void)state;
	if (geteuid() != 0)
		skip();
	addr_set_port(&to, port);
	link = chooser_attach(netns, chosen, port);
	assert_true(link >= 0);
	t = opened(SOCK_UDP, "127.0.0.1", &to);
	sent(SOCK_UDP, &to);
	assert_int_equal(seen(t, s, 4), 1);
	assert_int_equal(s[0].cookie, cookie_of(chosen));
	tracer_close(t);
	close(link);
	close(netns);
	close(chosen);
	close(bound);
}

#else

static void
says_that_it_is_not_there(void **state)
{
	struct addr a = sockets_addr("127.0.0.1");
	char why[TRACER_WHY_LEN] = "";

	(void)state;
	assert_null(tracer_open(SOCK_UDP, &a, &a, why));
	assert_non_null(strstr(why, "without libbpf or clang"));
}

#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef HAVE_TRACER
		cmocka_unit_test(sees_the_socket_that_takes_it_in),
		cmocka_unit_test(counts_what_was_asked_for_alone),
		cmocka_unit_test(sees_what_a_program_chose),
#else
		cmocka_unit_test(says_that_it_is_not_there),
#endif
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
