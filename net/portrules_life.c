/* What happens to a socket: bind, listen, connect, close; groups, memory. */
#include "net/portrules.h"

#include <errno.h>
#include <string.h>

#include "net/portrules_inner.h"

/* IPv6 sockets with SO_REUSEPORT go to the end of the kernel's chains. */
static void
give_place(struct portrules *p, struct portrules_socket *s)
{
	bool tail =
	    RULE(AT_TAIL, s->reuseport && s->local.sa.sa_family == AF_INET6);

	p->clock++;
	s->place = tail ? -p->clock : p->clock;
}

/* What the kernel makes of the flag: one IPv6 address alone is v6only. */
static bool
is_v6only(const struct portrules_socket *s)
{
	struct portrules_spot spot;

	portrules_spot_of(&spot, s);
	return !spot.four && !spot.dual;
}

static bool
is_kin(const struct portrules_socket *s, const struct portrules_socket *newer)
{
	struct portrules_spot x, y;

	portrules_spot_of(&x, s);
	portrules_spot_of(&y, newer);
	return portrules_same_port(s, newer) && s->netns == newer->netns &&
	    (s->proto == SOCK_UDP || s->state == PORTRULES_LISTEN) &&
	    RULE(JOINS_GROUP, s->reuseport) &&
	    RULE(GROUP_FAMILY,
		s->local.sa.sa_family == newer->local.sa.sa_family) &&
	    RULE(GROUP_V6ONLY, is_v6only(s) == is_v6only(newer)) &&
	    RULE(GROUP_DEVICE, s->device == newer->device) &&
	    RULE(GROUP_UID, s->uid == newer->uid) &&
	    RULE(GROUP_ADDRESS, portrules_same_spot(&x, &y));
}

static unsigned int
group_size(const struct portrules *p, unsigned int group)
{
	unsigned int n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += p->sockets[i].group == group;
	return n;
}

static void
found_group(struct portrules *p, struct portrules_socket *s)
{
	s->group = ++p->groups;
	s->member = 0;
	s->group_connected = false;
	s->steered = 0;
}

/* One that set the flag after its bind is taken in with the next that comes. */
static void
join_group(struct portrules *p, size_t self)
{
	struct portrules_socket *newer = &p->sockets[self];
	size_t i = portrules_next(p, INT64_MAX);

	for (; i != PORTRULES_NOBODY;
	     i = portrules_next(p, p->sockets[i].place)) {
		struct portrules_socket *s = &p->sockets[i];

		if (i == self || !is_kin(s, newer))
			continue;
		if (s->group == 0)
			found_group(p, s);
		newer->member = group_size(p, s->group);
		newer->group = s->group;
		newer->group_connected = s->group_connected;
		newer->steered = s->steered;
		return;
	}
	found_group(p, newer);
}

/* The last member takes the place of the one that goes. */
static void
leave_group(struct portrules *p, struct portrules_socket *s)
{
	unsigned int last;

	if (s->group == 0)
		return;
	last = group_size(p, s->group) - 1;
	for (size_t i = 0; i < p->n; i++) {
		struct portrules_socket *t = &p->sockets[i];

		if (t->group == s->group && t->member == last)
			t->member = s->member;
	}
	s->group = 0;
	s->member = 0;
}

/* One bind or listen of `s` worked; `first`: nobody else had the port. */
static struct portrules_cache
remember(const struct portrules *p, const struct portrules_cache *before,
    const struct portrules_socket *s)
{
	struct portrules_cache c = { 0 };
	/* From 6.8 on the first is not told from the others. */
	bool first = before == NULL && p->kernel < 6008;
	bool reuseaddr = s->reuseaddr && s->state != PORTRULES_LISTEN;

	if (before != NULL)
		c = *before;
	c.reuseaddr = first ? reuseaddr : c.reuseaddr && reuseaddr;
	if (!RULE(KEEPS_MEMORY, s->reuseport)) {
		c.reuseport = PORTRULES_TRUST_NONE;
	} else if (first || !portrules_remembered(&c, s)) {
		c.reuseport =
		    first ? PORTRULES_TRUST_ANY : PORTRULES_TRUST_ADDRESS;
		c.uid = s->uid;
		c.local = s->local;
		c.v6only = s->v6only;
	}
	return c;
}

