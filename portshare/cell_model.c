/* A cell in the model, and where model and kernel differ. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "portshare/cell.h"

#define LOOPBACK 3 /* devices are d1, d2 and this one */
#define PORT 7 /* one port is as good as another */
#define HERE 1 /* the CPU we are on */

struct world {
	const struct cell *cell;
	struct portrules rules;
	struct portrules_socket sockets[CELL_SOCKETS + CELL_CROWD];
	bool alive[CELL_SOCKETS];
	size_t chosen;
	bool peer;
	uint8_t queued[CELL_SOCKETS];
};

static const struct lab anywhere; /* which addresses is the same to it */

static void
place_address(enum cell_place place, struct addr *a)
{
	cell_address(&anywhere, place, a);
	addr_set_port(a, PORT);
}

static void
dress(struct portrules_socket *s, const struct cell_socket *from,
    enum sock_proto proto)
{
	memset(s, 0, sizeof *s);
	s->proto = proto;
	place_address(from->place, &s->local);
	s->netns = from->other_net;
	s->device = from->device;
	s->uid = from->other_uid;
	s->cpu = from->cpu;
	s->reuseaddr = from->reuseaddr;
	s->reuseport = from->reuseport;
	s->v6only =
	    from->place == CELL_ONLY6 || from->place == CELL_MAPPED_ONLY6;
}

static void
gather_crowd(struct world *w)
{
	for (size_t i = 0; w->cell->crowded && i < CELL_CROWD; i++) {
		struct portrules_socket *s = &w->sockets[CELL_SOCKETS + i];

		s->proto = w->cell->proto;
		place_address(CELL_A, &s->local);
		s->local.in.sin_addr.s_addr = htonl(0x7f000101 + (uint32_t)i);
		portrules_bind(&w->rules, CELL_SOCKETS + i);
	}
}

static void
lay(struct world *w, const struct cell_kernel *k, const struct cell *c)
{
	memset(w, 0, sizeof *w);
	w->cell = c;
	w->rules.sockets = w->sockets;
	w->rules.n = CELL_SOCKETS + CELL_CROWD;
	w->rules.kernel = k->version;
	w->rules.crowd_blinds = k->crowd_blinds;
	w->chosen = PORTRULES_NOBODY;
	gather_crowd(w);
}

static void
drop(struct world *w, size_t who)
{
	if (w->alive[who])
		portrules_close(&w->rules, who);
	if (w->chosen == who)
		w->chosen = PORTRULES_NOBODY;
	w->alive[who] = false;
}

static void
bind_it(
    struct world *w, size_t who, struct cell_outcome *o, struct cell_reason *r)
{
	dress(
	    &w->sockets[who], &w->cell->sockets[who], cell_proto(w->cell, who));
	if (w->cell->sockets[who].other_port)
		addr_set_port(&w->sockets[who].local, PORT + 10);
	r->verdict = portrules_bind(&w->rules, who);
	o->error = r->verdict.error;
	w->alive[who] = o->error == 0;
}

static void
listen_it(
    struct world *w, size_t who, struct cell_outcome *o, struct cell_reason *r)
{
	r->verdict = portrules_listen(&w->rules, who);
	o->error = r->verdict.error;
	if (o->error != 0)
		drop(w, who);
}

static void
peer_address(const struct world *w, size_t who, struct addr *a)
{
	bool six = cell_place_is_v6(w->cell->sockets[who].place);

	cell_address(&anywhere, six ? CELL_S : CELL_A, a);
	addr_set_port(a, PORT + 1);
}

static void
connect_it(struct world *w, size_t who)
{
	struct addr local = w->sockets[who].local, peer;

	peer_address(w, who, &peer);
	if (addr_is_wildcard(&local)) {
		local = peer;
		addr_set_port(&local, PORT);
	}
	portrules_connect(&w->rules, who, &local, &peer);
	w->peer = true;
}

/* The connection has the listener's flags and user. */
static void
accept_it(struct world *w, size_t who, size_t child)
{
	struct portrules_socket *s = &w->sockets[child];

	dress(s, &w->cell->sockets[child], w->cell->proto);
	s->cache = w->sockets[who].cache;
	s->state = PORTRULES_CONNECTED;
	s->bound = true;
	place_address(CELL_A, &s->peer);
	addr_set_port(&s->peer, PORT + 2);
	w->alive[child] = true;
}

