#include "net/portrules.h"

#include <errno.h>
#include <string.h>

#include "net/portrules_inner.h"

/* ::, which would take IPv4 too if it were not for V6ONLY. */
static bool
apart_by_v6only(
    const struct portrules_socket *a, const struct portrules_socket *b)
{
	struct portrules_spot x, y;

	portrules_spot_of(&x, a);
	portrules_spot_of(&y, b);
	return x.four != y.four && (x.four ? y.any : x.any);
}

bool
portrules_same_port(
    const struct portrules_socket *a, const struct portrules_socket *b)
{
	return RULE(SAME_PROTO, a->proto == b->proto) &&
	    RULE(SAME_PORT, addr_port(&a->local) == addr_port(&b->local));
}

/* Why two sockets do not meet; PORTRULES_FREE: they do. */
static enum portrules_rule
apart(const struct portrules_socket *s, const struct portrules_socket *newer)
{
	if (!portrules_same_port(s, newer))
		return PORTRULES_OTHER_PORT;
	if (!RULE(SAME_NETNS, s->netns == newer->netns))
		return PORTRULES_OTHER_NETNS;
	if (!RULE(DEVICES_MEET,
		s->device == 0 || newer->device == 0 ||
		    s->device == newer->device))
		return PORTRULES_OTHER_DEVICE;
	if (portrules_overlap(s, newer))
		return PORTRULES_FREE;
	return apart_by_v6only(s, newer) ? PORTRULES_V6ONLY_APART
					 : PORTRULES_OTHER_ADDRESS;
}

static bool
both_reuseaddr(
    const struct portrules_socket *s, const struct portrules_socket *newer)
{
	return RULE(BOTH_REUSEADDR, s->reuseaddr && newer->reuseaddr);
}

static bool
both_reuseport(
    const struct portrules_socket *s, const struct portrules_socket *newer)
{
	return RULE(BOTH_REUSEPORT, s->reuseport && newer->reuseport) &&
	    (RULE(SAME_UID, s->uid == newer->uid) ||
		RULE(ANY_UID_WAITS, s->state == PORTRULES_TIME_WAIT));
}

/* Two that meet: the excuse, or what is missing to one. */
static enum portrules_rule
judge(const struct portrules_socket *s, const struct portrules_socket *newer)
{
	bool tcp = newer->proto == SOCK_TCP;

	if (both_reuseaddr(s, newer) && !tcp)
		return PORTRULES_BOTH_REUSEADDR;
	if (both_reuseaddr(s, newer) &&
	    RULE(NOT_LISTENING, s->state != PORTRULES_LISTEN))
		return PORTRULES_NOT_LISTENING;
	if (both_reuseport(s, newer))
		return PORTRULES_BOTH_REUSEPORT;
	if (s->reuseport && newer->reuseport)
		return PORTRULES_OTHER_UID;
	if (s->reuseaddr && newer->reuseaddr)
		return PORTRULES_LISTENING;
	if (!s->reuseaddr && !s->reuseport)
		return newer->reuseaddr || newer->reuseport
		    ? PORTRULES_OLDER_LACKS_FLAG
		    : PORTRULES_NO_FLAG;
	return newer->reuseaddr || newer->reuseport
	    ? PORTRULES_FLAGS_DIFFER
	    : PORTRULES_NEWER_LACKS_FLAG;
}

static bool
refuses(enum portrules_rule rule)
{
	return rule >= PORTRULES_NO_FLAG;
}

static struct portrules_socket
suppose(const struct portrules_socket *s, const struct portrules_wish *w,
    const struct portrules_socket *newer)
{
	struct portrules_socket t = *s;

	if (w == NULL)
		return t;
	t.reuseaddr |= w->reuseaddr;
	t.reuseport |= w->reuseport;
	if (w->same_uid)
		t.uid = newer->uid;
	return t;
}

/* The bound socket whose place comes next below `place`. */
size_t
portrules_next(const struct portrules *p, long place)
{
	size_t best = PORTRULES_NOBODY;

	for (size_t i = 0; i < p->n; i++) {
		const struct portrules_socket *s = &p->sockets[i];

		if (s->bound && s->place < place &&
		    (best == PORTRULES_NOBODY ||
			s->place > p->sockets[best].place))
			best = i;
	}
	return best;
}

/* Keeps the reason that says most about why it works. */
static void
keep(struct portrules_verdict *v, enum portrules_rule rule, size_t i)
{
	if (rule > v->rule || v->other == PORTRULES_NOBODY) {
		v->rule = rule;
		v->other = i;
	}
}

