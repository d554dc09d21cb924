/*
 * Sockets on which clients are awaited, one a worker: opened all together or
 * not at all, with a failure told in words that help.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

#include "net/activation.h"
#include "net/demux.h"
#include "net/guard.h"
#include "net/incumbent.h"
#include "net/sharing.h"
#include "net/sock.h"

/*
 * Opens `queues` sockets on one address into `fds`. More than one share it by
 * SO_REUSEPORT; with strangers they do so only where `o` itself has it. On
 * failure none is open,
 * log_error lines say which step failed and who holds the port; -1 then.
 */
int listener_open(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, size_t queues, int *fds);
/* The same without a word: -1 with errno and the step that failed; and the
 * words about it. */
int listener_attempt(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, size_t queues, int *fds, enum sock_step *step);
void listener_explain(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, enum sock_step step);
/*
 * The same for a test of the configuration, which must take no packet from a
 * running server. Where `o` shares the port with strangers it is bound alone
 * for a moment, or the rules (net/portlook) say whether it could be shared;
 * `fds` are then on ports of the kernel's choice.
 */
int listener_rehearse(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, size_t queues, int *fds);
/* One socket, as it is said in `o`; told and -1 when it cannot be had. */
int listener_try(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, int *fd);
void listener_close(const int *fds, size_t queues);

/* Where a daemon's sockets come from, and go to when it wants them no more. */
struct listener_source {
	bool rehearse; /* it only tests its configuration */
	struct incumbent *incumbent; /* of a test: the daemon that runs by it;
				      * NULL: none is known */
	struct activation *activation; /* handed over; NULL: it opens them */
	struct guard *guard; /* beside another daemon's; NULL: it does not */
	struct demux *demux; /* UDP together with another's; NULL: not */
};
int listener_obtain(const struct listener_source *from, enum sock_proto proto,
    const struct addr *a, const struct sock_opts *o, size_t queues, int *fds);
void listener_leave(
    const struct listener_source *from, const int *fds, size_t queues);
/* Whether nobody but the incumbent keeps us from it. */
bool listener_is_incumbents(const struct listener_source *from,
    enum sock_proto proto, const struct addr *a, const struct sock_opts *o);
/* Before any is obtained, under the mode of sharing: 0, or -1 when it is told
 * why there can be none. At the end of the start: the same. */
int listener_begin(struct listener_source *from, enum sharing_mode mode);
int listener_settle(const struct listener_source *from);
void listener_end(struct listener_source *from); /* sockets stay open */

/* Is `fd` one of fds[0…n)? For what comes and goes with a reload. */
bool listener_has(const int *fds, size_t n, int fd);

const char *listener_proto_str(enum sock_proto proto); /* "udp", "tcp" */

#endif
