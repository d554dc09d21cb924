#include "roughtime/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ev.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/batch.h"
#include "net/limit.h"
#include "net/listener.h"
#include "net/steer.h"
#include "roughtime/answer.h"
#include "roughtime/stream.h"

#define UDP_IN_CAP 2048 /* a request is 1036 bytes; longer ones are counted */
#define UDP_ROUNDS 4 /* batches before TCP and the other sockets get a turn */
#define DRAIN_ROUNDS 65536 /* of a queue that does not fill any more */

#define CLIENTS_WAITING 256 /* connections that were handed over */

struct udp {
	ev_io io; /* first: a watcher is its socket; a free one is not active */
	struct worker *worker;
	uint16_t port;
};

struct worker {
	struct counters counters; /* first: aligned to a cache line */
	struct worker_setup setup;
	struct ev_loop *loop;
	pthread_t thread;
	ev_async wake;
	ev_prepare before_wait;
	ev_check after_wait;
	ev_timer deadline;

	struct answer answer;
	struct udp udp[LISTEN_MAX];
	struct batch *batch;
	struct response_job *jobs;
	uint16_t *slot; /* of each job in the batch */
	struct stream *stream;
	struct log_gate fault;

	struct guard_places *foreign; /* NULL: none */

	/* from the main thread */
	pthread_mutex_t clients_lock;
	int clients[CLIENTS_WAITING];
	size_t client_count;
	_Atomic(struct worker_config *) next;
	_Atomic(struct guard_places *) next_foreign;
	atomic_uint handed, adopted; /* configurations, counted */
	atomic_bool stopping;
	double drain_s;
	bool draining;
};

void
worker_config_free(struct worker_config *c)
{
	if (c == NULL)
		return;
	limit_free(c->limit);
	free(c);
}

/* ---- UDP: receive, answer, send ---- */

/* It would have gone to its owner, were he there. */
static bool
is_foreign(const struct worker *w, unsigned int i, uint16_t port)
{
	struct addr asked;

	if (w->foreign == NULL || !batch_asked(w->batch, i, &asked))
		return false;
	addr_set_port(&asked, port);
	return guard_places_has(w->foreign, SOCK_UDP, &asked);
}

static bool
udp_admit(struct worker *w, unsigned int i, uint16_t port, uint64_t now_ns,
    struct response_job *job)
{
	struct view packet;
	bool limited;

	packet.data = batch_in(w->batch, i, &packet.len);
	if (batch_truncated(w->batch, i)) {
		counters_add(&w->counters, COUNTER_UDP_TOO_LONG, 1);
		return false;
	}
	if (is_foreign(w, i, port)) {
		counters_add(&w->counters, COUNTER_UDP_FOREIGN, 1);
		return false;
	}
	return answer_admit(&w->answer, job, packet, REQUEST_UDP_MIN,
		   batch_peer(w->batch, i), now_ns, &limited) == REQUEST_OK &&
	    !limited;
}

static size_t
udp_collect(struct worker *w, unsigned int n, uint16_t port)
{
	uint64_t now_ns = w->answer.limit != NULL ? clock_monotonic_ns() : 0;
	size_t count = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct response_job *job = &w->jobs[count];

		if (!udp_admit(w, i, port, now_ns, job))
			continue;
		job->out = batch_out(w->batch, i);
		job->cap = RESPONSE_MAX;
		w->slot[count++] = (uint16_t)i;
	}
	return count;
}

static void
udp_send(struct worker *w, int fd, size_t count)
{
	unsigned int sent, refused;

	for (size_t i = 0; i < count; i++)
		batch_reply(w->batch, w->slot[i], w->jobs[i].len);
	sent = batch_send(w->batch, fd, &refused);
	counters_add(&w->counters, COUNTER_UDP_SENT, sent);
	counters_add(&w->counters, COUNTER_UDP_SEND_REFUSED, refused);
}

/* One batch; returns the datagrams that it held. */
static unsigned int
udp_round(struct udp *u)
{
	struct worker *w = u->worker;
	int fd = u->io.fd, n = batch_receive(w->batch, fd);
	size_t count;

	if (n < 0) {
		counters_add(&w->counters, COUNTER_UDP_RECEIVE_FAULT, 1);
		log_limited(&w->fault, LOG_LEVEL_ERROR, "udp receive: %s",
		    strerror(errno));
		return 0;
	}
	if (n == 0)
		return 0;
	counters_add(&w->counters, COUNTER_UDP_RECEIVED, (uint64_t)n);
	counters_add(&w->counters, COUNTER_UDP_BATCHES, 1);
	count = udp_collect(w, (unsigned int)n, u->port);
	if (answer_jobs(&w->answer, w->jobs, count))
		udp_send(w, fd, count);
	return (unsigned int)n;
}

