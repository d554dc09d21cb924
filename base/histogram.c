#include "base/histogram.h"

#include <math.h>

static const struct histogram_scale fine = { HISTOGRAM_STEP_BITS,
	HISTOGRAM_BUCKETS };

/*
 * Small values have a bucket each. Above, the highest bit chooses a power and
 * the next ones a step in it.
 */
size_t
histogram_bucket(const struct histogram_scale *s, uint64_t value)
{
	uint64_t steps = (uint64_t)1 << s->bits;
	unsigned int power;
	size_t i;

	if (value < steps)
		return (size_t)value;
	power = 63 - (unsigned int)__builtin_clzll(value) - s->bits;
	i = (power + 1) * (size_t)steps + (size_t)((value >> power) % steps);
	return i < s->buckets ? i : s->buckets - 1;
}

/* The largest value that falls into a bucket; the last one has no end. */
static uint64_t
bucket_top(const struct histogram_scale *s, size_t i)
{
	uint64_t steps = (uint64_t)1 << s->bits, step = i % steps;
	unsigned int power;

	if (i == s->buckets - 1)
		return UINT64_MAX;
	if (i < steps)
		return i;
	power = (unsigned int)(i / steps) - 1;
	return ((steps + step + 1) << power) - 1;
}

uint64_t
histogram_scale_quantile(const struct histogram_scale *s,
    const uint64_t *buckets, uint64_t max, double fraction)
{
	uint64_t count = 0, seen = 0, want;

	for (size_t i = 0; i < s->buckets; i++)
		count += buckets[i];
	if (count == 0)
		return 0;
	want = (uint64_t)ceil(fraction * (double)count);
	for (size_t i = 0; i < s->buckets; i++) {
		seen += buckets[i];
		if (seen >= want && buckets[i] > 0)
			return bucket_top(s, i) < max ? bucket_top(s, i) : max;
	}
	return max;
}

void
histogram_add(struct histogram *h, uint64_t ns)
{
	h->buckets[histogram_bucket(&fine, ns)]++;
	h->count++;
	if (ns > h->max)
		h->max = ns;
}

uint64_t
histogram_quantile(const struct histogram *h, double fraction)
{
	return histogram_scale_quantile(&fine, h->buckets, h->max, fraction);
}
