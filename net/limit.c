#include "net/limit.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 8 /* entries a set: two cache lines */
#define ENTRIES_MAX (1u << 28)
#define NS_PER_S 1e9
#define NS_MAX 4e18 /* 127 years: sums stay inside 64 bits */

/*
 * A bucket as one moment (generic cell rate algorithm): `full_ns` is when it
 * will be full again. Each token taken moves it by 1 / rate; a moment in the
 * past is a full bucket, so an empty entry and an idle one are the same.
 */
struct entry {
	uint64_t hash; /* of the prefix; two prefixes share one by 2^-64 */
	uint64_t full_ns;
};

struct limit {
	struct entry *entries;
	uint64_t set_mask;
	double interval_ns; /* between tokens */
	uint64_t debt_max_ns; /* that still leaves one token in the bucket */
	unsigned int prefix4, prefix6;
	uint8_t key[crypto_shorthash_KEYBYTES];
};

static uint64_t
to_ns(double ns)
{
	return ns < NS_MAX ? (uint64_t)(ns + 0.5) : (uint64_t)NS_MAX;
}

static bool
is_valid(const struct limit_config *c)
{
	/* Written so that a NaN fails. */
	return c->entries >= 1 && c->entries <= ENTRIES_MAX &&
	    c->rate_per_s > 0 && c->burst >= 1 && c->prefix4 >= 1 &&
	    c->prefix4 <= 32 && c->prefix6 >= 1 && c->prefix6 <= 128;
}

static size_t
count_sets(uint32_t entries)
{
	size_t sets = 1;

	while (sets * WAYS < entries)
		sets *= 2;
	return sets;
}

struct limit *
limit_new(const struct limit_config *config)
{
	struct limit *l;
	size_t sets;

	if (!is_valid(config) || sodium_init() < 0) {
		errno = EINVAL;
		return NULL;
	}
	l = calloc(1, sizeof *l);
	if (l == NULL)
		return NULL;
	sets = count_sets(config->entries);
	l->entries = aligned_alloc(
	    WAYS * sizeof *l->entries, sets * WAYS * sizeof *l->entries);
	if (l->entries == NULL) {
		free(l);
		return NULL;
	}
	/* Touched now: what a flood can cost is paid at start. */
	memset(l->entries, 0, sets * WAYS * sizeof *l->entries);
	l->set_mask = sets - 1;
	l->interval_ns = NS_PER_S / config->rate_per_s;
	l->debt_max_ns =
	    to_ns((config->burst - 1) * NS_PER_S / config->rate_per_s);
	l->prefix4 = config->prefix4;
	l->prefix6 = config->prefix6;
	crypto_shorthash_keygen(l->key);
	return l;
}

void
limit_free(struct limit *l)
{
	if (l == NULL)
		return;
	free(l->entries);
	free(l);
}

static uint64_t
hash_prefix(const struct limit *l, const struct addr *a)
{
	uint8_t key[ADDR_KEY_LEN];
	uint64_t hash;

	addr_prefix_key(key, a, l->prefix4, l->prefix6);
	crypto_shorthash((unsigned char *)&hash, key, sizeof key, l->key);
	return hash;
}

/* The prefix's entry, or the one of its set that gives way (limit.h). */
static struct entry *
look(const struct limit *l, uint64_t hash)
{
	struct entry *set = l->entries + (hash & l->set_mask) * WAYS;
	struct entry *least = set;

	for (unsigned int i = 0; i < WAYS; i++) {
		if (set[i].hash == hash)
			return &set[i];
		if (set[i].full_ns < least->full_ns)
			least = &set[i];
	}
	return least;
}

static struct entry *
find(struct limit *l, const struct addr *a)
{
	uint64_t hash = hash_prefix(l, a);
	struct entry *e = look(l, hash);

	if (e->hash != hash)
		*e = (struct entry){ .hash = hash };
	return e;
}

static uint64_t
time_of(const struct limit *l, uint64_t n)
{
	return to_ns((double)n * l->interval_ns);
}

bool
limit_take_many(
    struct limit *l, const struct addr *a, uint64_t n, uint64_t now_ns)
{
	struct entry *e = find(l, a);

	if (e->full_ns < now_ns)
		e->full_ns = now_ns;
	if (e->full_ns - now_ns > l->debt_max_ns)
		return false;
	e->full_ns += time_of(l, n);
	return true;
}

bool
limit_take(struct limit *l, const struct addr *a, uint64_t now_ns)
{
	return limit_take_many(l, a, 1, now_ns);
}

uint64_t
limit_reserve(
    struct limit *l, const struct addr *a, uint64_t n, uint64_t earliest_ns)
{
	struct entry *e = find(l, a);
	uint64_t from = e->full_ns > earliest_ns ? e->full_ns : earliest_ns;

	e->full_ns = from + time_of(l, n);
	return from;
}

void
limit_return(struct limit *l, const struct addr *a, uint64_t n)
{
	uint64_t hash = hash_prefix(l, a), ns = time_of(l, n);
	struct entry *e = look(l, hash);

	if (e->hash == hash)
		e->full_ns -= ns < e->full_ns ? ns : e->full_ns;
}