/*
 * Until the queue is empty, or for some rounds: the loop comes back at once
 * when more is queued, after the others had their turn. A batch that is not
 * full has emptied it: no call more to be told so.
 */
static void
udp_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct udp *u = (struct udp *)io;

	(void)loop;
	(void)events;
	for (int i = 0; i < UDP_ROUNDS; i++) {
		if (udp_round(u) < u->worker->setup.batch)
			return;
	}
}

/* Answers what is queued, then looks at the socket no more. Whoever goes on
 * sending must not hold up the end. */
static void
udp_retire(struct worker *w, struct udp *u)
{
	int rounds;

	ev_io_stop(w->loop, &u->io);
	if (w->draining && w->setup.sockets_stay)
		return;
	rounds = steer_stop(u->io.fd) == 0 ? DRAIN_ROUNDS : UDP_ROUNDS;
	while (rounds-- > 0 && udp_round(u) > 0)
		continue;
}

static void
udp_watch(struct worker *w, int fd)
{
	struct udp *u = w->udp;
	struct addr local;

	while (ev_is_active(&u->io))
		u++; /* there are as many as fds at most */
	u->worker = w;
	u->port = sock_local(fd, &local) == 0 ? addr_port(&local) : 0;
	ev_io_init(&u->io, udp_event, fd, EV_READ);
	ev_io_start(w->loop, &u->io);
}

/* Old sockets first: there may be no room for both. */
static void
udp_listen(struct worker *w, const int *fds, size_t n)
{
	int watched[LISTEN_MAX];
	size_t count = 0;

	for (size_t i = 0; i < LISTEN_MAX; i++) {
		struct udp *u = &w->udp[i];

		if (!ev_is_active(&u->io))
			continue;
		if (listener_has(fds, n, u->io.fd))
			watched[count++] = u->io.fd;
		else
			udp_retire(w, u);
	}
	for (size_t i = 0; i < n; i++) {
		if (!listener_has(watched, count, fds[i]))
			udp_watch(w, fds[i]);
	}
}

/* ---- the loop ---- */

static void
adopt_foreign(struct worker *w)
{
	struct guard_places *p = atomic_exchange(&w->next_foreign, NULL);

	if (p == NULL)
		return;
	free(w->foreign);
	w->foreign = p;
	if (p->count == 0) {
		free(p);
		w->foreign = NULL;
	}
	stream_foreign(w->stream, w->foreign);
}

static void
adopt(struct worker *w, struct worker_config *c)
{
	limit_free(w->answer.limit);
	w->answer.limit = c->limit;
	w->answer.grease_below = answer_grease(c->grease);
	w->answer.tcp_any_length = c->tcp_any_length;
	stream_configure(w->stream, &c->tcp);
	udp_listen(w, c->udp_fds, c->udp_count);
	stream_listen(w->stream, c->tcp_fds, c->tcp_count);
	free(c);
}

static void
deadline_event(struct ev_loop *loop, ev_timer *t, int events)
{
	(void)t;
	(void)events;
	ev_break(loop, EVBREAK_ALL);
}

static void
drain(struct worker *w)
{
	w->draining = true;
	udp_listen(w, NULL, 0);
	stream_drain(w->stream);
	ev_timer_set(&w->deadline, w->drain_s, 0);
	ev_timer_start(w->loop, &w->deadline);
}

static bool
next_client(struct worker *w, int *fd)
{
	bool found;

	pthread_mutex_lock(&w->clients_lock);
	found = w->client_count > 0;
	if (found)
		*fd = w->clients[--w->client_count];
	pthread_mutex_unlock(&w->clients_lock);
	return found;
}

static void
take_clients(struct worker *w)
{
	int fd;

	while (next_client(w, &fd))
		stream_adopt(w->stream, fd);
}

static void
wake_event(struct ev_loop *loop, ev_async *a, int events)
{
	struct worker *w = a->data;
	unsigned int handed = atomic_load(&w->handed);
	struct worker_config *c = atomic_exchange(&w->next, NULL);

	(void)loop;
	(void)events;
	adopt_foreign(w);
	if (c != NULL)
		adopt(w, c);
	take_clients(w);
	atomic_store(&w->adopted, handed);
	if (!w->draining && atomic_load(&w->stopping))
		drain(w);
}

static void
after_wait_event(struct ev_loop *loop, ev_check *c, int events)
{
	struct worker *w = c->data;

	(void)loop;
	(void)events;
	answer_begin(&w->answer);
}

static void
before_wait_event(struct ev_loop *loop, ev_prepare *p, int events)
{
	struct worker *w = p->data;

	(void)events;
	if (w->answer.snapshot != NULL)
		stream_flush(w->stream);
	answer_end(&w->answer);
	if (w->draining && stream_open(w->stream) == 0)
		ev_break(loop, EVBREAK_ALL);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;

	ev_run(w->loop, 0);
	answer_end(&w->answer);
	return NULL;
}

