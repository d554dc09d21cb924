#include "proxy/session_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/tcp.h"

#define PIPES_MAX 1024 /* of a worker in use; one more session copies */
#define LAST_MOVES 64 /* what is left to be read when the other end is gone */

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

/* Longer than until the end of this turn. */
static bool
is_blocked(const struct relay *r)
{
	return relay_waiting(r) > 0 && !r->held;
}

/* Read from a half whose bytes, or turn, do not wait; write to one whose other's do. */
static int
wanted(const struct half *h)
{
	int events = 0;

	if (!h->ended && !is_blocked(&h->relay) && h->portion == 0)
		events |= EV_READ;
	if (is_blocked(&h->other->relay))
		events |= EV_WRITE;
	return events;
}

void
session_watch(struct session *s)
{
	watch(&s->client, wanted(&s->client));
	watch(&s->origin, wanted(&s->origin));
	session_look_soon(s);
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

void
session_half_close(struct half *h, bool reset)
{
	struct sessions *t = h->session->table;

	ev_io_stop(t->setup.loop, &h->io);
	session_pace_forget(h);
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
	if (s->entered)
		service_leave(s->service, &s->client_address);
	service_release(s->service);
	tally_raise(&t->setup.tally->sessions_ended, 1);
	list_remove(s);
	s->next = t->free;
	t->free = s;
}

void
session_set_state(struct session *s, enum session_state state)
{
	s->state = state;
	switch (state) {
	case SESSION_HEADER:
		watch(&s->client, EV_READ);
		break;
	case SESSION_RESOLVING:
		s->clock.attempt = session_now_s();
		watch(&s->client, 0);
		break;
	case SESSION_CONNECTING:
		s->clock.attempt = session_now_s();
		watch(&s->client, 0);
		watch(&s->origin, EV_WRITE);
		break;
	case SESSION_OPEN:
		s->clock.active = session_now_s();
		session_watch(s);
		break;
	case SESSION_FREE:
		forget(s);
		return;
	}
	session_set_timer(s);
}

void
session_leave_origin(struct session *s)
{
	if (s->chosen < 0)
		return;
	origins_end(s->service->origins, s->chosen);
	s->chosen = -1;
}

static void
count_end(const struct session *s, enum status status)
{
	if (!s->entered) {
		/* who may not come in has been counted by service_enter() */
		if (status != STATUS_FIREWALL && status != STATUS_UNAVAILABLE)
			tally_add(s->tally, TALLY_REFUSED_HEADER, 1);
		return;
	}
	tally_end(s->tally, status);
	if (s->state == SESSION_OPEN)
		tally_duration(s->tally,
		    (uint64_t)((session_now_s() - s->clock.born) * 1e6));
	else
		tally_add(s->tally, TALLY_NO_ORIGIN, 1);
}

void
session_close(struct session *s, enum status status, bool reset)
{
	if (relay_waiting(&s->client.relay) > 0 ||
	    relay_waiting(&s->origin.relay) > 0)
		reset = true;
	count_end(s, status);
	if (!s->entered)
		session_tell_refused(
		    s->table, s->service, &s->client_address, &s->edge, status);
	else if (s->state == SESSION_OPEN)
		session_tell(s, EVENT_DISCONNECT, status);
	else if (s->chosen >= 0 || s->tried == 0) /* none told yet */
		session_tell(s, event_kind_of(status), status);
	if (s->state != SESSION_OPEN)
		reset = true;
	session_half_close(&s->client, reset);
	session_half_close(&s->origin, reset);
	session_leave_origin(s);
	session_set_state(s, SESSION_FREE);
}

/* ---- open: both directions ---- */

static enum relay_result
move(struct half *h, bool paced)
{
	struct session *s = h->session;
	uint64_t before = h->relay.bytes;
	enum relay_result result = paced
	    ? session_pace_move(h)
	    : relay_move(&h->relay, s->table->pool, h->io.fd, h->other->io.fd);

	tally_add(s->tally,
	    h->side == STATUS_SIDE_CLIENT ? TALLY_CLIENT_BYTES
					  : TALLY_ORIGIN_BYTES,
	    h->relay.bytes - before);
	return result;
}

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
	for (int i = 0;
	     i < LAST_MOVES && (result == RELAY_TURN || result == RELAY_HELD);
	     i++)
		result = move(h, false); /* once, and not much */
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
	if (shutdown(h->other->io.fd, SHUT_WR) == 0)
		return true;
	half_broken(h->other, errno);
	return false;
}

