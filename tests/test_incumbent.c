/* net/incumbent.h: what a daemon's own sockets are to a test beside it. */
#include "net/incumbent.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/sockets.h"

static const struct sock_opts none = { .v6only = true };

/* What the incumbent holds, what another process does, what is wanted. */
static const struct {
	const char *own, *other, *wanted;
	bool makes_way;
} cases[] = {
	{ "127.0.0.1", NULL, "127.0.0.1", true },
	{ "127.0.0.1", NULL, "0.0.0.0", true },
	{ "0.0.0.0", NULL, "127.0.0.1", true },
	{ "127.0.0.1", "127.0.0.2", "127.0.0.1", true },
	{ "127.0.0.1", "127.0.0.2", "0.0.0.0", false },
	{ NULL, "127.0.0.1", "127.0.0.1", false },
	{ NULL, "127.0.0.1", "0.0.0.0", false },
	{ "::1", "127.0.0.1", "::1", true },
	{ "::1", "127.0.0.1", "0.0.0.0", false },
};

/* A process that has `own` open and not `other`. */
static pid_t
start_incumbent(int other)
{
	int ready[2];
	char byte = 0;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (other >= 0)
			close(other);
		(void)!write(ready[1], &byte, 1);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void
stop_incumbent(pid_t pid, int own, int other)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(own);
	close(other);
}

static void
check(enum sock_proto proto, size_t i)
{
	uint16_t port = 0;
	int own = -1, other = -1;
	struct incumbent *in;
	struct addr wanted;
	pid_t pid;

	if (cases[i].own != NULL)
		own = sockets_open(proto, cases[i].own, &none, &port);
	if (cases[i].other != NULL)
		other = sockets_open(proto, cases[i].other, &none, &port);
	wanted = sockets_addr(cases[i].wanted);
	addr_set_port(&wanted, port);
	pid = start_incumbent(other);
	in = incumbent_new(pid);
	assert_non_null(in);
	assert_int_equal(incumbent_pid(in), pid);
	assert_int_equal(
	    incumbent_makes_way(in, proto, &wanted, &none), cases[i].makes_way);
	incumbent_free(in);
	stop_incumbent(pid, own, other);
}

static void
only_its_own_sockets_make_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		check(SOCK_UDP, i);
		check(SOCK_TCP, i);
	}
}

/* The kernel lists listeners in no order: the incumbent's may come first. */
static void
it_is_never_to_blame(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		uint16_t port = 0;
		int own = sockets_open(SOCK_TCP, "127.0.0.1", &none, &port);
		int other = sockets_open(SOCK_TCP, "127.0.0.2", &none, &port);
		pid_t pid = start_incumbent(other);
		struct incumbent *in = incumbent_new(pid);
		struct sock_opts o = { .v6only = true, .beside = in };
		struct addr wanted = sockets_addr("0.0.0.0");
		char line[512];

		assert_non_null(in);
		addr_set_port(&wanted, port);
		incumbent_explain(line, sizeof line, SOCK_TCP, &wanted, &o);
		assert_non_null(strstr(line, " on 127.0.0.2:"));
		incumbent_free(in);
		stop_incumbent(pid, own, other);
	}
}

static void
nobody_is_no_incumbent(void **state)
{
	(void)state;
	assert_null(incumbent_new(INT_MAX));
	assert_int_equal(incumbent_pid(NULL), 0);
	incumbent_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_its_own_sockets_make_way),
		cmocka_unit_test(it_is_never_to_blame),
		cmocka_unit_test(nobody_is_no_incumbent),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
