/*
 * The origins of one service: which there are, which are up, who gets the
 * next session. Shared by all workers and guarded by a mutex: a new session
 * costs many system calls anyway, and nothing here is asked for each datagram.
 *
 * An origin has a slot as long as it is listed or has sessions, and loses it
 * when it is no longer listed and a new one needs it. Sessions and flows keep a
 * handle of it (the slot, and which of its tenants) and the address themselves:
 * the list may change while they live, and a handle that is out of date does
 * nothing.
 */
#ifndef PROXY_ORIGIN_H
#define PROXY_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/app.h"

struct origins; /* opaque: slots and counts that a mutex guards */

/* The origins of `a` (of origin_direct; none yet when they come by DNS).
 * NULL with errno when out of memory. */
struct origins *origins_new(const struct app *a);
void origins_free(struct origins *o); /* NULL is fine */

/*
 * From now on these are the origins. One of before keeps its slot and state;
 * one that is not among them gets no new session, and its slot is free when
 * its last session has ended, or when there is no other for a new one: that of
 * the fewest sessions. An address named twice has the sum of weights. 0, or -1
 * with errno: E2BIG for more than APP_ORIGINS_MAX, nothing changed.
 */
int origins_replace(struct origins *o, const struct app_origin *list, size_t n);

/*
 * Chooses an origin that is not in `tried` (origins_bit()), counts the session
 * in (origins_end is due once) and gives in `address` where it listens for
 * those who came to `edge_port`. Those that are up first; then one that is
 * ejected, the soonest back; then the down ones, unless origins_down refuses.
 * Returns its handle, or -1 with errno: ENOENT none is listed, EHOSTDOWN all are
 * down and that refuses, EAGAIN each was tried.
 */
int origins_begin(struct origins *o, const struct addr *client,
    uint16_t edge_port, uint64_t tried, uint64_t now_ns, struct addr *address);
void origins_end(struct origins *o, int handle); /* -1: nothing, as below */
static inline uint64_t
origins_bit(int handle)
{
	return (uint64_t)1 << handle % APP_ORIGINS_MAX;
}

/*
 * Passive ejection: after eject.after connect failures in a row an origin is
 * left out for eject.for_s, and for twice as long after each further one, up
 * to ORIGIN_EJECT_TIMES of it. To be called before origins_end().
 */
#define ORIGIN_EJECT_TIMES 32
void origins_failed(struct origins *o, int handle, uint64_t now_ns);
void origins_worked(struct origins *o, int handle);

/*
 * A health check of the origin at `address` went wrong because of `why`, or
 * well (NULL). check.fall in a row that are wrong take it down, check.rise
 * that are well bring it up, and ejection ends then. All are up at first.
 */
enum origin_change { ORIGIN_SAME = 0, ORIGIN_ROSE, ORIGIN_FELL };
#define ORIGIN_WHY_LEN 80
enum origin_change origins_checked(struct origins *o,
    const struct addr *address, const char *why, uint64_t now_us);

/* After a reload that changed the service, to be called before anybody else
 * has `o`: origins that both have, or will have when DNS says so, keep what is
 * known of them, and clients keep theirs (source hash). */
void origins_inherit(struct origins *o, struct origins *former);

struct origin_view {
	int slot;
	struct addr address; /* with the port that edge port_first maps to */
	unsigned int weight;
	bool listed; /* false: only there for its last sessions */
	bool up; /* by health checks */
	uint64_t since_us; /* Unix: up or down since; 0: from the beginning */
	uint64_t checks, checks_failed;
	char why[ORIGIN_WHY_LEN]; /* the last check that went wrong; or "" */
	uint64_t ejected_ns; /* for so long from now; 0: it is not */
	uint32_t live; /* sessions or flows now */
	uint32_t failures; /* to connect, in a row */
	uint64_t total; /* sessions or flows that were sent there */
	uint64_t failed; /* of them: did not connect, or were refused */
};

/* Fills at most `max` of `out`, in the order of slots; returns how many. */
size_t origins_view(
    struct origins *o, struct origin_view *out, size_t max, uint64_t now_ns);

#endif
