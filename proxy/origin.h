/*
 * Choosing an origin: balance over those that are up. One pool an application
 * and worker; up and down are shared through atomics (health, passive
 * ejection).
 */
#ifndef PROXY_ORIGIN_H
#define PROXY_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/app.h"

struct origin_state {
	_Atomic bool down; /* by health checks */
	_Atomic uint32_t live; /* sessions or flows now */
	_Atomic uint32_t failures; /* connect failures in a row */
	_Atomic uint64_t ejected_until_ns; /* monotonic; passive ejection */
};

struct origin_pool {
	const struct app *app;
	struct origin_state *state; /* app->origins, shared by workers */
	uint32_t next; /* this worker's: which of equal origins is first */
	int64_t credit[APP_ORIGINS_MAX]; /* round robin, this worker's */
	uint8_t hash_key[16]; /* SipHash, source hash */
};

/*
 * The index of the origin for `client`, skipping those in `tried` (bit set)
 * and those that are down; when all are down, the least bad one ("last
 * known"). -1: every origin was tried.
 */
int origin_choose(struct origin_pool *p, const struct addr *client,
    uint64_t tried, uint64_t now_ns);

/*
 * Passive ejection: after this many connect failures in a row an origin is
 * left out, and for twice as long after each further one.
 */
#define ORIGIN_EJECT_AFTER 3
#define ORIGIN_EJECT_S 10
#define ORIGIN_EJECT_MAX_S 320

/* Accounting: a session began, ended, failed to connect, connected. */
void origin_begin(struct origin_pool *p, int origin);
void origin_end(struct origin_pool *p, int origin);
void origin_failed(struct origin_pool *p, int origin, uint64_t now_ns);
void origin_worked(struct origin_pool *p, int origin);

#endif
