/*
 * The origins of all services that have them by DNS: a look-up each, on the
 * main thread; what it finds goes to the service. An address that is one of
 * our own edges is left out, or sessions would run in a circle. A reload makes
 * a new discovery, which takes over what the one of before knows.
 */
#ifndef PROXY_DISCOVERY_H
#define PROXY_DISCOVERY_H

#include <stddef.h>

#include <ev.h>

#include "proxy/resolver.h"
#include "proxy/service.h"

struct discovery; /* opaque: look-ups point into it */

struct discovery_setup {
	struct resolver *resolver;
	struct ev_loop *loop;
	/* a service for which sessions wait has its first answer */
	void (*first_answer)(void *arg);
	void *arg;
};

/* For all services (held) of a configuration. Does nothing yet. NULL with
 * errno. */
struct discovery *discovery_new(const struct discovery_setup *setup,
    struct service *const *services, size_t n);

/*
 * Begins. A service that was there in `former` (NULL: none) goes on as it
 * was; one with the same origin_dns as another of before begins with the
 * origins of that one.
 */
void discovery_start(struct discovery *d, struct discovery *former);

void discovery_free(struct discovery *d); /* NULL is fine */

#endif
