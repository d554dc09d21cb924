#include "proxy/udp_inner.h"

#include <errno.h>

#include "net/rawudp.h"
#include "net/sock.h"

/* --- flows that are over before they are idle: hints of `udp` --- */

static bool
has_all_requests(const struct app_udp *udp, const struct flow *f)
{
	return f->client_packets >= udp->requests;
}

/* The client's datagram has been taken: is the next one another flow's? */
static void
count_request(struct udp_worker *w, struct flow *f, const struct app_udp *udp)
{
	if (udp->requests > 0 && has_all_requests(udp, f))
		flow_unbind(w->table, f);
}

/* A reply has been taken: is it the last one? */
static void
count_response(struct udp_worker *w, struct flow *f, const struct app_udp *udp)
{
	uint64_t all = (uint64_t)udp->responses * f->client_packets;

	if (udp->responses == 0 || f->over || f->origin_packets < all ||
	    !has_all_requests(udp, f))
		return;
	f->over = true;
	w->over[w->overs++] = flow_index(w->table, f);
}

/* The replies are sent. */
static void
close_over(struct udp_worker *w)
{
	for (unsigned int i = 0; i < w->overs; i++) {
		struct flow *f = flow_at(w->table, w->over[i]);

		if (f != NULL && f->over)
			flow_close(w->table, f, STATUS_CLOSED);
	}
	w->overs = 0;
}

/* --- how many at a time --- */

#define SINGLES 4 /* receives of one at most, then one is asked for */

/* What this receive says about the next: it found `n`. */
static void
learn(struct udp_ask *ask, uint32_t round, int n)
{
	bool more = n > 1 ||
	    /* asked for one, and there was another at once */
	    (n == 1 && ask->singles == SINGLES && round - ask->round <= 1);

	if (more)
		ask->singles = 0;
	else if (ask->singles < SINGLES)
		ask->singles++;
	ask->round = round;
}

static int
receive(
    struct udp_worker *w, int fd, struct udp_ask *ask, enum dgrams_from from)
{
	unsigned int most = ask->singles == SINGLES ? 1 : DGRAMS_SLOTS;
	int n = dgrams_receive(w->d, fd, most, from);
	int fault = errno;

	learn(ask, w->round, n);
	errno = fault;
	return n;
}

/* --- from clients to origins --- */

static void
send_to_origin(struct udp_worker *w, struct flow *f, const uint8_t *which,
    unsigned int n, unsigned int datagrams)
{
	const struct udp_side *s = udp_side_of(w, f);
	struct tally *t = udp_tally_of(w, s->service);
	bool announced = f->announced;
	unsigned int refused;
	int error;

	if (s->service->app.header != APP_HEADER_OFF)
		for (unsigned int i = 0; i < n; i++)
			udp_header_out(
			    w, s->service->app.header, f, &w->d->at[which[i]]);
	refused = dgrams_send(w->d, s->ready.fd, which, n, false, &error);
	tally_add(t, TALLY_TO_ORIGINS, datagrams - refused);
	if (refused > 0)
		tally_add(t, TALLY_DROP_TO_ORIGIN, refused);
	/* The first one may be the one that did not go. */
	if (refused > 0 && !announced)
		f->announced = false;
	if (error != 0 && udp_flow_fault(w, f, error))
		return;
	if (s->service->app.udp.one_way &&
	    has_all_requests(&s->service->app.udp, f))
		flow_close(w->table, f, STATUS_CLOSED);
}

/* All of one flow go at once, in the order in which they came. */
static void
send_all_to_origins(struct udp_worker *w)
{
	struct dgrams *d = w->d;
	uint8_t which[DGRAMS_SLOTS];

	for (unsigned int i = 0; i < d->count; i++) {
		uint32_t owner = d->at[i].owner;
		unsigned int n = 0, datagrams = 0;

		if (owner == DGRAMS_NONE)
			continue;
		for (unsigned int j = i; j < d->count; j++) {
			if (d->at[j].owner != owner)
				continue;
			which[n++] = (uint8_t)j;
			datagrams += dgrams_held(&d->at[j]);
		}
		for (unsigned int k = 0; k < n; k++)
			d->at[which[k]].owner = DGRAMS_NONE;
		send_to_origin(
		    w, flow_at(w->table, owner), which, n, datagrams);
	}
}

