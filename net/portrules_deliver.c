/* Who gets a packet. */
#include "net/portrules.h"

#include <stdlib.h>
#include <string.h>

#include "net/portrules_inner.h"

/* What one level of the search found. */
struct found {
	size_t winner;
	bool split;
	bool steered;
	enum portrules_tie tie;
};

static bool
is_four(const struct addr *a)
{
	struct portrules_spot spot;

	portrules_spot(&spot, a, true);
	return spot.four;
}

static bool
same_end(const struct addr *a, const struct addr *b)
{
	struct portrules_spot x, y;

	portrules_spot(&x, a, true);
	portrules_spot(&y, b, true);
	return addr_port(a) == addr_port(b) && portrules_same_spot(&x, &y);
}

static bool
hears(const struct portrules_socket *s, const struct portrules_packet *k)
{
	return s->bound && RULE(SAME_PROTO, s->proto == k->proto) &&
	    RULE(SAME_NETNS, s->netns == k->netns) &&
	    RULE(SAME_PORT, addr_port(&s->local) == addr_port(&k->to)) &&
	    RULE(DEVICE_HEARS, s->device == 0 || s->device == k->device);
}

/* The socket's address is the packet's, or a wildcard that covers it. */
static bool
is_at(const struct portrules_socket *s, const struct portrules_packet *k,
    bool wildcard)
{
	struct portrules_spot spot, to;

	portrules_spot(&spot, &s->local, s->v6only);
	portrules_spot(&to, &k->to, true);
	if (!wildcard)
		return portrules_same_spot(&spot, &to);
	return spot.any &&
	    (spot.four == to.four || (to.four && RULE(DUAL_MEETS, spot.dual)));
}

/*
 * The kernel's score without what all have. The weights differ by protocol
 * and family, but a connected socket always comes first.
 */
static int
score(const struct portrules_socket *s, const struct portrules_packet *k)
{
	bool four = is_four(&k->to), udp = k->proto == SOCK_UDP;
	int total = 0;

	if (s->state == PORTRULES_CONNECTED)
		total += four ? 8 : 2;
	if (RULE(DEVICE_SCORES, s->device != 0))
		total += udp && four ? 4 : 1;
	if (four && RULE(FAMILY_SCORES, s->local.sa.sa_family == AF_INET))
		total += 1;
	if (RULE(CPU_SCORES, k->cpu != 0 && s->cpu == k->cpu))
		total += 1;
	return total;
}

static bool
is_candidate(const struct portrules_socket *s, const struct portrules_packet *k,
    bool wildcard)
{
	if (!hears(s, k) || !is_at(s, k, wildcard))
		return false;
	if (s->proto == SOCK_TCP)
		return RULE(IS_LISTENER, s->state == PORTRULES_LISTEN);
	return s->state != PORTRULES_CONNECTED ||
	    RULE(PEER_MATCHES, same_end(&s->peer, &k->from));
}

/* A repair of 6.2 that 6.1 as distributed has too. */
static bool
prefers_cpu(const struct portrules *p, const struct portrules_packet *k,
    unsigned int group)
{
	for (size_t i = 0; k->cpu != 0 && p->kernel >= 6001 && i < p->n; i++)
		if (p->sockets[i].group == group && p->sockets[i].cpu == k->cpu)
			return true;
	return false;
}

/* A connected member is no longer asked; SO_INCOMING_CPU comes first. */
static bool
may_split(const struct portrules *p, const struct portrules_packet *k,
    const struct portrules_socket *s, unsigned int group)
{
	return s->bound && s->group == group &&
	    s->state != PORTRULES_CONNECTED &&
	    (!prefers_cpu(p, k, group) || s->cpu == k->cpu);
}

static size_t
count_split(const struct portrules *p, const struct portrules_packet *k,
    unsigned int group, size_t *first)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		if (may_split(p, k, &p->sockets[i], group) && n++ == 0)
			*first = i;
	return n;
}

/* How the winner of a level won, against all that could have. */
static enum portrules_tie
tie_of(const struct portrules *p, const struct portrules_packet *k,
    bool wildcard, const struct found *f)
{
	const struct portrules_socket *w = &p->sockets[f->winner];
	enum portrules_tie tie = f->split ? PORTRULES_GROUP : PORTRULES_ONLY;
	bool group = f->split || f->steered;

	for (size_t i = 0; i < p->n; i++) {
		const struct portrules_socket *s = &p->sockets[i];

		if (i == f->winner || !is_candidate(s, k, wildcard) ||
		    (group && s->group == w->group))
			continue;
		if (score(s, k) > score(w, k))
			return PORTRULES_GROUP_FIRST;
		if (group)
			continue;
		if (score(s, k) == score(w, k))
			tie = labs(s->place) < labs(w->place)
			    ? PORTRULES_NEWEST
			    : PORTRULES_OLDEST;
		else if (tie == PORTRULES_ONLY)
			tie = PORTRULES_SCORE;
	}
	return f->steered ? PORTRULES_STEERED : tie;
}

/* The member that the group's program names; none such: by hash after all. */
static size_t
steered_to(const struct portrules *p, const struct portrules_socket *s)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->sockets[i].group == s->group &&
		    p->sockets[i].member + 1 == s->steered)
			return i;
	return PORTRULES_NOBODY;
}

