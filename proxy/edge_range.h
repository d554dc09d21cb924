/*
 * Ranges of ports that one socket a worker serves, by net/dispatch
 * (docs/adr/0013-port-ranges.md). For proxy/edge.c.
 */
#ifndef PROXY_EDGE_RANGE_H
#define PROXY_EDGE_RANGE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/edge.h"

/*
 * The socket `index` of the set, which is open at the first port, is to serve
 * all of its range. Whoever holds one of the ports is found; told and -1 then.
 * `starting`: nobody else may have one, and other daemons are looked at.
 */
int edge_range_join(
    struct edge_set *set, size_t index, const struct app *a, bool starting);
/* It listens again, after it had stopped: the rules are prepared. 0, or -1 with
 * errno. */
int edge_range_again(
    struct edge_set *set, const struct edge_set *old, size_t index);

/* Rules for the set, and for what UDP flows of `old` linger on; told and -1
 * when there are too many. Then in force, all at once. */
int edge_range_prepare(struct edge_set *set, const struct edge_set *old);
void edge_range_publish(struct edge_set *set);

/* True: on ports that `index` has no more there were flows, and now are none.
 * The rules are to be prepared again. */
bool edge_range_settle(struct edge_set *set, size_t index);

#endif
