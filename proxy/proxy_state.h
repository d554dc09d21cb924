/*
 * The inside of the proxy, for proxy.c (its life), proxy_rights.c and
 * proxy_reload.c (SIGHUP).
 */
#ifndef PROXY_PROXY_STATE_H
#define PROXY_PROXY_STATE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include <ev.h>

#include "net/fastpath.h"
#include "proxy/control.h"
#include "proxy/discovery.h"
#include "proxy/edge.h"
#include "proxy/eventlog.h"
#include "proxy/health.h"
#include "proxy/proxy.h"
#include "proxy/pworker.h"
#include "proxy/service.h"
#include "proxy/settings.h"

enum { ON_TERM = 0, ON_INT, ON_HUP, ON_USR1, SIGNALS };

struct proxy {
	const char *config;
	struct proxy_settings *started; /* sizes and threads follow these */
	struct proxy_settings *current; /* the rest; the same until a reload */
	struct service **services; /* of `current`, by index */
	struct resolver *resolver; /* main thread, as is the next */
	struct discovery *discovery; /* the origins of `services` by DNS */
	struct health *health; /* the checks of `services`; main thread */
	struct dispatch *dispatch; /* of ranges; NULL: a socket a port */
	struct edge_flows *port_flows; /* shared by all */
	struct listener_source source; /* of all edges */
	struct proxy_clients *clients; /* the time service's; NULL: not demux */
	int raw[2]; /* of UDP edges that are bound elsewhere: by family */
	struct fastpath *fastpath; /* NULL: all flows are on sockets */
	char fast_why[FASTPATH_WHY_LEN + IF_NAMESIZE + 2]; /* then why */
	bool fast_lost[FASTPATH_DEVICES]; /* told: not attached now */
	bool fast_changed; /* routes, during the pause */
	struct edge_set edges;
	struct edge_set retired; /* of before a reload, not yet closed */
	bool settling; /* ports are about to be as services say */
	bool reload_waits; /* for the sockets of the one before to be left */
	uint32_t udp_flows; /* of each worker, within what the host gives */
	int tcp_fds; /* TCP takes no descriptor from this one on */
	struct eventlog *log;
	struct control *control; /* NULL: none */
	struct pworker **workers;
	size_t worker_count; /* made */
	size_t running; /* started */
	bool stopping;
	uint64_t started_us, started_ns; /* Unix; monotonic */
	uint64_t reloads, reloads_failed;

	struct ev_loop *loop;
	ev_signal signals[SIGNALS];
	ev_timer tick;
	ev_io guarded;
	ev_io fast_routes;
	ev_timer fast_beat, fast_pause;
};

/* From the file; NULL after log_error lines. */
struct proxy_settings *proxy_read_settings(const char *config);
void proxy_drop_settings(struct proxy_settings *s); /* NULL is fine */

/*
 * A service for each application of `s`: that of `p` where nothing changed.
 * Held once each; NULL after a log_error line.
 */
struct service **
proxy_services(const struct proxy *p, const struct proxy_settings *s);
void proxy_drop_services(struct service **list, size_t n);

/* Looks up the origins of `n` services, not yet begun; NULL after a log_error
 * line. */
struct discovery *
proxy_discover(struct proxy *p, struct service *const *services, size_t n);

/* The same for health checks. */
struct health *
proxy_health(const struct proxy *p, struct service *const *services, size_t n);

/* ---- proxy_fds.c ---- */

/* The soft limit of open files becomes the hard one. */
void proxy_raise_fds(void);
/* What the workers may have, once edges are bound: `udp_flows`, and `tcp_fds`
 * after it. */
void proxy_limit_flows(struct proxy *p);
void proxy_limit_sessions(struct proxy *p);
/* A line when more sessions are promised than there are files for. */
void proxy_check_sessions(const struct proxy *p);

/* Warns of what the host has switched off; before rights are given up. */
void proxy_check_host(const struct proxy_settings *s);
/* After the sockets are open: user, capabilities, Landlock. 0, or -1 after a
 * log_error line. */
