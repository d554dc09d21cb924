#include "proxy/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "net/sock.h"
#include "net/tcp.h"

#define ACCEPT_ROUND 16 /* connections taken in one turn of a listener */
#define LAST_LOOK 4096 /* and before a listener is left for good */
#define PAUSE_S 0.5
#define GRACE_S 0.1 /* who had begun to connect may still arrive */

struct door {
	ev_io io; /* first: a watcher is its door */
	struct acceptor *acceptor;
	struct post post;
	bool ask; /* the connection knows which address and port were asked */
	bool held; /* is left soon: see tcp_hold() */
};

struct acceptor {
	struct ev_loop *loop;
	struct sessions *sessions;
	struct sniffer *sniffer;
	struct tally_worker *tally;
	struct door *doors;
	size_t count;
	struct door *leaving; /* their services are held */
	size_t leaving_count;
	ev_timer grace; /* until those are left */
	acceptor_left_fn *left;
	acceptor_renew_fn *renew;
	void *context;
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

/* Clients wait in the queue meanwhile. */
static void
out_of_fds(struct acceptor *a)
{
	log_limited(&a->no_fd, LOG_LEVEL_WARNING,
	    "tcp: no descriptor left, accept pauses; raise the limit of open "
	    "files or lower tcp_sessions");
	watch_all(a, false);
	tally_raise(&a->tally->accept_pauses, 1);
	ev_timer_stop(a->loop, &a->pause);
	ev_timer_set(&a->pause, PAUSE_S, 0);
	ev_timer_start(a->loop, &a->pause);
}

/* The descriptor in reserve takes one of them off the queue. */
static void
refuse_one(struct acceptor *a, int listener)
{
	struct addr peer;
	int fd;

	if (a->reserve_fd >= 0)
		close(a->reserve_fd);
	fd = tcp_accept(listener, &peer);
	if (fd >= 0) {
		tcp_reset_on_close(fd);
		close(fd);
	}
	a->reserve_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
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
		refuse_one(a, listener);
		out_of_fds(a);
		return;
	default: /* of its network, as accept(2) has it */
		log_limited(&a->fault, LOG_LEVEL_WARNING, "tcp: accept: %m");
	}
}

/*
 * Whose it is: one that began before a reload may be of a port that the
 * socket has no more. NULL: nobody's, or, of a post that is elsewhere, the
 * socket itself was found.
 */
static const struct post *
post_of(const struct door *d, const struct addr *asked)
{
	const struct acceptor *a = d->acceptor;

	if (!d->ask || edge_post_serves(&d->post, asked))
		return &d->post;
	for (size_t i = 0; i < a->count; i++) {
		const struct door *other = &a->doors[i];

		if (other->ask && edge_post_serves(&other->post, asked))
			return &other->post;
	}
	return NULL;
}

static void
refuse(const struct door *d, int fd)
{
	if (!d->post.elsewhere)
		tcp_reset_on_close(fd);
	close(fd);
}

static void
take(struct door *d, int most)
{
	struct acceptor *a = d->acceptor;
	const struct post *post;
	struct addr peer, asked;

	for (int i = 0; i < most; i++) {
		int fd = tcp_accept(d->io.fd, &peer);

		if (fd < 0) {
			accept_fault(a, d->io.fd);
			return;
		}
		if (d->held)
			tcp_hold(fd, false);
		asked = d->post.edge;
		if (d->ask)
			(void)sock_local(fd, &asked);
		post = post_of(d, &asked);
		if (post == NULL)
			refuse(d, fd);
		else if (a->sniffer != NULL)
			sniffer_look(
			    a->sniffer, post->service, fd, &peer, &asked);
		else if (!session_begin(
			     a->sessions, post->service, fd, &peer, &asked)) {
			out_of_fds(a);
			return;
		}
	}
}

static void
accept_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct door *d = (struct door *)io;

	(void)loop;
	(void)events;
	if (!d->acceptor->renew(d->acceptor->context))
		take(d, ACCEPT_ROUND);
}

/* ---- leaving ---- */

/*
 * A listener that is to be closed, or drained, resets those in its queue. So
 * nobody new gets into it for a moment, in which those who had begun arrive
 * and are taken.
 */
static void
hold(struct acceptor *a)
{
	for (size_t i = 0; i < a->leaving_count; i++) {
		struct door *d = &a->leaving[i];

		service_hold(d->post.service);
		d->held = true;
		tcp_hold(d->io.fd, true);
		ev_io_start(a->loop, &d->io);
	}
	if (a->leaving_count > 0)
		ev_timer_start(a->loop, &a->grace);
}