/* What became of the bytes of `h`. False: the session is over. */
static bool
moved(struct half *h, enum relay_result result)
{
	struct session *s = h->session;
	struct sessions *t = s->table;

	/* many small moves of a stream cost more than a few large ones */
	if (h->relay.bulk)
		spin_rest(t->setup.spin);
	switch (result) {
	case RELAY_HELD:
		t->held[t->held_count++] = h;
		return true;
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

bool
session_move(struct half *h)
{
	return h->ended || moved(h, move(h, h->session->service->pace != NULL));
}

/* The turn ends: what it has received is sent. */
static void
release_event(struct ev_loop *loop, ev_prepare *w, int events)
{
	struct sessions *t = w->data;

	(void)loop;
	(void)events;
	for (size_t i = 0; i < t->held_count; i++) {
		struct half *h = t->held[i];

		if (h->relay.held &&
		    moved(
			h, relay_release(&h->relay, t->pool, h->other->io.fd)))
			session_watch(h->session);
	}
	t->held_count = 0;
	relay_pool_turn(t->pool);
}

void
session_half_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct half *h = (struct half *)io;
	struct session *s = h->session;

	(void)loop;
	s->clock.active = session_now_s();
	if ((events & EV_READ) && !session_move(h))
		return;
	if ((events & EV_WRITE) && !session_move(h->other))
		return;
	session_watch(s);
}

void
sessions_resolved(struct sessions *t)
{
	struct session *next;

	for (struct session *s = t->open; s != NULL; s = next) {
		next = s->next;
		if (s->state == SESSION_RESOLVING)
			session_connect(s, STATUS_CONNECT_FAILED);
	}
}

/* ---- beginning ---- */

static void
half_init(struct half *h, struct session *s, struct half *other,
    enum status_side side, int fd)
{
	*h = (struct half){ .session = s, .other = other, .side = side };
	ev_io_init(&h->io, session_half_event, fd, EV_READ);
}

enum status
session_enter(struct session *s, uint64_t now_ns)
{
	enum status status =
	    service_enter(s->service, s->tally, &s->client_address, now_ns);

	s->entered = status == STATUS_OPEN;
	if (s->entered)
		tally_add(s->tally, TALLY_BEGUN, 1);
	return status;
}

static void
refuse(struct sessions *t, const struct service *v, int fd,
    const struct addr *client, const struct addr *edge, enum status status)
{
	session_tell_refused(t, v, client, edge, status);
	tcp_reset_on_close(fd);
	close(fd);
}

static void
init(struct session *s, struct sessions *t, struct service *v, int fd,
    const struct addr *client, const struct addr *edge)
{
	*s = (struct session){ .table = t,
		.service = service_hold(v),
		.tally = tally_book_sheet(v->book, t->setup.worker),
		.client_address = *client,
		.edge = *edge,
		.asked = *edge,
		.connect_us = clock_realtime_us(),
		.clock.born = session_now_s(),
		.chosen = -1 };
	half_init(&s->client, s, &s->origin, STATUS_SIDE_CLIENT, fd);
	half_init(&s->origin, s, &s->client, STATUS_SIDE_ORIGIN, -1);
	ev_timer_init(&s->timer, session_timer_event, 0, 0);
	s->timer.data = s;
	list_add(s);
	tally_raise(&t->setup.tally->sessions_begun, 1);
}

static void
refuse_full(struct sessions *t, const struct service *v, int fd,
    const struct addr *client, const struct addr *edge)
{
	tally_add(
	    tally_book_sheet(v->book, t->setup.worker), TALLY_REFUSED_FULL, 1);
	refuse(t, v, fd, client, edge, STATUS_UNAVAILABLE);
}

static void
begin(struct sessions *t, struct service *v, int fd, const struct addr *client,
    const struct addr *edge)
{
	/* who its client is will be told, and then whether that may come in */
	bool later = app_trusts(&v->app, client);
	struct tally *tally = tally_book_sheet(v->book, t->setup.worker);
	enum status status = later
	    ? STATUS_OPEN
	    : service_enter(v, tally, client, clock_monotonic_ns());
	struct session *s = status == STATUS_OPEN ? slot_take(t) : NULL;

	if (s == NULL) {
		if (status == STATUS_OPEN && !later)
			service_leave(v, client);
		if (status == STATUS_OPEN)
			refuse_full(t, v, fd, client, edge);
		else
			refuse(t, v, fd, client, edge, status);
		return;
	}
	init(s, t, v, fd, client, edge);
	if (later) {
		session_await_header(s);
		return;
	}
	s->entered = true;
	tally_add(tally, TALLY_BEGUN, 1);
	session_connect(s, STATUS_CONNECT_FAILED);
}

bool
session_begin(struct sessions *t, struct service *v, int fd,
    const struct addr *client, const struct addr *edge)
{
	/* the lowest free number is the one that is given out */
	t->no_fd = fd >= t->setup.fd_most;
	if (t->no_fd) {
		relay_pool_spare(t->pool);
		refuse_full(t, v, fd, client, edge);
	} else {
		begin(t, v, fd, client, edge);
	}
	return !t->no_fd;
}

/* ---- making and ending ---- */

struct sessions *
sessions_new(const struct sessions_setup *setup)
{
	const struct relay_pool_config pool = { .relays = 2 * setup->max,
		.pipes =
		    setup->max < PIPES_MAX ? 2 * setup->max : 2 * PIPES_MAX,
		/* bulk is copied before a client is refused for it */
		.fd_most = setup->fd_most - setup->fd_most / 4,
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
	ev_prepare_init(&t->release, release_event);
	t->release.data = t;
	ev_prepare_start(setup->loop, &t->release);
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
	ev_prepare_stop(t->setup.loop, &t->release);
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
