#include "proxy/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS 8 /* moves of one direction before others get their turn */
#define PIPES_KEPT 64 /* open while nobody uses them */
#define SHY 256 /* wishes for a pipe that wait after one in vain */
#define ROOM \
	(8 * RELAY_CHUNK) /* what is held in a turn, and the next receive */
#define LINE 64 /* bytes of the processor's cache */
#define BULK_MIN 16384 /* a smaller move goes back to copying */
/*
 * Bytes of one splice: four of the largest packets that the stack makes of
 * segments of 1448 bytes, nearly four of loopback's. With the 262,144 of a
 * round number each move had a fifth, of some hundred bytes, and a packet costs
 * the same whatever its size.
 */
#define MOVE_MAX (4 * 45 * 1448)

struct relay_pipe {
	int in, out; /* we write to `in` and read from `out` */
	struct relay_pipe *next; /* unused ones */
};

struct relay_pool {
	struct relay_pool_config config;
	uint8_t room[ROOM]; /* what is held, then where copies are received */
	size_t used; /* bytes of the room */
	size_t held; /* relays, in this turn */
	uint8_t *buffers; /* one mapping */
	size_t fresh; /* buffers from here on were never used */
	uint8_t **returned; /* a stack of those that were */
	size_t returns;
	struct relay_pipe *pipes; /* one for each that may be in use */
	struct relay_pipe *open; /* with descriptors, unused */
	struct relay_pipe *closed; /* without */
	size_t open_count;
	unsigned int shy;
};

/* ---- the pool ---- */

static int
pool_fill(struct relay_pool *p)
{
	size_t relays = p->config.relays, pipes = p->config.pipes;
	void *mapping = mmap(NULL, relays * RELAY_CHUNK, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mapping == MAP_FAILED)
		return -1;
	p->buffers = mapping;
	p->returned = calloc(relays, sizeof *p->returned);
	p->pipes = calloc(pipes + 1, sizeof *p->pipes);
	if (p->returned == NULL || p->pipes == NULL)
		return -1;
	for (size_t i = 0; i < pipes; i++) {
		p->pipes[i].next = p->closed;
		p->closed = &p->pipes[i];
	}
	return 0;
}

struct relay_pool *
relay_pool_new(const struct relay_pool_config *config)
{
	struct relay_pool *p = calloc(1, sizeof *p);

	if (p == NULL)
		return NULL;
	p->config = *config;
	if (pool_fill(p) == 0)
		return p;
	relay_pool_free(p);
	return NULL;
}

static void
pipe_close(struct relay_pool *p, struct relay_pipe *pipe)
{
	close(pipe->in);
	close(pipe->out);
	pipe->next = p->closed;
	p->closed = pipe;
}

void
relay_pool_free(struct relay_pool *p)
{
	if (p == NULL)
		return;
	relay_pool_spare(p);
	if (p->buffers != NULL)
		munmap(p->buffers, p->config.relays * RELAY_CHUNK);
	free(p->returned);
	free(p->pipes);
	free(p);
}

void
relay_pool_spare(struct relay_pool *p)
{
	while (p->open != NULL) {
		struct relay_pipe *pipe = p->open;

		p->open = pipe->next;
		pipe_close(p, pipe);
	}
	p->open_count = 0;
}

/* There are as many as relays, so there is always one. */
static uint8_t *
buffer_take(struct relay_pool *p)
{
	if (p->returns > 0)
		return p->returned[--p->returns];
	return p->buffers + p->fresh++ * RELAY_CHUNK;
}

static void
buffer_return(struct relay_pool *p, uint8_t *buffer)
{
	p->returned[p->returns++] = buffer;
}

/*
 * A user who has many pipes gets small ones, of a page or two, and without
 * privilege no larger (pipe(7), pipe-user-pages-soft): those are no help.
 */