static bool
on_udp_port(const struct portrules_socket *s, const struct portrules_socket *n)
{
	return s->bound && s->proto == SOCK_UDP &&
	    addr_port(&s->local) == addr_port(&n->local);
}

/*
 * The secondary chains, which a kernel takes to when the first is long, are
 * by address: the newcomer's own and the wildcard's.
 */
static bool
hidden_by_crowd(const struct portrules *p, const struct portrules_socket *s,
    const struct portrules_socket *newer)
{
	struct portrules_spot mine, theirs;
	size_t n = 0;

	if (!p->crowd_blinds)
		return false;
	for (size_t i = 0; i < p->n; i++)
		n += on_udp_port(&p->sockets[i], newer);
	portrules_spot_of(&mine, newer);
	portrules_spot_of(&theirs, s);
	return n > 10 && mine.any && !theirs.any;
}

/*
 * UDP: the sockets of the port in the kernel's order. One that is excused by
 * a group ends the search, and those behind it are not looked at.
 */
static struct portrules_verdict
decide_udp(const struct portrules *p, const struct portrules_socket *newer,
    const struct portrules_wish *w)
{
	struct portrules_verdict v = { .other = PORTRULES_NOBODY };
	size_t i = portrules_next(p, INT64_MAX);

	for (; i != PORTRULES_NOBODY;
	     i = portrules_next(p, p->sockets[i].place)) {
		struct portrules_socket s = suppose(&p->sockets[i], w, newer);
		enum portrules_rule rule = apart(&s, newer);

		if (rule == PORTRULES_FREE)
			rule = hidden_by_crowd(p, &s, newer) ? PORTRULES_CROWD
							     : judge(&s, newer);
		keep(&v, rule, i);
		if (refuses(rule) || rule == PORTRULES_BOTH_REUSEPORT) {
			v.rule = rule;
			v.other = i;
			break;
		}
	}
	return v;
}

/* Which of several in the way is named: the same address, a listener. */
static int
weight(const struct portrules_socket *s, const struct portrules_socket *newer)
{
	struct portrules_spot x, y;

	portrules_spot_of(&x, s);
	portrules_spot_of(&y, newer);
	return 2 * portrules_same_spot(&x, &y) + (s->state == PORTRULES_LISTEN);
}

static struct portrules_verdict
decide_tcp_live(const struct portrules *p, const struct portrules_socket *newer,
    size_t self, const struct portrules_wish *w)
{
	struct portrules_verdict v = { .other = PORTRULES_NOBODY };
	int best = -1;

	for (size_t i = 0; i < p->n; i++) {
		struct portrules_socket s;
		enum portrules_rule rule;

		if (i == self || !p->sockets[i].bound)
			continue;
		s = suppose(&p->sockets[i], w, newer);
		rule = apart(&s, newer);
		if (rule == PORTRULES_FREE)
			rule = judge(&s, newer);
		if (!refuses(rule) && best < 0)
			keep(&v, rule, i);
		if (refuses(rule) && weight(&s, newer) > best) {
			best = weight(&s, newer);
			v.rule = rule;
			v.other = i;
		}
	}
	return v;
}

/* Does the remembered address cover the newcomer's? */
static bool
covers(const struct portrules_cache *c, const struct portrules_socket *newer)
{
	struct portrules_spot kept, now;

	portrules_spot(&kept, &c->local, c->v6only);
	portrules_spot_of(&now, newer);
	if (portrules_same_spot(&kept, &now))
		return true;
	if (!kept.any)
		return false;
	if (kept.four)
		return now.four || (kept.family == AF_INET && now.dual);
	return !now.four || kept.dual;
}

bool
portrules_remembered(
    const struct portrules_cache *c, const struct portrules_socket *newer)
{
	return c->reuseport != PORTRULES_TRUST_NONE && newer->reuseport &&
	    RULE(REMEMBERED_UID, c->uid == newer->uid) &&
	    RULE(REMEMBERED_COVERS,
		c->reuseport == PORTRULES_TRUST_ANY || covers(c, newer));
}

bool
portrules_on_tcp_port(
    const struct portrules_socket *s, const struct portrules_socket *n)
{
	return s->bound && s->proto == SOCK_TCP && s->netns == n->netns &&
	    addr_port(&s->local) == addr_port(&n->local);
}

/* What the port remembers; NULL: nobody has it. */
const struct portrules_cache *
portrules_memory(
    const struct portrules *p, const struct portrules_socket *newer)
{
	for (size_t i = 0; i < p->n; i++)
		if (portrules_on_tcp_port(&p->sockets[i], newer))
			return &p->sockets[i].cache;
	return NULL;
}

