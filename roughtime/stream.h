/*
 * Roughtime over TCP (RFC 10049 section 5): persistent connections, several
 * requests outstanding in each. The requests of one turn of the loop, over
 * all connections, are one batch. Every connection has fixed buffers, made at
 * start; one that does not read its replies is not read from.
 */
#ifndef ROUGHTIME_STREAM_H
#define ROUGHTIME_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "net/admission.h"
#include "net/guard_places.h"
#include "roughtime/answer.h"
#include "roughtime/conn.h"
#include "roughtime/listen.h"

struct stream; /* opaque: slots, buffers and watchers that must agree */

struct stream_setup {
	struct ev_loop *loop;
	struct answer *answer; /* of the same worker */
	struct admission *admission;
	size_t max_connections;
	size_t max_frame; /* bytes, with the 12 of the frame */
	size_t max_outstanding;
	struct conn_limits limits;
	bool sockets_stay; /* as of the worker */
};

/* NULL with errno when out of memory. */
struct stream *stream_new(const struct stream_setup *setup);
void stream_free(struct stream *s); /* closes what is open */
void stream_configure(struct stream *s, const struct conn_limits *limits);

/* A connection that somebody else has accepted. Takes `fd`. */
void stream_adopt(struct stream *s, int fd);

/* Accepts from these listeners (LISTEN_MAX at most, they stay the caller's)
 * and, after a last look, no more from those of before. */
void stream_listen(struct stream *s, const int *fds, size_t n);

/* Connections to these addresses are another's, and are reset; NULL: none are.
 * The list stays the caller's. */
void stream_foreign(struct stream *s, const struct guard_places *places);

/* The end of a turn: answers a batch of what was read and writes; the loop
 * comes back at once when there is more. */
void stream_flush(struct stream *s);

/* Takes what is queued, accepts nothing more, closes what has nothing left
 * to be written. */
void stream_drain(struct stream *s);
size_t stream_open(const struct stream *s); /* connections of this worker */

/* Pure: the rejects after which the stream's bytes are not trusted any more;
 * the others are requests for somebody else, and are ignored. */
bool stream_fatal(enum request_reject reject);

#endif
