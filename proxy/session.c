#include "proxy/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/tcp.h"
#include "proxy/header.h"
#include "proxy/relay.h"

#define PIPES_MAX 1024 /* of a worker in use; one more session copies */
#define LOOK_S 1.0 /* how often a half that sends no more is looked at */
#define LAST_MOVES 64 /* what is left to be read when the other end is gone */

enum session_state {
	SESSION_FREE = 0,
	SESSION_CONNECTING, /* to an origin; the client is not read */
	SESSION_OPEN,
};

struct half {
	ev_io io; /* first: a watcher is its half */
	struct session *session;
	struct half *other;
	struct relay relay; /* what came from here, on its way to `other` */
	enum status_side side;
	bool ended; /* sends no more, and `other` has been told */
};

struct session {
	struct half client, origin;
	ev_timer timer;
	struct sessions *table;
	struct session *next, *prev; /* open ones; free ones use `next` */
	struct service *service;
	struct session_clock clock; /* of the loop */
	struct addr client_address, edge;
	uint64_t tried; /* origins, as bits */
	uint64_t connect_us; /* Unix */
	int chosen; /* index of the origin, -1 none */
	enum session_state state;
};

struct sessions {
	struct sessions_setup setup;
	struct session *slots; /* one mapping */
	size_t fresh; /* slots from here on were never used */
	struct session *free, *open;
	size_t count;
	struct relay_pool *pool;
	uint64_t ends_ns; /* 0, or when all of them must be gone */
	struct log_gate lack;
};

static void session_connect(struct session *s, enum status last);

/* ---- telling ---- */

static void
describe_origin(const struct session *s, struct event *e)
{
	if (s->chosen < 0)
		return;
	e->origin = app_origin_for(
	    &s->service->app, (size_t)s->chosen, addr_port(&s->edge));
	if (e->kind == EVENT_DISCONNECT)
		e->origin_rtt_ns = tcp_rtt_ns(s->origin.io.fd);
}

static void
tell(const struct session *s, enum event_kind kind, enum status status)
{
	struct event e = { .kind = kind,
		.app = &s->service->app,
		.client = s->client_address,
		.edge = s->edge,
		.client_bytes = s->client.relay.bytes,
		.origin_bytes = s->origin.relay.bytes,
		.connect_us = s->connect_us,
		.status = status };

	if (s->table->setup.log == NULL)
		return;
	if (kind != EVENT_CONNECT)
		e.disconnect_us = clock_realtime_us();
	if (kind == EVENT_DISCONNECT)
		e.client_rtt_ns = tcp_rtt_ns(s->client.io.fd);
	describe_origin(s, &e);
	eventlog_write(s->table->setup.log, &e);
}

static void
tell_refused(struct sessions *t, const struct service *v,
    const struct addr *client, const struct addr *edge, enum status status)
{
	uint64_t now_us = clock_realtime_us();
	struct event e = { .kind = EVENT_CLIENT_FILTERED,
		.app = &v->app,
		.client = *client,
		.edge = *edge,
		.connect_us = now_us,
		.disconnect_us = now_us,
		.status = status,
		.firewall_matched = status == STATUS_FIREWALL };

	if (t->setup.log != NULL)
		eventlog_write(t->setup.log, &e);
}

/* ---- watching ---- */

