/*
 * The inside of a TCP session, for session.c (its life), session_time.c (when
 * it ends), session_pace.c (how fast it is), session_header.c (who the client
 * is), session_connect.c (how it comes by an origin), session_early.c (what goes
 * there first) and session_tell.c (what the event log hears).
 */
#ifndef PROXY_SESSION_INNER_H
#define PROXY_SESSION_INNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "base/log.h"
#include "proxy/relay.h"
#include "proxy/session.h"

struct half {
	ev_io io; /* first: a watcher is its half */
	struct session *session;
	struct half *other;
	struct relay relay; /* what came from here, on its way to `other` */
	uint64_t turn_ns; /* when it may receive `portion` (monotonic) */
	uint32_t portion; /* bytes reserved of bytes_per_s; 0: none */
	enum status_side side;
	bool ended; /* sends no more, and `other` has been told */
};

struct session {
	struct half client, origin;
	ev_timer timer;
	struct sessions *table;
	struct session *next, *prev; /* open ones; free ones use `next` */
	struct service *service;
	struct tally *tally; /* of the service, this worker's sheet */
	struct session_clock clock; /* monotonic */
	struct addr client_address, edge;
	struct addr asked; /* the edge, or what a trusted peer says of it */
	struct addr origin_address; /* of the one chosen */
	uint64_t tried; /* origins, as bits */
	uint64_t connect_us; /* Unix */
	int chosen; /* handle of the origin, -1 none */
	enum session_state state;
	uint16_t seen; /* bytes of an unfinished PROXY header */
	uint16_t early; /* bytes that went in the first packet to the origin */
	bool entered; /* counted in at the service */
	bool settled; /* lives so long that keepalive is worth its calls */
};

struct sessions {
	struct sessions_setup setup;
	struct session *slots; /* one mapping */
	size_t fresh; /* slots from here on were never used */
	struct session *free, *open;
	size_t count;
	struct relay_pool *pool;
	uint64_t ends_ns; /* 0, or when all of them must be gone */
	struct log_gate lack;
	bool no_fd; /* for an origin, since session_begin() */
	ev_prepare release; /* of what is held, before the loop waits */
	size_t held_count;
	struct half
	    *held[RELAY_HELD_MAX]; /* some have been sent or ended since */
};

/* ---- session.c ---- */

/* The only one that changes the state. */
void session_set_state(struct session *s, enum session_state state);

/*
 * The only one that ends a session. A reset is passed on as one, and so is a
 * cut: bytes that were on their way must not look like all there were.
 */
void session_close(struct session *s, enum status status, bool reset);

/* What came from `h` goes to its other. False: the session is over. */
bool session_move(struct half *h);

/* Reads a half whose bytes do not wait, writes to one whose other's do. */
void session_watch(struct session *s);
void session_half_event(struct ev_loop *loop, ev_io *io, int events);
void session_half_close(struct half *h, bool reset);
void session_leave_origin(struct session *s);

/* Whether its client may come in; counted then. */
enum status session_enter(struct session *s, uint64_t now_ns);

/* ---- session_time.c ---- */

double session_now_s(void); /* monotonic */
/* For the earliest that is to happen to it. */
void session_set_timer(struct session *s);
/* Within a second, when one of its halves has no watcher. */
void session_look_soon(struct session *s);
void session_timer_event(struct ev_loop *loop, ev_timer *w, int events);

/* ---- session_pace.c: of applications with bytes_per_s ---- */

/* As relay_move(); when it is not its turn yet the half then has a portion and
 * is not to be read. */
enum relay_result session_pace_move(struct half *h);
void session_pace_forget(struct half *h); /* its portion, if it has one */
/* Whether a half waits for its turn, and when the first one comes (seconds,
 * monotonic). */
bool session_paced(const struct session *s, double *turn);
/* Moves those whose turn has come. False: the session is over. */
bool session_resume(struct session *s);

/* ---- session_header.c ---- */

/* Waits for the PROXY header of a trusted peer, then lets its client in. */
void session_await_header(struct session *s);

/* ---- session_early.c ---- */

#define SESSION_EARLY_MAX 1460 /* bytes: a full segment of most networks */
/* What the first packet to the origin may have, by TCP Fast Open. */
size_t
session_early(const struct session *s, uint8_t out[static SESSION_EARLY_MAX]);
/* The connection stands: the PROXY header, if it did not go then. False: the
 * session is over. */
bool session_first_bytes(struct session *s);

/* ---- session_connect.c ---- */

/* Tries origins until one answers later, or none is left: closed then, with
 * `last` when none was tried. */
void session_connect(struct session *s, enum status last);
/* This origin is not to be had; on to the next. */
void session_connect_failed(struct session *s, enum status status);

/* ---- session_tell.c ---- */

void
session_tell(const struct session *s, enum event_kind kind, enum status status);
/* A client that was not let in, or for whom there was no room. */
void session_tell_refused(struct sessions *t, const struct service *v,
    const struct addr *client, const struct addr *edge, enum status status);

#endif
