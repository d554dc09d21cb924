/*
 * The UDP side of one worker: a batch off a listening socket, each datagram to
 * its flow, each flow's datagrams out of its own connected socket to the
 * origin (docs/adr/0008-udp-origin-sockets.md), and the replies back from the
 * address that was asked. No malloc, lock or log line a datagram; a new flow
 * costs a socket and a line of the event log.
 */
#ifndef PROXY_UDP_H
#define PROXY_UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "net/fastpath.h"
#include "proxy/edge.h"
#include "proxy/eventlog.h"
#include "proxy/live.h"
#include "proxy/tally.h"

struct udp_worker; /* opaque: table, epoll set and slots that must agree */

struct udp_setup {
	struct ev_loop *loop;
	struct eventlog *log; /* NULL: none */
	size_t worker; /* index, for its sheets */
	struct tally_worker *tally; /* of this worker */
	uint32_t flows; /* at most; each is a descriptor */
	int raw[2]; /* as of the proxy worker */
	struct edge_flows *port_flows; /* shared by all */
	struct fastpath *fastpath; /* shared by `workers`; NULL: none */
	uint32_t workers;
	/* before a client is heard: true when that has led to
	 * udp_worker_listen(), as what comes may be of the new posts */
	bool (*renew)(void *context);
	void *context;
};

/*
 * How many flows each of `workers` can have when `wanted` were asked for:
 * what the limit of open files leaves after `reserve` of them, and three
 * quarters of the local ports of this host (ip_local_port_range), since each
 * flow's socket takes one.
 */
uint32_t udp_flows_most(uint32_t wanted, size_t workers, size_t reserve);

/* NULL with errno. */
struct udp_worker *udp_worker_new(const struct udp_setup *setup);
void udp_worker_free(struct udp_worker *w); /* closes all flows */

/*
 * Serves these posts (their sockets stay the caller's, services are held) and
 * lets go of those of before that are not among them: their flows go on, on a
 * descriptor of our own, until they are idle or their service's time is up;
 * nothing new begins there. A post that stays, or comes back before they have
 * ended, serves new flows by its new service. 0, or -1 with errno and everything as it was.
 */
int udp_worker_listen(struct udp_worker *w, const struct post *posts, size_t n);

/* Takes no datagram of a client any more: those wait in the sockets. Replies
 * still go out, on flows that are there. For the end. */
void udp_worker_rest(struct udp_worker *w);

/*
 * All flows must be gone at `ends_ns` (monotonic), and those of which nothing
 * was heard for a second are not waited for. 0: no change, but some services
 * have been given an end (service.ends_ns).
 */
void udp_worker_end_by(struct udp_worker *w, uint64_t ends_ns);

/* As sessions_list(): rows of flows, until a->done. */
void udp_worker_list(struct udp_worker *w, struct live_ask *a);

/* From any thread: flows go on at a socket that was let go of. While that is
 * so it can be had back, if its owner has kept it open. */
bool udp_worker_lingers(const struct udp_worker *w);

size_t udp_worker_flows(const struct udp_worker *w);

#endif
