/*
 * Questions to DNS servers and their answers, by c-ares, on one event loop: no
 * thread, nothing waits. UDP first, TCP for what was truncated, the next
 * server when one fails; a question ends within about 7 seconds a server.
 * Names are taken as they are: no search domains, no hosts(5).
 */
#ifndef PROXY_RESOLVER_H
#define PROXY_RESOLVER_H

#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "net/addr.h"
#include "proxy/dnsreply.h"

struct resolver; /* opaque: c-ares' channel and the watchers of its sockets */

enum resolver_outcome {
	RESOLVER_ANSWERED = 0,
	RESOLVER_NO_NAME, /* NXDOMAIN */
	RESOLVER_NO_RECORDS,
	RESOLVER_TIMEDOUT,
	RESOLVER_FAILED, /* no server could be reached or would answer */
	RESOLVER_CANCELLED, /* by us: other servers, or the end */
};
const char *resolver_outcome_str(enum resolver_outcome outcome);

/*
 * Reads /etc/resolv.conf and /dev/urandom: before Landlock. NULL after a
 * log_error line.
 */
struct resolver *resolver_new(void);
/* Every open question is RESOLVER_CANCELLED first; NULL is fine. */
void resolver_free(struct resolver *r);

/* The loop to live on; before the first question. */
void resolver_start(struct resolver *r, struct ev_loop *loop);

/*
 * Asks these servers from now on, n at most RESOLVER_SERVERS_MAX; n 0: those
 * of /etc/resolv.conf as it was at resolver_new(). Open questions are
 * RESOLVER_CANCELLED. 0, or -1 after a log_error line: no memory.
 */
#define RESOLVER_SERVERS_MAX 8
int resolver_servers(struct resolver *r, const struct addr *list, size_t n);

/* One line for the log: whom it asks. */
void resolver_log(const struct resolver *r);

/* `reply` is there when RESOLVER_ANSWERED, and gone afterwards. When it was
 * RESOLVER_CANCELLED nothing may be asked before this returns. */
typedef void resolver_answer(
    void *arg, enum resolver_outcome outcome, const uint8_t *reply, size_t len);

/* Calls `answer` once, be it before this returns. */
void resolver_ask(struct resolver *r, const char *name, enum dnsreply_kind kind,
    resolver_answer *answer, void *arg);

#endif
