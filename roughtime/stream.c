#include "roughtime/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/listener.h"
#include "net/tcp.h"

#define ACCEPT_ROUND 16 /* connections taken in one turn of a listener */
#define ACCEPT_LAST_ROUNDS 256 /* SOMAXCONN is 4096 */
#define ACCEPT_PAUSE_S 0.5
#define TICK_S 0.25
#define READ_CAP 16384 /* several requests a read, where a client has them */
#define DRAIN_NS 1000000000u /* clients who never stop sending end here */

struct listener {
	ev_io io;
	struct stream *stream;
};

struct stream {
	struct stream_setup setup;
	struct listener listeners[LISTEN_MAX];
	size_t listener_count;
	struct conn *conns;
	uint8_t *buffers;
	size_t buffers_len;
	struct conn *free, *open;
	size_t count;
	struct conn *turn;
	struct response_job *jobs;
	struct conn **owner; /* of each job */
	size_t job_count;
	const struct guard_places *foreign; /* NULL: none */
	ev_timer tick; /* while connections are open */
	ev_timer pause; /* until accept is tried again */
	ev_idle more; /* while some have more to be answered */
	bool resting; /* this turn had its batch */
	bool draining;
	int reserve_fd; /* given up to refuse a client when fds run out */
	struct log_gate no_fd;
};

bool
stream_fatal(enum request_reject reject)
{
	switch (reject) {
	case REQUEST_OK:
	case REQUEST_VERSION_UNKNOWN:
	case REQUEST_NONCE_LENGTH:
	case REQUEST_SRV_UNKNOWN:
	case REQUEST_SRV_MISSING:
		return false;
	default:
		return true;
	}
}

static void
count(struct stream *s, unsigned int which, uint64_t n)
{
	counters_add(s->setup.answer->counters, which, n);
}

/* ---- one connection ---- */

static void
close_now(struct conn *c, unsigned int reason)
{
	struct stream *s = c->owner;

	count(s, reason, 1);
	ev_io_stop(s->setup.loop, &c->io);
	close(c->io.fd);
	admission_leave(s->setup.admission, &c->peer);
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		s->open = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	c->next = s->free;
	s->free = c;
	if (--s->count == 0)
		ev_timer_stop(s->setup.loop, &s->tick);
}

static void
join_turn(struct conn *c)
{
	struct stream *s = c->owner;

	if (c->in_turn)
		return;
	c->in_turn = true;
	c->turn_next = s->turn;
	s->turn = c;
}

static void
take_request(struct conn *c, struct view packet, uint64_t now_ns)
{
	struct stream *s = c->owner;
	struct response_job *job = &s->jobs[s->job_count];
	enum request_reject reject;
	bool limited;

	count(s, COUNTER_TCP_RECEIVED, 1);
	reject = answer_admit(
	    s->setup.answer, job, packet, 0, &c->peer, now_ns, &limited);
	if (stream_fatal(reject))
		conn_end(c, COUNTER_TCP_CLOSED_BAD_REQUEST);
	if (reject != REQUEST_OK || limited)
		return;
	job->out = conn_reply_room(c);
	job->cap = RESPONSE_MAX;
	job->any_length = s->setup.answer->tcp_any_length;
	s->owner[s->job_count++] = c;
}

/* Makes jobs of whole frames, as far as there is room for their replies.
 * True: this turn goes on for it. */
static bool
take(struct conn *c, uint64_t now_ns)
{
	struct stream *s = c->owner;
	struct view packet;

	while (s->job_count < s->setup.answer->batch) {
		if (!conn_next(c, now_ns, &packet))
			return c->jobs > 0;
		take_request(c, packet, now_ns);
	}
	return true;
}

static void
watch(struct conn *c)
{
	struct stream *s = c->owner;
	int events = conn_events(c);

	if (c->io.events == events && ev_is_active(&c->io))
		return;
	ev_io_stop(s->setup.loop, &c->io);
	ev_io_set(&c->io, c->io.fd, events);
	ev_io_start(s->setup.loop, &c->io);
}

