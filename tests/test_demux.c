/* net/demux.h: two processes with one address, each without the other too. */
#include "net/demux.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include <cmocka.h>

#include "net/listener.h"
#include "tests/child.h"
#include "tests/sockets.h"

#define PLACE "127.0.0.1:2002"
#define CLIENTS 32

static char path[64];

static const struct sock_opts plain = { .v6only = true };

static struct guard *
guard_for(enum steer_kind kind)
{
	const struct guard_setup setup = { .name = "test",
		.path = path,
		.listens = kind == STEER_TIME,
		.owner = geteuid(),
		.group = getegid() };
	char why[GUARD_WHY_LEN] = "";
	struct guard *g = guard_open(&setup, why);

	if (g == NULL)
		dprintf(2, "%s\n", why);
	NEED(g != NULL);
	return g;
}

static void
greet(void *arg, int fd)
{
	(void)arg;
	NEED(write(fd, "time", 4) == 4);
	close(fd);
}

/* The time's side: as long as the parent lives. */
static void
time_side(int ready)
{
	char byte = 'x';
	struct addr a = sockets_addr(PLACE);
	struct guard *g;
	struct demux *d;
	int fds[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	g = guard_for(STEER_TIME);
	d = demux_new(g, STEER_TIME, greet, NULL);
	NEED(d != NULL && demux_listen(d, &a, &plain, 2, fds) == 0);
	NEED(write(ready, &byte, 1) == 1);
	for (;;) {
		struct pollfd p = { .fd = guard_fd(g), .events = POLLIN };

		poll(&p, 1, 1000);
		guard_serve(g);
	}
}

static pid_t
start_time(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0)
		time_side(ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void
end(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* How many of ours have something; all of it is the customer's. */
static size_t
taken(const int *fds, size_t n)
{
	char bytes[16];
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		while (recv(fds[i], bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
			assert_memory_equal(bytes, "customer", 8);
			sum++;
		}
	return sum;
}

static void
say_both(void)
{
	const char frame[12] = "ROUGHTIM";
	struct addr to = sockets_addr(PLACE);

	for (int i = 0; i < CLIENTS; i++) {
		int fd = sock_connect(SOCK_UDP, &to, &plain);

		assert_true(fd >= 0);
		assert_int_equal(send(fd, frame, sizeof frame, 0), 12);
		assert_int_equal(send(fd, "customer", 8, 0), 8);
		close(fd);
	}
}

/* The other comes first, dies, comes back with what we kept for it. */
static void
the_group_outlives_one(void **state)
{
	struct addr a = sockets_addr(PLACE);
	pid_t other = start_time();
	struct guard *g = guard_for(STEER_CUSTOMER);
	struct demux *d = demux_new(g, STEER_CUSTOMER, NULL, NULL);
	int fds[3], pair[2];
	char bytes[8];

	(void)state;
	assert_int_equal(demux_listen(d, &a, &plain, 3, fds), 0);
	say_both();
	assert_int_equal(taken(fds, 3), CLIENTS);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_true(demux_pass(d, pair[0], &a));
	assert_int_equal(read(pair[1], bytes, sizeof bytes), 4);
	close(pair[1]);
	end(other);
	say_both();
	assert_int_equal(taken(fds, 3), CLIENTS);
	assert_true(demux_leave(d, fds, 3));
	say_both();
	assert_int_equal(taken(fds, 3), 0);
	assert_int_equal(demux_listen(d, &a, &plain, 3, fds), 0);
	say_both();
	assert_int_equal(taken(fds, 3), CLIENTS);
	listener_close(fds, 3);
	demux_free(d);
	guard_close(g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_group_outlives_one),
	};
	char directory[] = "/tmp/demux-XXXXXX";
	int result;

	sockets_private();
	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(path, sizeof path, "%s/meet", directory);
	result = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	rmdir(directory);
	return result;
}
