/*
 * The health checks of all services that want them: each origin on its turn,
 * on the main thread's loop. What a check says goes to the service's origins,
 * which count rise and fall; each change of state is a line of the log.
 *
 * Which origins there are is asked again at every interval, since DNS may
 * change them. A reload makes a new one, which takes over the checks of the
 * services that stay.
 */
#ifndef PROXY_HEALTH_H
#define PROXY_HEALTH_H

#include <stddef.h>

#include <ev.h>

#include "proxy/service.h"

struct health; /* opaque: watchers point into it */

/* For all services (held) of a configuration. Does nothing yet. NULL with
 * errno. */
struct health *
health_new(struct ev_loop *loop, struct service *const *services, size_t n);

/* Begins. The checks of a service that was there in `former` (NULL: none) go
 * on as they are. */
void health_start(struct health *h, struct health *former);

void health_free(struct health *h); /* NULL is fine */

/* Seconds until the next check, when one began `elapsed_s` ago: the interval,
 * a tenth more or less, so that origins do not fall into step. */
double health_pause(const struct app_check *c, double elapsed_s);

#endif