/* After this turn's replies are in `out`: write, go on, or close. */
static void
settle(struct conn *c)
{
	struct stream *s = c->owner;
	uint64_t now_ns = clock_monotonic_ns();
	bool writable;

	conn_shift(c);
	writable = conn_write(c, now_ns);
	if (writable && (s->resting ? c->in_len > 0 : take(c, now_ns))) {
		join_turn(c);
		return;
	}
	conn_shift(c); /* frames that gave no job */
	if (c->eof && !c->held)
		conn_end(c,
		    c->in_len > 0 ? COUNTER_TCP_CLOSED_FRAME_CUT
				  : COUNTER_TCP_CLOSED_PEER);
	if (s->draining && !c->held)
		conn_end(c, COUNTER_TCP_CLOSED_STOPPING);
	if (c->closing && (!writable || !conn_waiting(c)))
		close_now(c, c->reason);
	else
		watch(c);
}

static void
conn_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct conn *c = (struct conn *)io;

	(void)loop;
	if ((events & EV_READ) && !((struct stream *)c->owner)->draining) {
		conn_read(c);
		take(c, clock_monotonic_ns());
	}
	join_turn(c); /* settling writes, too */
}

/* ---- a turn over all connections ---- */

static void
commit_replies(struct stream *s)
{
	for (size_t i = 0; i < s->job_count; i++) {
		struct response_job *job = &s->jobs[i];
		struct conn *c = s->owner[i];

		if (job->len > 0) {
			conn_reply(c, job->out, job->len);
			count(s, COUNTER_TCP_SENT, 1);
		}
	}
	s->job_count = 0;
}

/*
 * One batch, or none when nobody has a whole frame. Whoever has more stays in
 * the turn, without jobs: UDP and the main thread's words come in between,
 * however much the buffers hold, and jobs never outlive the snapshot.
 */
void
stream_flush(struct stream *s)
{
	s->resting = false;
	while (s->turn != NULL && !s->resting) {
		struct conn *c = s->turn, *next;

		if (s->job_count > 0) {
			count(s, COUNTER_TCP_BATCHES, 1);
			answer_jobs(s->setup.answer, s->jobs, s->job_count);
			commit_replies(s);
			s->resting = true;
		}
		s->turn = NULL;
		for (; c != NULL; c = next) {
			next = c->turn_next;
			c->in_turn = false;
			settle(c);
		}
	}
	if (s->turn != NULL)
		ev_idle_start(s->setup.loop, &s->more);
	else
		ev_idle_stop(s->setup.loop, &s->more);
}

static void
more_event(struct ev_loop *loop, ev_idle *w, int events)
{
	(void)loop; /* that it is active is enough: the loop does not wait */
	(void)w;
	(void)events;
}

static void
tick_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct stream *s = w->data;
	uint64_t now_ns = clock_monotonic_ns();
	struct conn *c, *next;

	(void)loop;
	(void)events;
	for (c = s->open; c != NULL; c = next) {
		unsigned int reason =
		    conn_overdue(&c->times, &s->setup.limits, now_ns);

		next = c->next;
		/* one with news in this turn gets another tick */
		if (reason != 0 && !c->in_turn)
			close_now(c, reason);
	}
}

/* ---- accepting ---- */

static void
listeners_watch(struct stream *s, bool on)
{
	for (size_t i = 0; i < s->listener_count; i++) {
		if (on)
			ev_io_start(s->setup.loop, &s->listeners[i].io);
		else
			ev_io_stop(s->setup.loop, &s->listeners[i].io);
	}
}

static void
open_conn(struct stream *s, int fd, const struct addr *peer)
{
	struct conn *c = s->free;

	s->free = c->next;
	conn_reset(c, peer, clock_monotonic_ns());
	c->next = s->open;
	if (s->open != NULL)
		s->open->prev = c;
	s->open = c;
	if (s->count++ == 0)
		ev_timer_again(s->setup.loop, &s->tick);
	ev_io_init(&c->io, conn_event, fd, EV_READ);
	ev_io_start(s->setup.loop, &c->io);
}

