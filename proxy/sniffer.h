/*
 * Connections at a port that the time service has as well: what they begin
 * with says whose they are. Who says nothing for a while is a client of a
 * service that speaks first, and the customer's.
 */
#ifndef PROXY_SNIFFER_H
#define PROXY_SNIFFER_H

#include <stdint.h>

#include <ev.h>

#include "net/addr.h"
#include "proxy/service.h"
#include "proxy/session.h"

struct sniffer; /* opaque: a fixed number of connections, by age */

/* Takes a connection of the time service; from the worker's thread. */
typedef void sniffer_time_fn(void *arg, int fd, const struct addr *edge);

struct sniffer_setup {
	struct ev_loop *loop;
	struct sessions *sessions; /* where the customer's go */
	uint32_t wait_ms;
	sniffer_time_fn *time;
	void *arg;
};

/* NULL with errno. */
struct sniffer *sniffer_new(const struct sniffer_setup *setup);
void sniffer_free(struct sniffer *s); /* closes those that it looks at */

/* As session_begin(), or the other service's. Takes `fd`. */
void sniffer_look(struct sniffer *s, struct service *v, int fd,
    const struct addr *client, const struct addr *edge);

/* Those that are looked at are the customer's now. */
void sniffer_give_up(struct sniffer *s);

#endif
