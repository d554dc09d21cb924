/*
 * Token buckets in a fixed-size table keyed by client prefix: SipHash with a
 * secret key picks a set of eight. A flood of prefixes costs a fixed amount
 * of memory and never an allocation.
 *
 * When a set is full, the bucket nearest to full gives way, not the oldest:
 * an evicted client comes back with a whole burst, so what is forgotten must
 * be the smallest debt. A client over its limit is the last to go: to push it
 * out, a flood must run eight other prefixes of the same set (which it cannot
 * compute) deeper into debt, and in practice that many of every set.
 */
#ifndef NET_LIMIT_H
#define NET_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

struct limit; /* opaque */

struct limit_config {
	uint32_t entries; /* rounded up to a power of two */
	double rate_per_s; /* tokens added a second, over 0 */
	double burst; /* tokens at most, 1 or more */
	unsigned int prefix4; /* bits, 1–32 */
	unsigned int prefix6; /* bits, 1–128 */
};

/* NULL with errno: EINVAL for a value out of range, ENOMEM. */
struct limit *limit_new(const struct limit_config *config);
void limit_free(struct limit *l);

/*
 * Takes one token for the prefix of `a`; false: over the limit, and nothing
 * is taken. `now_ns` is monotonic. No lock: one table a thread.
 */
bool limit_take(struct limit *l, const struct addr *a, uint64_t now_ns);
/* The same of `n` at once, when there is one; the others are a debt. */
bool limit_take_many(
    struct limit *l, const struct addr *a, uint64_t n, uint64_t now_ns);

/*
 * Takes `n` tokens in any case and says from when on they may be used, not
 * before `earliest_ns`: behind all that were taken before.
 */
uint64_t limit_reserve(
    struct limit *l, const struct addr *a, uint64_t n, uint64_t earliest_ns);
/* Of those `n` were not used. */
void limit_return(struct limit *l, const struct addr *a, uint64_t n);

#endif
