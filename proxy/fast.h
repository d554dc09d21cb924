/*
 * Whether the kernel may carry the established flows of an application
 * (net/fastpath), by its rules alone; whether this host can is another matter.
 * Pure.
 */
#ifndef PROXY_FAST_H
#define PROXY_FAST_H

#include "proxy/app.h"

/* Next hops that a worker remembers; a power of two. */
#define FAST_ROUTES 1024

/* Why its flows stay on sockets. */
enum fast_why {
	FAST_WHY_NONE = 0, /* they need not */
	FAST_WHY_TCP,
	FAST_WHY_OFF,
	FAST_WHY_HEADER,
	FAST_WHY_TRUST,
	FAST_WHY_BYTES,
	FAST_WHY_CLIENT_BYTES,
	FAST_WHY_HINTS,
	FAST_WHY_TRANSPARENT,
	FAST_WHY_LOOPBACK,
	FAST_WHYS
};

enum fast_why fast_why_not(const struct app *a);
const char *fast_why_str(enum fast_why why); /* a clause for people */

#endif
