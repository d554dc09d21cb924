#include "proxy/session_inner.h"

#include <errno.h>

#include "base/clock.h"
#include "net/tcp.h"
#include "proxy/header.h"

/*
 * The bytes are looked at where they are, in the socket's queue, until the
 * header is whole; then just the header is taken. So a peer that takes its
 * time costs a slot and no buffer, and what follows the header is still where
 * the relay will look for it.
 */

static void
refuse(struct session *s, enum status status)
{
	session_close(s, status, true);
}

/* What the peer says of its client; LOCAL and UNKNOWN are about itself. */
static void
believe(struct session *s, const struct header_ends *ends)
{
	if (ends->local)
		return;
	s->client_address = ends->client;
	s->asked = ends->proxy;
}

static void
accept_client(struct session *s, size_t used)
{
	uint8_t header[HEADER_READ_MAX];
	enum status status;

	if (s->seen > 0)
		tcp_readable_from(s->client.io.fd, 1);
	/* it was whole a moment ago, so it is */
	if (tcp_take(s->client.io.fd, header, used) != (ssize_t)used) {
		refuse(s, STATUS_HEADER_BAD);
		return;
	}
	status = session_enter(s, clock_monotonic_ns());
	if (status != STATUS_OPEN) {
		refuse(s, status);
		return;
	}
	ev_set_cb(&s->client.io, session_half_event);
	session_connect(s, STATUS_CONNECT_FAILED);
}

/* A prefix of a header: woken next when there is more than that. */
static void
wait_for_more(struct session *s, size_t have)
{
	if (have > s->seen) {
		s->seen = (uint16_t)have;
		tcp_readable_from(s->client.io.fd, (int)have + 1);
	} else if (tcp_is_ended(s->client.io.fd)) {
		refuse(s, STATUS_HEADER_BAD);
	}
}

static void
look(struct session *s)
{
	uint8_t bytes[HEADER_READ_MAX];
	ssize_t n = tcp_peek(s->client.io.fd, bytes, sizeof bytes);
	struct view seen = { bytes, n > 0 ? (size_t)n : 0 };
	struct header_ends ends;
	size_t used = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		refuse(s,
		    n == 0 ? STATUS_HEADER_BAD
			   : status_from_errno(STATUS_SIDE_CLIENT, errno));
		return;
	}
	switch (header_read(seen, &ends, &used)) {
	case HEADER_OK:
		believe(s, &ends);
		accept_client(s, used);
		return;
	case HEADER_MORE:
		wait_for_more(s, seen.len);
		return;
	default:
		refuse(s, STATUS_HEADER_BAD);
	}
}

static void
header_event(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	(void)events;
	look(((struct half *)io)->session);
}

void
session_await_header(struct session *s)
{
	ev_set_cb(&s->client.io, header_event);
	session_set_state(s, SESSION_HEADER);
	/* it is here already, more often than not */
	look(s);
}
