/*
 * The inside of a server, for server.c (its life) and reload.c (SIGHUP).
 */
#ifndef ROUGHTIME_SERVER_STATE_H
#define ROUGHTIME_SERVER_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "net/udpstat.h"
#include "roughtime/keyholder.h"
#include "roughtime/listen.h"
#include "roughtime/server.h"
#include "roughtime/settings.h"
#include "roughtime/worker.h"

enum { ON_TERM = 0, ON_INT, ON_HUP, ON_USR1, SIGNALS };

struct server {
	const struct server_options *options;
	struct settings *started; /* sockets and sizes follow these */
	struct settings *current; /* the rest; the same until a reload */
	struct keyholder *keyholder;
	struct listener_source source; /* of all listeners */
	size_t next_worker; /* for a connection that is handed over */
	struct listen_set listeners;
	struct listen_set retired; /* of before a reload, not yet closed */
	uint64_t closed_drops; /* of listeners that are closed */
	bool reload_waits; /* for the sockets of the one before to be left */
	struct udpstat udpstat;
	struct timesource *time;
	struct identities *identities;
	struct admission *admission;
	struct worker **workers;
	size_t worker_count; /* made */
	size_t running; /* started */

	struct ev_loop *loop;
	ev_signal signals[SIGNALS];
	ev_timer tick;
	ev_io keyholder_gone;
	ev_io guarded;
};

/* From the file or the options; NULL after log_error lines. */
struct settings *server_settings(const struct server_options *o);
void server_drop_settings(struct settings *s); /* NULL is fine */

/* What worker `index` is to do under `now`; NULL with errno. */
struct worker_config *server_worker_config(const struct settings *now,
    const struct listen_set *listeners, size_t index);

/* ---- server_guard.c ---- */

/* Before sockets are bound; told. -1: that cannot be. */
int server_open_guard(struct server *s);
/* On the main loop from now on. */
void server_watch_guard(struct server *s);
/* Workers learn which addresses are others'. */
void server_tell_foreign(struct server *s);

/* ---- reload.c ---- */

/* SIGHUP: all of it, or nothing. */
void server_reload(struct server *s);
/* Closes the listeners of before a reload once no worker looks at them; true:
 * all are closed. */
bool server_close_retired(struct server *s);

#endif
