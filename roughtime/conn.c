#include "roughtime/conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "roughtime/counters.h"
#include "roughtime/message.h"
#include "roughtime/response.h"

void
conn_reset(struct conn *c, const struct addr *peer, uint64_t now_ns)
{
	struct conn fresh = { .owner = c->owner,
		.in = c->in,
		.out = c->out,
		.in_cap = c->in_cap,
		.out_cap = c->out_cap,
		.max_frame = c->max_frame,
		.peer = *peer,
		.times.idle_since_ns = now_ns };

	*c = fresh;
}

void
conn_end(struct conn *c, unsigned int reason)
{
	if (c->closing)
		return;
	c->closing = true;
	c->reason = reason;
}

void
conn_read(struct conn *c)
{
	size_t room = c->in_cap - c->in_len;
	ssize_t n;

	if (room == 0 || c->eof || c->closing)
		return;
	n = recv(c->io.fd, c->in + c->in_len, room, 0);
	if (n > 0)
		c->in_len += (size_t)n;
	else if (n == 0)
		c->eof = true;
	else if (errno == ECONNRESET)
		conn_end(c, COUNTER_TCP_CLOSED_PEER);
	else if (errno != EAGAIN && errno != EINTR)
		conn_end(c, COUNTER_TCP_CLOSED_ERROR);
}

/* Room for one more reply behind those that this turn's jobs will write. */
static bool
has_room(struct conn *c)
{
	if (c->jobs == 0 && c->out_at > 0) {
		memmove(c->out, c->out + c->out_at, c->out_len - c->out_at);
		c->out_len -= c->out_at;
		c->out_at = 0;
	}
	return c->out_len + (c->jobs + 1) * RESPONSE_MAX <= c->out_cap;
}

static void
part_came(struct conn *c, uint64_t now_ns)
{
	if (c->taken == c->in_len)
		c->times.frame_since_ns = 0;
	else if (c->times.frame_since_ns == 0)
		c->times.frame_since_ns = now_ns;
}

bool
conn_next(struct conn *c, uint64_t now_ns, struct view *frame)
{
	size_t total;

	c->held = false;
	if (c->closing)
		return false;
	switch (frame_scan(
	    c->in + c->taken, c->in_len - c->taken, c->max_frame, &total)) {
	case FRAME_SCAN_PART:
		part_came(c, now_ns);
		return false;
	case FRAME_SCAN_ALIEN:
		conn_end(c, COUNTER_TCP_CLOSED_NOT_ROUGHTIME);
		return false;
	case FRAME_SCAN_TOO_LONG:
		conn_end(c, COUNTER_TCP_CLOSED_FRAME_TOO_LONG);
		return false;
	case FRAME_SCAN_WHOLE:
		break;
	}
	c->times.frame_since_ns = 0;
	if (!has_room(c)) {
		c->held = true;
		return false;
	}
	*frame = (struct view){ c->in + c->taken, total };
	c->taken += total;
	c->times.idle_since_ns = now_ns;
	return true;
}

uint8_t *
conn_reply_room(struct conn *c)
{
	return c->out + c->out_len + c->jobs++ * RESPONSE_MAX;
}

void
conn_reply(struct conn *c, const uint8_t *reply, size_t len)
{
	memmove(c->out + c->out_len, reply, len);
	c->out_len += len;
}

void
conn_shift(struct conn *c)
{
	if (c->taken > 0)
		memmove(c->in, c->in + c->taken, c->in_len - c->taken);
	c->in_len -= c->taken;
	c->taken = 0;
	c->jobs = 0;
}

/* A slow reader is one that takes less than a reply in the time allowed. */
static void
note_progress(struct conn *c, size_t written, uint64_t now_ns)
{
	c->out_at += written;
	c->progress += written;
	if (c->out_at == c->out_len) {
		c->out_at = c->out_len = c->progress = 0;
		c->times.write_since_ns = 0;
		c->times.idle_since_ns = now_ns;
	} else if (c->times.write_since_ns == 0 ||
	    c->progress >= RESPONSE_MAX) {
		c->progress = 0;
		c->times.write_since_ns = now_ns;
	}
}

bool
conn_write(struct conn *c, uint64_t now_ns)
{
	ssize_t n;

	if (!conn_waiting(c))
		return true;
	n = send(
	    c->io.fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		conn_end(c, COUNTER_TCP_CLOSED_PEER);
		return false;
	}
	note_progress(c, n > 0 ? (size_t)n : 0, now_ns);
	return true;
}

bool
conn_waiting(const struct conn *c)
{
	return c->out_at < c->out_len;
}

int
conn_events(const struct conn *c)
{
	int events = 0;

	if (!c->eof && !c->closing && !c->held && c->in_len < c->in_cap)
		events |= EV_READ;
	if (conn_waiting(c))
		events |= EV_WRITE;
	return events;
}

unsigned int
conn_overdue(const struct conn_times *t, const struct conn_limits *limits,
    uint64_t now_ns)
{
	if (t->write_since_ns != 0)
		return now_ns > t->write_since_ns + limits->write_ns
		    ? COUNTER_TCP_CLOSED_SLOW_READER
		    : 0;
	if (t->frame_since_ns != 0)
		return now_ns > t->frame_since_ns + limits->read_ns
		    ? COUNTER_TCP_CLOSED_SLOW_WRITER
		    : 0;
	return now_ns > t->idle_since_ns + limits->idle_ns
	    ? COUNTER_TCP_CLOSED_IDLE
	    : 0;
}
