#include "proxy/pworker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ev.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/acceptor.h"
#include "proxy/session.h"
#include "proxy/spin.h"
#include "proxy/udp.h"

struct pworker {
	struct pworker_setup setup;
	struct pworker_config *config;
	struct ev_loop *loop;
	pthread_t thread;
	ev_async wake, ask;
	ev_prepare before_wait; /* while draining */
	struct spin spin;
	struct sessions *sessions;
	struct sniffer *sniffer; /* NULL: none */
	struct acceptor *acceptor;
	struct udp_worker *udp;
	struct tally_worker tally;

	struct live_box asked; /* from the main thread */
	struct live_ask *asks; /* taken from there, not yet answered */
	_Atomic(struct pworker_config *) next; /* from the main thread */
	atomic_uint handed, adopted; /* configurations, counted */
	unsigned int taken; /* adopted, once old ports are left */
	atomic_bool resolved; /* some service has its first origins */
	_Atomic uint64_t stop_ns; /* 0, or when its sessions must be gone */
	uint64_t draining_ns; /* what it knows of that */
	atomic_bool ended;
};

/* ---- configurations ---- */

void
pworker_config_free(struct pworker_config *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->count; i++)
		service_release(c->services[i]);
	free(c->services);
	free(c->tcp);
	free(c->udp);
	free(c);
}

struct pworker_config *
pworker_config_new(const struct edge_set *edges,
    struct service *const *services, size_t count, size_t worker)
{
	struct pworker_config *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->services = calloc(count + 1, sizeof(struct service *));
	if (c->services == NULL ||
	    edge_posts(edges, SOCK_TCP, worker, services, &c->tcp, &c->tcps) !=
		0 ||
	    edge_posts(edges, SOCK_UDP, worker, services, &c->udp, &c->udps) !=
		0) {
		pworker_config_free(c);
		return NULL;
	}
	while (c->count < count) {
		c->services[c->count] = service_hold(services[c->count]);
		c->count++;
	}
	return c;
}

/* ---- the loop ---- */

static int
adopt(struct pworker *w, struct pworker_config *c)
{
	/* UDP first: the posts of before stay good until this returns 0, and
	 * serving a few new ones early does no harm */
	if (udp_worker_listen(w->udp, c->udp, c->udps) != 0 ||
	    acceptor_listen(w->acceptor, c->tcp, c->tcps) != 0)
		return -1;
	pworker_config_free(w->config);
	w->config = c;
	sessions_end_by(w->sessions, 0); /* some services may have an end */
	udp_worker_end_by(w->udp, 0);
	return 0;
}

static int
leave_udp(struct pworker *w)
{
	if (!w->setup.udp_stays)
		return udp_worker_listen(w->udp, NULL, 0);
	udp_worker_rest(w->udp);
	return 0;
}

static int
leave_tcp(struct pworker *w)
{
	if (!w->setup.tcp_stays)
		return acceptor_listen(w->acceptor, NULL, 0);
	acceptor_rest(w->acceptor);
	return 0;
}

static void
drain(struct pworker *w, uint64_t ends_ns)
{
	w->draining_ns = ends_ns;
	if (w->sniffer != NULL)
		sniffer_give_up(w->sniffer);
	if (leave_udp(w) != 0 || leave_tcp(w) != 0)
		log_error("worker: %s", strerror(errno));
	sessions_end_by(w->sessions, ends_ns);
	udp_worker_end_by(w->udp, ends_ns);
	ev_prepare_start(w->loop, &w->before_wait);
}

/* Sockets that are not listed any more may be closed. */
static void
ports_left(void *context)
{
	struct pworker *w = context;

	atomic_store(&w->adopted, w->taken);
}

static void
wake_event(struct ev_loop *loop, ev_async *a, int events)
{
	struct pworker *w = a->data;
	unsigned int handed = atomic_load(&w->handed);
	struct pworker_config *c = atomic_exchange(&w->next, NULL);
	uint64_t stop_ns;

	(void)loop;
	(void)events;
	if (c != NULL && adopt(w, c) != 0) {
		/* no memory: sockets that are to be closed are still watched,
		 * so this is never said to be settled */
		log_error("worker: reload: %s", strerror(errno));
		pworker_config_free(c);
		return;
	}
	w->taken = handed;
	if (!acceptor_is_leaving(w->acceptor))
		ports_left(w);
	if (atomic_exchange(&w->resolved, false))
		sessions_resolved(w->sessions);
	stop_ns = atomic_load(&w->stop_ns);
	if (stop_ns != w->draining_ns)
		drain(w, stop_ns);
}

/* Rules of ranges lead to sockets as they will be: who has a client by them
 * has been handed the configuration before. */
static bool
renew(void *context)
{
	struct pworker *w = context;

	if (atomic_load(&w->next) == NULL)
		return false;
	wake_event(w->loop, &w->wake, 0);
	return true;
}

/* ---- the sessions that live ---- */

static void
answer(struct pworker *w, struct live_ask *a)
{
	a->count = 0;
	if (!a->tcp_done)
		sessions_list(w->sessions, a);
	if (a->tcp_done && a->count < LIVE_ROWS)
		udp_worker_list(w->udp, a);
	a->answered(a);
}

/* One chunk a turn: packets come first. */
static void
ask_event(struct ev_loop *loop, ev_async *async, int events)
{
	struct pworker *w = async->data;
	struct live_ask *a;

	(void)events;
	if (w->asks == NULL)
		w->asks = live_box_take(&w->asked);
	a = w->asks;
	if (a == NULL)
		return;
	w->asks = a->next;
	answer(w, a);
	ev_async_send(loop, async); /* there may be more */
}

