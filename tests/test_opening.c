/* portshare/opening.h: the flag is on, and off again whatever happens. */
#include "portshare/opening.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/sockets.h"

static const struct sock_opts none = { 0 };

/* The socket as a scan finds it with this process. */
static struct portscan_socket
found(int fd)
{
	struct portscan_socket s = { .pid = getpid(), .fd = fd };
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	s.inode = st.st_ino;
	return s;
}

static void
sets_and_clears(void **state)
{
	uint16_t port = 0;
	int udp = sockets_open(SOCK_UDP, "127.0.0.1", &none, &port);
	int tcp = sockets_open(SOCK_TCP, "127.0.0.1", &none, &port);
	struct portscan_socket u = found(udp), t = found(tcp);
	struct opening o;

	(void)state;
	opening_init(&o);
	assert_int_equal(opening_add(&o, &u, SOCKFLAG_REUSEADDR), 0);
	assert_int_equal(opening_add(&o, &t, SOCKFLAG_REUSEPORT), 0);
	assert_int_equal(sockflag_get(udp, SOCKFLAG_REUSEADDR), 0);
	assert_int_equal(opening_begin(&o), 0);
	assert_int_equal(sockflag_get(udp, SOCKFLAG_REUSEADDR), 1);
	assert_int_equal(sockflag_get(udp, SOCKFLAG_REUSEPORT), 0);
	assert_int_equal(sockflag_get(tcp, SOCKFLAG_REUSEPORT), 1);
	assert_int_equal(sockflag_get(tcp, SOCKFLAG_REUSEADDR), 0);
	assert_int_equal(opening_end(&o), 0);
	assert_int_equal(sockflag_get(udp, SOCKFLAG_REUSEADDR), 0);
	assert_int_equal(sockflag_get(tcp, SOCKFLAG_REUSEPORT), 0);
	assert_int_equal(opening_end(&o), 0); /* once more does nothing */
	close(udp);
	close(tcp);
}

/* A descriptor whose number names another file by now. */
static void
touches_no_other_socket(void **state)
{
	uint16_t port = 0;
	int fd = sockets_open(SOCK_UDP, "127.0.0.1", &none, &port);
	struct portscan_socket s = found(fd);
	struct opening o;

	(void)state;
	s.inode++;
	opening_init(&o);
	assert_int_equal(opening_add(&o, &s, SOCKFLAG_REUSEADDR), -1);
	assert_int_equal(errno, ENOENT);
	s = found(fd);
	for (int i = 0; i < OPENING_MAX; i++)
		assert_int_equal(opening_add(&o, &s, SOCKFLAG_REUSEADDR), 0);
	assert_int_equal(opening_add(&o, &s, SOCKFLAG_REUSEADDR), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(opening_end(&o), 0);
	close(fd);
}

/* Killed with the port open; who does it is no child of ours. */
static void
closes_when_killed(void **state)
{
	uint16_t port = 0;
	int fd = sockets_open(SOCK_UDP, "127.0.0.1", &none, &port), status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		struct portscan_socket s = found(fd);
		struct opening o;

		opening_init(&o);
		if (opening_add(&o, &s, SOCKFLAG_REUSEADDR) == 0 &&
		    opening_begin(&o) == 0 &&
		    sockflag_get(fd, SOCKFLAG_REUSEADDR) == 1)
			kill(getpid(), SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	for (int i = 0; sockflag_get(fd, SOCKFLAG_REUSEADDR) != 0; i++) {
		assert_true(i < 30000);
		usleep(1000);
	}
	close(fd);
}

/* The keeper killed instead: who opened closes all the same. */
static void
closes_without_its_keeper(void **state)
{
	uint16_t port = 0;
	int fd = sockets_open(SOCK_UDP, "127.0.0.1", &none, &port);
	struct portscan_socket s = found(fd);
	struct opening o;

	(void)state;
	opening_init(&o);
	assert_int_equal(opening_add(&o, &s, SOCKFLAG_REUSEADDR), 0);
	assert_int_equal(opening_begin(&o), 0);
	kill(o.keeper, SIGKILL);
	assert_int_equal(opening_end(&o), 0);
	assert_int_equal(sockflag_get(fd, SOCKFLAG_REUSEADDR), 0);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_and_clears),
		cmocka_unit_test(touches_no_other_socket),
		cmocka_unit_test(closes_when_killed),
		cmocka_unit_test(closes_without_its_keeper),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
