/*
 * The server as a whole: what is owned by whom, in which order it comes to
 * life and goes, and the main thread's loop (signals, clock, delegations).
 *
 *   server -> settings, keyholder (a process), listeners, identities,
 *             timesource, admission, workers (threads)
 */
#ifndef ROUGHTIME_SERVER_H
#define ROUGHTIME_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct server; /* opaque */

struct server_options {
	const char *config; /* a file, or NULL: the following two */
	const char *key;
	const char *const *listen; /* ADDR:PORT */
	size_t listen_count;
	bool rehearse; /* nothing will run: no packet is taken from who does */
};

/*
 * Everything up to the first packet: settings, the keyholder, sockets, rights
 * given up, keys read. NULL when anything is wrong, all of it told in the
 * log. `o` is kept.
 */
struct server *server_new(const struct server_options *o);

/* Workers and the main loop, until SIGTERM or SIGINT. 0, or -1. */
int server_run(struct server *s);

void server_free(struct server *s);

#endif
