/*
 * The sockets of before a reload, and which of them go on. A port that has a
 * socket keeps it, whatever range it is of now, so that its flows stay with
 * their workers. For proxy/edge.c.
 */
#ifndef PROXY_EDGE_BEFORE_H
#define PROXY_EDGE_BEFORE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/edge.h"

struct edge_place {
	struct edge_socket *socket;
	const int *fds;
};

struct edge_before {
	struct edge_place *places; /* in order */
	size_t count, queues;
};

/* 0, or -1 with errno; `old` may be empty. */
int edge_before_begin(struct edge_before *b, struct edge_set *old);
void edge_before_end(struct edge_before *b);

/* False: there was no such socket, or it went over before. `dispatched`: a
 * rule will lead to it. */
bool edge_before_take(const struct edge_before *b, struct edge_socket *s,
    int *fds, bool dispatched);

/* The ports of the range `index` of the set that had sockets: they are added
 * to the set, which has room. */
void edge_before_take_ports(
    const struct edge_before *b, struct edge_set *set, size_t index);

/* Whether a range reached, or flows are left on, one of the ports: sockets
 * for replies may be bound to them. Its own port is none of them. */
bool edge_before_reaches(const struct edge_before *b, enum sock_proto proto,
    int family, unsigned int first, unsigned int last);

/* A socket of before that has a port of the application at an address that
 * overlaps, and is no longer wanted as it is; NULL: none. */
const struct edge_socket *
edge_before_holder(const struct edge_before *b, const struct app *a);

#endif
