/*
 * The requests that a server may understand. No single one reaches every
 * server in the field, so a query sends one after the other, a short while
 * apart, and the first reply that verifies wins.
 */
#ifndef ROUGHTIME_CLIENT_LADDER_H
#define ROUGHTIME_CLIENT_LADDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "roughtime/version.h"

struct rung {
	const char *name;
	uint32_t rows; /* one request can offer all of them */
	bool srv; /* name the long-term key, when it is known */
	uint32_t delay_ms; /* after the first rung */
};

#define LADDER_MAX 20

/*
 * The default ladder: all versions. Without a key the last rungs, which
 * differ from earlier ones only by SRV, fall away. `google_first` puts the
 * bare format in front (a server list said so).
 */
size_t ladder_default(
    struct rung out[static LADDER_MAX], bool with_key, bool google_first);

/* Only the rungs that do without SRV what others do with it. */
size_t ladder_no_srv(struct rung out[static LADDER_MAX]);

/* One rung for each row of `rows`, best first (probe; --version). */
size_t ladder_rows(struct rung out[static LADDER_MAX], uint32_t rows);

/* `draft-14`, `1`, `0x8000000b,google`: the set of rows, or 0. */
uint32_t ladder_parse(const char *text);

/* True when a request of this rung can travel on TCP: it needs the frame. */
bool ladder_on_tcp(const struct rung *rung);

/*
 * Nanoseconds to wait after the n-th failure: min(1.5^(n-1), 86400) s
 * (RFC 10049 section 5).
 */
uint64_t ladder_backoff_ns(unsigned int failures);

#endif
