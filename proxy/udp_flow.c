#include "proxy/udp_inner.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/sock.h"

/* On the way to a flow: a client, and the origin that is tried for it. */
struct attempt {
	struct service *service;
	struct tally *tally; /* of the service, this worker's sheet */
	const struct addr *client, *edge;
	struct addr origin; /* the last one tried */
	int handle, fd;
};

static struct service *
service_of(const struct udp_worker *w, const struct flow *f)
{
	return udp_side_of(w, f)->service;
}

/* --- telling --- */

static void
tell(const struct udp_worker *w, const struct flow *f, enum event_kind kind,
    enum status status)
{
	struct event e = { .kind = kind,
		.app = &service_of(w, f)->app,
		.client = f->client,
		.edge = f->edge,
		.client_bytes = f->client_bytes,
		.origin_bytes = f->origin_bytes,
		.connect_us = f->connect_us,
		.status = status };

	if (w->setup.log == NULL)
		return;
	e.origin = udp_origin_of(w, f);
	if (kind != EVENT_CONNECT)
		e.disconnect_us = clock_realtime_us();
	eventlog_write(w->setup.log, &e);
}

/* Each datagram that begins no flow comes here: few of them make a line. */
static void
tell_refused(struct udp_worker *w, const struct attempt *a,
    enum event_kind kind, enum status status)
{
	const struct addr everybody = { .in = { .sin_family = AF_INET } };
	struct event e = { .kind = kind,
		.app = &a->service->app,
		.client = *a->client,
		.edge = *a->edge,
		.origin = a->origin,
		.status = status,
		.firewall_matched = status == STATUS_FIREWALL };

	if (w->setup.log == NULL ||
	    !limit_take(w->told_client, a->client, w->now_ns) ||
	    !limit_take(w->told, &everybody, w->now_ns))
		return;
	e.connect_us = e.disconnect_us = clock_realtime_us();
	eventlog_write(w->setup.log, &e);
}

static void
describe(const struct udp_worker *w, const struct flow *f, struct live_row *row,
    uint64_t now_ms)
{
	row->state = f->replied ? LIVE_REPLIED : LIVE_UNREPLIED;
	row->client = f->client;
	row->edge = f->edge;
	row->origin = udp_origin_of(w, f);
	row->client_bytes = f->client_bytes;
	row->origin_bytes = f->origin_bytes;
	row->client_packets = f->client_packets;
	row->origin_packets = f->origin_packets;
	row->age_ms = now_ms - f->born_ms;
	row->idle_ms = now_ms - flow_active_ms(f);
}

void
udp_worker_list(struct udp_worker *w, struct live_ask *a)
{
	uint64_t now_ms = clock_monotonic_ms();

	for (int looks = 0; a->udp_at < w->setup.flows; a->udp_at++, looks++) {
		struct flow *f = flow_at(w->table, a->udp_at);
		const struct app *app;

		if (looks == LIVE_LOOKS || a->count == LIVE_ROWS)
			return;
		if (f == NULL)
			continue;
		app = &w->sides[a->udp_at].service->app;
		if (!live_wants(a, app->name))
			continue;
		udp_fast_count(w, f);
		describe(w, f, live_row_next(a, app), now_ms);
	}
	a->done = true;
}

/* --- beginning --- */

static int
open_socket(const struct attempt *a)
{
	const struct sock_opts o = { .v6only = true };

	if (!a->service->app.transparent)
		return sock_connect(SOCK_UDP, &a->origin, &o);
	return sock_connect_from(SOCK_UDP, a->client, &a->origin, &o);
}

static void
tell_lack(struct udp_worker *w)
{
	log_limited(&w->no_socket, LOG_LEVEL_WARNING,
	    "udp: no socket for a flow: %m; lower udp_flows, or raise the "
	    "limit of open files or net.ipv4.ip_local_port_range");
}