static void
let_go(struct acceptor *a)
{
	for (size_t i = 0; i < a->leaving_count; i++) {
		ev_io_stop(a->loop, &a->leaving[i].io);
		service_release(a->leaving[i].post.service);
	}
	ev_timer_stop(a->loop, &a->grace);
	free(a->leaving);
	a->leaving = NULL;
	a->leaving_count = 0;
}

static void
leave(struct acceptor *a)
{
	for (size_t i = 0; i < a->leaving_count; i++) {
		struct door *d = &a->leaving[i];

		take(d, LAST_LOOK);
		(void)tcp_listen_stop(d->io.fd);
		tcp_hold(d->io.fd, false);
	}
	let_go(a);
}

static void
grace_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct acceptor *a = w->data;

	(void)loop;
	(void)events;
	leave(a);
	a->left(a->context);
}

bool
acceptor_is_leaving(const struct acceptor *a)
{
	return a->leaving_count > 0;
}

void
acceptor_rest(struct acceptor *a)
{
	leave(a); /* those that a reload gave up */
	watch_all(a, false);
	ev_timer_stop(a->loop, &a->pause);
	a->count = 0;
}

/* ---- making and ending ---- */

struct acceptor *
acceptor_new(struct ev_loop *loop, struct sessions *sessions,
    struct sniffer *sniffer, struct tally_worker *tally, acceptor_left_fn *left,
    acceptor_renew_fn *renew, void *context)
{
	struct acceptor *a = calloc(1, sizeof *a);

	if (a == NULL)
		return NULL;
	a->loop = loop;
	a->sessions = sessions;
	a->sniffer = sniffer;
	a->tally = tally;
	a->left = left;
	a->renew = renew;
	a->context = context;
	a->reserve_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	ev_timer_init(&a->pause, pause_event, 0, 0);
	ev_timer_init(&a->grace, grace_event, GRACE_S, 0);
	a->pause.data = a->grace.data = a;
	return a;
}

void
acceptor_free(struct acceptor *a)
{
	if (a == NULL)
		return;
	watch_all(a, false);
	let_go(a);
	ev_timer_stop(a->loop, &a->pause);
	if (a->reserve_fd >= 0)
		close(a->reserve_fd);
	free(a->doors);
	free(a);
}

/* ---- listening ---- */

static void
make_door(struct door *d, struct acceptor *a, const struct post *p)
{
	*d = (struct door){ .acceptor = a,
		.post = *p,
		.ask = addr_is_wildcard(&p->edge) || p->dispatched };
	ev_io_init(&d->io, accept_event, p->fd, EV_READ);
}

static struct door *
make_doors(struct acceptor *a, const struct post *posts, size_t n)
{
	struct door *doors = calloc(n + 1, sizeof *doors);

	for (size_t i = 0; doors != NULL && i < n; i++)
		make_door(&doors[i], a, &posts[i]);
	return doors;
}

static int
compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The doors that are not among the posts; NULL with errno. */
static struct door *
make_leaving(
    struct acceptor *a, const struct post *posts, size_t n, size_t *count)
{
	int *fds = calloc(n + 1, sizeof *fds);
	struct door *list = calloc(a->count + 1, sizeof *list);

	*count = 0;
	if (fds == NULL || list == NULL) {
		free(fds);
		free(list);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		fds[i] = posts[i].fd;
	qsort(fds, n, sizeof *fds, compare_fds);
	for (size_t i = 0; i < a->count; i++) {
		const struct post *p = &a->doors[i].post;

		if (bsearch(&p->fd, fds, n, sizeof *fds, compare_fds) == NULL)
			make_door(&list[(*count)++], a, p);
	}
	free(fds);
	return list;
}

int
acceptor_listen(struct acceptor *a, const struct post *posts, size_t n)
{
	struct door *doors = make_doors(a, posts, n), *leaving = NULL;
	size_t count;

	if (doors != NULL)
		leaving = make_leaving(a, posts, n, &count);
	if (leaving == NULL) {
		free(doors);
		return -1;
	}
	leave(a); /* those of the time before */
	watch_all(a, false);
	free(a->doors);
	a->doors = doors;
	a->count = n;
	a->leaving = leaving;
	a->leaving_count = count;
	hold(a);
	if (!ev_is_active(&a->pause))
		watch_all(a, true);
	return 0;
}
