/*
 * Values of any size in buckets of a logarithmic scale: a set number of steps
 * for each power of two. Fixed memory, constant cost. Pure.
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/* 2^bits steps for each power of two; a value below that has a bucket of its
 * own, and the last bucket takes all that is larger. */
struct histogram_scale {
	unsigned int bits;
	size_t buckets;
};

/* The bucket of `value`, below `s->buckets`. */
size_t histogram_bucket(const struct histogram_scale *s, uint64_t value);

/*
 * The value that `fraction` (0…1) of all in `buckets` do not exceed, at most a
 * step too large and never above `max`; 0 when they are empty.
 */
uint64_t histogram_scale_quantile(const struct histogram_scale *s,
    const uint64_t *buckets, uint64_t max, double fraction);

/* Latencies in buckets of about 1.6 %, from 0 ns to about 18 minutes. */
#define HISTOGRAM_STEP_BITS 6
#define HISTOGRAM_POWERS 35
#define HISTOGRAM_BUCKETS ((1 << HISTOGRAM_STEP_BITS) * HISTOGRAM_POWERS)

struct histogram {
	uint64_t count;
	uint64_t max; /* exact */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t ns);
uint64_t histogram_quantile(const struct histogram *h, double fraction);

#endif
