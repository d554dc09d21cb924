#include "roughtime/client/histogram.h"

#include <math.h>

#define STEP_BITS 6

/*
 * Values under 64 have a bucket each. Above, the highest bit chooses a power
 * and the next six bits a step in it.
 */
static size_t
bucket_of(uint64_t ns)
{
	unsigned int power;
	size_t i;

	if (ns < HISTOGRAM_STEPS)
		return (size_t)ns;
	power = 63 - (unsigned int)__builtin_clzll(ns) - STEP_BITS;
	i = (power + 1) * HISTOGRAM_STEPS +
	    (size_t)(ns >> power) % HISTOGRAM_STEPS;
	return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

/* The largest value that falls into a bucket; the last one has no end. */
static uint64_t
bucket_top(size_t i)
{
	uint64_t step = i % HISTOGRAM_STEPS;
	unsigned int power;

	if (i < HISTOGRAM_STEPS)
		return i;
	if (i == HISTOGRAM_BUCKETS - 1)
		return UINT64_MAX;
	power = (unsigned int)(i / HISTOGRAM_STEPS) - 1;
	return ((HISTOGRAM_STEPS + step + 1) << power) - 1;
}

void
histogram_add(struct histogram *h, uint64_t ns)
{
	h->buckets[bucket_of(ns)]++;
	h->count++;
	if (ns > h->max)
		h->max = ns;
}

uint64_t
histogram_quantile(const struct histogram *h, double fraction)
{
	uint64_t want = (uint64_t)ceil(fraction * (double)h->count);
	uint64_t seen = 0;

	if (h->count == 0)
		return 0;
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen >= want && h->buckets[i] > 0)
			return bucket_top(i) < h->max ? bucket_top(i) : h->max;
	}
	return h->max;
}
