/*
 * The UDP flow table of one worker: bounded, allocated at start, keyed by
 * SipHash of (client, edge address and port). Expiry by a timer wheel.
 * Eviction when full: the oldest flow that never had a reply; flows that have
 * had replies give way only when no other kind exists. Pure: time comes in.
 */
#ifndef PROXY_FLOW_H
#define PROXY_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "proxy/app.h"
#include "proxy/status.h"

struct flow {
	/* owned by the table */
	uint32_t bucket_next, wheel_next, wheel_prev, age_next, age_prev;
	/* the key */
	struct addr client;
	struct addr edge; /* the address and port that were asked */
	/* the flow */
	uint16_t slot; /* the table's: of the wheel */
	bool announced; /* the owner's: a PROXY header was sent */
	bool replied;
	bool named; /* by a peer: the key has that too, see flow_via() */
	bool unbound; /* no longer found by its key */
	bool over; /* the owner's: ends once its replies are sent */
	int origin_handle; /* of the service's origins, -1 none */
	uint32_t listener; /* the owner's: which socket was asked */
	uint32_t client_packets, origin_packets;
	uint32_t idle_ms; /* from the last datagram to expires_ms */
	uint64_t connect_us; /* Unix */
	uint64_t born_ms, expires_ms; /* monotonic */
	uint64_t client_bytes, origin_bytes;
};

/* Beside a flow whose client was named by a peer, which brings many: few have
 * one, and memory is used by those only. */
struct flow_via {
	struct addr peer; /* part of the key */
	struct addr asked; /* the owner's: what the client had asked there */
	bool simple; /* the owner's: what that peer speaks */
};

struct flow_table; /* opaque */

typedef void flow_closed_fn(void *context, struct flow *f, enum status status);

/* A flow ends at most this long after its idle time, never before. */
#define FLOW_TICK_MS 16u

/* `closed` is called before a flow leaves the table for whatever reason: an
 * evicted one with STATUS_UNAVAILABLE, an idle one with STATUS_CLOSED. */
struct flow_table *flow_table_new(
    uint32_t capacity, uint64_t now_ms, flow_closed_fn *closed, void *context);
void flow_table_free(struct flow_table *t); /* closes all: STATUS_CLOSED */
/* Called before a flow is judged by its age, for who keeps count elsewhere:
 * see flow_carried(). */
typedef void flow_judged_fn(void *context, struct flow *f);
void flow_table_judge(struct flow_table *t, flow_judged_fn *judged);

struct flow *flow_find(
    struct flow_table *t, const struct addr *client, const struct addr *edge);
/* One that `peer` has named. */
struct flow *flow_find_via(struct flow_table *t, const struct addr *client,
    const struct addr *edge, const struct addr *peer);
/* A new flow, evicting when full; NULL only when eviction is not allowed
 * (every flow has had replies and `may_evict_replied` is false). */
struct flow *flow_add(struct flow_table *t, const struct addr *client,
    const struct addr *edge, uint64_t now_ms, uint32_t idle_ms,
    bool may_evict_replied);
/* A datagram passed: expiry moves on (lazily), counts go up. */
void flow_touch(struct flow_table *t, struct flow *f, uint64_t now_ms,
    uint32_t idle_ms, bool from_origin, size_t bytes);
/* When its last datagram passed. */
static inline uint64_t
flow_active_ms(const struct flow *f)
{
	return f->expires_ms - f->idle_ms;
}

/* The same of datagrams that somebody else has passed: `n` of them, `bytes` in
 * all, the last one at `at_ms`. */
void flow_carried(struct flow_table *t, struct flow *f, uint64_t at_ms,
    uint32_t idle_ms, bool from_origin, uint32_t n, uint64_t bytes);
/* From now on it is found by all three; the rest is to be filled in. */
struct flow_via *
flow_name(struct flow_table *t, struct flow *f, const struct addr *peer);
/* NULL: it was not named. */
struct flow_via *flow_via(const struct flow_table *t, const struct flow *f);
/* It lives on, but the next datagram with its key begins another one. */
void flow_unbind(struct flow_table *t, struct flow *f);
void flow_close(struct flow_table *t, struct flow *f, enum status status);
/* Closes what has expired; bounded work a call (1024 flows looked at).
 * Returns how many were closed. */
size_t flow_expire(struct flow_table *t, uint64_t now_ms);

uint32_t flow_count(const struct flow_table *t);
uint32_t flow_index(const struct flow_table *t, const struct flow *f);
struct flow *flow_at(struct flow_table *t, uint32_t index); /* NULL: free */

#endif
