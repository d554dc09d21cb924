/*
 * The proxy as a whole: what is owned by whom, in which order it comes to life
 * and goes, and the main thread's loop (signals).
 *
 *   proxy -> settings, services (an application each), edges (sockets),
 *            event log (a thread), workers (threads)
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include <stdbool.h>

#define PROXY_CONFIG "/etc/timeshare/l4proxyd.yaml" /* when none is named */

struct proxy; /* opaque */

/*
 * Everything up to the first connection: settings from the file `config` (a
 * name that is kept), sockets, rights given up, event log. NULL when anything
 * is wrong, all of it told in the log. `rehearse`: it will not run, so no
 * packet is taken from another one that does.
 */
struct proxy *proxy_new(const char *config, bool rehearse);

/* Workers and the main loop, until SIGTERM or SIGINT. 0, or -1. */
int proxy_run(struct proxy *p);

void proxy_free(struct proxy *p);

#endif
