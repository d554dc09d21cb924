/*
 * Token buckets in a fixed-size table keyed by client prefix: SipHash with a
 * secret key picks a set, the least recently used entry of the set gives way.
 * A flood of prefixes costs a fixed amount of memory and never an allocation.
 */
#ifndef NET_LIMIT_H
#define NET_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

struct limit; /* opaque */

struct limit_config {
	uint32_t entries; /* rounded up to a power of two */
	double rate_per_s; /* tokens added a second */
	double burst; /* tokens at most */
	unsigned int prefix4; /* bits, 1–32 */
	unsigned int prefix6; /* bits, 1–128 */
};

struct limit *limit_new(const struct limit_config *config);
void limit_free(struct limit *l);

/* Takes one token for the prefix of `a`; false: over the limit. */
bool limit_take(struct limit *l, const struct addr *a, uint64_t now_ns);

#endif
