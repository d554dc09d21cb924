/*
 * The sockets that roughtimed listens on: opened once, before rights are
 * given up; a failed bind says who holds the port.
 */
#ifndef ROUGHTIME_LISTEN_H
#define ROUGHTIME_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/listener.h"
#include "net/sock.h"
#include "roughtime/settings.h"

#define LISTEN_MAX SETTINGS_LISTEN_MAX /* of one protocol */

struct listen_socket {
	enum sock_proto proto;
	struct addr address;
	bool v6only;
	int *fds;
	size_t count; /* one a worker, or one for all */
	bool kept; /* went over into the set of a reload */
};

struct listen_set {
	struct listen_socket *sockets;
	size_t count;
	int sharing; /* enum sharing_mode, that of the start */
	const struct listener_source *source; /* the server's */
};

/*
 * Opens every listener for `workers` workers. All failures are told, each by
 * a log_error line; -1 then. listen_close is due in any case.
 */
int listen_open(struct listen_set *set, const struct settings *s,
    unsigned int workers, const struct listener_source *source);
void listen_close(struct listen_set *set);

/*
 * For a reload: what `s` wants, with the sockets of `old` where they are the
 * same and new ones elsewhere; `ingress`, the number of workers and the
 * way of sharing are those of the start. On success one of the two below is due; on failure (told)
 * everything is as it was.
 */
int listen_reload(struct listen_set *set, struct listen_set *old,
    const struct settings *s, int ingress, unsigned int workers);
/* `old` then holds only what is not wanted any more. */
void listen_commit(struct listen_set *set, struct listen_set *old);
/* `set` is gone, `old` as it was. */
void listen_undo(struct listen_set *set, struct listen_set *old);

void listen_log(const struct listen_set *set);

/* The fds of one worker and protocol; returns how many. */
size_t listen_fds(const struct listen_set *set, enum sock_proto proto,
    size_t worker, int fds[static LISTEN_MAX]);

/* Datagrams that the kernel dropped on these sockets: filter, full queue. */
uint64_t listen_drops(const struct listen_set *set);

#endif