static bool
is_sendable(
    const struct udp_worker *w, const struct flow *f, const struct dgram *g)
{
	struct service *v = udp_side_of(w, f)->service;

	/* A reload has just asked for headers, and this run came before. */
	if (g->segment > 0 && v->app.header != APP_HEADER_OFF)
		return false;
	if (v->pace == NULL ||
	    pace_take(v->pace, &f->client, g->len, w->now_ns))
		return true;
	tally_add(udp_tally_of(w, v), TALLY_DROP_RATE, dgrams_held(g));
	return false;
}

/* Of a client that a trusted peer names. A peer may bring many. */
static struct flow *
flow_of_announced(struct udp_worker *w, const struct udp_listener *home,
    const struct dgram *g, const struct addr *edge,
    const struct udp_announced *who)
{
	struct flow *f = flow_find_via(w->table, &who->client, edge, &g->peer);

	if (f == NULL && home != NULL) {
		f = udp_flow_begin(w, home->place, &who->client, edge);
		if (f == NULL)
			return NULL;
		flow_name(w->table, f, &g->peer)->asked = who->asked;
	}
	if (f != NULL)
		flow_via(w->table, f)->simple = who->simple;
	return f;
}

/* False: it does not say what it has asked for. */
static bool
edge_of(const struct udp_listener *l, const struct dgram *g, struct addr *edge)
{
	bool told = g->local.sa.sa_family != AF_UNSPEC;

	*edge = l->edge;
	if (told && (l->wildcard || addr_port(&g->local) != 0))
		*edge = g->local;
	if (addr_port(edge) == 0)
		addr_set_port(edge, addr_port(&l->edge));
	return told || !udp_exit_is_of_ranges(l);
}

/* Who takes a new flow of it; NULL: nobody. A reload may have moved a port, from
 * an address to a wildcard or to another range, or left it to the flows that it
 * has. */
static struct udp_listener *
home_of(
    const struct udp_worker *w, struct udp_listener *l, const struct addr *edge)
{
	if (l->draining || udp_exit_is_of_ranges(l))
		return udp_exit_home(w, l, edge);
	return l;
}

static struct flow *
flow_of(struct udp_worker *w, uint32_t listener, const struct dgram *g,
    const struct udp_announced *who)
{
	struct udp_listener *l = w->listeners[listener], *home;
	struct addr edge;
	struct flow *f;

	if (!edge_of(l, g, &edge))
		return NULL;
	if (who->there)
		return flow_of_announced(
		    w, home_of(w, l, &edge), g, &edge, who);
	f = flow_find(w->table, &g->peer, &edge);
	if (f != NULL)
		return f;
	home = home_of(w, l, &edge);
	return home != NULL ? udp_flow_begin(w, home->place, &g->peer, &edge)
			    : NULL;
}

static void
take_from_client(struct udp_worker *w, uint32_t listener, struct dgram *g)
{
	const struct app *app = &w->listeners[listener]->service->app;
	struct tally *t = w->listeners[listener]->tally;
	unsigned int held = dgrams_held(g);
	struct udp_announced who;
	struct service *v;
	struct flow *f;

	tally_add(t, TALLY_FROM_CLIENTS, held);
	/* Nobody can be answered from a group's address, or at port 0. */
	if (g->group || addr_port(&g->peer) == 0) {
		tally_add(t, TALLY_DROP_GROUP, held);
		return;
	}
	who.there = false;
	if (app->trusts > 0 && app_trusts(app, &g->peer) &&
	    !udp_header_in(g, &who)) {
		tally_add(t, TALLY_DROP_HEADER, held);
		return;
	}
	f = flow_of(w, listener, g, &who);
	if (f == NULL) {
		tally_add(t, TALLY_DROP_NO_FLOW, held);
		return;
	}
	flow_touch(
	    w->table, f, w->now_ms, udp_flow_idle_ms(w, f), false, g->len);
	f->client_packets += held - 1;
	v = udp_side_of(w, f)->service;
	tally_add(udp_tally_of(w, v), TALLY_CLIENT_BYTES, g->len);
	udp_fast_passed(w, f, held);
	count_request(w, f, &v->app.udp);
	if (is_sendable(w, f, g))
		g->owner = flow_index(w->table, f);
}