static bool
is_foreign(const struct stream *s, int fd)
{
	struct addr asked;

	return s->foreign != NULL && sock_local(fd, &asked) == 0 &&
	    guard_places_has(s->foreign, SOCK_TCP, &asked);
}

static void
admit(struct stream *s, int fd, const struct addr *peer)
{
	enum admission_result result = ADMISSION_FULL;

	if (is_foreign(s, fd)) {
		count(s, COUNTER_TCP_FOREIGN, 1);
		tcp_reset_on_close(fd);
		close(fd);
		return;
	}
	if (s->free != NULL)
		result = admission_enter(s->setup.admission, peer);
	if (result == ADMISSION_OK) {
		count(s, COUNTER_TCP_ACCEPTED, 1);
		open_conn(s, fd, peer);
		return;
	}
	count(s,
	    result == ADMISSION_FULL ? COUNTER_TCP_REFUSED_FULL
				     : COUNTER_TCP_REFUSED_CLIENT,
	    1);
	close(fd);
}

void
stream_adopt(struct stream *s, int fd)
{
	struct addr peer = { 0 };
	socklen_t len = sizeof peer;

	if (!s->draining && getpeername(fd, &peer.sa, &len) == 0)
		admit(s, fd, &peer);
	else
		close(fd);
}

/*
 * No descriptor left: the one in reserve takes one client off the queue, so
 * that it learns at once, and the listeners rest for a moment.
 */
static void
out_of_fds(struct stream *s, int listener)
{
	struct addr peer;
	int fd;

	count(s, COUNTER_TCP_ACCEPT_NO_FD, 1);
	log_limited(&s->no_fd, LOG_LEVEL_WARNING,
	    "tcp: no descriptor left, accept pauses; raise the limit of open "
	    "files or lower tcp.max_connections");
	if (s->reserve_fd >= 0)
		close(s->reserve_fd);
	fd = tcp_accept(listener, &peer);
	if (fd >= 0)
		close(fd);
	s->reserve_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	listeners_watch(s, false);
	ev_timer_stop(s->setup.loop, &s->pause);
	ev_timer_set(&s->pause, ACCEPT_PAUSE_S, 0);
	ev_timer_start(s->setup.loop, &s->pause);
}

static void
accept_fault(struct stream *s, int listener)
{
	switch (errno) {
	case EAGAIN:
	case EINTR:
		return;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		out_of_fds(s, listener);
		return;
	default: /* the client went away before we came, or worse */
		count(s, COUNTER_TCP_ACCEPT_FAULT, 1);
	}
}

/* True when there may be more. */
static bool
accept_some(struct listener *l)
{
	struct addr peer;

	for (int i = 0; i < ACCEPT_ROUND; i++) {
		int fd = tcp_accept(l->io.fd, &peer);

		if (fd < 0) {
			accept_fault(l->stream, l->io.fd);
			return false;
		}
		admit(l->stream, fd, &peer);
	}
	return true;
}

static void
accept_event(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	(void)events;
	accept_some((struct listener *)io);
}

/* What is in its queue would be reset when it is closed. */
static void
accept_last(struct listener *l)
{
	int rounds = ACCEPT_LAST_ROUNDS;

	while (rounds-- > 0 && accept_some(l))
		continue;
}

static void
pause_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct stream *s = w->data;

	(void)loop;
	(void)events;
	if (!s->draining)
		listeners_watch(s, true);
}

/* ---- making and ending ---- */

