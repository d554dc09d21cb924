#include "proxy/edge_before.h"

#include <stdlib.h>
#include <string.h>

/* ---- order ---- */

static int
compare_sockets(const struct edge_socket *a, const struct edge_socket *b)
{
	uint8_t ka[ADDR_KEY_LEN], kb[ADDR_KEY_LEN];
	int result = (int)a->proto - (int)b->proto;

	if (result == 0)
		result =
		    (int)addr_port(&a->address) - (int)addr_port(&b->address);
	if (result == 0)
		result =
		    (int)a->address.sa.sa_family - (int)b->address.sa.sa_family;
	if (result == 0)
		result = (int)a->bits - (int)b->bits;
	if (result == 0 && a->elsewhere)
		result = (int)a->port_last - (int)b->port_last;
	if (result != 0)
		return result;
	addr_prefix_key(ka, &a->address, 32, 128);
	addr_prefix_key(kb, &b->address, 32, 128);
	return memcmp(ka, kb, sizeof ka);
}

static int
compare_places(const void *a, const void *b)
{
	return compare_sockets(((const struct edge_place *)a)->socket,
	    ((const struct edge_place *)b)->socket);
}

int
edge_before_begin(struct edge_before *b, struct edge_set *old)
{
	*b = (struct edge_before){ .count = old->count, .queues = old->queues };
	b->places = calloc(old->count + 1, sizeof *b->places);
	if (b->places == NULL)
		return -1;
	for (size_t i = 0; i < old->count; i++)
		b->places[i] = (struct edge_place){ &old->sockets[i],
			&old->fds[i * old->queues] };
	qsort(b->places, b->count, sizeof *b->places, compare_places);
	return 0;
}

void
edge_before_end(struct edge_before *b)
{
	free(b->places);
	b->places = NULL;
}

/* ---- what goes over ---- */

static uint16_t
reach_of(const struct edge_socket *s)
{
	return s->port_drain > s->port_last ? s->port_drain : s->port_last;
}

static void
take(const struct edge_before *b, const struct edge_place *p,
    struct edge_socket *s, int *fds, bool dispatched)
{
	const struct edge_socket *was = p->socket;

	p->socket->kept = s->kept = true;
	s->port_had = was->port_last;
	s->paused = was->paused;
	s->slot = was->slot;
	s->by_bind = was->by_bind || (dispatched && was->slot < 0);
	if (s->proto == SOCK_UDP && reach_of(was) > s->port_last)
		s->port_drain = reach_of(was);
	memcpy(fds, p->fds, b->queues * sizeof *fds);
}

bool
edge_before_take(const struct edge_before *b, struct edge_socket *s, int *fds,
    bool dispatched)
{
	const struct edge_place key = { s, NULL };
	const struct edge_place *p = bsearch(
	    &key, b->places, b->count, sizeof *b->places, compare_places);

	if (p == NULL || p->socket->kept)
		return false;
	take(b, p, s, fds, dispatched);
	return true;
}

static bool
is_port_of(const struct edge_socket *s, const struct edge_socket *range)
{
	uint16_t port = addr_port(&s->address);
	struct addr a = range->address;

	addr_set_port(&a, port);
	return !s->kept && s->proto == range->proto && s->bits == range->bits &&
	    port > addr_port(&range->address) && port <= range->port_last &&
	    addr_equal(&s->address, &a);
}

void
edge_before_take_ports(
    const struct edge_before *b, struct edge_set *set, size_t index)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct edge_place *p = &b->places[i];
		struct edge_socket *s = &set->sockets[set->count];

		if (!is_port_of(p->socket, &set->sockets[index]))
			continue;
		*s = set->sockets[index];
		s->address = p->socket->address;
		s->port_last = addr_port(&s->address);
		s->port_drain = 0;
		take(b, p, s, &set->fds[set->count * set->queues], true);
		set->count++;
	}
}

bool
edge_before_reaches(const struct edge_before *b, enum sock_proto proto,
    int family, unsigned int first, unsigned int last)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct edge_socket *s = b->places[i].socket;

		if (s->slot >= 0 && !s->elsewhere && s->proto == proto &&
		    s->address.sa.sa_family == family &&
		    addr_port(&s->address) < last && reach_of(s) >= first)
			return true;
	}
	return false;
}

static bool
overlap(const struct addr *a, const struct addr *b)
{
	return a->sa.sa_family == b->sa.sa_family &&
	    (addr_is_wildcard(a) || addr_is_wildcard(b));
}

static bool
holds(const struct edge_socket *s, const struct app *a)
{
	uint16_t port = addr_port(&s->address);

	if (s->kept || s->elsewhere || s->proto != a->proto ||
	    port < a->port_first || port > a->port_last)
		return false;
	for (size_t e = 0; e < a->edges; e++)
		if (overlap(&a->edge[e], &s->address))
			return true;
	return false;
}

const struct edge_socket *
edge_before_holder(const struct edge_before *b, const struct app *a)
{
	for (size_t i = 0; i < b->count; i++)
		if (holds(b->places[i].socket, a))
			return b->places[i].socket;
	return NULL;
}
