/* What the files of the UDP worker share; for proxy/udp*.c only. */
#ifndef PROXY_UDP_INNER_H
#define PROXY_UDP_INNER_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "net/dgrams.h"
#include "net/limit.h"
#include "net/sock.h"
#include "proxy/edge.h"
#include "proxy/flow.h"
#include "proxy/service.h"
#include "proxy/udp.h"

/*
 * How many datagrams are asked for at a time: one, where one comes at a time,
 * which saves looking for a second in vain.
 */
struct udp_ask {
	uint32_t round; /* of the last receive */
	uint8_t singles; /* receives in a row that found one at most */
	bool runs; /* of a flow: its socket has UDP_GRO */
};

/* Where replies leave from: a socket that only sends, bound to a port of a
 * range while flows are on it. */
struct udp_exit {
	int fd;
	uint32_t flows;
};

struct udp_fast; /* flows that the kernel carries: udp_fast.c */

struct udp_listener {
	ev_io ready; /* its fd: the edge set's, or a duplicate of our own */
	uint32_t place; /* its index */
	struct service *service; /* held; NULL: this place is free */
	struct tally *tally; /* of the service, this worker's sheet */
	struct addr edge;
	int edge_fd; /* the edge set's, as long as it holds the socket */
	bool wildcard; /* local addresses come with each datagram */
	struct post post; /* as of the last udp_worker_listen() */
	int raw; /* replies leave by it, with a header of ours; -1: not */
	bool wanted; /* by the posts of the last udp_worker_listen() */
	bool draining; /* flows go on, none begins */
	bool fast; /* its flows may be handed to the kernel */
	uint32_t flows;
	struct udp_ask ask;
	/* of a range: by port, from that of `edge` on; NULL: one port */
	struct udp_exit *exits;
};

/* Beside each flow of the table, by its index. */
struct udp_side {
	ev_io ready; /* its fd: the connected socket to the origin */
	struct service *service; /* held */
	struct udp_ask ask;
};

/* What a flow costs of our own memory, beside its socket: two heads of
 * buckets at most, and what libev keeps of a descriptor (16 bytes, in an array
 * that doubles). */
_Static_assert(
    sizeof(struct flow) + sizeof(struct udp_side) + 2 * 4 + 2 * 16 <= 256,
    "an idle flow stays small");

struct udp_worker {
	struct udp_setup setup;
	struct flow_table *table;
	struct udp_side *sides;
	struct udp_fast *fast; /* NULL: none */
	struct udp_listener **listeners; /* index: flow.listener */
	size_t listeners_cap;
	struct dgrams *d;
	uint32_t via[DGRAMS_SLOTS]; /* replies: the listener of each slot */
	int out[DGRAMS_SLOTS]; /* and the descriptor they leave by */
	/* flows that end when these replies are sent: one a slot at most */
	uint32_t over[DGRAMS_SLOTS];
	unsigned int overs;
	uint32_t round; /* of the loop, when something was ready */
	ev_check gathered; /* between the flows' events and all others */
	ev_timer tick;
	uint64_t now_ns, now_ms; /* monotonic, as of the last wake-up */
	uint64_t all_end_ns; /* stopping: when all flows must be gone; or 0 */
	uint64_t service_ends_ns; /* the first end of a service; 0: none */
	_Atomic bool lingers; /* a listener that is draining has flows */
	struct limit *told, *told_client; /* lines about refused clients */
	struct log_gate no_socket, full;
};

/* Its datagrams are passed on from now on. */
void udp_watch_flow(struct udp_worker *w, struct flow *f, int fd);

static inline struct udp_side *
udp_side_of(const struct udp_worker *w, const struct flow *f)
{
	return &w->sides[flow_index(w->table, f)];
}

/* Where its socket is connected to: the kernel keeps it, we do not. */
static inline struct addr
udp_origin_of(const struct udp_worker *w, const struct flow *f)
{
	struct addr origin;

	(void)sock_peer(udp_side_of(w, f)->ready.fd, &origin);
	return origin;
}

/* This worker's sheet of an application. */
static inline struct tally *
udp_tally_of(const struct udp_worker *w, const struct service *v)
{
	return tally_book_sheet(v->book, w->setup.worker);
}

/* udp_flow.c: the life of a flow. */
/* NULL: refused, which has been told and counted as far as it should be. */
struct flow *udp_flow_begin(struct udp_worker *w, uint32_t listener,
    const struct addr *client, const struct addr *edge);
flow_closed_fn udp_flow_closed;
/* Closes the flow when `error` came from its origin, by ICMP; true then. */
bool udp_flow_fault(struct udp_worker *w, struct flow *f, int error);
/* Milliseconds from now until it ends if nothing more comes. */
uint32_t udp_flow_idle_ms(const struct udp_worker *w, const struct flow *f);

/* udp_fast.c: the kernel's path for established flows. */
int udp_fast_open(struct udp_worker *w); /* 0, also without one; or -1 */
void udp_fast_close(struct udp_worker *w);
/* `n` datagrams of the flow have come to a socket: it may be time to hand it
 * to the kernel. */
void udp_fast_passed(struct udp_worker *w, struct flow *f, unsigned int n);
/* What the kernel has counted since the last time goes to the flow. */
void udp_fast_count(struct udp_worker *w, struct flow *f);
/* It ends: its last counts. */
void udp_fast_end(struct udp_worker *w, struct flow *f);
/* Its service has changed, or it drains: its flows may have to return. */
void udp_fast_listener(struct udp_worker *w, uint32_t listener);
void udp_fast_tick(struct udp_worker *w);

/* udp_header.c: what datagrams carry in front. */
/* What the origin is to learn before this datagram, if anything. */
void udp_header_out(struct udp_worker *w, enum app_header kind, struct flow *f,
    struct dgram *g);
/* Takes the Simple Proxy header off a reply; false: it has none. */
bool udp_header_strip(struct dgram *g);

/* What a trusted peer says of its client. */
struct udp_announced {
	bool there; /* false: the datagram is the sender's own */
	bool simple; /* by the Simple Proxy Protocol: so are the replies */
	struct addr client;
	struct addr asked; /* the address that the client has sent to */
};
/* Takes that header off; false: there is none. */
bool udp_header_in(struct dgram *g, struct udp_announced *who);
/* Makes a reply one for the peer that brought the client; false: it cannot
 * be. */
bool udp_header_back(
    const struct udp_worker *w, const struct flow *f, struct dgram *g);

/* udp_exit.c: the sockets that replies leave by: of a range one for each port,
 * of an edge that is bound elsewhere a raw one. */
int udp_exit_begin(
    struct udp_worker *w, struct udp_listener *l, const struct addr *edge);
void udp_exit_end(
    struct udp_worker *w, struct udp_listener *l, const struct addr *edge);
/* Its socket has the datagrams of ports that it is not bound to, or had. */
bool udp_exit_is_of_ranges(const struct udp_listener *l);
/* The listener that takes new flows of this edge: `l`, or where a reload has
 * moved the port to. NULL: none. */
struct udp_listener *udp_exit_home(const struct udp_worker *w,
    struct udp_listener *l, const struct addr *edge);
/* A flow of a port that has moved goes along. */
void udp_exit_move(struct udp_worker *w, struct flow *f);
int udp_exit_of(const struct udp_listener *l, const struct addr *edge);

/* udp_pass.c: both directions. */
void udp_pass_clients(struct udp_worker *w, uint32_t listener);
void udp_pass_origin(struct udp_worker *w, struct flow *f);
void udp_pass_flush(struct udp_worker *w); /* sends the replies gathered */

#endif
