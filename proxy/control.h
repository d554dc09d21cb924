/*
 * The control socket: what operators and scripts ask a running proxy, and what
 * they have it do. l4proxyctl(8) has the protocol. All of it is the main
 * thread's: a slow or hostile client costs workers nothing, and memory is one
 * buffer for each of a bounded number of connections.
 */
#ifndef PROXY_CONTROL_H
#define PROXY_CONTROL_H

#include <stdbool.h>

struct proxy;
struct control; /* opaque. NULL stands for none: all but control_open take it */

/*
 * Listens at the path of the settings, before rights are given up: who starts
 * the daemon owns the file, `group` (NULL: none) may connect as well. A missing
 * directory is made, for `user`. NULL after a log_error line.
 */
struct control *
control_open(const char *path, const char *group, const char *user);

/* Serves from the loop of `p`, which has one by now. */
void control_start(struct control *c, struct proxy *p);

/* Between the two, what is logged is kept for whoever asked for a reload. */
void control_reload_begins(struct control *c);
void control_reload_ends(struct control *c, bool good);

/* Workers have taken what a drain or its end changed. */
void control_settled(struct control *c);

/* To be called now and then while the proxy ends: there is no reload any more,
 * and workers that have ended answer nothing. */
void control_stopping(struct control *c);

/* Removes the file. After the workers are joined. */
void control_close(struct control *c);

#endif
