/*
 * Listening sockets that whoever started this process has made
 * (sd_listen_fds(3)): matched by what they are, protocol, address and port,
 * not by their names. They outlive the process, and what waits in them with
 * them, so they are neither closed nor shut down here.
 */
#ifndef NET_ACTIVATION_H
#define NET_ACTIVATION_H

#include <stdbool.h>
#include <stddef.h>

#include "net/sock.h"

struct activation; /* opaque: who has which socket */

/* Takes what was handed over out of the environment. NULL after a log_error
 * line: nothing, or something that is no UDP or TCP socket with a port. */
struct activation *activation_open(void);
void activation_free(struct activation *a); /* NULL is fine */

/* Says that sockets were handed over to a process that wants none. */
void activation_ignore(void);

/*
 * The `queues` sockets bound to `address`, with what can still be set of `o`.
 * Those that were given back may be had again. 0, or -1 after log_error lines:
 * fewer or more than that, or one for IPv6 that takes IPv4 along against o's
 * v6only, or not.
 */
int activation_claim(struct activation *a, enum sock_proto proto,
    const struct addr *address, const struct sock_opts *o, size_t queues,
    int *fds);
/* Not served any more: connections are refused, datagrams dropped. */
void activation_give_back(struct activation *a, const int *fds, size_t n);

/* The end of the start: false after a log_error line for each socket that is
 * not claimed. */
bool activation_settle(struct activation *a);

#endif
