#include "proxy/balance.h"

#include <math.h>
#include <sodium/crypto_shorthash.h>
#include <stdbool.h>
#include <string.h>

_Static_assert(APP_ORIGINS_MAX == 64, "a bit for each origin");
_Static_assert(
    sizeof((struct balance *)0)->hash_key == crypto_shorthash_KEYBYTES,
    "SipHash's key");

static bool
has(uint64_t set, size_t i)
{
	return (set >> i & 1) != 0;
}

/*
 * Smooth weighted round robin: each origin earns its weight, the richest pays
 * for all. Turns mix (a b a c a, not a a a b c), and a set that changes shifts
 * nobody else's share.
 */
static int
round_robin(struct balance *b, uint64_t set)
{
	int64_t total = 0;
	int best = -1;

	for (int i = 0; i < APP_ORIGINS_MAX; i++) {
		struct balance_origin *o = &b->origin[i];

		if (!has(set, (size_t)i))
			continue;
		o->credit += o->weight;
		total += o->weight;
		if (best < 0 || o->credit > b->origin[best].credit)
			best = i;
	}
	b->origin[best].credit -= total;
	return best;
}

/* The fewest sessions for its weight once it has this one, too. */
static int
least_connections(struct balance *b, uint64_t set)
{
	uint64_t best_live = 0, best_weight = 1;
	int best = -1;

	for (unsigned int k = 0; k < APP_ORIGINS_MAX; k++) {
		unsigned int i = (b->next + k) % APP_ORIGINS_MAX;
		uint64_t weight = b->origin[i].weight;
		uint64_t live = (uint64_t)b->origin[i].live + 1;

		if (!has(set, i) ||
		    (best >= 0 && live * best_weight >= best_live * weight))
			continue;
		best = (int)i;
		best_live = live;
		best_weight = weight;
	}
	b->next = (unsigned int)(best + 1) % APP_ORIGINS_MAX;
	return best;
}

/* The same for a client and an origin wherever that stands in the list. */
static uint64_t
hash(const struct balance *b, const uint8_t client[static ADDR_KEY_LEN],
    const struct addr *origin)
{
	uint8_t in[2 * ADDR_KEY_LEN + 2], out[crypto_shorthash_BYTES];
	uint16_t port = addr_port(origin);
	uint64_t v;

	memcpy(in, client, ADDR_KEY_LEN);
	addr_prefix_key(in + ADDR_KEY_LEN, origin, 32, 128);
	memcpy(in + 2 * ADDR_KEY_LEN, &port, sizeof port);
	crypto_shorthash(out, in, sizeof in, b->hash_key);
	memcpy(&v, out, sizeof v);
	return v;
}

/*
 * Rendezvous hashing: each origin draws a number for the client, the highest
 * serves it. One that goes away moves its own clients only. With u uniform in
 * (0, 1), -weight / ln(u) makes the chances those of the weights.
 */
static int
source_hash(const struct balance *b, const struct addr *client, uint64_t set)
{
	uint8_t key[ADDR_KEY_LEN];
	double best_score = 0;
	int best = -1;

	addr_prefix_key(key, client, 32, 128); /* without the port */
	for (int i = 0; i < APP_ORIGINS_MAX; i++) {
		const struct balance_origin *o = &b->origin[i];
		double u, score;

		if (!has(set, (size_t)i))
			continue;
		u = ((double)(hash(b, key, &o->address) >> 11) + 0.5) * 0x1p-53;
		score = -(double)o->weight / log(u);
		if (best < 0 || score > best_score) {
			best = i;
			best_score = score;
		}
	}
	return best;
}

int
balance_choose(struct balance *b, const struct addr *client, uint64_t set)
{
	if ((set & (set - 1)) == 0) /* one */
		return __builtin_ctzll(set);
	switch (b->kind) {
	case APP_ROUND_ROBIN:
		break;
	case APP_LEAST_CONNECTIONS:
		return least_connections(b, set);
	case APP_SOURCE_HASH:
		return source_hash(b, client, set);
	}
	return round_robin(b, set);
}

void
balance_reweigh(struct balance *b)
{
	int64_t total = 0;

	for (int i = 0; i < APP_ORIGINS_MAX; i++)
		total += b->origin[i].weight;
	for (int i = 0; i < APP_ORIGINS_MAX; i++) {
		int64_t *credit = &b->origin[i].credit;

		if (*credit > total)
			*credit = total;
		if (*credit < -total)
			*credit = -total;
	}
}
