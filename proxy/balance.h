/*
 * Choosing one of several origins: whose turn it is. Pure; no lock, no state
 * but turns and what the caller counts in.
 */
#ifndef PROXY_BALANCE_H
#define PROXY_BALANCE_H

#include <stdint.h>

#include "proxy/app.h"

struct balance_origin {
	struct addr address;
	unsigned int weight; /* >= 1 */
	uint32_t live; /* sessions or flows now */
	int64_t credit; /* round robin's */
};

struct balance {
	enum app_balance kind;
	struct balance_origin origin[APP_ORIGINS_MAX];
	unsigned int next; /* which of equal origins is first */
	uint8_t hash_key[16]; /* SipHash, source hash */
};

/* One of `set` (a bit for each origin, not empty) for `client`. */
int balance_choose(struct balance *b, const struct addr *client, uint64_t set);

/* After weights have changed: turns that are owed from before count for one
 * round of these at most. */
void balance_reweigh(struct balance *b);

#endif
