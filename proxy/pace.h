/*
 * How fast the bytes of an application may come: of all clients together, and
 * of each client prefix (docs/adr/0010-bytes-per-second.md). Shared by all
 * workers; memory is taken once. Pure: time comes in.
 */
#ifndef PROXY_PACE_H
#define PROXY_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "proxy/app.h"

struct pace; /* opaque: two counts of time that is paid for */

/* Into `out`, NULL when there is no such limit; 0, or -1 with errno. */
int pace_new(struct pace **out, const struct app_limits *limits);
void pace_free(struct pace *p); /* NULL is fine */

/*
 * Whether `bytes` more of a client keep to the limits; counted then. A second's
 * worth may come at once. False: drop them (UDP).
 */
bool pace_take(
    struct pace *p, const struct addr *client, size_t bytes, uint64_t now_ns);

/*
 * The same for what waits instead of being dropped (TCP): `bytes` more are
 * counted, and may be received from the time that is given on (monotonic).
 * Who comes first is served first, whichever session it is of. What was not
 * received after all is given back.
 */
uint64_t pace_reserve(
    struct pace *p, const struct addr *client, size_t bytes, uint64_t now_ns);
void pace_give_back(struct pace *p, const struct addr *client, size_t bytes);
/* How many to reserve at once: a fraction of a second's of the lower limit. */
size_t pace_portion(const struct pace *p);

#endif
