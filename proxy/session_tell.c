#include "proxy/session_inner.h"

#include "base/clock.h"
#include "net/tcp.h"

static void
describe_origin(const struct session *s, struct event *e)
{
	if (s->chosen < 0)
		return;
	e->origin = s->origin_address;
	if (e->kind == EVENT_DISCONNECT)
		e->origin_rtt_ns = tcp_rtt_ns(s->origin.io.fd);
}

void
session_tell(const struct session *s, enum event_kind kind, enum status status)
{
	struct event e = { .kind = kind,
		.app = &s->service->app,
		.client = s->client_address,
		.edge = s->edge,
		.client_bytes = s->client.relay.bytes,
		.origin_bytes = s->origin.relay.bytes,
		.connect_us = s->connect_us,
		.status = status };

	if (s->table->setup.log == NULL)
		return;
	if (kind != EVENT_CONNECT)
		e.disconnect_us = clock_realtime_us();
	if (kind == EVENT_DISCONNECT)
		e.client_rtt_ns = tcp_rtt_ns(s->client.io.fd);
	describe_origin(s, &e);
	eventlog_write(s->table->setup.log, &e);
}

void
session_tell_refused(struct sessions *t, const struct service *v,
    const struct addr *client, const struct addr *edge, enum status status)
{
	uint64_t now_us = clock_realtime_us();
	struct event e = { .kind = EVENT_CLIENT_FILTERED,
		.app = &v->app,
		.client = *client,
		.edge = *edge,
		.connect_us = now_us,
		.disconnect_us = now_us,
		.status = status,
		.firewall_matched = status == STATUS_FIREWALL };

	if (t->setup.log != NULL)
		eventlog_write(t->setup.log, &e);
}

static enum live_state
state_of(const struct session *s)
{
	switch (s->state) {
	case SESSION_HEADER:
		return LIVE_HEADER;
	case SESSION_RESOLVING:
		return LIVE_RESOLVING;
	case SESSION_CONNECTING:
		return LIVE_CONNECTING;
	case SESSION_FREE:
	case SESSION_OPEN:
		break;
	}
	if (s->client.ended)
		return LIVE_CLIENT_ENDED;
	return s->origin.ended ? LIVE_ORIGIN_ENDED : LIVE_OPEN;
}

/* Since when nothing has passed. */
static double
quiet_since(const struct session *s)
{
	switch (s->state) {
	case SESSION_CONNECTING:
		return s->clock.attempt;
	case SESSION_OPEN:
		return s->clock.active;
	case SESSION_FREE:
	case SESSION_HEADER:
	case SESSION_RESOLVING:
		break;
	}
	return s->clock.born;
}

static void
describe(const struct session *s, struct live_row *row, double now_s)
{
	row->state = state_of(s);
	row->client = s->client_address;
	row->edge = s->edge;
	if (s->chosen >= 0)
		row->origin = s->origin_address;
	row->client_bytes = s->client.relay.bytes;
	row->origin_bytes = s->origin.relay.bytes;
	row->age_ms = (uint64_t)((now_s - s->clock.born) * 1e3);
	row->idle_ms = (uint64_t)((now_s - quiet_since(s)) * 1e3);
}

void
sessions_list(const struct sessions *t, struct live_ask *a)
{
	double now_s = session_now_s();

	for (int looks = 0; a->tcp_at < t->fresh; a->tcp_at++, looks++) {
		const struct session *s = &t->slots[a->tcp_at];

		if (looks == LIVE_LOOKS || a->count == LIVE_ROWS)
			return;
		if (s->state != SESSION_FREE &&
		    live_wants(a, s->service->app.name))
			describe(s, live_row_next(a, &s->service->app), now_s);
	}
	a->tcp_done = true;
}
