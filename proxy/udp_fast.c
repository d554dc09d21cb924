/*
 * Flows of a worker that the kernel carries (net/fastpath): which are handed
 * to it, how their counters come back, and when they return to their sockets.
 * A flow keeps its sockets meanwhile, and what comes to them is passed as ever.
 */
#include "proxy/udp_inner.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/device.h"
#include "net/fastpath.h"
#include "net/route.h"
#include "net/sock.h"
#include "net/veth.h"
#include "proxy/fast.h"

/* A request and its reply may be all there is; what follows is worth it. */
#define FIRST_DATAGRAMS 3
#define SWEEP_TICKS 20 /* in which every flow has been looked at */
#define NS_PER_MS 1000000u

enum fast_state {
	FAST_SOCKETS = 0, /* never tried */
	FAST_HANDED,
	FAST_REFUSED, /* until routes change */
};

/* Beside each flow of the table, by its index. */
struct fast_flow {
	uint8_t state; /* enum fast_state */
	uint32_t epoch; /* in which that came to be */
	struct fastpath_count had[2]; /* what its sheet has of the counters */
};

struct fast_route {
	struct addr from, to; /* ports 0 */
	uint32_t epoch;
	bool known, good;
	struct fastpath_way way;
};

struct udp_fast {
	struct fastpath *path; /* the proxy's */
	int router;
	struct fast_route routes[FAST_ROUTES];
	struct fast_flow *flows;
	uint32_t sweep; /* the next flow to be looked at */
	struct log_gate full;
};

/* Workers take turns in the table, so that a short one is shared. */
static uint32_t
place_of(const struct udp_worker *w, uint32_t flow)
{
	return flow * w->setup.workers + (uint32_t)w->setup.worker;
}

static struct fast_flow *
flow_fast(const struct udp_worker *w, const struct flow *f)
{
	return &w->fast->flows[flow_index(w->table, f)];
}

/* ---- counters ---- */

static void
count_in(const struct udp_worker *w, const struct flow *f, enum tally_key key,
    uint64_t n)
{
	tally_add(udp_tally_of(w, udp_side_of(w, f)->service), key, n);
}

static void
take_side(struct udp_worker *w, struct flow *f, enum fastpath_direction d)
{
	struct tally *t = udp_tally_of(w, udp_side_of(w, f)->service);
	struct fastpath_count *had = &flow_fast(w, f)->had[d];
	struct fastpath_count now = fastpath_count(
	    w->fast->path, place_of(w, flow_index(w->table, f)), d);
	uint64_t n = now.datagrams - had->datagrams;
	uint64_t bytes = now.bytes - had->bytes;
	bool out = d == FASTPATH_FROM_ORIGIN;

	if (n == 0 && bytes == 0)
		return;
	*had = now;
	flow_carried(w->table, f, now.seen_ns / NS_PER_MS,
	    udp_flow_idle_ms(w, f), out, (uint32_t)n, bytes);
	tally_add(t, TALLY_BY_KERNEL, n);
	tally_add(t, out ? TALLY_FROM_ORIGINS : TALLY_FROM_CLIENTS, n);
	tally_add(t, out ? TALLY_TO_CLIENTS : TALLY_TO_ORIGINS, n);
	tally_add(t, out ? TALLY_ORIGIN_BYTES : TALLY_CLIENT_BYTES, bytes);
}

void
udp_fast_count(struct udp_worker *w, struct flow *f)
{
	if (w->fast == NULL || flow_fast(w, f)->state != FAST_HANDED)
		return;
	take_side(w, f, FASTPATH_FROM_CLIENT);
	take_side(w, f, FASTPATH_FROM_ORIGIN);
}

/* ---- routes ---- */

static struct addr
host_of(const struct addr *a)
{
	struct addr host = *a;

	addr_set_port(&host, 0);
	return host;
}

static struct fast_route *
route_place(struct udp_fast *fast, const struct addr *to)
{
	uint8_t key[ADDR_KEY_LEN];
	uint32_t h = 2166136261u; /* FNV-1a: a crowd in one place costs time */

	addr_prefix_key(key, to, 32, 128);
	for (size_t i = 0; i < sizeof key; i++)
		h = (h ^ key[i]) * 16777619u;
	return &fast->routes[h & (FAST_ROUTES - 1)];
}

