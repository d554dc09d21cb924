/*
 * Who takes the filters of net/fastpath away: no link holds them, and the
 * daemon gives up the right to. A child that has it, and the programs, and
 * nothing else, waits on a pipe until the daemon has ended, however that was.
 * Meanwhile it puts the programs on an interface that has come back: by the
 * name that one had, and no other.
 */
#include "net/fastpath_inner.h"

#ifdef HAVE_FASTPATH

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/priv.h"
#include "net/device.h"

static bool
has_filters(const struct fastpath *f)
{
	for (size_t i = 0; i < f->used; i++)
		if (f->places[i].hold[FASTPATH_IN].link < 0)
			return true;
	return false;
}

/* What the daemon asks for. */
struct wish {
	uint32_t place;
	uint32_t device; /* where that is now */
};

static int
by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Nobody's port, log or map must live on in us. */
static void
keep_only(int *fds, size_t n)
{
	static const int deaf_to[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
	unsigned int from = STDERR_FILENO + 1;

	for (size_t i = 0; i < sizeof deaf_to / sizeof *deaf_to; i++)
		signal(deaf_to[i], SIG_IGN);
	qsort(fds, n, sizeof *fds, by_number);
	for (size_t i = 0; i < n; i++) {
		if ((unsigned int)fds[i] > from)
			close_range(from, (unsigned int)fds[i] - 1, 0);
		from = (unsigned int)fds[i] + 1;
	}
	close_range(from, UINT_MAX, 0);
}

/* Where they are is as they were found the last time; what cannot be put there
 * is asked for again. */
static void
fulfil(struct fastpath *f, const struct wish *w)
{
	struct fastpath_place *at;

	if (w->place >= f->used)
		return;
	at = &f->places[w->place];
	if (device_named(at->name) != w->device || w->device == at->device)
		return;
	at->device = w->device;
	if (fastpath_add_filter(f, at, FASTPATH_OUT) == 0 &&
	    fastpath_add_filter(f, at, FASTPATH_IN) == 0)
		return;
	fastpath_remove_filters(at);
	at->device = 0;
}

static void
inherit(struct fastpath *f, int fd, const char *user)
{
	static const int caps[] = { CAP_NET_ADMIN };
	int fds[] = { fd, f->program[FASTPATH_IN], f->program[FASTPATH_OUT] };
	struct wish w;
	ssize_t n;

	keep_only(fds, sizeof fds / sizeof *fds);
	prctl(PR_SET_NAME, "l4proxyd-heir");
	if (priv_drop_keep(user, caps, 1) != 0)
		_exit(1);
	while ((n = read(fd, &w, sizeof w)) != 0)
		if (n == (ssize_t)sizeof w)
			fulfil(f, &w);
		else if (errno != EINTR)
			break;
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
	(void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
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

/* By the id of our program, whichever priority the heir has found free. */
static bool
find_filter(struct fastpath_place *at, enum fastpath_gate gate)
{
	for (uint32_t i = 0; i < FASTPATH_PRIORITIES; i++) {
		at->hold[gate].priority = FASTPATH_PRIORITY + i;
		if (fastpath_filter_in(at, gate) == at->hold[gate].program)
			return true;
	}
	return false;
}

bool
fastpath_filter_again(
    struct fastpath *f, struct fastpath_place *at, unsigned int device)
{
	const struct wish w = { .place = (uint32_t)(at - f->places),
		.device = device };

	if (device == at->device && find_filter(at, FASTPATH_IN) &&
	    find_filter(at, FASTPATH_OUT))
		return true;
	(void)!write(f->alive, &w, sizeof w);
	__atomic_store_n(&at->shared, true, __ATOMIC_RELAXED); /* who knows */
	__atomic_store_n(&at->device, device, __ATOMIC_RELEASE);
	return false;
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