/*
 * A packet of the host to itself counts as come in by the device that has the
 * address, not by loopback: here d1.
 */
static void
make_packet(const struct world *w, const struct cell_step *s,
    struct portrules_packet *k)
{
	memset(k, 0, sizeof *k);
	k->proto = w->cell->proto;
	k->chosen = w->chosen;
	k->cpu = HERE;
	k->netns = s->way == CELL_ELSEWHERE;
	k->device = s->way == CELL_ELSEWHERE ? LOOPBACK
	    : s->way == CELL_WIRE2	     ? 2
					     : 1;
	place_address(s->what, &k->to);
	if (s->way == CELL_FROM_PEER) {
		peer_address(w, s->who, &k->from);
	} else {
		k->from = k->to;
		addr_set_port(&k->from, PORT + 3);
	}
}

static void
note_members(const struct world *w, struct cell_model *m, size_t at,
    const struct portrules_delivery *d)
{
	for (size_t i = 0; d->split && i < CELL_SOCKETS; i++)
		if ((m->run.steps[at].receivers >> i & 1) != 0) {
			m->members[at][i] = (uint8_t)w->sockets[i].member;
			m->size[at]++;
		}
}

static void
send_it(const struct world *w, size_t at, struct cell_model *m)
{
	struct portrules_delivery *d = &m->reasons[at].delivery;
	struct portrules_packet k;

	make_packet(w, &w->cell->steps[at], &k);
	*d = portrules_deliver(&w->rules, &k);
	for (size_t i = 0; i < CELL_SOCKETS; i++)
		if (portrules_receives(&w->rules, &k, d, i))
			m->run.steps[at].receivers |= (uint8_t)(1u << i);
	note_members(w, m, at, d);
}

static void
do_step(struct world *w, size_t at, struct cell_model *m)
{
	const struct cell_step *s = &w->cell->steps[at];
	struct portrules_socket *p = &w->sockets[s->who];
	struct cell_outcome *o = &m->run.steps[at];

	o->skipped = cell_needs_socket(s->act) && !w->alive[s->who];
	if (s->act == CELL_SEND && s->way == CELL_FROM_PEER)
		o->skipped = !w->peer;
	if (o->skipped)
		return;
	switch (s->act) {
	case CELL_END:
	case CELL_QUEUED:
	case CELL_DRAIN:
		break;
	case CELL_BIND:
		bind_it(w, s->who, o, &m->reasons[at]);
		break;
	case CELL_LISTEN:
		listen_it(w, s->who, o, &m->reasons[at]);
		break;
	case CELL_SET_REUSEADDR:
	case CELL_CLEAR_REUSEADDR:
		p->reuseaddr = s->act == CELL_SET_REUSEADDR;
		break;
	case CELL_SET_REUSEPORT:
	case CELL_CLEAR_REUSEPORT:
		p->reuseport = s->act == CELL_SET_REUSEPORT;
		break;
	case CELL_CONNECT:
		connect_it(w, s->who);
		break;
	case CELL_ACCEPT:
		accept_it(w, s->who, s->what);
		break;
	case CELL_RETIRE:
		p->state = PORTRULES_TIME_WAIT;
		w->alive[s->who] = false;
		break;
	case CELL_CLOSE:
		drop(w, s->who);
		break;
	case CELL_SEND:
		send_it(w, at, m);
		break;
	case CELL_STEER:
		portrules_steer(&w->rules, s->who, s->what);
		break;
	case CELL_CHOOSE:
		w->chosen = s->who;
		break;
	}
}

void
cell_run_model(
    const struct cell_kernel *k, const struct cell *c, struct cell_model *m)
{
	struct world w;

	memset(m, 0, sizeof *m);
	lay(&w, k, c);
	for (size_t i = 0; i < CELL_STEPS && c->steps[i].act != CELL_END; i++)
		do_step(&w, i, m);
}

