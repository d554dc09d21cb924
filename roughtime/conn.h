/*
 * One TCP connection: a fixed buffer of bytes that came, a fixed buffer of
 * replies that wait, and the times that decide when it has to go. Knows
 * frames, not requests; the stream that owns it makes those.
 *
 *   in:   | taken by this turn | whole frames or a part of one |    |
 *         0                  taken                           in_len
 *   out:  | written | waiting | RESPONSE_MAX for each job |         |
 *         0       out_at   out_len
 */
#ifndef ROUGHTIME_CONN_H
#define ROUGHTIME_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "base/view.h"
#include "net/addr.h"
#include "roughtime/request.h"

struct conn_limits {
	uint64_t idle_ns; /* no request for so long */
	uint64_t read_ns; /* from a frame's first byte to its last */
	uint64_t write_ns; /* for each RESPONSE_MAX bytes of replies */
};

struct conn_times {
	uint64_t idle_since_ns; /* the last request or reply, or accept */
	uint64_t frame_since_ns; /* first byte of an unfinished one, 0: none */
	uint64_t write_since_ns; /* last progress, when replies wait, 0: none */
};

struct conn {
	ev_io io; /* first: a watcher is its connection */
	void *owner;
	struct conn *next, *prev; /* open ones; free ones use `next` */
	struct conn *turn_next; /* those with news in this turn */
	bool in_turn;

	struct addr peer;
	bool eof; /* the client sends no more */
	bool held; /* a whole frame waits for room */
	bool closing; /* nothing more is read; `reason` says why */
	unsigned int reason; /* enum counter */
	struct conn_times times;

	uint8_t *in, *out; /* the owner's memory */
	size_t in_cap, out_cap;
	size_t max_frame; /* bytes, in_cap at most */
	size_t in_len, taken;
	size_t out_at, out_len;
	size_t jobs; /* of this turn */
	size_t progress; /* bytes written since times.write_since_ns */
};

/* A fresh connection in a slot that keeps its buffers. */
void conn_reset(struct conn *c, const struct addr *peer, uint64_t now_ns);

/* Will be closed when its replies are written; the first reason stays. */
void conn_end(struct conn *c, unsigned int reason);

/* Reads once, as much as there is room for. */
void conn_read(struct conn *c);

/*
 * Takes the next whole frame; the view holds until conn_shift. False: there
 * is none, or no room for its reply (`held`), or `closing` by now.
 */
bool conn_next(struct conn *c, uint64_t now_ns, struct view *frame);

/* Where the reply of the next job goes: RESPONSE_MAX bytes. */
uint8_t *conn_reply_room(struct conn *c);
/* Moves a finished reply behind those that wait, in the order of jobs. */
void conn_reply(struct conn *c, const uint8_t *reply, size_t len);

/* Forgets what was taken; no view may be in use any more. */
void conn_shift(struct conn *c);

/* Writes what waits; false when the peer is gone. */
bool conn_write(struct conn *c, uint64_t now_ns);
bool conn_waiting(const struct conn *c); /* for the peer to read */

/* The libev events that it has use for now. */
int conn_events(const struct conn *c);

/* The reason (enum counter) to close at `now_ns`, 0: none yet. */
unsigned int conn_overdue(const struct conn_times *t,
    const struct conn_limits *limits, uint64_t now_ns);

#endif