/* ---- making and ending ---- */

static void
watchers_init(struct worker *w)
{
	ev_async_init(&w->wake, wake_event);
	w->wake.data = w;
	ev_async_start(w->loop, &w->wake);
	ev_prepare_init(&w->before_wait, before_wait_event);
	w->before_wait.data = w;
	ev_prepare_start(w->loop, &w->before_wait);
	ev_check_init(&w->after_wait, after_wait_event);
	w->after_wait.data = w;
	/* the snapshot is taken before any packet is looked at */
	ev_set_priority(&w->after_wait, EV_MAXPRI);
	ev_check_start(w->loop, &w->after_wait);
	ev_timer_init(&w->deadline, deadline_event, 0, 0);
}

static struct stream *
make_stream(struct worker *w)
{
	const struct worker_setup *setup = &w->setup;
	struct stream_setup stream = {
		.loop = w->loop,
		.answer = &w->answer,
		.admission = setup->admission,
		.max_connections = setup->tcp_connections,
		.max_frame = setup->tcp_max_frame,
		.max_outstanding = setup->tcp_max_outstanding,
		.sockets_stay = setup->sockets_stay,
	};

	return stream_new(&stream);
}

static int
allocate(struct worker *w)
{
	size_t batch = w->setup.batch;

	w->answer = (struct answer){ .identities = w->setup.identities,
		.time = w->setup.time,
		.counters = &w->counters,
		.worker = w->setup.index,
		.batch = batch };
	if (answer_init(&w->answer) != 0)
		return -1;
	/* epoll alone: the system call filter knows no other */
	w->loop =
	    ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOTIMERFD);
	w->batch = batch_new((unsigned int)batch, UDP_IN_CAP, RESPONSE_MAX);
	w->jobs = calloc(batch, sizeof *w->jobs);
	w->slot = calloc(batch, sizeof *w->slot);
	if (w->loop == NULL || w->batch == NULL || w->jobs == NULL ||
	    w->slot == NULL)
		return -1;
	w->stream = make_stream(w);
	return w->stream != NULL ? 0 : -1;
}

struct worker *
worker_new(const struct worker_setup *setup, struct worker_config *config)
{
	struct worker *w = aligned_alloc(64, (sizeof *w + 63) / 64 * 64);

	if (w == NULL)
		return NULL;
	memset(w, 0, sizeof *w);
	w->setup = *setup;
	pthread_mutex_init(&w->clients_lock, NULL);
	if (allocate(w) != 0) {
		worker_free(w);
		return NULL;
	}
	watchers_init(w);
	adopt(w, config);
	return w;
}

void
worker_free(struct worker *w)
{
	if (w == NULL)
		return;
	stream_free(w->stream);
	if (w->loop != NULL)
		ev_loop_destroy(w->loop);
	worker_config_free(atomic_exchange(&w->next, NULL));
	free(atomic_exchange(&w->next_foreign, NULL));
	free(w->foreign);
	batch_free(w->batch);
	answer_done(&w->answer);
	free(w->jobs);
	free(w->slot);
	free(w);
}

int
worker_start(struct worker *w)
{
	sigset_t all, before;
	int error;

	/* signals are the main thread's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return error == 0 ? 0 : -1;
}

void
worker_configure(struct worker *w, struct worker_config *config)
{
	worker_config_free(atomic_exchange(&w->next, config));
	atomic_fetch_add(&w->handed, 1);
	ev_async_send(w->loop, &w->wake);
}

void
worker_foreign(struct worker *w, struct guard_places *places)
{
	free(atomic_exchange(&w->next_foreign, places));
	ev_async_send(w->loop, &w->wake);
}

void
worker_take(struct worker *w, int fd)
{
	bool room;

	pthread_mutex_lock(&w->clients_lock);
	room = w->client_count < CLIENTS_WAITING;
	if (room)
		w->clients[w->client_count++] = fd;
	pthread_mutex_unlock(&w->clients_lock);
	if (room)
		ev_async_send(w->loop, &w->wake);
	else
		close(fd);
}

bool
worker_settled(const struct worker *w)
{
	return atomic_load(&w->adopted) == atomic_load(&w->handed);
}

void
worker_stop(struct worker *w, double drain_s)
{
	w->drain_s = drain_s;
	atomic_store(&w->stopping, true);
	ev_async_send(w->loop, &w->wake);
}

void
worker_join(struct worker *w)
{
	pthread_join(w->thread, NULL);
}

const struct counters *
worker_counters(const struct worker *w)
{
	return &w->counters;
}
