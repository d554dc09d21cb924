/*
 * What is left of a peer's addresses when it goes: the list of them, so that
 * what falls to our own sockets is known for what it is; and with `keep` their
 * sockets as well, which hold the address, let nothing in, and are given back.
 */
#include "net/guard_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "net/listener.h"
#include "net/steer.h"

/* ---- lists ---- */

static bool
is_place(const struct guard_place *a, const struct guard_place *b)
{
	return a->proto == b->proto && addr_equal(&a->address, &b->address);
}

static struct guard_kept *
find(struct guard_kept_list *l, const struct guard_place *place)
{
	for (size_t i = 0; i < l->count; i++)
		if (is_place(&l->items[i].place, place))
			return &l->items[i];
	return NULL;
}

static void
let_go(struct guard_kept *k)
{
	listener_close(k->fds, k->fd_count);
	free(k->fds);
	k->fds = NULL;
	k->fd_count = 0;
}

static void
take_off(struct guard_kept_list *l, struct guard_kept *k)
{
	let_go(k);
	*k = l->items[--l->count];
}

void
guard_kept_free(struct guard_kept_list *l)
{
	while (l->count > 0)
		take_off(l, &l->items[0]);
	free(l->items);
	l->items = NULL;
}

/* NULL: there is no room, or no memory. */
static struct guard_kept *
put(struct guard_kept_list *l, const struct guard_place *place)
{
	struct guard_kept *k = find(l, place);

	if (k != NULL)
		return k;
	if (l->items == NULL)
		l->items = calloc(GUARD_PLACES_MAX, sizeof *l->items);
	if (l->items == NULL || l->count == GUARD_PLACES_MAX)
		return NULL;
	k = &l->items[l->count++];
	memset(k, 0, sizeof *k);
	k->place = *place;
	return k;
}

/* Takes the descriptors, in place of those that were there. */
static void
fill(struct guard_kept *k, size_t sockets, const int *fds, size_t count)
{
	int *copy = malloc((count + 1) * sizeof *copy);

	let_go(k);
	if (copy == NULL || count < sockets) { /* some have been lost */
		listener_close(fds, count);
		free(copy);
		return;
	}
	memcpy(copy, fds, count * sizeof *copy);
	k->fds = copy;
	k->count = sockets;
	k->fd_count = count;
}

static void
tell_change(const struct guard *g)
{
	if (g->setup.changed != NULL)
		g->setup.changed(g->setup.arg);
}

struct guard_places *
guard_places(const struct guard *g)
{
	struct guard_places *p = guard_places_new(g->theirs.count);

	for (size_t i = 0; p != NULL && i < g->theirs.count; i++)
		guard_places_add(p, &g->theirs.items[i].place);
	if (p != NULL)
		guard_places_sort(p);
	return p;
}

/* ---- a peer's ---- */

static uint64_t
drops_of(const struct guard_kept *k)
{
	uint64_t total = 0;
	uint32_t drops;

	for (size_t i = 0; i < k->fd_count; i++)
		if (steer_drops(k->fds[i], &drops) == 0)
			total += drops;
	return total;
}

static uint64_t
drops_while_gone(const struct guard_kept *k)
{
	return k->peer == NULL ? drops_of(k) - k->drops_before : 0;
}

static void
strike(struct guard *g, struct guard_kept *k)
{
	g->drops += drops_while_gone(k);
	take_off(&g->theirs, k);
}

void
guard_take_have(struct guard *g, struct guard_peer *p,
    const struct guard_message *m, const int *fds, size_t count)
{
	struct guard_kept *k = put(&g->theirs, &m->place);

	if (k == NULL) {
		listener_close(fds, count);
		log_limited(&g->full, LOG_LEVEL_WARNING,
		    "sharing: more than %d addresses of others: while their "
		    "owner is down, we answer for the rest",
		    GUARD_PLACES_MAX);
		return;
	}
	g->drops += drops_while_gone(k);
	k->peer = p;
	memcpy(k->name, p->hello.name, sizeof k->name);
	fill(k, m->count, fds, count);
	tell_change(g);
}

void
guard_take_left(
    struct guard *g, struct guard_peer *p, const struct guard_message *m)
{
	struct guard_kept *k = find(&g->theirs, &m->place);

	if (k == NULL || (k->peer != p && k->peer != NULL))
		return;
	strike(g, k);
	tell_change(g);
}

