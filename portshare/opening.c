#include "portshare/opening.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "net/portowner.h"

void
opening_init(struct opening *o)
{
	o->n = 0;
	o->keeper = 0;
	o->word = -1;
}

int
opening_add(
    struct opening *o, const struct portscan_socket *s, enum sockflag flag)
{
	int fd;

	if (o->n == OPENING_MAX) {
		errno = ENOSPC;
		return -1;
	}
	fd = portowner_copy(s);
	if (fd < 0)
		return -1;
	o->fds[o->n] = fd;
	o->flags[o->n++] = flag;
	return 0;
}

static size_t
clear(const struct opening *o)
{
	size_t left = 0;

	for (size_t i = 0; i < o->n; i++) {
		(void)sockflag_set(o->fds[i], o->flags[i], false);
		left += sockflag_get(o->fds[i], o->flags[i]) != 0;
	}
	return left;
}

/*
 * Out of the terminal's reach, deaf to all but SIGKILL. A byte means that all
 * is done; the end of the line without one, that nobody did it.
 */
static _Noreturn void
keep(const struct opening *o, int line)
{
	sigset_t all;
	ssize_t n;
	char byte = 0;

	setsid();
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_NAME, "portshare-keep");
	if (write(line, &byte, 1) != 1)
		_exit(1);
	do
		n = read(line, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1 && clear(o) == 0)
		log_warning("killed with the port open: closed it");
	_exit(0);
}

static int
start_keeper(struct opening *o)
{
	int line[2];
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0)
		return -1;
	o->keeper = fork();
	if (o->keeper == 0) {
		close(line[0]);
		keep(o, line[1]);
	}
	close(line[1]);
	o->word = line[0];
	if (o->keeper > 0 && read(o->word, &byte, 1) == 1)
		return 0;
	return -1;
}

int
opening_begin(struct opening *o)
{
	int saved;

	if (start_keeper(o) < 0)
		goto fail;
	for (size_t i = 0; i < o->n; i++)
		if (sockflag_set(o->fds[i], o->flags[i], true) < 0)
			goto fail;
	return 0;
fail:
	saved = errno;
	opening_end(o);
	errno = saved;
	return -1;
}

size_t
opening_end(struct opening *o)
{
	size_t left = o->keeper != 0 ? clear(o) : 0;

	if (o->word >= 0) {
		/* a keeper that is gone needs no word */
		(void)send(o->word, "", 1, MSG_NOSIGNAL);
		close(o->word);
	}
	if (o->keeper > 0)
		waitpid(o->keeper, NULL, 0);
	for (size_t i = 0; i < o->n; i++)
		close(o->fds[i]);
	opening_init(o);
	return left;
}