static void
update_memory(struct portrules *p, struct portrules_socket *s)
{
	struct portrules_cache c = remember(p, portrules_memory(p, s), s);

	s->cache = c;
	for (size_t i = 0; i < p->n; i++)
		if (portrules_on_tcp_port(&p->sockets[i], s))
			p->sockets[i].cache = c;
}

static void
settle(struct portrules *p, size_t i)
{
	struct portrules_socket *s = &p->sockets[i];

	if (s->proto == SOCK_TCP)
		update_memory(p, s);
	s->bound = true;
	give_place(p, s);
	if (s->proto == SOCK_UDP && s->reuseport)
		join_group(p, i);
}

struct portrules_verdict
portrules_bind(struct portrules *p, size_t i)
{
	struct portrules_verdict v = {
		.step = SOCK_STEP_BIND,
		.error = EINVAL,
		.rule = PORTRULES_ALREADY_BOUND,
		.other = i,
	};

	if (p->sockets[i].bound)
		return v;
	v = portrules_decide(p, &p->sockets[i], i, false, NULL);
	if (v.error == 0)
		settle(p, i);
	return v;
}

static void
settle_listener(struct portrules *p, size_t i)
{
	struct portrules_socket *s = &p->sockets[i];

	s->state = PORTRULES_LISTEN;
	update_memory(p, s);
	give_place(p, s);
	if (s->reuseport)
		join_group(p, i);
}

struct portrules_verdict
portrules_listen(struct portrules *p, size_t i)
{
	struct portrules_verdict v =
	    portrules_decide(p, &p->sockets[i], i, true, NULL);

	if (v.error == 0)
		settle_listener(p, i);
	return v;
}

void
portrules_connect(struct portrules *p, size_t i, const struct addr *local,
    const struct addr *peer)
{
	struct portrules_socket *s = &p->sockets[i];

	if (RULE(LEAVES_GROUP, addr_is_wildcard(&s->local))) {
		leave_group(p, s);
		s->place = ++p->clock;
	}
	s->local = *local;
	s->peer = *peer;
	s->state = PORTRULES_CONNECTED;
	for (size_t k = 0; s->group != 0 && k < p->n; k++)
		if (p->sockets[k].group == s->group)
			p->sockets[k].group_connected = true;
}

void
portrules_close(struct portrules *p, size_t i)
{
	struct portrules_socket *s = &p->sockets[i];

	leave_group(p, s);
	s->bound = false;
	s->state = PORTRULES_IDLE;
}

void
portrules_steer(struct portrules *p, size_t i, unsigned int member)
{
	unsigned int group = p->sockets[i].group;

	for (size_t k = 0; group != 0 && k < p->n; k++)
		if (p->sockets[k].group == group)
			p->sockets[k].steered = member + 1;
}

void
portrules_adopt(struct portrules *p, size_t i)
{
	struct portrules_socket *s = &p->sockets[i];
	enum portrules_state state = s->state;

	s->state = PORTRULES_IDLE;
	settle(p, i);
	if (state == PORTRULES_LISTEN)
		settle_listener(p, i);
	s->state = state;
	for (size_t k = 0; s->group != 0 && k < p->n; k++)
		if (state == PORTRULES_CONNECTED &&
		    p->sockets[k].group == s->group)
			p->sockets[k].group_connected = true;
}

bool
portrules_may_move(
    unsigned int from, unsigned int before, unsigned int to, unsigned int after)
{
	/* the parts [from, from + 1) / before and [to, to + 1) / after meet */
	return before > 0 && after > 0 && from < before && to < after &&
	    (unsigned long)from * after < (unsigned long)(to + 1) * before &&
	    (unsigned long)to * before < (unsigned long)(from + 1) * after;
}