static void
watch(struct half *h, int events)
{
	struct ev_loop *loop = h->session->table->setup.loop;

	if (ev_is_active(&h->io) &&
	    (h->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(loop, &h->io);
	if (events == 0)
		return;
	ev_io_set(&h->io, h->io.fd, events);
	ev_io_start(loop, &h->io);
}

/* Read from a half whose bytes do not wait; write to one whose other's do. */
static int
wanted(const struct half *h)
{
	int events = 0;

	if (!h->ended && relay_waiting(&h->relay) == 0)
		events |= EV_READ;
	if (relay_waiting(&h->other->relay) > 0)
		events |= EV_WRITE;
	return events;
}

static void
watch_both(struct session *s)
{
	watch(&s->client, wanted(&s->client));
	watch(&s->origin, wanted(&s->origin));
}

/* Loop time of a monotonic instant. */
static double
loop_time(const struct sessions *t, uint64_t at_ns)
{
	double ahead = ((double)at_ns - (double)clock_monotonic_ns()) / 1e9;

	return ev_now(t->setup.loop) + ahead;
}

double
session_deadline(const struct session_clock *c, const struct app_timeouts *t,
    bool connecting, enum status *why)
{
	double at, life = c->born + t->lifetime_ms / 1e3;

	if (connecting) {
		*why = STATUS_CONNECT_TIMEDOUT;
		at = c->attempt + t->connect_ms / 1e3;
	} else {
		*why = STATUS_CLOSED;
		at = c->active + t->idle_ms / 1e3;
	}
	if (t->lifetime_ms > 0 && life < at) {
		*why = STATUS_CLOSED;
		at = life;
	}
	return at;
}

/* With the end of a removed application, or of us all. */
static double
deadline(const struct session *s, enum status *why)
{
	uint64_t ends[] = { s->table->ends_ns, s->service->ends_ns };
	double at = session_deadline(&s->clock, &s->service->app.timeouts,
	    s->state == SESSION_CONNECTING, why);

	for (size_t i = 0; i < 2; i++) {
		double end = ends[i] != 0 ? loop_time(s->table, ends[i]) : at;

		if (end < at) {
			*why = STATUS_UNAVAILABLE;
			at = end;
		}
	}
	return at;
}

static void
set_timer(struct session *s)
{
	struct ev_loop *loop = s->table->setup.loop;
	enum status why;
	double in = deadline(s, &why) - ev_now(loop);

	if (in > LOOK_S && (s->client.ended || s->origin.ended))
		in = LOOK_S;
	ev_timer_stop(loop, &s->timer);
	ev_timer_set(&s->timer, in > 0 ? in : 0, 0);
	ev_timer_start(loop, &s->timer);
}

/* ---- states ---- */

static struct session *
slot_take(struct sessions *t)
{
	struct session *s = t->free;

	if (s != NULL)
		t->free = s->next;
	else if (t->fresh < t->setup.max)
		s = &t->slots[t->fresh++];
	return s;
}

static void
list_add(struct session *s)
{
	struct sessions *t = s->table;

	s->prev = NULL;
	s->next = t->open;
	if (t->open != NULL)
		t->open->prev = s;
	t->open = s;
	t->count++;
}

static void
list_remove(struct session *s)
{
	struct sessions *t = s->table;

	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		t->open = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	t->count--;
}

static void
half_close(struct half *h, bool reset)
{
	struct sessions *t = h->session->table;

	ev_io_stop(t->setup.loop, &h->io);
	if (h->io.fd < 0)
		return;
	if (reset)
		tcp_reset_on_close(h->io.fd);
	close(h->io.fd);
	h->io.fd = -1;
	relay_drop(&h->relay, t->pool);
}

static void
forget(struct session *s)
{
	struct sessions *t = s->table;

	ev_timer_stop(t->setup.loop, &s->timer);
	service_leave(s->service, &s->client_address);
	service_release(s->service);
	list_remove(s);
	s->next = t->free;
	t->free = s;
}

/* The only one that changes the state. */
static void
set_state(struct session *s, enum session_state state)
{
	s->state = state;
	switch (state) {
	case SESSION_CONNECTING:
		s->clock.attempt = ev_now(s->table->setup.loop);
		watch(&s->client, 0);
		watch(&s->origin, EV_WRITE);
		break;
	case SESSION_OPEN:
		s->clock.active = ev_now(s->table->setup.loop);
		watch_both(s);
		break;
	case SESSION_FREE:
		forget(s);
		return;
	}
	set_timer(s);
}

static void
leave_origin(struct session *s)
{
	if (s->chosen < 0)
		return;
	origin_end(&s->service->pools[s->table->setup.worker], s->chosen);
	s->chosen = -1;
}

/*
 * The only one that ends a session. A reset is passed on as one, and so is a
 * cut: bytes that were on their way must not look like all there were.
 */
static void
session_close(struct session *s, enum status status, bool reset)
{
	if (relay_waiting(&s->client.relay) > 0 ||
	    relay_waiting(&s->origin.relay) > 0)
		reset = true;
	if (s->state == SESSION_OPEN)
		tell(s, EVENT_DISCONNECT, status);
	else if (s->chosen >= 0 || s->tried == 0)
		tell(s, EVENT_ORIGIN_ERROR, status); /* none told yet */
	if (s->state != SESSION_OPEN)
		reset = true;
	half_close(&s->client, reset);
	half_close(&s->origin, reset);
	leave_origin(s);
	set_state(s, SESSION_FREE);
}

/* ---- open: both directions ---- */

/*
 * `h` takes nothing any more. What it sent before, it meant to send: a server
 * that answers without reading all of a request ends like this.
 */
static void
half_broken(struct half *h, int error)
{
	struct session *s = h->session;
	enum relay_result result = RELAY_TURN;

	relay_drop(&h->other->relay, s->table->pool);
	for (int i = 0; i < LAST_MOVES && result == RELAY_TURN; i++)
		result = relay_move(
		    &h->relay, s->table->pool, h->io.fd, h->other->io.fd);
	session_close(s, status_from_errno(h->side, error), true);
}

/* `h` sends no more: its half of the connection to `other` is closed, the
 * way back stays open. */
static bool
half_ended(struct half *h)
{
	h->ended = true;
	if (h->other->ended) {
		session_close(h->session, STATUS_CLOSED, false);
		return false;
	}
	if (shutdown(h->other->io.fd, SHUT_WR) == 0) {
		set_timer(h->session); /* it is looked at from now on */
		return true;
	}
	half_broken(h->other, errno);
	return false;
}

/* What came from `h` goes to its other. False: the session is over. */
static bool
half_move(struct half *h)
{
	struct session *s = h->session;

	if (h->ended)
		return true;
	switch (
	    relay_move(&h->relay, s->table->pool, h->io.fd, h->other->io.fd)) {
	case RELAY_DRAINED:
	case RELAY_TURN:
	case RELAY_BLOCKED:
		return true;
	case RELAY_END:
		return half_ended(h);
	case RELAY_READ_FAILED:
		session_close(s, status_from_errno(h->side, errno), true);
		return false;
	case RELAY_WRITE_FAILED:
		half_broken(h->other, errno);
		return false;
	}
	return false;
}

static void
half_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct half *h = (struct half *)io;
	struct session *s = h->session;

	s->clock.active = ev_now(loop);
	if ((events & EV_READ) && !half_move(h))
		return;
	if ((events & EV_WRITE) && !half_move(h->other))
		return;
	watch_both(s);
}

/* A half that sends no more makes no event when it is reset: that is looked
 * for. */
static bool
half_is_alive(struct half *h)
{
	int error;

	if (!h->ended || !tcp_is_dead(h->io.fd))
		return true;
	error = tcp_error(h->io.fd);
	/* what Linux calls a reset after the end of one direction */
	if (error == EPIPE || error == 0)
		error = ECONNRESET;
	session_close(h->session, status_from_errno(h->side, error), true);
	return false;
}

/* ---- connecting ---- */

static void
put_header(struct session *s)
{
	const struct header_ends ends = { .client = s->client_address,
		.proxy = s->edge };
	uint8_t bytes[HEADER_V2_MAX];
	size_t len = 0;

	if (s->service->app.header == APP_HEADER_V1)
		len = header_v1(bytes, &ends);
	else if (s->service->app.header == APP_HEADER_V2)
		len = header_v2(bytes, SOCK_TCP, &ends);
	if (len > 0)
		relay_put(&s->client.relay, s->table->pool, bytes, len);
}

static void
connected(struct session *s)
{
	struct origin_pool *p = &s->service->pools[s->table->setup.worker];

	origin_worked(p, s->chosen);
	put_header(s);
	set_state(s, SESSION_OPEN);
	tell(s, EVENT_CONNECT, STATUS_OPEN);
	/* the client's first bytes are here already, more often than not */
	if (half_move(&s->client))
		watch_both(s);
}

/* This origin is not to be had; on to the next. */
static void
connect_failed(struct session *s, enum status status)
{
	struct origin_pool *p = &s->service->pools[s->table->setup.worker];

	origin_failed(p, s->chosen, clock_monotonic_ns());
	half_close(&s->origin, true);
	tell(s, EVENT_ORIGIN_ERROR, status);
	leave_origin(s);
	session_connect(s, status);
}

static void
connect_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct session *s = ((struct half *)io)->session;
	int error = tcp_error(io->fd);

	(void)loop;
	(void)events;
	if (error != 0) {
		connect_failed(
		    s, status_from_errno(STATUS_SIDE_CONNECT, error));
		return;
	}
	ev_set_cb(&s->origin.io, half_event);
	connected(s);
}