/* STATUS_OPEN, or what is wrong with the origin or with us. */
static enum status
try_origin(struct udp_worker *w, struct attempt *a)
{
	enum status status = STATUS_OPEN;

	if (!app_reaches(&a->service->app, a->client, &a->origin))
		return STATUS_CONNECT_INTERNAL;
	a->fd = open_socket(a);
	if (a->fd >= 0)
		return STATUS_OPEN;
	status = status_from_connect(errno);
	if (status == STATUS_UNAVAILABLE)
		tell_lack(w);
	else if (status != STATUS_CONNECT_INTERNAL) /* ours, not its */
		origins_failed(a->service->origins, a->handle, w->now_ns);
	tally_connect_failed(a->tally, status);
	return status;
}

/* Tries origins until one can be sent to; fd and handle are there then. */
static enum status
connect_origin(struct udp_worker *w, struct attempt *a)
{
	struct origins *origins = a->service->origins;
	enum status last = STATUS_CONNECT_INTERNAL, now;
	uint64_t tried = 0;

	for (;;) {
		a->handle = origins_begin(origins, a->client,
		    addr_port(a->edge), tried, w->now_ns, &a->origin);
		if (a->handle < 0)
			return status_without_origin(errno, last);
		tried |= origins_bit(a->handle);
		now = try_origin(w, a);
		if (now == STATUS_OPEN)
			return now;
		origins_end(origins, a->handle);
		if (now == STATUS_UNAVAILABLE)
			return now;
		if (now != STATUS_CONNECT_INTERNAL)
			last = now;
	}
}

/* A flow of its own, for what has a socket. Full of flows with replies: one
 * that is idle goes, or a crowd of short exchanges would shut everybody out. */
static struct flow *
add(struct udp_worker *w, uint32_t listener, const struct attempt *a)
{
	const struct app_timeouts *t = &a->service->app.timeouts;
	struct flow *f =
	    flow_add(w->table, a->client, a->edge, w->now_ms, t->idle_ms, true);
	struct udp_side *s = udp_side_of(w, f);

	f->listener = listener;
	f->origin_handle = a->handle;
	f->connect_us = clock_realtime_us();
	s->service = service_hold(a->service);
	s->ask = (struct udp_ask){ 0 };
	w->listeners[listener]->flows++;
	tally_raise(&w->setup.tally->flows_begun, 1);
	tally_add(a->tally, TALLY_CONNECTED, 1);
	udp_watch_flow(w, f, a->fd);
	tell(w, f, EVENT_CONNECT, STATUS_OPEN);
	if (!ev_is_active(&w->tick))
		ev_timer_again(w->setup.loop, &w->tick);
	return f;
}

/* By origin_dns: false while there are no origins. Of the first answer nothing
 * is said: that is soon, and clients of UDP ask again. */
static bool
is_resolved(struct udp_worker *w, const struct attempt *a)
{
	int resolution = atomic_load(&a->service->resolution);

	if (resolution == STATUS_OPEN)
		return true;
	if (resolution != SERVICE_RESOLVING)
		tell_refused(
		    w, a, EVENT_RESOLVE_ORIGIN, (enum status)resolution);
	service_leave(a->service, a->client);
	return false;
}

/* Somebody may have bound a port of the range since it was looked at. */
static enum status
open_exit(struct udp_worker *w, struct udp_listener *l, const struct attempt *a)
{
	char name[ADDR_STR_LEN];

	if (udp_exit_begin(w, l, a->edge) == 0)
		return STATUS_OPEN;
	log_limited(&w->no_socket, LOG_LEVEL_WARNING,
	    "udp: no flow: replies cannot leave from %s: %m",
	    addr_format(name, a->edge));
	close(a->fd);
	origins_end(a->service->origins, a->handle);
	return STATUS_UNAVAILABLE;
}