static struct portrules_verdict
decide_tcp(const struct portrules *p, const struct portrules_socket *newer,
    size_t self, bool listens, const struct portrules_wish *w)
{
	struct portrules_verdict v = decide_tcp_live(p, newer, self, w);
	const struct portrules_cache *c = portrules_memory(p, newer);

	if (!refuses(v.rule) || c == NULL)
		return v;
	if (RULE(REMEMBERED,
		(c->reuseaddr && newer->reuseaddr && !listens) ||
		    portrules_remembered(c, newer)))
		v.rule = PORTRULES_REMEMBERED;
	return v;
}

static bool
is_mapped_v6only(const struct portrules_socket *s)
{
	return s->v6only && s->local.sa.sa_family == AF_INET6 &&
	    RULE(MAPPED_REFUSED, IN6_IS_ADDR_V4MAPPED(&s->local.in6.sin6_addr));
}

struct portrules_verdict
portrules_decide(const struct portrules *p,
    const struct portrules_socket *newer, size_t self, bool listens,
    const struct portrules_wish *w)
{
	struct portrules_verdict v = { .other = PORTRULES_NOBODY };

	if (!listens && is_mapped_v6only(newer)) {
		v.rule = PORTRULES_MAPPED_V6ONLY;
		v.error = EINVAL;
	} else {
		v = newer->proto == SOCK_UDP
		    ? decide_udp(p, newer, w)
		    : decide_tcp(p, newer, self, listens, w);
		v.error = refuses(v.rule) ? EADDRINUSE : 0;
	}
	if (v.error != 0)
		v.step = listens ? SOCK_STEP_LISTEN : SOCK_STEP_BIND;
	return v;
}

/* A socket of a group that could bind can also listen: it is remembered. */
static struct portrules_verdict
decide_both(const struct portrules *p, const struct portrules_socket *newer,
    const struct portrules_wish *w)
{
	struct portrules_verdict v =
	    portrules_decide(p, newer, PORTRULES_NOBODY, false, w);

	if (v.error == 0 && newer->proto == SOCK_TCP && !newer->reuseport)
		v = portrules_decide(p, newer, PORTRULES_NOBODY, true, w);
	return v;
}

/* The ways out, the smaller change first. */
static const struct {
	enum portrules_fix fix;
	bool reuseaddr, reuseport; /* of the newcomer */
	int v6only; /* of the newcomer: 1 on, -1 off */
	struct portrules_wish older;
} ways[] = {
	{ .fix = PORTRULES_FIX_NEWER_REUSEADDR, .reuseaddr = true },
	{ .fix = PORTRULES_FIX_NEWER_REUSEPORT, .reuseport = true },
	{ .fix = PORTRULES_FIX_NEWER_V6ONLY, .v6only = 1 },
	{ .fix = PORTRULES_FIX_NEWER_NOT_V6ONLY, .v6only = -1 },
	{ .fix = PORTRULES_FIX_OLDER_REUSEADDR, .older.reuseaddr = true },
	{ .fix = PORTRULES_FIX_OLDER_REUSEPORT, .older.reuseport = true },
	{ .fix = PORTRULES_FIX_BOTH_REUSEADDR,
	    .reuseaddr = true,
	    .older.reuseaddr = true },
	{ .fix = PORTRULES_FIX_BOTH_REUSEPORT,
	    .reuseport = true,
	    .older.reuseport = true },
	{ .fix = PORTRULES_FIX_SAME_UID, .older.same_uid = true },
	{ .fix = PORTRULES_FIX_SAME_UID_REUSEPORT,
	    .reuseport = true,
	    .older = { .reuseport = true, .same_uid = true } },
};

static enum portrules_fix
find_fix(const struct portrules *p, const struct portrules_socket *newer)
{
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		struct portrules_socket n = *newer;

		n.reuseaddr |= ways[i].reuseaddr;
		n.reuseport |= ways[i].reuseport;
		if (ways[i].v6only != 0 && n.local.sa.sa_family == AF_INET6)
			n.v6only = ways[i].v6only > 0;
		if (decide_both(p, &n, &ways[i].older).error == 0)
			return ways[i].fix;
	}
	return PORTRULES_FIX_OTHER_ADDRESS;
}

bool
portrules_in_the_way(
    const struct portrules *p, const struct portrules_socket *newer, size_t i)
{
	const struct portrules_socket *s = &p->sockets[i];

	return s->bound && apart(s, newer) == PORTRULES_FREE &&
	    refuses(judge(s, newer));
}

struct portrules_verdict
portrules_predict(
    const struct portrules *p, const struct portrules_socket *newer)
{
	struct portrules_verdict v = decide_both(p, newer, NULL);

	if (v.error != 0)
		v.fix = find_fix(p, newer);
	return v;
}