/* Our own lack of descriptors or ports is not the origin's fault. */
static enum status
connect_status(int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EADDRNOTAVAIL:
		return STATUS_UNAVAILABLE;
	default:
		return status_from_errno(STATUS_SIDE_CONNECT, error);
	}
}

static void
tell_lack(struct sessions *t)
{
	if (errno == EADDRNOTAVAIL)
		log_limited(&t->lack, LOG_LEVEL_WARNING,
		    "tcp: no local port left towards an origin");
	else
		log_limited(&t->lack, LOG_LEVEL_WARNING,
		    "tcp: no descriptor left for an origin: %s",
		    strerror(errno));
}

static int
open_origin(struct session *s)
{
	const struct sock_opts o = { .v6only = true,
		.nodelay = true,
		.keepalive_s = s->table->setup.keepalive_s };
	struct addr to = app_origin_for(
	    &s->service->app, (size_t)s->chosen, addr_port(&s->edge));

	return sock_connect(SOCK_TCP, &to, &o);
}

/* Tries origins until one answers later, or none is left. */
static void
session_connect(struct session *s, enum status last)
{
	struct origin_pool *p = &s->service->pools[s->table->setup.worker];
	uint64_t now_ns = clock_monotonic_ns();
	int fd = -1;

	while (last != STATUS_UNAVAILABLE) {
		s->chosen =
		    origin_choose(p, &s->client_address, s->tried, now_ns);
		if (s->chosen < 0)
			break;
		s->tried |= 1ull << s->chosen;
		origin_begin(p, s->chosen);
		fd = open_origin(s);
		if (fd >= 0)
			break;
		last = connect_status(errno);
		if (last == STATUS_UNAVAILABLE)
			tell_lack(s->table);
		else
			origin_failed(p, s->chosen, now_ns);
		tell(s, EVENT_ORIGIN_ERROR, last);
		leave_origin(s);
	}
	if (fd < 0) {
		session_close(s, last, true);
		return;
	}
	ev_io_init(&s->origin.io, connect_event, fd, EV_WRITE);
	set_state(s, SESSION_CONNECTING);
}