/* A place of the path's for each of ours, whose workers have one after the
 * other. */
static uint16_t
hop_of(
    struct udp_worker *w, const struct fast_route *r, const struct route *route)
{
	uint8_t mac[ROUTE_MAC_LEN];
	bool gateway = !addr_equal(&route->hop, &r->to);
	struct udp_fast *fast = w->fast;
	size_t place =
	    (size_t)w->setup.worker * FAST_ROUTES + (size_t)(r - fast->routes);

	if (route->hop.sa.sa_family == AF_UNSPEC ||
	    fastpath_is_shared(fast->path, route->device) ||
	    !veth_is_bare(fast->router, route->device))
		return 0;
	if (gateway &&
	    route_neighbour(fast->router, route->device, &route->hop, mac) != 0)
		return 0;
	return fastpath_beside(fast->path, (uint32_t)place, route->device,
	    &r->to, gateway ? mac : NULL);
}

/* False: its datagrams would leave by an interface that is not ours. */
static bool
look_up(struct udp_worker *w, struct fast_route *r)
{
	struct route route;

	if (route_find(w->fast->router, &r->from, &r->to, &route) != 0 ||
	    !fastpath_serves(w->fast->path, route.device))
		return false;
	r->way.device = route.device;
	r->way.mtu = route.mtu;
	r->way.hop = hop_of(w, r, &route);
	return true;
}

static bool
find_way(struct udp_worker *w, const struct addr *from, const struct addr *to,
    uint32_t epoch, struct fastpath_way *way)
{
	const struct addr a = host_of(from), b = host_of(to);
	struct fast_route *r = route_place(w->fast, &b);

	if (!r->known || r->epoch != epoch || !addr_equal(&r->from, &a) ||
	    !addr_equal(&r->to, &b)) {
		*r = (struct fast_route){
			.from = a, .to = b, .epoch = epoch, .known = true
		};
		r->good = look_up(w, r);
	}
	*way = r->way;
	return r->good;
}

/* ---- handing over ---- */

/* The same address may be another's by another interface. */
static bool
is_of_one_link(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 &&
	    IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr);
}

/* Both ends, or neither: between them would be a host that routes. */
static bool
is_of_one_host(const struct fastpath_flow *flow)
{
	return (flow->to_client.device == DEVICE_LOOPBACK) ==
	    (flow->to_origin.device == DEVICE_LOOPBACK);
}

static bool
describe(struct udp_worker *w, const struct flow *f, struct fastpath_flow *flow)
{
	*flow = (struct fastpath_flow){ .client = f->client,
		.edge = f->edge,
		.origin = udp_origin_of(w, f),
		.epoch = fastpath_epoch(w->fast->path) };
	return f->client.sa.sa_family == flow->origin.sa.sa_family &&
	    !is_of_one_link(&f->client) && !is_of_one_link(&flow->origin) &&
	    sock_local(udp_side_of(w, f)->ready.fd, &flow->near) == 0 &&
	    find_way(
		w, &flow->near, &flow->origin, flow->epoch, &flow->to_origin) &&
	    find_way(
		w, &flow->edge, &flow->client, flow->epoch, &flow->to_client) &&
	    is_of_one_host(flow);
}

static void
take_back(struct udp_worker *w, struct flow *f)
{
	struct fast_flow *fast = flow_fast(w, f);

	if (fast->state != FAST_HANDED)
		return;
	fastpath_recall(w->fast->path, place_of(w, flow_index(w->table, f)));
	udp_fast_count(w, f);
	fast->state = FAST_SOCKETS;
}

static void
tell_refusal(struct udp_fast *fast)
{
	if (errno == E2BIG)
		log_limited(&fast->full, LOG_LEVEL_WARNING,
		    "fast path: its table is full, more flows are on sockets; "
		    "raise fast_path_flows");
	else if (errno != EBUSY)
		log_limited(&fast->full, LOG_LEVEL_WARNING,
		    "fast path: a flow is on sockets: %m");
}

