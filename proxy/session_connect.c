#include "proxy/session_inner.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "net/tcp.h"

static void
connected(struct session *s)
{
	ev_set_cb(&s->origin.io, session_half_event);
	origins_worked(s->service->origins, s->chosen);
	tally_add(s->tally, TALLY_CONNECTED, 1);
	session_set_state(s, SESSION_OPEN);
	session_tell(s, EVENT_CONNECT, STATUS_OPEN);
	/* the client's first bytes are here already, more often than not */
	if (session_first_bytes(s) && session_move(&s->client))
		session_watch(s);
}

void
session_connect_failed(struct session *s, enum status status)
{
	origins_failed(s->service->origins, s->chosen, clock_monotonic_ns());
	tally_connect_failed(s->tally, status);
	session_half_close(&s->origin, true);
	session_tell(s, EVENT_ORIGIN_ERROR, status);
	session_leave_origin(s);
	session_connect(s, status);
}

static void
connect_event(struct ev_loop *loop, ev_io *io, int events)
{
	struct session *s = ((struct half *)io)->session;
	int error = tcp_error(io->fd);

	(void)loop;
	(void)events;
	if (error != 0) {
		session_connect_failed(
		    s, status_from_errno(STATUS_SIDE_CONNECT, error));
		return;
	}
	connected(s);
}

static void
tell_lack(struct sessions *t)
{
	t->no_fd |= errno == EMFILE || errno == ENFILE;
	if (errno == EADDRNOTAVAIL)
		log_limited(&t->lack, LOG_LEVEL_WARNING,
		    "tcp: no local port left towards an origin");
	else
		log_limited(&t->lack, LOG_LEVEL_WARNING,
		    "tcp: no descriptor left for an origin: %s",
		    strerror(errno));
}

static int
open_origin(struct session *s)
{
	uint8_t bytes[SESSION_EARLY_MAX];
	struct sock_early early = { bytes, session_early(s, bytes), 0 };
	const struct sock_opts o = {
		.v6only = true,
		.nodelay = true,
		.early = &early,
		.congestion =
		    app_congestion(&s->service->app, &s->origin_address),
	};
	int fd = s->service->app.transparent
	    ? sock_connect_from(
		  SOCK_TCP, &s->client_address, &s->origin_address, &o)
	    : sock_connect(SOCK_TCP, &s->origin_address, &o);

	s->early = (uint16_t)early.sent;
	return fd;
}

/* This origin did not even begin. */
static enum status
could_not(struct session *s, int error)
{
	enum status status = status_from_connect(error);

	if (status == STATUS_UNAVAILABLE)
		tell_lack(s->table);
	else if (status != STATUS_CONNECT_INTERNAL) /* ours, not its */
		origins_failed(
		    s->service->origins, s->chosen, clock_monotonic_ns());
	tally_connect_failed(s->tally, status);
	session_tell(s, EVENT_ORIGIN_ERROR, status);
	return status;
}

/* None of them is one that this client's address can reach. */
static enum status
none_fits(struct session *s)
{
	log_limited(&s->table->lack, LOG_LEVEL_WARNING,
	    "tcp: %s: transparent: an %s client, and no such origin",
	    s->service->app.name,
	    s->client_address.sa.sa_family == AF_INET ? "IPv4" : "IPv6");
	tally_connect_failed(s->tally, STATUS_CONNECT_INTERNAL);
	session_tell(s, EVENT_ORIGIN_ERROR, STATUS_CONNECT_INTERNAL);
	return STATUS_CONNECT_INTERNAL;
}

/* By origin_dns: false until there are origins; it waits then, or is over. */
static bool
is_resolved(struct session *s)
{
	int resolution = atomic_load(&s->service->resolution);

	if (resolution == STATUS_OPEN)
		return true;
	if (resolution != SERVICE_RESOLVING)
		session_close(s, (enum status)resolution, true);
	else if (s->state != SESSION_RESOLVING)
		session_set_state(s, SESSION_RESOLVING);
	return false;
}

void
session_connect(struct session *s, enum status last)
{
	struct origins *origins = s->service->origins;
	uint64_t now_ns = clock_monotonic_ns();
	bool told = s->tried != 0;
	int fd = -1;

	if (!is_resolved(s))
		return;
	while (last != STATUS_UNAVAILABLE) {
		s->chosen = origins_begin(origins, &s->client_address,
		    addr_port(&s->edge), s->tried, now_ns, &s->origin_address);
		if (s->chosen < 0) {
			last = status_without_origin(errno, last);
			break;
		}
		s->tried |= origins_bit(s->chosen);
		if (app_reaches(&s->service->app, &s->client_address,
			&s->origin_address)) {
			fd = open_origin(s);
			if (fd >= 0)
				break;
			last = could_not(s, errno);
			told = true;
		}
		session_leave_origin(s);
	}
	if (fd < 0 && s->tried != 0 && !told)
		last = none_fits(s);
	if (fd < 0) {
		session_close(s, last, true);
		return;
	}
	ev_io_init(&s->origin.io, connect_event, fd, EV_WRITE);
	if (tcp_is_connected(fd))
		connected(s);
	else
		session_set_state(s, SESSION_CONNECTING);
}
