#include "proxy/udp_inner.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/sock.h"

static struct service *
service_of(const struct udp_worker *w, const struct flow *f)
{
	return w->sides[flow_index(w->table, f)].service;
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
	if (kind != EVENT_CONNECT)
		e.disconnect_us = clock_realtime_us();
	if (f->origin_slot >= 0)
		e.origin = f->origin;
	eventlog_write(w->setup.log, &e);
}

/* Each datagram of a client may begin a flow that fails: few make a line. */
static bool
may_tell(struct udp_worker *w, const struct addr *client)
{
	const struct addr everybody = { .in = { .sin_family = AF_INET } };

	return limit_take(w->told_client, client, w->now_ns) &&
	    limit_take(w->told, &everybody, w->now_ns);
}

static void
tell_refused(struct udp_worker *w, const struct service *v,
    const struct addr *client, const struct addr *edge, enum event_kind kind,
    enum status status)
{
	struct event e = { .kind = kind,
		.app = &v->app,
		.client = *client,
		.edge = *edge,
		.status = status,
		.firewall_matched = status == STATUS_FIREWALL };

	if (w->setup.log == NULL || !may_tell(w, client))
		return;
	e.connect_us = e.disconnect_us = clock_realtime_us();
	eventlog_write(w->setup.log, &e);
}

static void
describe(const struct flow *f, struct live_row *row, uint64_t now_ms)
{
	row->state = f->replied ? LIVE_REPLIED : LIVE_UNREPLIED;
	row->client = f->client;
	row->edge = f->edge;
	if (f->origin_slot >= 0)
		row->origin = f->origin;
	row->client_bytes = f->client_bytes;
	row->origin_bytes = f->origin_bytes;
	row->client_packets = f->client_packets;
	row->origin_packets = f->origin_packets;
	row->age_ms = now_ms - f->born_ms;
	row->idle_ms = now_ms - f->active_ms;
}

void
udp_worker_list(struct udp_worker *w, struct live_ask *a)
{
	uint64_t now_ms = clock_monotonic_ms();

	for (int looks = 0; a->udp_at < w->setup.flows; a->udp_at++, looks++) {
		const struct flow *f = flow_at(w->table, a->udp_at);
		const struct app *app;

		if (looks == LIVE_LOOKS || a->count == LIVE_ROWS)
			return;
		if (f == NULL)
			continue;
		app = &w->sides[a->udp_at].service->app;
		if (live_wants(a, app->name))
			describe(f, live_row_next(a, app), now_ms);
	}
	a->done = true;
}

/* --- beginning --- */

static int
open_socket(const struct service *v, const struct flow *f)
{
	/* A header belongs to one datagram: no runs then. */
	const struct sock_opts o = { .v6only = true,
		.gro = v->app.header == APP_HEADER_OFF };

	if (v->app.transparent)
		return sock_connect_from(SOCK_UDP, &f->client, &f->origin, &o);
	return sock_connect(SOCK_UDP, &f->origin, &o);
}

static void
leave_origin(const struct service *v, struct flow *f)
{
	origins_end(v->origins, f->origin_slot);
	f->origin_slot = -1;
}

static void
tell_lack(struct udp_worker *w)
{
	log_limited(&w->no_socket, LOG_LEVEL_WARNING,
	    "udp: no socket for a flow: %m; lower udp_flows, or raise the "
	    "limit of open files or net.ipv4.ip_local_port_range");
}

/* Tries origins until one can be sent to; the flow has its slot then. */
static enum status
connect_origin(struct udp_worker *w, const struct service *v, struct flow *f)
{
	enum status last = STATUS_UNAVAILABLE;
	uint64_t tried = 0;

	for (;;) {
		f->origin_slot = origins_begin(v->origins, &f->client,
		    addr_port(&f->edge), tried, w->now_ns, &f->origin);
		if (f->origin_slot < 0)
			return last;
		tried |= (uint64_t)1 << f->origin_slot;
		if (!app_reaches(&v->app, &f->client, &f->origin)) {
			if (last == STATUS_UNAVAILABLE) /* none was tried */
				last = STATUS_CONNECT_INTERNAL;
			leave_origin(v, f);
			continue;
		}
		f->fd = open_socket(v, f);
		if (f->fd >= 0)
			return STATUS_OPEN;
		last = status_from_connect(errno);
		tally_connect_failed(
		    w->sides[flow_index(w->table, f)].tally, last);
		if (last == STATUS_UNAVAILABLE) {
			tell_lack(w);
			return last;
		}
		if (last != STATUS_CONNECT_INTERNAL) /* ours, not its */
			origins_failed(v->origins, f->origin_slot, w->now_ns);
		leave_origin(v, f);
	}
}

