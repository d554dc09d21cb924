/*
 * What has happened to one application, in numbers, as one worker saw it. A
 * sheet has one writer, its worker, and is read by others at any time
 * (relaxed: a reader may see one number a moment older than the next). All
 * sheets of an application are a book, which outlives a reload that changes
 * the application.
 */
#ifndef PROXY_TALLY_H
#define PROXY_TALLY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/histogram.h"
#include "proxy/status.h"

/* A session is a TCP session or a UDP flow. */
#define TALLY_NAMED(X)                                                     \
	X(TALLY_BEGUN, "begun") /* sessions that were let in */            \
	X(TALLY_ENDED, "ended")                                            \
	X(TALLY_CONNECTED, "connected") /* that reached an origin */       \
	X(TALLY_NO_ORIGIN, "no_origin") /* that found none */              \
	X(TALLY_EVICTED, "evicted") /* UDP: gave way to a new one */       \
	X(TALLY_WAITS, "rate_waits") /* TCP: held up by bytes_per_s */     \
	/* bytes received from each side */                                \
	X(TALLY_CLIENT_BYTES, "client_bytes")                              \
	X(TALLY_ORIGIN_BYTES, "origin_bytes")                              \
	/* clients that were not let in; UDP: their datagrams */           \
	X(TALLY_REFUSED_FIREWALL, "refused_firewall")                      \
	X(TALLY_REFUSED_RATE, "refused_rate") /* new ones a second */      \
	X(TALLY_REFUSED_LIMIT, "refused_limit") /* live ones */            \
	X(TALLY_REFUSED_FULL, "refused_full") /* of the worker */          \
	X(TALLY_REFUSED_DRAIN, "refused_drain")                            \
	X(TALLY_REFUSED_HEADER, "refused_header") /* no PROXY header */    \
	/* UDP datagrams */                                                \
	X(TALLY_FROM_CLIENTS, "datagrams_from_clients")                    \
	X(TALLY_TO_ORIGINS, "datagrams_to_origins")                        \
	X(TALLY_FROM_ORIGINS, "datagrams_from_origins")                    \
	X(TALLY_TO_CLIENTS, "datagrams_to_clients")                        \
	X(TALLY_BY_KERNEL, "datagrams_by_kernel") /* of those, fast */     \
	/* that came to a socket of a flow that the kernel carries */      \
	X(TALLY_PAST_KERNEL, "datagrams_past_kernel")                      \
	X(TALLY_FAST, "kernel_flows") /* that were handed to the kernel */ \
	/* that were dropped */                                            \
	X(TALLY_DROP_NO_FLOW, "dropped_no_flow") /* refused, no origin */  \
	X(TALLY_DROP_TO_ORIGIN, "dropped_to_origin") /* by the kernel */   \
	X(TALLY_DROP_TO_CLIENT, "dropped_to_client") /* by the kernel */   \
	X(TALLY_DROP_HEADER, "dropped_header") /* a reply without it */    \
	X(TALLY_DROP_RATE, "dropped_rate") /* bytes_per_s */               \
	X(TALLY_DROP_GROUP, "dropped_group") /* to a broadcast or group */

#define TALLY_CONSTANT(constant, name) constant,
enum tally_key { TALLY_NAMED(TALLY_CONSTANT) TALLY_KEYS };
const char *tally_key_str(enum tally_key key);

#define TALLY_BUCKETS 640 /* of about 6 %: from 1 us to 50 days */
extern const struct histogram_scale tally_scale;

struct tally {
	_Atomic uint64_t count[TALLY_KEYS];
	/* by status_index() */
	_Atomic uint64_t ended_by[STATUS_KINDS];
	_Atomic uint64_t connect_failed[STATUS_KINDS];
	/* of sessions that reached an origin and ended */
	_Atomic uint64_t duration[TALLY_BUCKETS];
	_Atomic uint64_t duration_sum_us, duration_max_us;
};

struct tally_book; /* opaque: held by services, one sheet a worker */

/* NULL with errno. The caller holds it. */
struct tally_book *tally_book_new(size_t workers);
struct tally_book *tally_book_hold(struct tally_book *b);
void tally_book_release(struct tally_book *b); /* NULL is fine */
struct tally *tally_book_sheet(struct tally_book *b, size_t worker);

/* For its worker alone. */
static inline void
tally_raise(_Atomic uint64_t *count, uint64_t by)
{
	/* one writer: no locked instruction on the packet path */
	atomic_store_explicit(count,
	    atomic_load_explicit(count, memory_order_relaxed) + by,
	    memory_order_relaxed);
}

static inline void
tally_add(struct tally *t, enum tally_key key, uint64_t by)
{
	tally_raise(&t->count[key], by);
}

/* One session ended; `duration_us` counts when it had reached an origin. */
void tally_end(struct tally *t, enum status status);
void tally_duration(struct tally *t, uint64_t duration_us);
void tally_connect_failed(struct tally *t, enum status status);

/* All sheets of a book as plain numbers. */
struct tally_sums {
	uint64_t count[TALLY_KEYS];
	uint64_t ended_by[STATUS_KINDS];
	uint64_t connect_failed[STATUS_KINDS];
	uint64_t duration[TALLY_BUCKETS];
	uint64_t durations, duration_sum_us, duration_max_us;
};
void tally_sum(struct tally_sums *out, struct tally_book *b);

/* What one worker has of all applications. */
struct tally_worker {
	_Atomic uint64_t sessions_begun, sessions_ended; /* TCP */
	_Atomic uint64_t flows_begun, flows_ended; /* UDP */
	_Atomic uint64_t accept_pauses; /* no descriptor was left */
};

#endif
