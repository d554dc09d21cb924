/*
 * Who takes the filters of net/fastpath away: no link holds them, and the
 * daemon gives up the right to. A child that has it, and nothing else, waits
 * on a pipe until the daemon has ended, however that was.
 */
#include "net/fastpath_inner.h"

#ifdef HAVE_FASTPATH

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/priv.h"

static bool
has_filters(const struct fastpath *f)
{
	for (size_t i = 0; i < f->used; i++)
		if (f->places[i].hold[FASTPATH_IN].link < 0)
			return true;
	return false;
}

/* Nobody's port, log or map must live on in us. */
static void
keep_only(int fd)
{
	static const int deaf_to[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };

	for (size_t i = 0; i < sizeof deaf_to / sizeof *deaf_to; i++)
		signal(deaf_to[i], SIG_IGN);
	if (fd > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned int)fd - 1, 0);
	close_range((unsigned int)fd + 1, UINT_MAX, 0);
}

static void
inherit(const struct fastpath *f, int fd, const char *user)
{
	static const int caps[] = { CAP_NET_ADMIN };
	char byte;

	keep_only(fd);
	prctl(PR_SET_NAME, "l4proxyd-heir");
	if (priv_drop_keep(user, caps, 1) != 0)
		_exit(1);
	while (read(fd, &byte, 1) < 0 && errno == EINTR)
		continue;
	for (size_t i = 0; i < f->used; i++)
		fastpath_remove_filters(&f->places[i]);
	_exit(0);
}

int
fastpath_leave_heir(struct fastpath *f, const char *user)
{
	int ends[2];

	if (!has_filters(f))
		return 0;
	if (pipe2(ends, O_CLOEXEC) != 0)
		return -1;
	f->heir = fork();
	if (f->heir == 0)
		inherit(f, ends[0], user);
	close(ends[0]);
	if (f->heir > 0) {
		f->alive = ends[1];
		return 0;
	}
	close(ends[1]);
	return -1;
}

void
fastpath_await_heir(struct fastpath *f)
{
	if (f->heir <= 0)
		return;
	close(f->alive);
	while (waitpid(f->heir, NULL, 0) < 0 && errno == EINTR)
		continue;
}

#endif
