/*
 * Pieces of a test that run in a child of their own, because there is no way
 * back: rights that were given up, filters, the end of a process.
 */
#ifndef TESTS_CHILD_H
#define TESTS_CHILD_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* For `body`, where cmocka's assertions must not run. */
#define NEED(what)                                                        \
	do {                                                              \
		if (!(what)) {                                            \
			dprintf(2, "line %d: %s (%s)\n", __LINE__, #what, \
			    strerror(errno));                             \
			_exit(1);                                         \
		}                                                         \
	} while (0)

/* Returns the child's wait status. */
static inline int
child_run(void (*body)(void))
{
	int status = -1;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		body();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* The child ends by itself, with 0. */
static inline void
child_good(void (*body)(void))
{
	int status = child_run(body);

	if (WIFSIGNALED(status))
		fail_msg("killed by signal %d", WTERMSIG(status));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