/* ---- time ---- */

static void
timer_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct session *s = w->data;
	enum status why;

	(void)events;
	if (deadline(s, &why) > ev_now(loop)) {
		if (s->state != SESSION_OPEN ||
		    (half_is_alive(&s->client) && half_is_alive(&s->origin)))
			set_timer(s);
		return;
	}
	if (s->state == SESSION_CONNECTING && why == STATUS_CONNECT_TIMEDOUT)
		connect_failed(s, why);
	else
		session_close(s, why, why != STATUS_CLOSED);
}

void
sessions_end_by(struct sessions *t, uint64_t ends_ns)
{
	if (ends_ns != 0)
		t->ends_ns = ends_ns;
	for (struct session *s = t->open; s != NULL; s = s->next)
		set_timer(s);
}

/* ---- beginning ---- */

static void
half_init(struct half *h, struct session *s, struct half *other,
    enum status_side side, int fd)
{
	*h = (struct half){ .session = s, .other = other, .side = side };
	ev_io_init(&h->io, half_event, fd, EV_READ);
}

static void
refuse(struct sessions *t, const struct service *v, int fd,
    const struct addr *client, const struct addr *edge, enum status status)
{
	tell_refused(t, v, client, edge, status);
	tcp_reset_on_close(fd);
	close(fd);
}

void
session_begin(struct sessions *t, struct service *v, int fd,
    const struct addr *client, const struct addr *edge)
{
	enum status status = service_enter(v, client, clock_monotonic_ns());
	struct session *s = status == STATUS_OPEN ? slot_take(t) : NULL;

	if (s == NULL) {
		if (status == STATUS_OPEN) {
			service_leave(v, client);
			status = STATUS_UNAVAILABLE;
		}
		refuse(t, v, fd, client, edge, status);
		return;
	}
	*s = (struct session){ .table = t,
		.service = service_hold(v),
		.client_address = *client,
		.edge = *edge,
		.connect_us = clock_realtime_us(),
		.clock.born = ev_now(t->setup.loop),
		.chosen = -1 };
	half_init(&s->client, s, &s->origin, STATUS_SIDE_CLIENT, fd);
	half_init(&s->origin, s, &s->client, STATUS_SIDE_ORIGIN, -1);
	ev_timer_init(&s->timer, timer_event, 0, 0);
	s->timer.data = s;
	list_add(s);
	session_connect(s, STATUS_CONNECT_FAILED);
}

/* ---- making and ending ---- */

struct sessions *
sessions_new(const struct sessions_setup *setup)
{
	const struct relay_pool_config pool = { .relays = 2 * setup->max,
		.pipes =
		    setup->max < PIPES_MAX ? 2 * setup->max : 2 * PIPES_MAX,
		.splice_after = setup->splice_after };
	struct sessions *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	t->setup = *setup;
	t->pool = relay_pool_new(&pool);
	/* one reservation; a page costs memory when it is first used */
	t->slots =
	    mmap(NULL, setup->max * sizeof *t->slots, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->slots == MAP_FAILED)
		t->slots = NULL;
	if (t->pool != NULL && t->slots != NULL)
		return t;
	sessions_free(t);
	return NULL;
}

void
sessions_free(struct sessions *t)
{
	if (t == NULL)
		return;
	while (t->open != NULL)
		session_close(t->open, STATUS_UNAVAILABLE, true);
	if (t->slots != NULL)
		munmap(t->slots, t->setup.max * sizeof *t->slots);
	relay_pool_free(t->pool);
	free(t);
}

size_t
sessions_open(const struct sessions *t)
{
	return t->count;
}
