/*
 * Latencies in buckets of about 1.6 %: 64 steps for each power of two, from
 * 0 ns to about 18 minutes. Fixed memory, constant cost. Pure.
 */
#ifndef ROUGHTIME_CLIENT_HISTOGRAM_H
#define ROUGHTIME_CLIENT_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_STEPS 64
#define HISTOGRAM_POWERS 35
#define HISTOGRAM_BUCKETS (HISTOGRAM_STEPS * HISTOGRAM_POWERS)

struct histogram {
	uint64_t count;
	uint64_t max; /* exact */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t ns);
/* The value that `fraction` (0…1) of all do not exceed; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double fraction);

#endif