static void
take_group(const struct portrules *p, const struct portrules_packet *k,
    const struct portrules_socket *s, struct found *f)
{
	size_t to = steered_to(p, s);

	f->steered = RULE(GROUP_STEERED, to != PORTRULES_NOBODY);
	if (!f->steered)
		f->split = count_split(p, k, s->group, &f->winner) > 1;
	else if (to != PORTRULES_NOBODY)
		f->winner = to;
}

/*
 * The chain from its head: the first of the best. A group that is met on the
 * way ends the search at once, unless one of it was ever connected.
 */
static void
search(const struct portrules *p, const struct portrules_packet *k,
    bool wildcard, struct found *f)
{
	size_t i = portrules_next(p, INT64_MAX);
	int best = -1;

	f->winner = PORTRULES_NOBODY;
	f->split = f->steered = false;
	for (; i != PORTRULES_NOBODY;
	     i = portrules_next(p, p->sockets[i].place)) {
		const struct portrules_socket *s = &p->sockets[i];

		if (!is_candidate(s, k, wildcard) ||
		    !RULE(BETTER_SCORE, score(s, k) > best))
			continue;
		best = score(s, k);
		f->winner = i;
		f->split = f->steered = false;
		if (s->state == PORTRULES_CONNECTED ||
		    !RULE(GROUP_SPLITS, s->reuseport && s->group != 0))
			continue;
		take_group(p, k, s, f);
		if (RULE(GROUP_ENDS_SEARCH, !s->group_connected))
			break;
	}
	if (f->winner != PORTRULES_NOBODY)
		f->tie = tie_of(p, k, wildcard, f);
}

/* TCP's established sockets; UDP's from 6.13 on, where they have a table. */
static size_t
four_tuple(const struct portrules *p, const struct portrules_packet *k)
{
	size_t i = portrules_next(p, INT64_MAX);

	if (k->proto == SOCK_UDP && p->kernel < 6013)
		return PORTRULES_NOBODY;
	for (; i != PORTRULES_NOBODY;
	     i = portrules_next(p, p->sockets[i].place)) {
		const struct portrules_socket *s = &p->sockets[i];

		if (s->state == PORTRULES_CONNECTED && hears(s, k) &&
		    same_end(&s->local, &k->to) && same_end(&s->peer, &k->from))
			return i;
	}
	return PORTRULES_NOBODY;
}

static bool
is_connected(const struct portrules *p, size_t i)
{
	return i != PORTRULES_NOBODY &&
	    p->sockets[i].state == PORTRULES_CONNECTED;
}

/* A program may name any socket that could hear this family, unconnected. */
static bool
is_choice(const struct portrules *p, const struct portrules_packet *k)
{
	const struct portrules_socket *s;
	struct portrules_spot spot;

	if (k->chosen >= p->n)
		return false;
	s = &p->sockets[k->chosen];
	portrules_spot_of(&spot, s);
	return RULE(CHOICE_UNCONNECTED, s->state != PORTRULES_CONNECTED) &&
	    RULE(CHOICE_FAMILY,
		is_four(&k->to) ? spot.four || spot.dual : !spot.four);
}

/* The program's choice; it may name one of a group, which then splits. */
static void
take_chosen(const struct portrules *p, const struct portrules_packet *k,
    struct portrules_delivery *d)
{
	size_t first = k->chosen;
	const struct portrules_socket *s = &p->sockets[k->chosen];

	d->level = PORTRULES_SK_LOOKUP;
	d->winner = k->chosen;
	if (!s->reuseport || s->group == 0)
		return;
	d->split = count_split(p, k, s->group, &first) > 1;
	d->winner = first;
	d->tie = d->split ? PORTRULES_GROUP : PORTRULES_ONLY;
}

static void
take_found(struct portrules_delivery *d, enum portrules_level level,
    const struct found *f)
{
	d->level = level;
	d->winner = f->winner;
	d->split = f->split;
	d->tie = f->tie;
}

struct portrules_delivery
portrules_deliver(const struct portrules *p, const struct portrules_packet *k)
{
	struct portrules_delivery d = { .winner = PORTRULES_NOBODY };
	struct found exact = { 0 }, wild = { 0 };

	d.winner = four_tuple(p, k);
	if (RULE(CONNECTED_FIRST, d.winner != PORTRULES_NOBODY)) {
		d.level = d.winner != PORTRULES_NOBODY ? PORTRULES_FOUR_TUPLE
						       : PORTRULES_UNHEARD;
		return d;
	}
	search(p, k, false, &exact);
	search(p, k, true, &wild);
	if (is_connected(p, exact.winner))
		take_found(&d, PORTRULES_FOUR_TUPLE, &exact);
	else if (RULE(CHOSEN_BEFORE_EXACT, is_choice(p, k)))
		take_chosen(p, k, &d);
	else if (RULE(EXACT_BEFORE_WILDCARD, exact.winner != PORTRULES_NOBODY))
		take_found(&d, PORTRULES_EXACT, &exact);
	else if (wild.winner != PORTRULES_NOBODY)
		take_found(&d, PORTRULES_WILDCARD, &wild);
	return d;
}

bool
portrules_receives(const struct portrules *p, const struct portrules_packet *k,
    const struct portrules_delivery *d, size_t i)
{
	if (d->winner == PORTRULES_NOBODY)
		return false;
	return i == d->winner ||
	    (d->split &&
		may_split(p, k, &p->sockets[i], p->sockets[d->winner].group));
}
