#include "proxy/origin.h"

#include <math.h>
#include <sodium/crypto_shorthash.h>
#include <stdatomic.h>
#include <string.h>

_Static_assert(APP_ORIGINS_MAX <= 64, "a bit for each origin");
_Static_assert(
    sizeof((struct origin_pool *)0)->hash_key == crypto_shorthash_KEYBYTES,
    "SipHash's key");

#define SECOND_NS 1000000000ull

static bool
has(uint64_t set, size_t i)
{
	return (set >> i & 1) != 0;
}

static bool
is_ejected(struct origin_state *s, uint64_t now_ns)
{
	return atomic_load(&s->ejected_until_ns) > now_ns;
}

/* The untried origins: all, those not down, those also not ejected. */
static void
sets(struct origin_pool *p, uint64_t tried, uint64_t now_ns, uint64_t *any,
    uint64_t *up, uint64_t *best)
{
	*any = *up = *best = 0;
	for (size_t i = 0; i < p->app->origins; i++) {
		struct origin_state *s = &p->state[i];
		uint64_t bit = 1ull << i;

		if (has(tried, i))
			continue;
		*any |= bit;
		if (atomic_load(&s->down))
			continue;
		*up |= bit;
		if (!is_ejected(s, now_ns))
			*best |= bit;
	}
}

/* The k-th origin from this worker's first one on. */
static size_t
turn(const struct origin_pool *p, size_t k)
{
	return (p->next + k) % p->app->origins;
}

/*
 * Smooth weighted round robin: each origin earns its weight, the richest pays
 * for all. Turns mix (a b a c a, not a a a b c), and a set that changes shifts
 * nobody else's share.
 */
static int
round_robin(struct origin_pool *p, uint64_t set)
{
	int64_t total = 0;
	int best = -1;

	for (size_t k = 0; k < p->app->origins; k++) {
		size_t i = turn(p, k);

		if (!has(set, i))
			continue;
		p->credit[i] += p->app->origin[i].weight;
		total += p->app->origin[i].weight;
		if (best < 0 || p->credit[i] > p->credit[best])
			best = (int)i;
	}
	p->credit[best] -= total;
	return best;
}

/* The fewest sessions for its weight once it has this one, too. */
static int
least_connections(struct origin_pool *p, uint64_t set)
{
	uint64_t best_live = 0, best_weight = 1;
	int best = -1;

	for (size_t k = 0; k < p->app->origins; k++) {
		size_t i = turn(p, k);
		uint64_t weight = p->app->origin[i].weight;
		uint64_t live = (uint64_t)atomic_load(&p->state[i].live) + 1;

		if (!has(set, i) ||
		    (best >= 0 && live * best_weight >= best_live * weight))
			continue;
		best = (int)i;
		best_live = live;
		best_weight = weight;
	}
	p->next = (uint32_t)(best + 1) % (uint32_t)p->app->origins;
	return best;
}

/* The same for a client and an origin wherever that stands in the list. */
static uint64_t
hash(const struct origin_pool *p, const uint8_t client[static ADDR_KEY_LEN],
    const struct addr *origin)
{
	uint8_t in[2 * ADDR_KEY_LEN + 2], out[crypto_shorthash_BYTES];
	uint16_t port = addr_port(origin);
	uint64_t v;

	memcpy(in, client, ADDR_KEY_LEN);
	addr_prefix_key(in + ADDR_KEY_LEN, origin, 32, 128);
	memcpy(in + 2 * ADDR_KEY_LEN, &port, sizeof port);
	crypto_shorthash(out, in, sizeof in, p->hash_key);
	memcpy(&v, out, sizeof v);
	return v;
}

/*
 * Rendezvous hashing: each origin draws a number for the client, the highest
 * serves it. One that goes away moves its own clients only. With u uniform in
 * (0, 1), -weight / ln(u) makes the chances those of the weights.
 */
static int
source_hash(struct origin_pool *p, const struct addr *client, uint64_t set)
{
	uint8_t key[ADDR_KEY_LEN];
	double best_score = 0;
	int best = -1;

	addr_prefix_key(key, client, 32, 128); /* without the port */
	for (size_t i = 0; i < p->app->origins; i++) {
		const struct app_origin *o = &p->app->origin[i];
		double u, score;

		if (!has(set, i))
			continue;
		u = ((double)(hash(p, key, &o->address) >> 11) + 0.5) * 0x1p-53;
		score = -(double)o->weight / log(u);
		if (best < 0 || score > best_score) {
			best = (int)i;
			best_score = score;
		}
	}
	return best;
}

static int
balance(struct origin_pool *p, const struct addr *client, uint64_t set)
{
	if ((set & (set - 1)) == 0) /* one */
		return __builtin_ctzll(set);
	switch (p->app->balance) {
	case APP_ROUND_ROBIN:
		break;
	case APP_LEAST_CONNECTIONS:
		return least_connections(p, set);
	case APP_SOURCE_HASH:
		return source_hash(p, client, set);
	}
	return round_robin(p, set);
}

/* All are ejected: the one whose time ends first is nearest to working. */
static int
soonest(struct origin_pool *p, uint64_t set)
{
	uint64_t best_ns = UINT64_MAX;
	int best = __builtin_ctzll(set);

	for (size_t i = 0; i < p->app->origins; i++) {
		uint64_t ns = atomic_load(&p->state[i].ejected_until_ns);

		if (has(set, i) && ns < best_ns) {
			best = (int)i;
			best_ns = ns;
		}
	}
	return best;
}

int
origin_choose(struct origin_pool *p, const struct addr *client, uint64_t tried,
    uint64_t now_ns)
{
	uint64_t any, up, best;

	sets(p, tried, now_ns, &any, &up, &best);
	if (best != 0)
		return balance(p, client, best);
	if (up != 0)
		return soonest(p, up);
	if (any != 0)
		return balance(p, client, any);
	return -1;
}

void
origin_begin(struct origin_pool *p, int origin)
{
	if (origin >= 0)
		atomic_fetch_add(&p->state[origin].live, 1);
}

void
origin_end(struct origin_pool *p, int origin)
{
	if (origin >= 0)
		atomic_fetch_sub(&p->state[origin].live, 1);
}

void
origin_failed(struct origin_pool *p, int origin, uint64_t now_ns)
{
	struct origin_state *s;
	uint64_t for_s = ORIGIN_EJECT_S;
	uint32_t failures;

	if (origin < 0)
		return;
	s = &p->state[origin];
	/* those that were under way together are one failure, not fifty */
	if (is_ejected(s, now_ns))
		return;
	failures = atomic_fetch_add(&s->failures, 1) + 1;
	if (failures < ORIGIN_EJECT_AFTER)
		return;
	for (uint32_t n = ORIGIN_EJECT_AFTER;
	     n < failures && for_s < ORIGIN_EJECT_MAX_S; n++)
		for_s *= 2;
	atomic_store(&s->ejected_until_ns, now_ns + for_s * SECOND_NS);
}

void
origin_worked(struct origin_pool *p, int origin)
{
	if (origin < 0)
		return;
	/* mostly zero already: leave the line shared between the workers */
	if (atomic_load(&p->state[origin].failures) != 0)
		atomic_store(&p->state[origin].failures, 0);
	if (atomic_load(&p->state[origin].ejected_until_ns) != 0)
		atomic_store(&p->state[origin].ejected_until_ns, 0);
}
