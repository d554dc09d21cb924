/*
 * The inside of the control socket, for control.c (connections),
 * control_answer.c (what is read) and control_act.c (what is changed).
 */
#ifndef PROXY_CONTROL_INNER_H
#define PROXY_CONTROL_INNER_H

#include <ev.h>
#include <jansson.h>

#include "base/log.h"
#include "net/unixsock.h"
#include "proxy/control.h"
#include "proxy/control_request.h"
#include "proxy/live.h"
#include "proxy/proxy_state.h"

#define CONTROL_CONNECTIONS 16
#define CONTROL_OUT 65536 /* bytes of answers that wait for a reader */
#define CONTROL_ROW_MAX 16384 /* of one line: room for it, or none is made */
#define CONTROL_THROWN_MAX 65536
#define CONTROL_IDLE_S 60.0
#define CONTROL_REPORT_MAX 1100 /* lines kept of a reload */

/* What a reload had to say; shared by all who asked for it. */
struct control_report {
	unsigned int holders;
	bool good;
	size_t count;
	struct control_line {
		enum log_level level;
		char *text;
	} lines[CONTROL_REPORT_MAX];
};

struct control_connection {
	ev_io io;
	ev_timer timer;
	struct control *control;
	struct unixsock_peer peer;
	bool used, ended; /* the peer sends no more */
	bool deaf; /* what it sends is thrown away, but not its answer */
	bool closing; /* closed, but a worker still has `live` */
	bool waits; /* for a worker or a reload */

	char in[CONTROL_LINE_MAX + 1];
	size_t have, thrown;
	char *out; /* CONTROL_OUT bytes */
	size_t at, len;

	struct control_request request; /* CONTROL_NONE: none is answered */
	uint64_t rows; /* told so far */
	size_t cursor; /* the command's own */
	struct live_ask *live; /* while sessions are listed */
	size_t live_told; /* of its rows */
	bool live_asked; /* a worker has it */
	struct control_report *report;
};

struct control {
	struct proxy *proxy;
	char *path;
	struct unixsock_file file;
	uid_t owner; /* who started the daemon */
	int fd;
	ev_io io;
	ev_async answered; /* by a worker: `answers` has something */
	ev_timer pause; /* no descriptor was left */
	struct live_box answers;
	struct control_report *report; /* of the reload that is under way */
	struct log_gate fault;
	struct control_connection connections[CONTROL_CONNECTIONS];
};

/* ---- control.c ---- */

/* Text that may not be UTF-8, such as a path. */
json_t *control_text(const char *text);
/* One line of an answer; takes `row`. There is room: see CONTROL_ROW_MAX. */
void control_row(struct control_connection *c, json_t *row);
/* The last line: `end` is "good", "bad-request", "refused" or "failed". */
void control_end(struct control_connection *c, const char *end, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));
/* It has something to write, or to make, again. */
void control_wake(struct control_connection *c);

/* ---- control_answer.c ---- */

/* Makes the next line of the answer to c->request, unless it has to wait. */
void control_answer(struct control_connection *c);
/* A worker has filled c->live. */
void control_listed(struct control_connection *c);

/* ---- control_act.c ---- */

/* Whether the peer may change something; told when not. */
bool control_may_act(struct control_connection *c);
void control_reload(struct control_connection *c);
void control_drain(struct control_connection *c); /* and undrain */
void control_report_release(struct control_report *r); /* NULL is fine */

#endif
