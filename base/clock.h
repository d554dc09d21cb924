/* Clocks as integers. CLOCK_MONOTONIC for intervals, CLOCK_REALTIME for UTC. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_monotonic_ns(void);
uint64_t clock_monotonic_ms(void);
uint64_t clock_realtime_us(void); /* since 1970-01-01T00:00:00Z */
uint64_t clock_unix_s(void); /* the same in whole seconds */
uint64_t clock_thread_cpu_ns(void);

#define CLOCK_RFC3339_LEN 32
/* Writes e.g. `2026-11-23T02:11:48Z` for Unix seconds; returns buf. */
char *clock_rfc3339(char buf[static CLOCK_RFC3339_LEN], uint64_t unix_s);

#endif