static int
names(char *buf, size_t len, unsigned int receivers)
{
	int n = snprintf(buf, len, receivers == 0 ? "nobody" : "");

	for (unsigned int i = 0; i < CELL_SOCKETS; i++)
		if ((receivers >> i & 1) != 0 && n >= 0 && (size_t)n < len)
			n += snprintf(buf + n, len - (size_t)n, "%s%c",
			    n > 0 ? "+" : "", (char)('a' + (int)i));
	return n;
}

/* The packets of an earlier step to the same address. */
static bool
differs_in_moves(const struct cell_run *kernel, const struct cell_model *m,
    size_t before, size_t now)
{
	const struct cell_outcome *x = &kernel->steps[before];
	const struct cell_outcome *y = &kernel->steps[now];
	size_t moved = 0, both = 0;

	for (size_t i = 0; i < x->sent && i < y->sent; i++) {
		if (x->flows[i] < 0 || y->flows[i] < 0)
			continue;
		both++;
		moved += x->flows[i] != y->flows[i];
		if (!portrules_may_move(m->members[before][x->flows[i]],
			m->size[before], m->members[now][y->flows[i]],
			m->size[now]))
			return true;
	}
	/* of 48 flows some must move when the number changes */
	return m->size[before] != m->size[now] && both == CELL_FLOWS &&
	    moved == 0;
}

static bool
moves_right(const struct cell *c, const struct cell_run *kernel,
    const struct cell_model *m, size_t now)
{
	for (size_t i = 0; i < now; i++) {
		if (c->steps[i].act == CELL_SEND && m->size[i] > 0 &&
		    m->size[now] > 0 &&
		    c->steps[i].what == c->steps[now].what &&
		    c->steps[i].way == c->steps[now].way &&
		    differs_in_moves(kernel, m, i, now))
			return false;
	}
	return true;
}

/*
 * What each socket had in its queue, by the packets sent before from the same
 * source ports: a closed socket's share is lost, the others keep theirs.
 */
static bool
drains_right(const struct cell *c, const struct cell_run *kernel, size_t now)
{
	const struct cell_outcome *sent = NULL;
	bool closed[CELL_SOCKETS] = { false };

	for (size_t i = 0; i < now; i++) {
		if (c->steps[i].act == CELL_SEND)
			sent = &kernel->steps[i];
		if (c->steps[i].act == CELL_CLOSE)
			closed[c->steps[i].who] = true;
	}
	for (size_t i = 0; sent != NULL && i < CELL_SOCKETS; i++)
		if (kernel->steps[now].counts[i] !=
		    (closed[i] ? 0 : sent->counts[i]))
			return false;
	return true;
}

static const char *
error_name(int error)
{
	return error == 0 ? "success" : strerrorname_np(error);
}

static bool
differs(const struct cell *c, const struct cell_run *kernel,
    const struct cell_model *m, size_t at, char *why, size_t len)
{
	const struct cell_outcome *k = &kernel->steps[at];
	const struct cell_outcome *o = &m->run.steps[at];
	char real[16], model[16];

	if (k->error != o->error) {
		snprintf(why, len, "kernel: %s, model: %s (%s)",
		    error_name(k->error), error_name(o->error),
		    portrules_rule_str(m->reasons[at].verdict.rule));
		return true;
	}
	if (c->steps[at].act == CELL_DRAIN && !drains_right(c, kernel, at)) {
		snprintf(why, len, "the queues are not what is left of them");
		return true;
	}
	if (c->steps[at].act != CELL_SEND)
		return false;
	if (k->receivers != o->receivers) {
		names(real, sizeof real, k->receivers);
		names(model, sizeof model, o->receivers);
		snprintf(why, len, "kernel: %s, model: %s (%s, %s)", real,
		    model, portrules_level_str(m->reasons[at].delivery.level),
		    portrules_tie_str(m->reasons[at].delivery.tie));
		return true;
	}
	if (moves_right(c, kernel, m, at))
		return false;
	snprintf(why, len, "flows moved where the model says they cannot");
	return true;
}

int
cell_compare(const struct cell *c, const struct cell_run *kernel,
    const struct cell_model *model, char *why, size_t len)
{
	for (size_t i = 0; i < CELL_STEPS && c->steps[i].act != CELL_END; i++)
		if (!kernel->steps[i].skipped &&
		    differs(c, kernel, model, i, why, len))
			return (int)i;
	return -1;
}