void
guard_orphan(struct guard *g, const struct guard_peer *p)
{
	size_t held = 0, total = 0;

	for (size_t i = 0; i < g->theirs.count; i++) {
		struct guard_kept *k = &g->theirs.items[i];

		if (k->peer != p)
			continue;
		k->peer = NULL;
		k->drops_before = drops_of(k);
		total++;
		held += k->fd_count > 0;
		for (size_t j = 0; j < k->fd_count; j++)
			(void)steer_stop(k->fds[j]);
	}
	if (total > 0)
		log_warning("sharing: until %s is back, or we reload, what "
			    "comes to its %zu addresses is dropped%s",
		    p->hello.name, total,
		    held == 0	       ? " and counted by us"
			: held < total ? ", in part by its own sockets"
				       : " by its own sockets");
}

/* It may be another process by now: whoever says that it is the same. */
void
guard_give_back(struct guard *g, struct guard_peer *p)
{
	for (size_t i = 0; i < g->theirs.count; i++) {
		const struct guard_kept *k = &g->theirs.items[i];
		const struct guard_message m = { .type = GUARD_KEPT,
			.place = k->place,
			.count = (uint16_t)k->count };

		if (k->peer == NULL && k->fd_count > 0 &&
		    strcmp(k->name, p->hello.name) == 0)
			guard_tell(p, &m, k->fds, k->fd_count);
	}
}

void
guard_forget(struct guard *g)
{
	size_t before;

	if (g == NULL)
		return;
	before = g->theirs.count;
	for (size_t i = before; i-- > 0;)
		if (g->theirs.items[i].peer == NULL)
			strike(g, &g->theirs.items[i]);
	if (g->theirs.count != before)
		tell_change(g);
}

/* The queue of a socket that is kept takes nothing: of TCP a SYN is a drop. */
uint64_t
guard_kept_drops(const struct guard *g)
{
	uint64_t total = g != NULL ? g->drops : 0;

	for (size_t i = 0; g != NULL && i < g->theirs.count; i++)
		total += drops_while_gone(&g->theirs.items[i]);
	return total;
}

/* ---- ours ---- */

void
guard_tell_have(struct guard_peer *p, const struct guard_socket *s)
{
	struct guard_message m = { .type = GUARD_HAVE,
		.place = s->place,
		.count = (uint16_t)s->count };
	int fds[UNIXSOCK_FDS_MAX];
	size_t n = s->count;

	if (addr_is_wildcard(&s->place.address))
		return;
	if (p->hello.detail == 0 || n + 1 > UNIXSOCK_FDS_MAX) {
		guard_tell(p, &m, NULL, 0);
		return;
	}
	memcpy(fds, s->fds, n * sizeof *fds);
	if (s->bolt >= 0)
		fds[n++] = s->bolt;
	guard_tell(p, &m, fds, n);
}

void
guard_take_kept(struct guard *g, const struct guard_message *m, const int *fds,
    size_t count)
{
	struct guard_kept *k = NULL;

	if (!g->setup.rehearse && !g->started)
		k = put(&g->ours, &m->place);
	if (k != NULL)
		fill(k, m->count, fds, count);
	else
		listener_close(fds, count);
}

static void
tell_left(struct guard *g, const struct guard_place *place)
{
	const struct guard_message m = { .type = GUARD_LEFT, .place = *place };

	for (size_t i = 0; i < GUARD_PEERS_MAX; i++)
		if (guard_is_known(&g->peers[i]))
			guard_tell(&g->peers[i], &m, NULL, 0);
}

void
guard_tell_left(struct guard *g, const struct guard_socket *s)
{
	if (s->shared && !addr_is_wildcard(&s->place.address))
		tell_left(g, &s->place);
}

/* They are alive as they are: with what is set now, and without the filter. */
static int
revive(struct guard_socket *s, const struct guard_kept *k,
    const struct sock_opts *o)
{
	const char *why;

	for (size_t i = 0; i < s->count; i++) {
		if (sock_adopt(k->fds[i], s->place.proto, &s->place.address, o,
			&why) != 0)
			return -1;
		steer_go_on(k->fds[i]);
		s->fds[i] = k->fds[i];
	}
	s->bolt = k->fd_count > s->count ? k->fds[s->count] : -1;
	return 0;
}

bool
guard_claim(struct guard *g, struct guard_socket *s, const struct sock_opts *o)
{
	struct guard_kept *k = find(&g->ours, &s->place);
	bool good;

	if (k == NULL || k->fd_count == 0)
		return false;
	good = k->count == s->count && revive(s, k, o) == 0;
	if (good)
		k->fd_count = 0; /* they are not its any more */
	else
		tell_left(g, &s->place);
	take_off(&g->ours, k);
	return good;
}

void
guard_decline(struct guard *g)
{
	for (size_t i = 0; i < g->ours.count; i++)
		tell_left(g, &g->ours.items[i].place);
	guard_kept_free(&g->ours);
}
