/*
 * A worker of the proxy: one thread with its own loop, listeners, sessions and
 * flows. Threads share services (counts, origins) and the event log, nothing
 * else; a session stays with the worker that accepted it.
 */
#ifndef PROXY_PWORKER_H
#define PROXY_PWORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/edge.h"
#include "proxy/eventlog.h"
#include "proxy/live.h"
#include "proxy/service.h"
#include "proxy/sniffer.h"

struct pworker; /* opaque: belongs to its thread once it runs */

/* For the life of the worker. */
struct pworker_setup {
	size_t index;
	struct eventlog *log; /* NULL: none */
	size_t tcp_sessions;
	int tcp_fds; /* TCP takes no descriptor from this one on */
	uint32_t udp_flows;
	struct edge_flows *port_flows; /* shared by all */
	struct fastpath *fastpath; /* of all workers; NULL: none */
	uint32_t workers;
	uint64_t splice_after;
	uint64_t busy_poll_ns; /* before it sleeps */
	int raw[2]; /* sock_udp_raw() of IPv4 and IPv6; -1 */
	sniffer_time_fn *time; /* NULL: all connections are the customer's */
	void *time_arg;
	uint32_t peek_ms; /* how long a connection may say nothing */
	/* others have the sockets too: at the end what comes waits in them for
	 * the next process */
	bool udp_stays, tcp_stays;
};

/*
 * What a reload may change, as a whole; malloc, owned by the worker. Services
 * are held; sockets stay the caller's. A socket that is not listed any more is
 * emptied, then left alone.
 */
struct pworker_config {
	struct service **services;
	size_t count;
	struct post *tcp; /* sockets of this worker */
	size_t tcps;
	struct post *udp;
	size_t udps;
};
/* From all services by index of application; NULL with errno. */
struct pworker_config *pworker_config_new(const struct edge_set *edges,
    struct service *const *services, size_t count, size_t worker);
void pworker_config_free(struct pworker_config *c);

/* NULL with errno. Takes `config` when it succeeds. */
struct pworker *
pworker_new(const struct pworker_setup *setup, struct pworker_config *config);
void pworker_free(struct pworker *w); /* after pworker_join, or not started */

int pworker_start(struct pworker *w); /* 0, or -1 with errno */
/* Hands over a new configuration; used from its next turn on. */
void pworker_configure(struct pworker *w, struct pworker_config *config);
/* A service has its first answer to origin_dns: sessions may wait for it. */
void pworker_resolved(struct pworker *w);
/* It has taken what was handed over: sockets not listed may be closed. */
bool pworker_settled(const struct pworker *w);
/* Flows go on at sockets of UDP that are not listed any more. */
bool pworker_lingers(const struct pworker *w);
/*
 * Asks it to accept no more and to end with its last session; sessions that
 * are open at `ends_ns` (monotonic) are reset. May be said again, to hurry.
 */
void pworker_stop(struct pworker *w, uint64_t ends_ns);
/*
 * Has the worker fill the next chunk of its live sessions, between two turns
 * of its loop; a->answered() is called when it is. A worker that has ended
 * answers no more: then pworker_unask().
 */
void pworker_ask(struct pworker *w, struct live_ask *a);
/* Answers all that a worker that has ended was asked: it has none. */
void pworker_unask(struct pworker *w);

/* Its numbers, to be read at any time. */
struct tally_worker *pworker_tally(struct pworker *w);
/* CPU time of its thread, 0 when unknown. */
uint64_t pworker_cpu_ns(const struct pworker *w);
bool pworker_ended(const struct pworker *w);
void pworker_join(struct pworker *w);

#endif
