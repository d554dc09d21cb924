/*
 * One direction of a TCP session: bytes on their way from one socket to
 * another. A little is copied through a room of the worker; a stream that fills
 * a chunk of it again and again is moved by splice(2) through a pipe, so that no
 * byte of it comes to us. What the receiver does not take yet waits in one
 * buffer or in the pipe, never more: then nothing is read either.
 *
 *     from -> room -> to               a little, held until the turn ends
 *     from -> room -> buffer           the rest, until `to` is writable
 *     from -> pipe -> to               bulk
 *
 * Held: a worker receives from all who have something and then sends to all.
 * Either half of the kernel's code stays in the processor's cache meanwhile, and
 * a receiver of several is woken once.
 */
#ifndef PROXY_RELAY_H
#define PROXY_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RELAY_CHUNK 32768 /* bytes of a copy, and of a waiting buffer */
#define RELAY_PIPE 262144 /* bytes that a pipe is made to hold */
#define RELAY_HELD_MAX 256 /* moves of a turn whose bytes are held */

/* What the relays of one worker have in common: room, buffers, pipes. */
struct relay_pool; /* opaque */

struct relay_pool_config {
	size_t relays; /* no more than so many will have bytes waiting */
	size_t pipes; /* in use at once; 0: never splice */
	int fd_most; /* pipes have no descriptor from this one on */
	uint64_t splice_after; /* bytes one way before splice takes over */
};

struct relay {
	uint8_t *buffer; /* of the pool, NULL: none */
	struct relay_pipe *pipe; /* of the pool, NULL: none */
	uint32_t at, len; /* what waits in the buffer */
	uint32_t piped; /* what waits in the pipe */
	bool bulk; /* more came than one read takes */
	bool held; /* `buffer` is in the pool's room */
	uint64_t bytes; /* received from `from` so far */
};

enum relay_result {
	RELAY_DRAINED = 0, /* `from` has nothing more for now */
	RELAY_HELD, /* the same; relay_release() is due at the turn's end */
	RELAY_TURN, /* it has, but others come first */
	RELAY_BLOCKED, /* bytes wait until `to` is writable */
	RELAY_END, /* `from` is at its end and all of it was passed on */
	RELAY_READ_FAILED, /* errno says why */
	RELAY_WRITE_FAILED, /* errno says why; what waited is dropped */
};

/* NULL with errno. Pages of buffers cost memory when they are first used. */
struct relay_pool *relay_pool_new(const struct relay_pool_config *config);
void relay_pool_free(struct relay_pool *p);
/* Descriptors are short: closes pipes that nobody uses. */
void relay_pool_spare(struct relay_pool *p);

/* Bytes that go before those of `from` (a PROXY header): RELAY_CHUNK at most,
 * before the first move. */
void relay_put(
    struct relay *r, struct relay_pool *p, const uint8_t *bytes, size_t len);

/* Moves what can be moved now, for a bounded while. */
enum relay_result
relay_move(struct relay *r, struct relay_pool *p, int from, int to);
/* The same, but receives no more than `most` bytes; when all of these came:
 * RELAY_TURN. */
enum relay_result relay_move_some(
    struct relay *r, struct relay_pool *p, int from, int to, size_t most);

/* Passes on what is held: RELAY_DRAINED, RELAY_BLOCKED or RELAY_WRITE_FAILED. */
enum relay_result relay_release(struct relay *r, struct relay_pool *p, int to);
/* None holds anything any more: the room is free for another turn. */
void relay_pool_turn(struct relay_pool *p);

/* Bytes that were received and not passed on. */
size_t relay_waiting(const struct relay *r);

/* Gives back what it holds; bytes that wait are lost. */
void relay_drop(struct relay *r, struct relay_pool *p);

#endif