struct flow *
udp_flow_begin(struct udp_worker *w, uint32_t listener,
    const struct addr *client, const struct addr *edge)
{
	struct attempt a = { .service = w->listeners[listener]->service,
		.tally = w->listeners[listener]->tally,
		.client = client,
		.edge = edge };
	enum status status =
	    service_enter(a.service, a.tally, client, w->now_ns);

	if (status != STATUS_OPEN) {
		tell_refused(w, &a, EVENT_CLIENT_FILTERED, status);
		return NULL;
	}
	if (!is_resolved(w, &a))
		return NULL;
	tally_add(a.tally, TALLY_BEGUN, 1);
	status = connect_origin(w, &a);
	if (status == STATUS_OPEN)
		status = open_exit(w, w->listeners[listener], &a);
	if (status != STATUS_OPEN) {
		service_leave(a.service, client);
		tally_end(a.tally, status);
		tally_add(a.tally, TALLY_NO_ORIGIN, 1);
		tell_refused(w, &a, EVENT_ORIGIN_ERROR, status);
		return NULL;
	}
	return add(w, listener, &a);
}

/* --- while it lives --- */

uint32_t
udp_flow_idle_ms(const struct udp_worker *w, const struct flow *f)
{
	const struct app_timeouts *t = &service_of(w, f)->app.timeouts;
	uint64_t ends_ms = f->born_ms + t->lifetime_ms;

	if (t->lifetime_ms == 0 || w->now_ms + t->idle_ms <= ends_ms)
		return t->idle_ms;
	return ends_ms > w->now_ms ? (uint32_t)(ends_ms - w->now_ms) : 0;
}

/*
 * What says that nobody is there (icmp(7)); the others are ours (buffers, a
 * packet filter) or the datagram's (EMSGSIZE), and the next one may pass.
 */
static bool
is_from_origin(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case ENETDOWN:
	case ENONET:
	case ENOPROTOOPT:
	case EPROTO:
	case ETIMEDOUT:
	case EPIPE:
		return true;
	default:
		return false;
	}
}

bool
udp_flow_fault(struct udp_worker *w, struct flow *f, int error)
{
	if (!is_from_origin(error))
		return false;
	origins_failed(service_of(w, f)->origins, f->origin_handle, w->now_ns);
	flow_close(w->table, f, status_from_errno(STATUS_SIDE_ORIGIN, error));
	return true;
}

/* --- ending --- */

static void
count_end(struct udp_worker *w, const struct flow *f, enum status status)
{
	struct tally *t = udp_tally_of(w, service_of(w, f));

	tally_raise(&w->setup.tally->flows_ended, 1);
	tally_end(t, status);
	tally_duration(t, (w->now_ms - f->born_ms) * 1000);
	if (status == STATUS_UNAVAILABLE)
		tally_add(t, TALLY_EVICTED, 1);
	if (status == STATUS_UNAVAILABLE && f->replied)
		log_limited(&w->full, LOG_LEVEL_WARNING,
		    "udp: all flows have had replies, and those idle the "
		    "longest give way: raise udp_flows, lower idle_timeout_s, "
		    "or say udp.responses");
}

/* What waits in slots belongs to nobody now. */
static void
forget_datagrams(struct udp_worker *w, const struct flow *f)
{
	struct tally *t = udp_tally_of(w, service_of(w, f));
	uint32_t index = flow_index(w->table, f);

	for (unsigned int i = 0; i < w->d->count; i++) {
		if (w->d->at[i].owner != index)
			continue;
		tally_add(t,
		    w->via[i] == DGRAMS_NONE ? TALLY_DROP_NO_FLOW
					     : TALLY_DROP_TO_CLIENT,
		    dgrams_held(&w->d->at[i]));
		w->d->at[i].owner = w->via[i] = DGRAMS_NONE;
	}
}

void
udp_flow_closed(void *context, struct flow *f, enum status status)
{
	struct udp_worker *w = context;
	uint32_t index = flow_index(w->table, f);
	struct udp_side *s = &w->sides[index];

	forget_datagrams(w, f);
	udp_fast_end(w, f);
	tell(w, f, EVENT_DISCONNECT, status);
	count_end(w, f, status);
	ev_io_stop(w->setup.loop, &s->ready);
	close(s->ready.fd);
	origins_end(s->service->origins, f->origin_handle);
	udp_exit_end(w, w->listeners[f->listener], &f->edge);
	w->listeners[f->listener]->flows--;
	service_leave(s->service, &f->client);
	service_release(s->service);
	s->service = NULL;
}
