/*
 * A worker: one thread with its own loop, batch, buffers and counters. UDP is
 * three verbs: receive a batch, answer it, send it; TCP is in stream.h. The
 * threads share nothing that is written on the way of a packet.
 */
#ifndef ROUGHTIME_WORKER_H
#define ROUGHTIME_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/admission.h"
#include "net/guard_places.h"
#include "roughtime/conn.h"
#include "roughtime/counters.h"
#include "roughtime/identity.h"
#include "roughtime/listen.h"
#include "roughtime/timesource.h"

struct worker; /* opaque: belongs to its thread once it runs */

/* For the life of the worker. */
struct worker_setup {
	size_t index; /* for identity_acquire */
	struct identities *identities;
	const struct timesource *time;
	struct admission *admission;
	size_t batch;
	size_t tcp_connections;
	size_t tcp_max_frame;
	size_t tcp_max_outstanding;
	bool sockets_stay; /* what waits in them at the end is the next
			    * process's */
};

/*
 * What a reload may change, as a whole; malloc, owned by the worker. A socket
 * that is not listed any more is emptied, then left alone; sockets stay the
 * caller's.
 */
struct worker_config {
	struct limit *limit; /* NULL: off */
	double grease; /* fraction of replies */
	struct conn_limits tcp;
	bool tcp_any_length; /* short requests on TCP are answered */
	int udp_fds[LISTEN_MAX];
	size_t udp_count;
	int tcp_fds[LISTEN_MAX]; /* listeners */
	size_t tcp_count;
};
void worker_config_free(struct worker_config *c);

/* NULL with errno. Takes `config` when it succeeds. */
struct worker *
worker_new(const struct worker_setup *setup, struct worker_config *config);
void worker_free(struct worker *w); /* after worker_join, or never started */

int worker_start(struct worker *w); /* 0, or -1 with errno */
/* Hands over a new configuration; used from its next turn on. */
void worker_configure(struct worker *w, struct worker_config *config);
/* Addresses that are another's (net/guard), malloc: nothing that comes to them
 * is answered from its next turn on. Takes `places`. */
void worker_foreign(struct worker *w, struct guard_places *places);
/* Hands over a connection of a client that somebody else has accepted; when
 * too many wait, it is closed. Takes `fd`. */
void worker_take(struct worker *w, int fd);
/* It has taken what was handed over: sockets not listed may be closed. */
bool worker_settled(const struct worker *w);
/* Asks it to answer what is queued and to end; bounded by `drain_s`. */
void worker_stop(struct worker *w, double drain_s);
void worker_join(struct worker *w);

const struct counters *worker_counters(const struct worker *w);

#endif
