/*
 * A loop that does not sleep at once: for some microseconds after an event it
 * looks for the next one. To be put to sleep and woken takes longer than a
 * small datagram takes to pass. Where the next one mostly comes later than
 * that it sleeps at once, and tries again now and then.
 */
#ifndef PROXY_SPIN_H
#define PROXY_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#include <ev.h>

struct spin {
	struct ev_loop *loop;
	uint64_t most_ns; /* after the last event */
	uint64_t since_ns; /* the last event, monotonic */
	bool idled; /* nothing was there in this turn */
	bool rests; /* spin_rest() in this turn */
	int worth; /* below 0: it does not pay */
	unsigned int slept; /* events since the last attempt then */
	ev_prepare turn;
	ev_idle idle; /* active: the loop does not sleep */
};

/* 0: it sleeps at once, and nothing is started. */
void spin_start(struct spin *s, struct ev_loop *loop, uint64_t most_ns);
/* The next event had better find more: after this turn the loop sleeps. */
void spin_rest(struct spin *s);
void spin_stop(struct spin *s); /* of one that was never started, too */

#endif
