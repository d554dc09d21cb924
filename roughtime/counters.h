/*
 * What happened, counted. Each worker writes its own struct and nobody else
 * does: an addition is a plain load and store, a sum reads all of them. Every
 * silent drop has a name here.
 */
#ifndef ROUGHTIME_COUNTERS_H
#define ROUGHTIME_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "roughtime/grease.h"
#include "roughtime/request.h"
#include "roughtime/response.h"
#include "roughtime/version.h"

/* constant, name as printed */
#define COUNTERS_NAMED(X)                                         \
	X(UDP_RECEIVED, "udp_received")                           \
	X(UDP_SENT, "udp_sent")                                   \
	X(UDP_BATCHES, "udp_batches")                             \
	X(UDP_TOO_LONG, "udp_drop_too_long")                      \
	X(UDP_FOREIGN, "udp_drop_foreign")                        \
	X(UDP_SEND_REFUSED, "udp_drop_send_refused")              \
	X(UDP_RECEIVE_FAULT, "udp_receive_fault")                 \
	X(TCP_ACCEPTED, "tcp_accepted")                           \
	X(TCP_RECEIVED, "tcp_received")                           \
	X(TCP_SENT, "tcp_sent")                                   \
	X(TCP_BATCHES, "tcp_batches")                             \
	X(TCP_ACCEPT_FAULT, "tcp_accept_fault")                   \
	X(TCP_ACCEPT_NO_FD, "tcp_accept_no_fd")                   \
	X(TCP_REFUSED_FULL, "tcp_refused_full")                   \
	X(TCP_REFUSED_CLIENT, "tcp_refused_client")               \
	X(TCP_FOREIGN, "tcp_refused_foreign")                     \
	X(TCP_CLOSED_PEER, "tcp_closed_peer")                     \
	X(TCP_CLOSED_IDLE, "tcp_closed_idle")                     \
	X(TCP_CLOSED_SLOW_WRITER, "tcp_closed_slow_writer")       \
	X(TCP_CLOSED_SLOW_READER, "tcp_closed_slow_reader")       \
	X(TCP_CLOSED_NOT_ROUGHTIME, "tcp_closed_not_roughtime")   \
	X(TCP_CLOSED_FRAME_TOO_LONG, "tcp_closed_frame_too_long") \
	X(TCP_CLOSED_FRAME_CUT, "tcp_closed_frame_cut")           \
	X(TCP_CLOSED_BAD_REQUEST, "tcp_closed_bad_request")       \
	X(TCP_CLOSED_ERROR, "tcp_closed_error")                   \
	X(TCP_CLOSED_STOPPING, "tcp_closed_stopping")             \
	X(SIGNATURES, "signatures")                               \
	X(DROP_CLOCK_REFUSED, "drop_clock_refused")               \
	X(DROP_RATE_LIMITED, "drop_rate_limited")

#define COUNTERS_ENUM(constant, name) COUNTER_##constant,
enum counter {
	COUNTERS_NAMED(COUNTERS_ENUM)
	/* then ranges that follow the enums of the pure core */
	COUNTER_VERSION, /* + enum version_row: answered */
	COUNTER_REJECT = COUNTER_VERSION + VERSION_ROWS, /* + request_reject */
	COUNTER_DROP = COUNTER_REJECT + REQUEST_REJECTS, /* + response_drop */
	COUNTER_GREASE = COUNTER_DROP + RESPONSE_DROPS, /* + grease_kind */
	COUNTER_COUNT = COUNTER_GREASE + GREASE_KINDS
};

struct counters {
	_Alignas(64) _Atomic uint64_t value[COUNTER_COUNT];
};

/* Only the thread that owns `c`. */
static inline void
counters_add(struct counters *c, unsigned int which, uint64_t n)
{
	uint64_t was =
	    atomic_load_explicit(&c->value[which], memory_order_relaxed);

	atomic_store_explicit(&c->value[which], was + n, memory_order_relaxed);
}

/* What no worker counts: the kernel's side, brought by the caller. */
struct counters_kernel {
	uint64_t drops; /* by the socket filter or a full queue */
	uint64_t queue_full; /* of them, estimated */
	uint64_t connections; /* open TCP connections */
	uint64_t kept_drops; /* on sockets that are kept for another (guard) */
};

/* The printed name of a counter, lower case with underscores; "" for an entry
 * that is never counted (the zero of an enum). Returns buf. */
#define COUNTERS_NAME_LEN 64
char *counters_name(char buf[static COUNTERS_NAME_LEN], unsigned int which);

/*
 * Writes `name value` lines for the sum over `n` structs. Returns bytes;
 * COUNTERS_TEXT_MAX is always enough.
 */
#define COUNTERS_TEXT_MAX ((COUNTER_COUNT + 5) * (COUNTERS_NAME_LEN + 24))
size_t
counters_format(char *out, size_t cap, const struct counters *const list[],
    size_t n, const struct counters_kernel *kernel);

#endif