static void
hand_over(struct udp_worker *w, struct flow *f)
{
	uint32_t place = place_of(w, flow_index(w->table, f));
	struct fast_flow *fast = flow_fast(w, f);
	struct fastpath_flow flow;
	bool good = describe(w, f, &flow);

	fast->epoch = flow.epoch;
	fast->state = FAST_REFUSED;
	if (!good)
		return;
	for (int d = 0; d < 2; d++)
		fast->had[d] = fastpath_count(
		    w->fast->path, place, (enum fastpath_direction)d);
	if (fastpath_carry(w->fast->path, place, &flow) != 0) {
		tell_refusal(w->fast);
		return;
	}
	fast->state = FAST_HANDED;
	count_in(w, f, TALLY_FAST, 1);
}

/* The header of the first datagram has been sent, if it has one. */
static bool
is_established(const struct udp_worker *w, const struct flow *f)
{
	const struct udp_side *s = udp_side_of(w, f);

	return f->replied &&
	    f->client_packets + f->origin_packets >= FIRST_DATAGRAMS &&
	    (s->service->app.header == APP_HEADER_OFF || f->announced);
}

void
udp_fast_passed(struct udp_worker *w, struct flow *f, unsigned int n)
{
	struct fast_flow *fast;
	uint32_t place;

	if (!w->listeners[f->listener]->fast)
		return;
	fast = flow_fast(w, f);
	place = place_of(w, flow_index(w->table, f));
	if (fast->state != FAST_SOCKETS &&
	    fast->epoch == fastpath_epoch(w->fast->path)) {
		if (fast->state == FAST_HANDED &&
		    fastpath_is_carried(w->fast->path, place))
			count_in(w, f, TALLY_PAST_KERNEL, n);
		return;
	}
	take_back(w, f);
	if (is_established(w, f))
		hand_over(w, f);
}

/* ---- returning ---- */

void
udp_fast_end(struct udp_worker *w, struct flow *f)
{
	if (w->fast == NULL)
		return;
	take_back(w, f);
	flow_fast(w, f)->state = FAST_SOCKETS;
}

void
udp_fast_listener(struct udp_worker *w, uint32_t listener)
{
	struct udp_listener *l = w->listeners[listener];
	bool had = l->fast;

	l->fast = w->fast != NULL && !l->draining &&
	    fast_why_not(&l->service->app) == FAST_WHY_NONE;
	if (!had || l->fast)
		return;
	for (uint32_t i = 0; i < w->setup.flows; i++) {
		struct flow *f = flow_at(w->table, i);

		if (f != NULL && f->listener == listener)
			take_back(w, f);
	}
}

void
udp_fast_tick(struct udp_worker *w)
{
	uint32_t most = w->setup.flows / SWEEP_TICKS + 1;

	for (uint32_t i = 0; w->fast != NULL && i < most; i++) {
		struct flow *f = flow_at(w->table, w->fast->sweep);

		if (f != NULL)
			udp_fast_count(w, f);
		w->fast->sweep = (w->fast->sweep + 1) % w->setup.flows;
	}
}

/* ---- the worker ---- */

static void
judged(void *context, struct flow *f)
{
	udp_fast_count(context, f);
}

int
udp_fast_open(struct udp_worker *w)
{
	if (w->setup.fastpath == NULL)
		return 0;
	w->fast = calloc(1, sizeof *w->fast);
	if (w->fast == NULL)
		return -1;
	w->fast->path = w->setup.fastpath;
	w->fast->router = route_open();
	w->fast->flows = calloc(w->setup.flows, sizeof *w->fast->flows);
	flow_table_judge(w->table, judged);
	return w->fast->router >= 0 && w->fast->flows != NULL ? 0 : -1;
}

void
udp_fast_close(struct udp_worker *w)
{
	if (w->fast == NULL)
		return;
	if (w->fast->router >= 0)
		close(w->fast->router);
	free(w->fast->flows);
	free(w->fast);
	w->fast = NULL;
}