static int
buffers_new(struct stream *s)
{
	size_t n = s->setup.max_connections;
	size_t max_frame = s->setup.max_frame;
	size_t in_cap = max_frame > READ_CAP ? max_frame : READ_CAP;
	size_t out_cap = s->setup.max_outstanding * RESPONSE_MAX;
	uint8_t *p;

	s->buffers_len = n * (in_cap + out_cap);
	/* one reservation; a page costs memory when it is first used */
	p = mmap(NULL, s->buffers_len, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -1;
	s->buffers = p;
	for (size_t i = n; i-- > 0; p += in_cap + out_cap) {
		s->conns[i] = (struct conn){ .owner = s,
			.in = p,
			.in_cap = in_cap,
			.out = p + in_cap,
			.out_cap = out_cap,
			.max_frame = max_frame,
			.next = s->free };
		s->free = &s->conns[i];
	}
	return 0;
}

static void
watchers_init(struct stream *s)
{
	ev_timer_init(&s->tick, tick_event, 0, TICK_S);
	s->tick.data = s;
	ev_timer_init(&s->pause, pause_event, 0, 0);
	s->pause.data = s;
	ev_idle_init(&s->more, more_event);
}

struct stream *
stream_new(const struct stream_setup *setup)
{
	struct stream *s = calloc(1, sizeof *s);
	size_t batch = setup->answer->batch;

	if (s == NULL)
		return NULL;
	s->setup = *setup;
	s->reserve_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	s->conns = calloc(setup->max_connections, sizeof *s->conns);
	s->jobs = calloc(batch, sizeof *s->jobs);
	s->owner = calloc(batch, sizeof(struct conn *));
	if (s->conns == NULL || s->jobs == NULL || s->owner == NULL ||
	    buffers_new(s) != 0) {
		stream_free(s);
		return NULL;
	}
	watchers_init(s);
	return s;
}

void
stream_free(struct stream *s)
{
	if (s == NULL)
		return;
	while (s->open != NULL)
		close_now(s->open, COUNTER_TCP_CLOSED_STOPPING);
	listeners_watch(s, false);
	ev_timer_stop(s->setup.loop, &s->pause);
	ev_idle_stop(s->setup.loop, &s->more);
	if (s->reserve_fd >= 0)
		close(s->reserve_fd);
	if (s->buffers != NULL)
		munmap(s->buffers, s->buffers_len);
	free(s->conns);
	free(s->jobs);
	free(s->owner);
	free(s);
}

void
stream_configure(struct stream *s, const struct conn_limits *limits)
{
	s->setup.limits = *limits;
}

void
stream_foreign(struct stream *s, const struct guard_places *places)
{
	s->foreign = places;
}

void
stream_listen(struct stream *s, const int *fds, size_t n)
{
	for (size_t i = 0; i < s->listener_count; i++) {
		struct listener *l = &s->listeners[i];

		if (!listener_has(fds, n, l->io.fd))
			accept_last(l);
	}
	listeners_watch(s, false);
	s->listener_count = n;
	for (size_t i = 0; i < n; i++) {
		s->listeners[i].stream = s;
		ev_io_init(&s->listeners[i].io, accept_event, fds[i], EV_READ);
	}
	if (!ev_is_active(&s->pause))
		listeners_watch(s, true);
}

/* Reads from every connection once; returns the bytes that came. */
static size_t
read_all(struct stream *s)
{
	uint64_t now_ns = clock_monotonic_ns();
	size_t came = 0;

	for (struct conn *c = s->open; c != NULL; c = c->next) {
		size_t before = c->in_len;

		conn_read(c);
		came += c->in_len - before;
		take(c, now_ns);
		join_turn(c);
	}
	return came;
}

void
stream_drain(struct stream *s)
{
	uint64_t end_ns = clock_monotonic_ns() + DRAIN_NS;
	size_t came;

	if (s->setup.sockets_stay)
		listeners_watch(s, false);
	else
		stream_listen(s, NULL, 0);
	s->listener_count = 0;
	ev_timer_stop(s->setup.loop, &s->pause);
	do {
		came = read_all(s);
		stream_flush(s);
	} while (
	    (came > 0 || s->turn != NULL) && clock_monotonic_ns() < end_ns);
	s->draining = true;
	read_all(s); /* everyone joins the turn that closes */
	stream_flush(s);
}

size_t
stream_open(const struct stream *s)
{
	return s->count;
}
