/*
 * The sockets on which clients are awaited: one for each edge address, port
 * and worker of every application. Opened before rights are given up; a reload
 * takes over those that it still wants.
 */
#ifndef PROXY_EDGE_H
#define PROXY_EDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/dispatch.h"
#include "net/listener.h"
#include "net/sharing.h"
#include "net/sock.h"
#include "proxy/app.h"
#include "proxy/service.h"

struct edge_socket {
	enum sock_proto proto;
	struct addr address; /* that clients ask for */
	unsigned int bits; /* of a prefix; 0: one address, or a wildcard */
	bool elsewhere; /* sharing.mode dispatch: bound to a loopback address,
			 * and led there by a rule */
	size_t app; /* index */
	bool kept; /* went over into the set of a reload */
	uint16_t port_last; /* more than its own: a range by net/dispatch */
	uint16_t port_had; /* kept: the last port that it had before */
	uint16_t port_drain; /* UDP: flows are left on ports up to this one */
	bool by_bind; /* its own port has no rule, though it is of a range:
		       * it was bound before there was one */
	int slot; /* in net/dispatch, -1 none */
	bool paused; /* no post: bound, and refuses or soon will (TCP) */
};

/* UDP flows of ranges, of all workers. */
struct edge_flows {
	_Atomic uint32_t on[65536]; /* each port */
};

struct edge_set {
	struct edge_socket *sockets;
	int *fds; /* `queues` for each socket */
	size_t count; /* opened */
	size_t queues; /* workers */
	const struct listener_source *source; /* the proxy's, as is the next */
	struct dispatch *dispatch; /* NULL: none */
	const struct edge_flows *flows; /* the proxy's */
	bool rules_due; /* made by this set, and not yet in force */
	/* of the options; the settings', while rules are made */
	const struct addr *spare;
	size_t spares;
};

struct edge_options {
	size_t workers;
	int rcvbuf; /* UDP, 0: the kernel's default */
	struct dispatch *dispatch; /* for ranges; NULL: a socket a port */
	const struct edge_flows *flows; /* NULL: of none that is known */
	enum sharing_mode sharing; /* with other programs */
	const struct addr *spare; /* of dispatch: what is left to others */
	size_t spares;
	const struct listener_source *source;
};

/* Whether net/dispatch would serve its ports: from so many on, and of UDP none
 * that only root may bind, as replies leave from sockets that are bound when
 * rights are gone. */
#define EDGE_RANGE_MIN 64
bool edge_is_range(const struct app *a);

/*
 * What `apps` want, with the sockets of `old` (NULL: none) where they are the
 * same. Failures are told, each by a log_error line, -1 then and nothing is
 * open that was not before; on success one of the two below is due when there
 * was an old set.
 */
int edge_open(struct edge_set *set, struct edge_set *old,
    const struct app *apps, size_t n, const struct edge_options *o);
/* `old` then holds only what is not wanted any more. */
void edge_commit(struct edge_set *set, struct edge_set *old);
/* Gives sockets that were taken over what their applications say now. */
void edge_tune(const struct edge_set *set, const struct app *apps);
/* `set` is gone, `old` as it was. */
void edge_undo(struct edge_set *set, struct edge_set *old);
void edge_close(struct edge_set *set);

/*
 * A reload may want back what flows still linger on. edge_join() puts a copy
 * of `more` at the end of `set`, 0 or -1 with errno; edge_part() takes it away
 * again, and edge_forget() is for the one of the two that is not used further.
 */
int edge_join(struct edge_set *set, const struct edge_set *more);
void edge_part(struct edge_set *set, const struct edge_set *more);
void edge_forget(struct edge_set *set);
/* What `more` was is closed: no rule leads there any more. */
void edge_parted(struct edge_set *set);
/* Flows may be left on ports that a range has no more; and are they still?
 * When they are gone, so is their way in. `old`: what else lingers. */
bool edge_drains(const struct edge_set *set);
void edge_settle(struct edge_set *set, const struct edge_set *old);
/* Closes the listeners of TCP in it: a session has a socket of its own. */
void edge_close_tcp(struct edge_set *set);

/*
 * The TCP sockets of an application are no posts any more; refuse, once no
 * worker looks at them; and listen and are posts again: 1, 0 when they did, -1
 * with errno. `old`: what flows linger on. The ports of a range have them back
 * by edge_resumed(), or, of a set that is being opened, by edge_commit().
 */
void edge_leave(struct edge_set *set, size_t app);
void edge_pause(struct edge_set *set, size_t app);
int edge_resume(struct edge_set *set, const struct edge_set *old, size_t app);
void edge_resumed(struct edge_set *set);
bool edge_is_paused(const struct edge_set *set, size_t app);

void edge_log(const struct edge_set *set, const struct app *apps, size_t n);

/* A place where clients come to, as one worker sees it. */
struct post {
	struct service *service;
	struct addr edge;
	int fd;
	uint16_t port_last; /* more than that of `edge`: it serves a range */
	bool dispatched; /* what comes to it may be of other ports */
	/* clients ask for an address of the prefix `edge`/`bits` (0: for the
	 * whole address, or a wildcard's any), the socket has another */
	bool elsewhere;
	unsigned int bits;
};

/* Whether clients of this post may have asked for that: what comes to the
 * socket's own address is nobody's. */
bool edge_post_serves(const struct post *p, const struct addr *asked);

/* The posts of `worker`, malloc; `services` are by index of application.
 * Returns 0, or -1 with errno. */
int edge_posts(const struct edge_set *set, enum sock_proto proto, size_t worker,
    struct service *const *services, struct post **posts, size_t *count);

#endif
