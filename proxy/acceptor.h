/*
 * Takes connections off the TCP listeners of one worker and makes sessions of
 * them. When descriptors run out it pauses, and the clients in the queue learn
 * at once instead of waiting for nothing.
 */
#ifndef PROXY_ACCEPTOR_H
#define PROXY_ACCEPTOR_H

#include <stdbool.h>
#include <stddef.h>

#include <ev.h>

#include "proxy/edge.h"
#include "proxy/session.h"
#include "proxy/sniffer.h"

struct acceptor; /* opaque: watchers that must outlive their listeners */

/* What is left has been left. */
typedef void acceptor_left_fn(void *context);
/* Before a connection is taken: true when that has led to acceptor_listen(),
 * as it may be of the new posts. */
typedef bool acceptor_renew_fn(void *context);

/* NULL with errno. */
struct acceptor *acceptor_new(struct ev_loop *loop, struct sessions *sessions,
    struct sniffer *sniffer, struct tally_worker *tally, acceptor_left_fn *left,
    acceptor_renew_fn *renew, void *context); /* sniffer NULL: none */
void acceptor_free(struct acceptor *a);

/*
 * Accepts on these posts (services and sockets stay the caller's). Those of
 * before that are not among them are left: for a moment more those who had
 * begun to connect are accepted, then they refuse (tcp_listen_stop) and `left`
 * is called. 0, or -1 with errno and everything as it was.
 */
int acceptor_listen(struct acceptor *a, const struct post *posts, size_t n);
/* Looks at none any more and leaves them as they are: who comes now waits. */
void acceptor_rest(struct acceptor *a);
bool acceptor_is_leaving(const struct acceptor *a);

#endif
