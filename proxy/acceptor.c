#include "proxy/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "net/tcp.h"

#define ACCEPT_ROUND 16 /* connections taken in one turn of a listener */
#define LAST_LOOK 4096 /* and before a listener is left for good */
#define PAUSE_S 0.5

struct door {
	ev_io io; /* first: a watcher is its door */
	struct acceptor *acceptor;
	struct service *service;
	struct addr edge;
};

struct acceptor {
	struct ev_loop *loop;
	struct sessions *sessions;
	struct tally_worker *tally;
	struct door *doors;
	size_t count;
	ev_timer pause; /* until accept is tried again */
	int reserve_fd; /* given up to refuse a client when fds run out */
	struct log_gate no_fd, fault;
};

static void
watch_all(struct acceptor *a, bool on)
{
	for (size_t i = 0; i < a->count; i++) {
		if (on)
			ev_io_start(a->loop, &a->doors[i].io);
		else
			ev_io_stop(a->loop, &a->doors[i].io);
	}
}

static void
pause_event(struct ev_loop *loop, ev_timer *w, int events)
{
	(void)loop;
	(void)events;
	watch_all(w->data, true);
}

/* The descriptor in reserve takes one client off the queue. */
static void
out_of_fds(struct acceptor *a, int listener)
{
	struct addr peer;
	int fd;

	log_limited(&a->no_fd, LOG_LEVEL_WARNING,
	    "tcp: no descriptor left, accept pauses; raise the limit of open "
	    "files or lower tcp_sessions");
	if (a->reserve_fd >= 0)
		close(a->reserve_fd);
	fd = tcp_accept(listener, &peer);
	if (fd >= 0) {
		tcp_reset_on_close(fd);
		close(fd);
	}
	a->reserve_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	watch_all(a, false);
	tally_raise(&a->tally->accept_pauses, 1);
	ev_timer_stop(a->loop, &a->pause);
	ev_timer_set(&a->pause, PAUSE_S, 0);
	ev_timer_start(a->loop, &a->pause);
}

static void
accept_fault(struct acceptor *a, int listener)
{
	switch (errno) {
	case EAGAIN:
	case EINTR:
	case ECONNABORTED: /* the client went away before we came */
		return;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		out_of_fds(a, listener);
		return;
	default: /* of its network, as accept(2) has it */
		log_limited(&a->fault, LOG_LEVEL_WARNING, "tcp: accept: %m");
	}
}

static void
take(struct door *d, int most, bool held)
{
	struct acceptor *a = d->acceptor;
	struct addr peer;

	for (int i = 0; i < most; i++) {
		int fd = tcp_accept(d->io.fd, &peer);

		if (fd < 0) {
			accept_fault(a, d->io.fd);
			return;
		}
		if (held)
			tcp_hold(fd, false);
		session_begin(a->sessions, d->service, fd, &peer, &d->edge);
	}
}

static void
accept_event(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	(void)events;
	take((struct door *)io, ACCEPT_ROUND, false);
}

struct acceptor *
acceptor_new(
    struct ev_loop *loop, struct sessions *sessions, struct tally_worker *tally)
{
	struct acceptor *a = calloc(1, sizeof *a);

	if (a == NULL)
		return NULL;
	a->loop = loop;
	a->sessions = sessions;
	a->tally = tally;
	a->reserve_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	ev_timer_init(&a->pause, pause_event, 0, 0);
	a->pause.data = a;
	return a;
}

void
acceptor_free(struct acceptor *a)
{
	if (a == NULL)
		return;
	watch_all(a, false);
	ev_timer_stop(a->loop, &a->pause);
	if (a->reserve_fd >= 0)
		close(a->reserve_fd);
	free(a->doors);
	free(a);
}

static struct door *
make_doors(struct acceptor *a, const struct post *posts, size_t n)
{
	struct door *doors = calloc(n + 1, sizeof *doors);

	for (size_t i = 0; doors != NULL && i < n; i++) {
		doors[i].acceptor = a;
		doors[i].service = posts[i].service;
		doors[i].edge = posts[i].edge;
		ev_io_init(&doors[i].io, accept_event, posts[i].fd, EV_READ);
	}
	return doors;
}

static int
compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/*
 * A listener that is to be closed, or drained, resets those in its queue: so
 * nobody comes into it while the last of them are taken.
 */
static void
leave(struct door *d)
{
	tcp_hold(d->io.fd, true);
	take(d, LAST_LOOK, true);
	(void)tcp_listen_stop(d->io.fd);
	tcp_hold(d->io.fd, false);
}

static int
last_look(struct acceptor *a, const struct post *posts, size_t n)
{
	int *fds = calloc(n + 1, sizeof *fds);

	if (fds == NULL)
		return -1;
	for (size_t i = 0; i < n; i++)
		fds[i] = posts[i].fd;
	qsort(fds, n, sizeof *fds, compare_fds);
	for (size_t i = 0; i < a->count; i++) {
		struct door *d = &a->doors[i];

		if (bsearch(&d->io.fd, fds, n, sizeof *fds, compare_fds) ==
		    NULL)
			leave(d);
	}
	free(fds);
	return 0;
}

int
acceptor_listen(struct acceptor *a, const struct post *posts, size_t n)
{
	struct door *doors = make_doors(a, posts, n);

	if (doors == NULL || last_look(a, posts, n) != 0) {
		free(doors);
		return -1;
	}
	watch_all(a, false);
	free(a->doors);
	a->doors = doors;
	a->count = n;
	if (!ev_is_active(&a->pause))
		watch_all(a, true);
	return 0;
}