int proxy_drop_rights(const struct proxy *p);
/* Whether we have what applications need beyond their ports; -1 after a
 * log_error line that ends with `hint`. */
int proxy_check_rights(const struct proxy_settings *s, const char *hint);

struct edge_options
proxy_edge_options(const struct proxy *p, const struct proxy_settings *s);

/* Hands the workers what they serve, as it is now. 0, or -1 with errno. */
int proxy_configure(struct proxy *p);

/* ---- proxy_incumbent.c ---- */

/* Of a test: looks for the daemon that runs by this configuration. */
void proxy_find_incumbent(struct proxy *p);
/* Whether that one is behind our control socket. */
bool proxy_has_control(const struct proxy *p);

/* ---- proxy_guard.c ---- */

/* Before sockets are bound; told. -1: that cannot be. */
int proxy_open_guard(struct proxy *p);
/* On the main loop from now on. */
void proxy_watch_guard(struct proxy *p);
/* ---- proxy_fast.c ---- */

/* Loads and attaches the program that carries flows, while there are rights
 * to; -1 after a log_error line when an application cannot do without. */
int proxy_open_fast_path(struct proxy *p, bool rehearse);
int proxy_start_fast_path(struct proxy *p); /* of its loop; 0 or -1 */
void proxy_close_fast_path(struct proxy *p);
/* Why flows of this application are on sockets; NULL: they need not be. */
const char *proxy_fast_why(const struct proxy *p, const struct app *a);
/* Of the path that is there: which interfaces it has lost; NULL: none. */
#define PROXY_FAST_LACKS_LEN 400
const char *
proxy_fast_lacks(const struct proxy *p, char text[static PROXY_FAST_LACKS_LEN]);
/* -1 after a log_error line: one requires what it cannot have. */
int
proxy_check_fast_path(const struct proxy *p, const struct proxy_settings *s);
void proxy_tell_fast_path(const struct proxy *p); /* a line an application */

/* ---- proxy_drain.c ---- */

#define PROXY_WHY_LEN 160
/*
 * Takes an application out of service: no new clients, and its sessions end in
 * `for_ms` (-1: drain_s); and back. 0 when it is under way, control_settled()
 * follows; or -1 and why.
 */
int proxy_drain(struct proxy *p, const char *name, int64_t for_ms,
    char why[static PROXY_WHY_LEN]);
int proxy_undrain(
    struct proxy *p, const char *name, char why[static PROXY_WHY_LEN]);
/* For the sockets of a reload: who is drained stays so, and a port that another
 * application has now listens. */
void proxy_ports_of_reload(struct proxy *p, struct edge_set *edges,
    struct service *const *services, size_t n);
/* Ports of drained applications refuse and the others listen, once workers
 * have taken what they were given; true: all is so. */
bool proxy_settle(struct proxy *p);

/* ---- proxy_demux.c ---- */

/* 0, or -1 after a log_error line; does nothing in another mode. */
int proxy_watch_clients(struct proxy *p);
void proxy_drop_clients(struct proxy *p);
/* Any thread: `arg` is p->clients. Takes `fd`. */
void proxy_time_client(void *arg, int fd, const struct addr *edge);

/* ---- proxy_ranges.c ---- */

/* For sharing.mode dispatch, or ranges as port_ranges says; told. -1: it must
 * be and cannot. */
int proxy_open_dispatch(struct proxy *p);
void proxy_close_raw(struct proxy *p);
/* Descriptors that replies of UDP ranges may need beside flows' own. */
size_t proxy_exits(const struct proxy *p, size_t reserve);

/* ---- proxy_reload.c ---- */

/* SIGHUP: all of it, or nothing. */
void proxy_reload(struct proxy *p);
/* Of before a reload there are sockets, or ports of ranges with flows. */
bool proxy_has_retired(const struct proxy *p);
/* Closes those sockets once no worker looks at them; those of UDP when no flow
 * is left on them. True: no worker looks at the others. */
bool proxy_close_retired(struct proxy *p);

#endif
