#include "proxy/sniffer.h"

#include <stdlib.h>
#include <unistd.h>

#include "net/steer.h"
#include "net/tcp.h"

#define ENTRIES 1024 /* more than that are the customer's at once */
#define TICK_S 0.05

struct entry {
	ev_io io; /* first: a watcher is its entry */
	struct sniffer *owner;
	struct service *service; /* held; NULL: free */
	struct addr client, edge;
	double ends;
	struct entry *next, *prev; /* by age; the free ones by `next` */
};

struct sniffer {
	struct sniffer_setup setup;
	struct entry *entries, *free, *oldest, *newest;
	ev_timer tick;
};

/* STEER_IDLE: it has said too little. */
static enum steer_kind
kind_of(int fd)
{
	uint8_t bytes[STEER_PEEK_LEN];
	ssize_t n = tcp_peek(fd, bytes, sizeof bytes);
	enum steer_kind kind = STEER_CUSTOMER; /* also an end, or a fault */

	if (n > 0)
		kind = steer_stream(bytes, (size_t)n);
	else if (n < 0)
		kind = STEER_IDLE; /* EAGAIN; anything else comes to light */
	if (kind == STEER_IDLE)
		tcp_readable_from(fd, n > 0 ? (int)n + 1 : 1);
	return kind;
}

static void
decide(struct sniffer *s, enum steer_kind kind, struct service *v, int fd,
    const struct addr *client, const struct addr *edge)
{
	if (kind == STEER_TIME)
		s->setup.time(s->setup.arg, fd, edge);
	else
		session_begin(s->setup.sessions, v, fd, client, edge);
}

static void
let_go(struct entry *e)
{
	struct sniffer *s = e->owner;

	ev_io_stop(s->setup.loop, &e->io);
	if (e->prev != NULL)
		e->prev->next = e->next;
	else
		s->oldest = e->next;
	if (e->next != NULL)
		e->next->prev = e->prev;
	else
		s->newest = e->prev;
	e->next = s->free;
	s->free = e;
	if (s->oldest == NULL)
		ev_timer_stop(s->setup.loop, &s->tick);
}

static void
end(struct entry *e, enum steer_kind kind)
{
	struct service *v = e->service;

	tcp_readable_from(e->io.fd, 1);
	let_go(e);
	decide(e->owner, kind, v, e->io.fd, &e->client, &e->edge);
	service_release(v);
}

static void
entry_event(struct ev_loop *loop, ev_io *io, int events)
{
	enum steer_kind kind = kind_of(io->fd);

	(void)loop;
	(void)events;
	if (kind != STEER_IDLE)
		end((struct entry *)io, kind);
}

static void
tick_event(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct sniffer *s = timer->data;

	(void)events;
	while (s->oldest != NULL && s->oldest->ends <= ev_now(loop))
		end(s->oldest, STEER_CUSTOMER);
}

static void
wait_for(struct sniffer *s, struct service *v, int fd,
    const struct addr *client, const struct addr *edge)
{
	struct entry *e = s->free;

	s->free = e->next;
	e->owner = s;
	e->service = service_hold(v);
	e->client = *client;
	e->edge = *edge;
	e->ends = ev_now(s->setup.loop) + s->setup.wait_ms / 1000.0;
	e->next = NULL;
	e->prev = s->newest;
	if (s->newest != NULL)
		s->newest->next = e;
	else
		s->oldest = e;
	s->newest = e;
	ev_io_init(&e->io, entry_event, fd, EV_READ);
	ev_io_start(s->setup.loop, &e->io);
	if (!ev_is_active(&s->tick))
		ev_timer_again(s->setup.loop, &s->tick);
}

void
sniffer_look(struct sniffer *s, struct service *v, int fd,
    const struct addr *client, const struct addr *edge)
{
	enum steer_kind kind = kind_of(fd);

	if (kind == STEER_IDLE && s->free != NULL)
		wait_for(s, v, fd, client, edge);
	else
		decide(s, kind, v, fd, client, edge);
}

void
sniffer_give_up(struct sniffer *s)
{
	while (s->oldest != NULL)
		end(s->oldest, STEER_CUSTOMER);
}

struct sniffer *
sniffer_new(const struct sniffer_setup *setup)
{
	struct sniffer *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->setup = *setup;
	s->entries = calloc(ENTRIES, sizeof *s->entries);
	if (s->entries == NULL) {
		free(s);
		return NULL;
	}
	for (size_t i = 0; i < ENTRIES; i++) {
		s->entries[i].next = s->free;
		s->free = &s->entries[i];
	}
	ev_init(&s->tick, tick_event);
	s->tick.repeat = TICK_S;
	s->tick.data = s;
	return s;
}

void
sniffer_free(struct sniffer *s)
{
	if (s == NULL)
		return;
	while (s->oldest != NULL) {
		struct entry *e = s->oldest;

		let_go(e);
		close(e->io.fd);
		service_release(e->service);
	}
	free(s->entries);
	free(s);
}
