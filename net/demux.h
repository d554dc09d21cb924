/*
 * sharing: demux. Two daemons have the very same address and port; what a
 * datagram, or a connection, begins with decides whose it is (net/steer).
 *
 * UDP: one group of SO_REUSEPORT with sockets for both. Its program names them
 * by their place in the group, which changes when one is closed. So whoever
 * comes first makes sockets for the other as well, hands them over, and keeps
 * them open: none leaves the group while either daemon lives, and what waits
 * in the sockets of one that is gone is there when it comes back.
 *
 * TCP: the customer's side accepts all, looks, and hands over.
 *
 * They meet as guards do (net/guard).
 */
#ifndef NET_DEMUX_H
#define NET_DEMUX_H

#include <stdbool.h>
#include <stddef.h>

#include "net/guard.h"
#include "net/sock.h"
#include "net/steer.h"

struct demux; /* opaque */
struct guard_peer;

/* A connection that is ours: takes `fd`. */
typedef void demux_client_fn(void *arg, int fd);

/* `mine`: which service this process is. `g` stays the caller's. NULL with
 * errno. */
struct demux *demux_new(
    struct guard *g, enum steer_kind mine, demux_client_fn *client, void *arg);
void demux_free(struct demux *d); /* NULL is fine; sockets stay open */

/* Our sockets of UDP at a place: as listener_open(). */
int demux_listen(struct demux *d, const struct addr *a,
    const struct sock_opts *o, size_t queues, int *fds);
/* Not served any more: what comes to them is dropped. False: they are not of
 * a group. */
bool demux_leave(struct demux *d, const int *fds, size_t n);

/* Hands a connection to the other service, and closes it here. False: the
 * other is not there. */
bool demux_pass(struct demux *d, int fd, const struct addr *place);

/* For guard.c: false is a fault. Takes descriptors by *count = 0. */
bool demux_take(struct demux *d, struct guard_peer *p,
    const struct guard_message *m, const int *fds, size_t *count);

#endif