void
udp_pass_clients(struct udp_worker *w, uint32_t listener)
{
	struct udp_listener *l = w->listeners[listener];
	int n;

	w->d->count = 0;
	/* An error here is none of the socket: ICMP, memory; it passes. */
	n = receive(w, l->ready.fd, &l->ask, DGRAMS_NAMED);
	for (int i = 0; i < n; i++)
		take_from_client(w, listener, &w->d->at[i]);
	send_all_to_origins(w);
	w->d->count = 0;
}

/* --- from origins to clients --- */

void
udp_pass_flush(struct udp_worker *w)
{
	struct dgrams *d = w->d;
	uint8_t which[DGRAMS_SLOTS];

	for (unsigned int i = 0; i < d->count; i++) {
		uint32_t via = w->via[i];
		int out = w->out[i];
		unsigned int n = 0, datagrams = 0, refused;
		int error;

		if (via == DGRAMS_NONE)
			continue;
		for (unsigned int j = i; j < d->count; j++) {
			if (w->via[j] != via || w->out[j] != out)
				continue;
			w->via[j] = DGRAMS_NONE;
			which[n++] = (uint8_t)j;
			datagrams += dgrams_held(&d->at[j]);
		}
		refused = dgrams_send(d, out, which, n, true, &error);
		tally_add(w->listeners[via]->tally, TALLY_TO_CLIENTS,
		    datagrams - refused);
		if (refused > 0)
			tally_add(w->listeners[via]->tally,
			    TALLY_DROP_TO_CLIENT, refused);
	}
	d->count = 0;
	close_over(w);
}

/* False: not to be passed on. */
static bool
take_reply(struct udp_worker *w, struct flow *f, struct dgram *g)
{
	struct service *v = udp_side_of(w, f)->service;
	struct tally *t = udp_tally_of(w, v);
	const struct udp_listener *l = w->listeners[f->listener];
	unsigned int held = dgrams_held(g);

	tally_add(t, TALLY_FROM_ORIGINS, held);
	if (v->app.header == APP_HEADER_SIMPLE && !udp_header_strip(g)) {
		tally_add(t, TALLY_DROP_HEADER, held);
		return false;
	}
	if (!f->replied)
		origins_worked(v->origins, f->origin_handle);
	flow_touch(
	    w->table, f, w->now_ms, udp_flow_idle_ms(w, f), true, g->len);
	tally_add(t, TALLY_ORIGIN_BYTES, g->len);
	f->origin_packets += held - 1;
	udp_fast_passed(w, f, held);
	count_response(w, f, &v->app.udp);
	g->owner = flow_index(w->table, f);
	g->peer = f->client;
	if (l->wildcard)
		g->local = f->edge;
	if (f->named && !udp_header_back(w, f, g)) {
		tally_add(t, TALLY_DROP_HEADER, held);
		return false;
	}
	if (!is_sendable(w, f, g))
		return false;
	if (l->raw >= 0)
		rawudp_wrap(g);
	return true;
}

/*
 * Runs are asked for when several came at once: a lone datagram is cheaper
 * without. A header, ours of a raw socket too, belongs to one datagram: no
 * runs then.
 */
static int
receive_replies(struct udp_worker *w, const struct flow *f)
{
	struct udp_side *s = udp_side_of(w, f);
	const struct app *app = &s->service->app;
	int n = receive(
	    w, s->ready.fd, &s->ask, s->ask.runs ? DGRAMS_RUNS : DGRAMS_PLAIN);

	if (n > 1 && !s->ask.runs && app->header == APP_HEADER_OFF &&
	    app->trusts == 0 && w->listeners[f->listener]->raw < 0) {
		sock_udp_gro(s->ready.fd, true);
		s->ask.runs = true;
	}
	return n;
}

void
udp_pass_origin(struct udp_worker *w, struct flow *f)
{
	struct dgrams *d = w->d;
	uint32_t index = flow_index(w->table, f);
	unsigned int from;
	int n, fault;

	if (d->count == DGRAMS_SLOTS)
		udp_pass_flush(w);
	from = d->count;
	n = receive_replies(w, f);
	fault = errno;
	for (unsigned int i = from; i < d->count; i++) {
		w->via[i] =
		    take_reply(w, f, &d->at[i]) ? f->listener : DGRAMS_NONE;
		w->out[i] = udp_exit_of(w->listeners[f->listener], &f->edge);
	}
	if (n < 0) {
		udp_pass_flush(w); /* its last words come first */
		if (flow_at(w->table, index) != NULL)
			(void)udp_flow_fault(w, f, fault);
	}
}
