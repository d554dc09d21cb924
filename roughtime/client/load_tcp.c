#include "roughtime/client/load.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "roughtime/client/command.h"
#include "roughtime/message.h"

#define STREAM_LEN 65536

/* All that was under way on the connection is lost with it. */
static void
hang_up(struct load *l, struct load_flow *f)
{
	uint32_t lost = slots_expire(&f->slots, UINT64_MAX);

	if (l->counting)
		l->r->lost += lost;
	close(f->fd);
	f->fd = -1;
	f->connected = false;
	f->writing = SLOTS_NONE;
	f->in_len = f->written = 0;
}

static bool
connect_flow(struct load *l, struct load_flow *f)
{
	static const struct sock_opts opts = { .nodelay = true };

	if (!l->sending)
		return false;
	if (f->in == NULL)
		f->in = command_alloc(1, STREAM_LEN);
	f->fd = sock_connect(SOCK_TCP, &l->o->peer, &opts);
	if (f->fd < 0) {
		l->r->refused++;
		return false;
	}
	l->r->connections++;
	return true;
}

/* Writes one request, or what is left of it; false when it cannot go on. */
static bool
write_one(struct load *l, struct load_flow *f, uint64_t now_ns)
{
	ssize_t n;

	if (f->writing == SLOTS_NONE) {
		if (load_allowed(l, 1, now_ns) == 0)
			return false;
		f->writing = slots_take(&f->slots, now_ns);
		l->offered++;
		if (f->writing == SLOTS_NONE) {
			l->r->held_back += l->counting && l->o->rate > 0;
			return false;
		}
		f->written = 0;
	}
	n = send(f->fd, slots_packet(&f->slots, f->writing) + f->written,
	    f->slots.size - f->written, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
			l->r->refused++;
			hang_up(l, f);
		}
		return false;
	}
	f->connected = true;
	f->written += (size_t)n;
	if (f->written < f->slots.size)
		return false;
	f->writing = SLOTS_NONE;
	l->r->sent += l->counting;
	return true;
}

/* Books the whole frames at the start of the stream. */
static bool
take_frames(struct load *l, struct load_flow *f, uint64_t now_ns)
{
	enum frame_scan scan;
	size_t at = 0, len;

	while ((scan = frame_scan(f->in + at, f->in_len - at, STREAM_LEN,
		    &len)) == FRAME_SCAN_WHOLE) {
		load_reply(l, f, (struct view){ f->in + at, len }, now_ns);
		at += len;
	}
	f->in_len -= at;
	memmove(f->in, f->in + at, f->in_len);
	return scan == FRAME_SCAN_PART;
}

static bool
read_some(struct load *l, struct load_flow *f)
{
	ssize_t n = recv(
	    f->fd, f->in + f->in_len, STREAM_LEN - f->in_len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN))
		return false;
	if (n <= 0) {
		l->r->refused += n < 0;
		hang_up(l, f);
		return false;
	}
	f->in_len += (size_t)n;
	if (!take_frames(l, f, clock_monotonic_ns())) {
		l->r->unmatched++;
		hang_up(l, f);
	}
	return true;
}

bool
load_tcp_turn(struct load *l, struct load_flow *f, uint64_t now_ns)
{
	bool busy = false;

	if (f->fd < 0)
		return connect_flow(l, f);
	for (int i = 0; i < LOAD_BATCH && f->fd >= 0; i++) {
		if (!write_one(l, f, now_ns))
			break;
		busy = true;
	}
	if (f->fd >= 0)
		busy = read_some(l, f) || busy;
	return busy;
}
