/*
 * TCP sessions of one worker. A session is two equal halves that point at each
 * other, client and origin; what comes from one goes to the other by one
 * function for both directions.
 *
 *   accept -> firewall, limits -> CONNECTING -> OPEN -> FREE
 *    |         ^                   |  ^ the next origin
 *    +- HEADER +                   +--+
 *
 * All memory is made at start: one slot a session; buffers belong to halves
 * with bytes that wait.
 */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "net/addr.h"
#include "proxy/eventlog.h"
#include "proxy/live.h"
#include "proxy/service.h"
#include "proxy/spin.h"

struct sessions; /* opaque: slots, watchers and timers that must agree */

struct sessions_setup {
	struct ev_loop *loop;
	struct eventlog *log; /* NULL: none */
	struct spin *spin; /* of the loop */
	size_t worker; /* index, for its sheets */
	struct tally_worker *tally; /* of this worker */
	size_t max;
	int fd_most; /* descriptors from this one on are for others */
	uint64_t splice_after;
};

/* NULL with errno when out of memory. */
struct sessions *sessions_new(const struct sessions_setup *setup);
void sessions_free(struct sessions *t); /* closes what is open, by reset */

/*
 * A client's connection, just accepted on `edge`: closed by reset when it may
 * not come in, else a session that lives on its own. Takes `fd`. False: there
 * was no descriptor for its origin, nor would be for those of more clients.
 */
bool session_begin(struct sessions *t, struct service *v, int fd,
    const struct addr *client, const struct addr *edge);

size_t sessions_open(const struct sessions *t);

/* A service has its first answer to origin_dns: who waits goes on. */
void sessions_resolved(struct sessions *t);

/* Adds rows to a chunk, going on where it stands: a bounded look at the slots,
 * which all have been looked at when a->tcp_done. */
void sessions_list(const struct sessions *t, struct live_ask *a);

/* A service has been given an end (service.ends_ns), or all have: what is
 * open then is reset. */
void sessions_end_by(struct sessions *t, uint64_t ends_ns); /* 0: no change */

/* Pure: the line between patience and an end, in seconds of one clock. */
struct session_clock {
	double attempt; /* the present connect(2) began */
	double born; /* the client came */
	double active; /* the last byte either way */
};
enum session_state {
	SESSION_FREE = 0,
	SESSION_HEADER, /* of a peer that is to say who its client is */
	SESSION_RESOLVING, /* the first answer to origin_dns is awaited */
	SESSION_CONNECTING, /* to an origin; the client is not read */
	SESSION_OPEN,
};
/* When it must end if nothing happens; `why` is the status then. */
double session_deadline(const struct session_clock *c,
    const struct app_timeouts *t, enum session_state state, enum status *why);

#endif