static int
pipe_open(const struct relay_pool *p, struct relay_pipe *pipe)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	if (fds[0] >= p->config.fd_most || fds[1] >= p->config.fd_most ||
	    fcntl(fds[1], F_SETPIPE_SZ, RELAY_PIPE) < RELAY_PIPE) {
		close(fds[0]);
		close(fds[1]);
		return -1;
	}
	pipe->out = fds[0];
	pipe->in = fds[1];
	return 0;
}

static struct relay_pipe *
pipe_take(struct relay_pool *p)
{
	struct relay_pipe *pipe = p->open;

	if (pipe != NULL) {
		p->open = pipe->next;
		p->open_count--;
		return pipe;
	}
	pipe = p->closed;
	if (pipe == NULL)
		return NULL;
	if (p->shy > 0) {
		p->shy--;
		return NULL;
	}
	if (pipe_open(p, pipe) != 0) {
		p->shy = SHY;
		return NULL;
	}
	p->closed = pipe->next;
	return pipe;
}

/* One that is not empty must never carry a stranger's bytes. */
static void
pipe_return(struct relay_pool *p, struct relay_pipe *pipe, bool empty)
{
	if (empty && p->open_count < PIPES_KEPT) {
		pipe->next = p->open;
		p->open = pipe;
		p->open_count++;
		return;
	}
	pipe_close(p, pipe);
}

/* ---- one direction ---- */

size_t
relay_waiting(const struct relay *r)
{
	return (size_t)(r->len - r->at) + r->piped;
}

static void
buffer_drop(struct relay *r, struct relay_pool *p)
{
	if (r->buffer != NULL && !r->held)
		buffer_return(p, r->buffer);
	r->buffer = NULL;
	r->held = false;
	r->at = r->len = 0;
}

static void
pipe_drop(struct relay *r, struct relay_pool *p)
{
	if (r->pipe != NULL)
		pipe_return(p, r->pipe, r->piped == 0);
	r->pipe = NULL;
	r->piped = 0;
}

void
relay_drop(struct relay *r, struct relay_pool *p)
{
	buffer_drop(r, p);
	pipe_drop(r, p);
}

void
relay_put(
    struct relay *r, struct relay_pool *p, const uint8_t *bytes, size_t len)
{
	r->buffer = buffer_take(p);
	memcpy(r->buffer, bytes, len);
	r->len = (uint32_t)len;
}

static bool
is_for_later(int error)
{
	return error == EAGAIN || error == EINTR;
}

/* Bytes that `to` took, 0 when it takes none now, -1 with errno. */
static ssize_t
push(int to, const uint8_t *bytes, size_t len)
{
	ssize_t n = send(to, bytes, len, MSG_NOSIGNAL);

	return n < 0 && is_for_later(errno) ? 0 : n;
}

