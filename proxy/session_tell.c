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
