/*
 * From DNS records to a set of origins: which, how heavy, and when to look
 * again. Pure.
 */
#ifndef PROXY_DNSSET_H
#define PROXY_DNSSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/app.h"

struct dnsset_record {
	struct addr address; /* with its port */
	uint16_t weight; /* of the SRV record; else 1 */
	uint32_t srv; /* a number for the SRV record; 0: of none */
	uint64_t question; /* which one it answers, for whoever looks it up */
};

/*
 * Fills `out` (room for `max`) with the different addresses of `records`,
 * which are put into order: the same records make the same set whichever way
 * round they came. Weights in proportion to those of the records, at least 1;
 * the addresses of an SRV record share its weight. Returns how many.
 */
size_t dnsset_origins(struct app_origin *out, size_t max,
    struct dnsset_record *records, size_t n);

bool dnsset_same(
    const struct app_origin *a, size_t n, const struct app_origin *b, size_t m);

#define DNSSET_AGAIN_MIN_S 1
#define DNSSET_AGAIN_MAX_S 86400
#define DNSSET_RETRY_MAX_MS 30000

/* When to look again: `wanted_s` of the settings if there is one, else the
 * records' TTL; within bounds. */
uint32_t dnsset_again_ms(uint32_t ttl_s, uint32_t wanted_s);

/* The same after the n-th failure in a row, from 1: 1, 2, 4, … up to 30 s,
 * less up to a quarter by `random`, so that many do not ask together. */
uint32_t dnsset_retry_ms(unsigned int failures, uint32_t random);

#endif
