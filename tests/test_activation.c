/* net/activation.h: sockets that were handed over. */
#include "net/activation.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/capture.h"
#include "tests/child.h"
#include "tests/sockets.h"

#define FIRST 3

/* Descriptors from 3 on, for this very process, as sd_listen_fds(3) has it. */
static void
hand_over(const int *fds, int n)
{
	char count[16], pid[16];

	for (int i = 0; i < n; i++)
		NEED(fcntl(fds[i], F_DUPFD, 100 + i) >= 0);
	for (int i = 0; i < n; i++)
		NEED(dup2(100 + i, FIRST + i) == FIRST + i);
	snprintf(count, sizeof count, "%d", n);
	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	setenv("LISTEN_FDS", count, 1);
	setenv("LISTEN_PID", pid, 1);
}

static int
made(enum sock_proto proto, const char *text)
{
	const struct sock_opts o = { .reuseport = true, .v6only = true };
	struct addr a = sockets_addr(text);
	enum sock_step step;
	int fd = sock_open(proto, &a, &o, &step);

	NEED(fd >= 0);
	NEED(fcntl(fd, F_SETFL, 0) == 0); /* blocking, as systemd has them */
	return fd;
}

#define PLACE "127.0.0.1:2002"

static void
claims_by_address(void)
{
	const struct sock_opts o = { .v6only = true };
	struct addr place = sockets_addr(PLACE);
	struct addr other = sockets_addr("127.0.0.2:2002");
	int fds[] = { made(SOCK_TCP, PLACE), made(SOCK_UDP, PLACE),
		made(SOCK_UDP, PLACE), made(SOCK_UDP, "127.0.0.2:2002") };
	struct activation *a;
	int got[2] = { -1, -1 };

	hand_over(fds, 4);
	a = activation_open();
	NEED(a != NULL);
	NEED(getenv("LISTEN_FDS") == NULL);
	NEED(activation_claim(a, SOCK_UDP, &place, &o, 2, got) == 0);
	NEED(got[0] == FIRST + 1 && got[1] == FIRST + 2);
	NEED((fcntl(got[0], F_GETFL) & O_NONBLOCK) != 0);
	NEED((fcntl(got[0], F_GETFD) & FD_CLOEXEC) != 0);
	NEED(activation_claim(a, SOCK_TCP, &place, &o, 1, got) == 0);
	NEED(got[0] == FIRST);
	NEED(!activation_settle(a)); /* one is left */
	NEED(activation_claim(a, SOCK_UDP, &other, &o, 2, got) == -1);
	NEED(activation_claim(a, SOCK_UDP, &other, &o, 1, got) == 0);
	NEED(activation_settle(a));
	NEED(activation_claim(a, SOCK_TCP, &other, &o, 1, got) == -1);
	activation_free(a);
}

static int
listens(int fd)
{
	int value = -1;
	socklen_t len = sizeof value;

	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len);
	return value;
}

/* Before the start is through nothing is done to what others have as well. */
static void
gives_back(void)
{
	const struct sock_opts o = { .v6only = true };
	struct addr place = sockets_addr(PLACE);
	int fds[] = { made(SOCK_TCP, PLACE) }, got[1];
	struct activation *a;

	hand_over(fds, 1);
	a = activation_open();
	NEED(a != NULL);
	NEED(activation_claim(a, SOCK_TCP, &place, &o, 1, got) == 0);
	activation_give_back(a, got, 1);
	NEED(listens(FIRST) == 1);
	NEED(activation_settle(a));
	activation_give_back(a, got, 1);
	NEED(listens(FIRST) == 0);
	NEED(activation_claim(a, SOCK_TCP, &place, &o, 1, got) == 0);
	NEED(listens(FIRST) == 1);
	activation_free(a);
}

static void
wants_some(void)
{
	unsetenv("LISTEN_FDS");
	NEED(activation_open() == NULL);
	activation_ignore();
}

static void
wants_sockets(void)
{
	int fds[] = { open("/dev/null", O_RDONLY) };

	hand_over(fds, 1);
	NEED(activation_open() == NULL);
}

static void
in_a_process_of_its_own(void **state)
{
	static void (*const bodies[])(void) = { claims_by_address, gives_back,
		wants_some, wants_sockets };

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
		child_good(bodies[i]);
}

static void
says_what_it_wants(void **state)
{
	struct capture c;

	(void)state;
	capture_begin(&c);
	child_good(wants_some);
	child_good(wants_sockets);
	child_good(claims_by_address);
	capture_end(&c);
	assert_int_equal(capture_count(&c, "no socket was handed over"), 1);
	assert_int_equal(
	    capture_count(&c, "descriptor 3, which was handed over, is no"), 1);
	assert_int_equal(
	    capture_count(&c, "udp 127.0.0.2:2002: a socket for it was"), 1);
	assert_int_equal(capture_count(&c,
			     "udp 127.0.0.2:2002: sockets handed over: 1, "
			     "expected 2"),
	    1);
	assert_int_equal(
	    capture_count(&c, "tcp 127.0.0.2:2002: no socket for it"), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_a_process_of_its_own),
		cmocka_unit_test(says_what_it_wants),
	};

#ifndef HAVE_LIBSYSTEMD
	print_message("built without libsystemd: not run\n");
	return 0;
#endif
	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
