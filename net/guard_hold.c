/* The holder's side: which sockets are ours, and for whom they make way. */
#include "net/guard_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/listener.h"

/* ---- places ---- */

static bool
is_wild(const struct guard_place *p)
{
	return addr_is_wildcard(&p->address);
}

/* Takes packets of IPv4 as well. */
static bool
is_dual(const struct guard_place *p)
{
	return p->address.sa.sa_family == AF_INET6 && is_wild(p) && !p->v6only;
}

bool
guard_overlap(const struct guard_place *a, const struct guard_place *b)
{
	if (a->proto != b->proto ||
	    addr_port(&a->address) != addr_port(&b->address))
		return false;
	if (a->address.sa.sa_family != b->address.sa.sa_family)
		return is_dual(a) || is_dual(b);
	return is_wild(a) || is_wild(b) || addr_equal(&a->address, &b->address);
}

/* One of the two would get nothing more, of a family at least. */
static bool
is_same(const struct guard_place *a, const struct guard_place *b)
{
	return is_wild(a) == is_wild(b);
}

/* ---- our sockets ---- */

int
guard_hold(struct guard *g, const struct guard_socket *s)
{
	struct guard_socket *list =
	    realloc(g->sockets, (g->count + 1) * sizeof *list);
	int *fds = malloc(s->count * sizeof *fds);

	if (list != NULL)
		g->sockets = list;
	if (list == NULL || fds == NULL) {
		free(fds);
		return -1;
	}
	memcpy(fds, s->fds, s->count * sizeof *fds);
	list[g->count] = *s;
	list[g->count++].fds = fds;
	return 0;
}

struct guard_socket *
guard_find(struct guard *g, int fd)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->sockets[i].fds[0] == fd)
			return &g->sockets[i];
	return NULL;
}

void
guard_release(struct guard *g, int fd)
{
	struct guard_socket *s = g != NULL ? guard_find(g, fd) : NULL;

	if (s == NULL)
		return;
	guard_tell_left(g, s);
	if (s->bolt >= 0)
		close(s->bolt);
	free(s->fds);
	*s = g->sockets[--g->count];
}

/* ---- windows ---- */

static enum guard_why
judge(
    const struct guard *g, const struct guard_message *ask, enum guard_way *way)
{
	size_t found = 0;

	*way = ask->uid == g->setup.owner ? GUARD_BY_PORT : GUARD_BY_ADDR;
	for (size_t i = 0; i < g->count; i++) {
		const struct guard_socket *s = &g->sockets[i];

		if (!guard_overlap(&s->place, &ask->place))
			continue;
		if (is_same(&s->place, &ask->place))
			return GUARD_SAME_PLACE;
		found++;
	}
	if (found == 0)
		return GUARD_NOT_MINE;
	return *way == GUARD_BY_ADDR && ask->place.proto == SOCK_TCP
	    ? GUARD_OTHER_USER
	    : GUARD_WHY_NONE;
}

static int
set_all(const struct guard *g, bool on)
{
	int result = 0;

	for (size_t i = 0; i < g->count; i++) {
		const struct guard_socket *s = &g->sockets[i];

		if (guard_overlap(&s->place, &g->window_ask.place))
			result |= guard_flags(s, g->window_way, on);
	}
	return result;
}

static enum guard_why
open_window(struct guard *g, struct guard_peer *p,
    const struct guard_message *ask, enum guard_way way)
{
	char name[ADDR_STR_LEN];

	g->window = p;
	g->window_ask = *ask;
	g->window_way = way;
	g->window_ends_ms = clock_monotonic_ms() + GUARD_WINDOW_MS;
	if (set_all(g, true) != 0) {
		log_warning(
		    "sharing: %s: %m", sockflag_str(SOCKFLAG_REUSEPORT));
		(void)set_all(g, false);
		g->window = NULL;
		return GUARD_FAULT;
	}
	log_info("sharing: %s (pid %ld) may bind %s %s", p->hello.name,
	    (long)p->who.pid, listener_proto_str(ask->place.proto),
	    addr_format(name, &ask->place.address));
	return GUARD_WHY_NONE;
}

static void
answer(struct guard *g, struct guard_peer *p, const struct guard_message *ask)
{
	struct guard_message m = { .number = ask->number };
	enum guard_way way;
	enum guard_why why = judge(g, ask, &way);

	if (why == GUARD_WHY_NONE && ask->detail == 0)
		why = open_window(g, p, ask, way);
	for (size_t i = 0; i < g->count && why == GUARD_WHY_NONE; i++)
		if (guard_overlap(&g->sockets[i].place, &ask->place) &&
		    ask->detail == 0) {
			g->sockets[i].shared = true;
			guard_tell_have(p, &g->sockets[i]);
		}
	m.type = why == GUARD_WHY_NONE ? GUARD_OPEN : GUARD_NO;
	m.detail = why == GUARD_WHY_NONE ? (uint8_t)way : (uint8_t)why;
	guard_tell(p, &m, NULL, 0);
}

void
guard_take_ask(
    struct guard *g, struct guard_peer *p, const struct guard_message *m)
{
	if (g->window == p)
		guard_close_window(g);
	if (g->window == NULL)
		answer(g, p, m);
	else
		p->waits = *m;
}

void
guard_close_window(struct guard *g)
{
	(void)set_all(g, false);
	g->window = NULL;
	for (size_t i = 0; i < GUARD_PEERS_MAX && g->window == NULL; i++) {
		struct guard_peer *p = &g->peers[i];
		const struct guard_message ask = p->waits;

		if (p->fd < 0 || ask.type == GUARD_NONE)
			continue;
		p->waits = (struct guard_message){ 0 };
		answer(g, p, &ask);
	}
}