static bool
start(struct udp_worker *w, struct flow *f)
{
	uint32_t i = flow_index(w->table, f);
	struct udp_side *s = &w->sides[i];
	uint32_t lifetime_ms = s->service->app.timeouts.lifetime_ms;
	enum status status = connect_origin(w, s->service, f);

	f->connect_us = clock_realtime_us();
	s->ends_ms = lifetime_ms > 0 ? w->now_ms + lifetime_ms : UINT64_MAX;
	if (status == STATUS_OPEN && udp_watch(w, f->fd, i) == 0) {
		tally_add(s->tally, TALLY_CONNECTED, 1);
		tell(w, f, EVENT_CONNECT, STATUS_OPEN);
		return true;
	}
	if (status == STATUS_OPEN) /* no memory for one more in the set */
		status = STATUS_UNAVAILABLE;
	flow_close(w->table, f, status);
	return false;
}

/* By origin_dns: false while there are no origins. Of the first answer nothing
 * is said: that is soon, and clients of UDP ask again. */
static bool
is_resolved(struct udp_worker *w, struct service *v, const struct addr *client,
    const struct addr *edge)
{
	int resolution = atomic_load(&v->resolution);

	if (resolution == STATUS_OPEN)
		return true;
	if (resolution != SERVICE_RESOLVING)
		tell_refused(w, v, client, edge, EVENT_RESOLVE_ORIGIN,
		    (enum status)resolution);
	service_leave(v, client);
	return false;
}

struct flow *
udp_flow_begin(struct udp_worker *w, uint32_t listener,
    const struct addr *client, const struct addr *edge)
{
	struct udp_listener *l = w->listeners[listener];
	struct service *v = l->service;
	enum status status = service_enter(v, l->tally, client, w->now_ns);
	struct flow *f;

	if (status != STATUS_OPEN) {
		tell_refused(w, v, client, edge, EVENT_CLIENT_FILTERED, status);
		return NULL;
	}
	if (!is_resolved(w, v, client, edge))
		return NULL;
	/* Full of flows with replies: one that is idle goes, or a crowd of
	 * short exchanges would shut everybody out. */
	f = flow_add(
	    w->table, client, edge, w->now_ms, v->app.timeouts.idle_ms, true);
	f->listener = listener;
	w->sides[flow_index(w->table, f)].service = service_hold(v);
	w->sides[flow_index(w->table, f)].tally = l->tally;
	l->flows++;
	tally_add(l->tally, TALLY_BEGUN, 1);
	tally_raise(&w->setup.tally->flows_begun, 1);
	if (!start(w, f))
		return NULL;
	if (!ev_is_active(&w->tick))
		ev_timer_again(w->setup.loop, &w->tick);
	return f;
}

/* --- while it lives --- */

uint32_t
udp_flow_idle_ms(const struct udp_worker *w, const struct flow *f)
{
	const struct udp_side *s = &w->sides[flow_index(w->table, f)];
	uint32_t idle_ms = s->service->app.timeouts.idle_ms;

	if (w->now_ms + idle_ms <= s->ends_ms)
		return idle_ms;
	return s->ends_ms > w->now_ms ? (uint32_t)(s->ends_ms - w->now_ms) : 0;
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

void
udp_flow_fault(struct udp_worker *w, struct flow *f, int error)
{
	if (!is_from_origin(error))
		return;
	origins_failed(service_of(w, f)->origins, f->origin_slot, w->now_ns);
	flow_close(w->table, f, status_from_errno(STATUS_SIDE_ORIGIN, error));
}

/* --- ending --- */

static void
count_end(const struct udp_worker *w, const struct flow *f, enum status status)
{
	struct tally *t = w->sides[flow_index(w->table, f)].tally;

	tally_raise(&w->setup.tally->flows_ended, 1);
	tally_end(t, status);
	if (f->fd < 0) {
		tally_add(t, TALLY_NO_ORIGIN, 1);
		return;
	}
	tally_duration(t, (w->now_ms - f->born_ms) * 1000);
	if (status == STATUS_UNAVAILABLE)
		tally_add(t, TALLY_EVICTED, 1);
}

void
udp_flow_closed(void *context, struct flow *f, enum status status)
{
	struct udp_worker *w = context;
	uint32_t index = flow_index(w->table, f);
	struct udp_side *s = &w->sides[index];

	/* What waits in slots belongs to nobody now. */
	for (unsigned int i = 0; i < w->d->count; i++)
		if (w->d->at[i].owner == index)
			w->d->at[i].owner = DGRAMS_NONE;
	if (f->fd >= 0)
		tell(w, f, EVENT_DISCONNECT, status);
	else if (may_tell(w, &f->client))
		tell(w, f, EVENT_ORIGIN_ERROR, status);
	count_end(w, f, status);
	if (f->fd >= 0)
		close(f->fd); /* which takes it out of the epoll set too */
	leave_origin(s->service, f);
	w->listeners[f->listener]->flows--;
	service_leave(s->service, &f->client);
	service_release(s->service);
	s->service = NULL;
	s->tally = NULL;
}
