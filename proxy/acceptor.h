/*
 * Takes connections off the TCP listeners of one worker and makes sessions of
 * them. When descriptors run out it pauses, and the clients in the queue learn
 * at once instead of waiting for nothing.
 */
#ifndef PROXY_ACCEPTOR_H
#define PROXY_ACCEPTOR_H

#include <stddef.h>

#include <ev.h>

#include "proxy/edge.h"
#include "proxy/session.h"

struct acceptor; /* opaque: watchers that must outlive their listeners */

/* NULL with errno. */
struct acceptor *acceptor_new(struct ev_loop *loop, struct sessions *sessions,
    struct tally_worker *tally);
void acceptor_free(struct acceptor *a);

/*
 * Accepts on these posts (services and sockets stay the caller's); those of
 * before that are not among them are looked at a last time and then refuse, by
 * tcp_listen_stop(). 0, or -1 with
 * errno and everything as it was.
 */
int acceptor_listen(struct acceptor *a, const struct post *posts, size_t n);

#endif