static ssize_t
push_pipe(const struct relay *r, int to)
{
	ssize_t n = splice(r->pipe->out, NULL, to, NULL, r->piped,
	    SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

	return n < 0 && is_for_later(errno) ? 0 : n;
}

/* The room will be another's: what waits longer gets a buffer. */
static void
unhold(struct relay *r, struct relay_pool *p)
{
	const uint8_t *bytes = r->buffer + r->at;

	if (!r->held)
		return;
	r->held = false;
	relay_put(r, p, bytes, r->len - r->at);
	r->at = 0;
}

/* Passes on what waits; RELAY_TURN: nothing does any more. */
static enum relay_result
flush(struct relay *r, struct relay_pool *p, int to)
{
	ssize_t n = 0;

	if (r->buffer != NULL) {
		n = push(to, r->buffer + r->at, r->len - r->at);
		r->at += n > 0 ? (uint32_t)n : 0;
	} else if (r->piped > 0) {
		n = push_pipe(r, to);
		r->piped -= n > 0 ? (uint32_t)n : 0;
	}
	if (n < 0)
		return RELAY_WRITE_FAILED;
	if (relay_waiting(r) > 0) {
		unhold(r, p);
		return RELAY_BLOCKED;
	}
	buffer_drop(r, p);
	return RELAY_TURN;
}

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static enum relay_result
read_result(ssize_t n)
{
	if (n == 0)
		return RELAY_END;
	return is_for_later(errno) ? RELAY_DRAINED : RELAY_READ_FAILED;
}

/* False: the next receive would not find room. */
static bool
hold(struct relay *r, struct relay_pool *p, size_t len)
{
	size_t used = p->used + len;

	used += LINE - used % LINE;
	if (used + RELAY_CHUNK > ROOM || p->held == RELAY_HELD_MAX)
		return false;
	r->buffer = p->room + p->used;
	r->held = true;
	r->len = (uint32_t)len;
	p->used = used;
	p->held++;
	return true;
}

static enum relay_result
copy(struct relay *r, struct relay_pool *p, int from, int to, size_t most)
{
	size_t want = least(RELAY_CHUNK, most);
	uint8_t *bytes = p->room + p->used;
	ssize_t n = recv(from, bytes, want, 0), sent;

	if (n <= 0)
		return read_result(n);
	r->bytes += (uint64_t)n;
	/* the rest of a portion says nothing about it */
	r->bulk = (size_t)n == want && (r->bulk || want == RELAY_CHUNK);
	if ((size_t)n < want && hold(r, p, (size_t)n))
		return RELAY_HELD;
	sent = push(to, bytes, (size_t)n);
	if (sent < 0)
		return RELAY_WRITE_FAILED;
	if (sent < n) {
		relay_put(r, p, bytes + sent, (size_t)(n - sent));
		return RELAY_BLOCKED;
	}
	return r->bulk ? RELAY_TURN : RELAY_DRAINED;
}

/* Only into an empty pipe: EAGAIN is then always about `from`. */
static enum relay_result
splice_in(struct relay *r, int from, size_t most)
{
	ssize_t n = splice(from, NULL, r->pipe->in, NULL, least(MOVE_MAX, most),
	    SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

	if (n <= 0)
		return read_result(n);
	r->bytes += (uint64_t)n;
	r->piped = (uint32_t)n;
	r->bulk = n >= BULK_MIN || (size_t)n == most;
	return RELAY_TURN;
}

static bool
wants_pipe(struct relay *r, struct relay_pool *p)
{
	if (!r->bulk || r->bytes < p->config.splice_after)
		return false;
	if (r->pipe == NULL)
		r->pipe = pipe_take(p);
	return r->pipe != NULL;
}

static enum relay_result
move(struct relay *r, struct relay_pool *p, int from, int to, size_t most)
{
	uint64_t before = r->bytes;
	enum relay_result result;

	for (int i = 0; i < ROUNDS; i++) {
		size_t left = most - (size_t)(r->bytes - before);

		result = flush(r, p, to);
		if (result != RELAY_TURN)
			return result;
		if (left == 0)
			return RELAY_TURN;
		result = wants_pipe(r, p) ? splice_in(r, from, left)
					  : copy(r, p, from, to, left);
		if (result != RELAY_TURN)
			return result;
	}
	return flush(r, p, to);
}

enum relay_result
relay_release(struct relay *r, struct relay_pool *p, int to)
{
	enum relay_result result = flush(r, p, to);
	int saved = errno;

	if (result == RELAY_TURN)
		return RELAY_DRAINED;
	if (result == RELAY_WRITE_FAILED)
		relay_drop(r, p);
	errno = saved;
	return result;
}

void
relay_pool_turn(struct relay_pool *p)
{
	p->used = p->held = 0;
}

enum relay_result
relay_move(struct relay *r, struct relay_pool *p, int from, int to)
{
	return relay_move_some(r, p, from, to, SIZE_MAX);
}

enum relay_result
relay_move_some(
    struct relay *r, struct relay_pool *p, int from, int to, size_t most)
{
	enum relay_result result = move(r, p, from, to, most);
	int saved = errno;

	if (result == RELAY_WRITE_FAILED)
		relay_drop(r, p);
	else if (r->piped == 0)
		pipe_drop(r, p); /* serves others until more comes */
	errno = saved;
	return result;
}