static void
answer_none(struct live_ask *a)
{
	while (a != NULL) {
		struct live_ask *next = a->next;

		a->count = 0;
		a->done = true;
		a->answered(a);
		a = next;
	}
}

void
pworker_ask(struct pworker *w, struct live_ask *a)
{
	live_box_put(&w->asked, a);
	ev_async_send(w->loop, &w->ask);
}

void
pworker_unask(struct pworker *w)
{
	answer_none(live_box_take(&w->asked));
}

static void
before_wait_event(struct ev_loop *loop, ev_prepare *p, int events)
{
	struct pworker *w = p->data;

	(void)events;
	if (sessions_open(w->sessions) == 0 && udp_worker_flows(w->udp) == 0 &&
	    !acceptor_is_leaving(w->acceptor))
		ev_break(loop, EVBREAK_ALL);
}

static void *
pworker_main(void *arg)
{
	struct pworker *w = arg;

	ev_run(w->loop, 0);
	answer_none(w->asks);
	w->asks = NULL;
	atomic_store(&w->ended, true);
	return NULL;
}

/* ---- making and ending ---- */

static int
make_sniffer(struct pworker *w)
{
	const struct sniffer_setup setup = { .loop = w->loop,
		.sessions = w->sessions,
		.wait_ms = w->setup.peek_ms,
		.time = w->setup.time,
		.arg = w->setup.time_arg };

	w->sniffer = sniffer_new(&setup);
	return w->sniffer != NULL ? 0 : -1;
}

static int
allocate(struct pworker *w)
{
	/* epoll alone: the system call filter knows no other */
	w->loop =
	    ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOTIMERFD);
	if (w->loop == NULL)
		return -1;
	struct sessions_setup sessions = {
		.loop = w->loop,
		.log = w->setup.log,
		.spin = &w->spin,
		.worker = w->setup.index,
		.tally = &w->tally,
		.max = w->setup.tcp_sessions,
		.fd_most = w->setup.tcp_fds,
		.splice_after = w->setup.splice_after,
	};
	struct udp_setup udp = {
		.loop = w->loop,
		.log = w->setup.log,
		.worker = w->setup.index,
		.tally = &w->tally,
		.flows = w->setup.udp_flows,
		.raw = { w->setup.raw[0], w->setup.raw[1] },
		.port_flows = w->setup.port_flows,
		.fastpath = w->setup.fastpath,
		.workers = w->setup.workers,
		.renew = renew,
		.context = w,
	};
	w->sessions = sessions_new(&sessions);
	if (w->sessions == NULL)
		return -1;
	if (w->setup.time != NULL && make_sniffer(w) != 0)
		return -1;
	w->acceptor = acceptor_new(
	    w->loop, w->sessions, w->sniffer, &w->tally, ports_left, renew, w);
	w->udp = udp_worker_new(&udp);
	return w->acceptor != NULL && w->udp != NULL ? 0 : -1;
}

static void
watchers_init(struct pworker *w)
{
	ev_async_init(&w->wake, wake_event);
	w->wake.data = w;
	ev_async_start(w->loop, &w->wake);
	ev_async_init(&w->ask, ask_event);
	w->ask.data = w;
	ev_async_start(w->loop, &w->ask);
	ev_prepare_init(&w->before_wait, before_wait_event);
	w->before_wait.data = w;
	spin_start(&w->spin, w->loop, w->setup.busy_poll_ns);
}

struct pworker *
pworker_new(const struct pworker_setup *setup, struct pworker_config *config)
{
	struct pworker *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	w->setup = *setup;
	if (allocate(w) == 0) {
		watchers_init(w);
		if (adopt(w, config) == 0)
			return w;
	}
	pworker_free(w);
	return NULL;
}

void
pworker_free(struct pworker *w)
{
	if (w == NULL)
		return;
	spin_stop(&w->spin);
	acceptor_free(w->acceptor);
	sniffer_free(w->sniffer);
	udp_worker_free(w->udp);
	sessions_free(w->sessions);
	pworker_config_free(atomic_exchange(&w->next, NULL));
	pworker_config_free(w->config);
	if (w->loop != NULL)
		ev_loop_destroy(w->loop);
	free(w);
}

int
pworker_start(struct pworker *w)
{
	sigset_t all, before;
	int error;

	/* signals are the main thread's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&w->thread, NULL, pworker_main, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return error == 0 ? 0 : -1;
}

void
pworker_configure(struct pworker *w, struct pworker_config *config)
{
	pworker_config_free(atomic_exchange(&w->next, config));
	atomic_fetch_add(&w->handed, 1);
	ev_async_send(w->loop, &w->wake);
}

void
pworker_resolved(struct pworker *w)
{
	atomic_store(&w->resolved, true);
	ev_async_send(w->loop, &w->wake);
}

bool
pworker_settled(const struct pworker *w)
{
	return atomic_load(&w->adopted) == atomic_load(&w->handed);
}

bool
pworker_lingers(const struct pworker *w)
{
	return udp_worker_lingers(w->udp);
}

void
pworker_stop(struct pworker *w, uint64_t ends_ns)
{
	atomic_store(&w->stop_ns, ends_ns);
	ev_async_send(w->loop, &w->wake);
}

struct tally_worker *
pworker_tally(struct pworker *w)
{
	return &w->tally;
}

uint64_t
pworker_cpu_ns(const struct pworker *w)
{
	struct timespec t;
	clockid_t clock;

	if (pthread_getcpuclockid(w->thread, &clock) != 0 ||
	    clock_gettime(clock, &t) != 0)
		return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool
pworker_ended(const struct pworker *w)
{
	return atomic_load(&w->ended);
}

void
pworker_join(struct pworker *w)
{
	pthread_join(w->thread, NULL);
}
