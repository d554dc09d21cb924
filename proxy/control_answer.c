/* What the control socket tells: one line a call. */
#include "proxy/control_inner.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy/notation.h"

static json_t *
number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

/* Nothing is said of an address that there is not. */
static void
set_addr(json_t *to, const char *key, const struct addr *a)
{
	char text[ADDR_STR_LEN];

	if (a->sa.sa_family != AF_UNSPEC)
		json_object_set_new(to, key, json_string(addr_format(text, a)));
}

/* ---- applications ---- */

/* The next application that was asked about; NULL after the last one. */
static struct service *
next_service(struct control_connection *c)
{
	const struct proxy *p = c->control->proxy;

	while (c->cursor < p->current->apps) {
		struct service *v = p->services[c->cursor++];

		if (c->request.application[0] == '\0' ||
		    strcmp(c->request.application, v->app.name) == 0)
			return v;
	}
	return NULL;
}

/* After the last row: none at all is a mistake in the name. */
static void
end_applications(struct control_connection *c)
{
	if (c->rows == 0 && c->request.application[0] != '\0')
		control_end(c, "failed", "there is no application %s",
		    c->request.application);
	else
		control_end(c, "good", NULL);
}

static json_t *
edges_of(const struct app *a)
{
	json_t *list = json_array();
	char edge[NOTATION_EDGE_LEN];

	for (size_t i = 0; i < a->edges; i++)
		json_array_append_new(
		    list, json_string(notation_edge(edge, a, i)));
	return list;
}

static uint64_t
begun(struct service *v)
{
	struct tally_sums sums;

	tally_sum(&sums, v->book);
	return sums.count[TALLY_BEGUN];
}

/* How it stands, and how long what is left may stay. */
static void
set_state(json_t *row, struct service *v, uint64_t now_ns)
{
	uint64_t ends_ns = v->ends_ns;

	json_object_set_new(
	    row, "state", json_string(v->draining ? "draining" : "serving"));
	if (v->draining)
		json_object_set_new(row, "drain_left_ms",
		    number(
			ends_ns > now_ns ? (ends_ns - now_ns) / 1000000 : 0));
}

/* Which path established flows are on, and why not, or not wholly, the fast
 * one. */
static void
set_path(json_t *row, const struct proxy *p, const struct service *v)
{
	const char *why = proxy_fast_why(p, &v->app);
	char text[PROXY_FAST_LACKS_LEN];

	json_object_set_new(
	    row, "path", json_string(why == NULL ? "kernel" : "sockets"));
	if (why == NULL)
		why = proxy_fast_lacks(p, text);
	if (why != NULL && v->app.proto == SOCK_UDP)
		json_object_set_new(row, "path_why", json_string(why));
}

/* Why it has no origins, if origin_dns is why. */
static void
set_unresolved(json_t *row, struct service *v)
{
	int resolution = atomic_load(&v->resolution);

	if (resolution == STATUS_OPEN)
		return;
	json_object_set_new(row, "unresolved",
	    json_string(resolution == SERVICE_RESOLVING
		    ? "resolving"
		    : status_str((enum status)resolution)));
}

static void
tell_application(struct control_connection *c)
{
	struct origin_view origins[APP_ORIGINS_MAX];
	struct service *v = next_service(c);
	char ports[NOTATION_PORTS_LEN];
	uint64_t now_ns = clock_monotonic_ns();
	json_t *row;
	size_t n;

	if (v == NULL) {
		end_applications(c);
		return;
	}
	n = origins_view(v->origins, origins, APP_ORIGINS_MAX, now_ns);
	row = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "application",
	    v->app.name, "protocol", notation_proto_str(v->app.proto), "ports",
	    notation_ports_str(ports, v->app.port_first, v->app.port_last),
	    "edges", edges_of(&v->app), "origins", number(n), "live",
	    number(service_live(v)), "begun", number(begun(v)));
	set_path(row, c->control->proxy, v);
	set_state(row, v, now_ns);
	set_unresolved(row, v);
	control_row(c, row);
}

/* ---- origins ---- */

static const char *
origin_state(const struct origin_view *o)
{
	if (!o->listed)
		return "leaving";
	if (!o->up)
		return "down";
	return o->ejected_ns > 0 ? "ejected" : "up";
}

static json_t *
origin_row(const struct service *v, const struct origin_view *o)
{
	char text[ADDR_STR_LEN];
	uint64_t state_us =
	    o->since_us > 0 ? clock_realtime_us() - o->since_us : 0;

	return json_pack("{s:s, s:s, s:s, s:i, s:s, s:o, s:o, s:o, s:o, s:o, "
			 "s:o, s:o, s:o, s:s}",
	    "application", v->app.name, "protocol",
	    notation_proto_str(v->app.proto), "address",
	    addr_format(text, &o->address), "weight", (int)o->weight, "state",
	    origin_state(o), "ejected_ms", number(o->ejected_ns / 1000000),
	    "live", number(o->live), "failures", number(o->failures), "total",
	    number(o->total), "failed", number(o->failed), "checks",
	    number(o->checks), "checks_failed", number(o->checks_failed),
	    "state_ms", number(state_us / 1000), "why", o->why);
}

/* All of one application at once: 64 rows fit where one may. */
static void
tell_origins(struct control_connection *c)
{
	struct origin_view origins[APP_ORIGINS_MAX];
	struct service *v = next_service(c);
	size_t n;

	if (v == NULL) {
		end_applications(c);
		return;
	}
	n = origins_view(
	    v->origins, origins, APP_ORIGINS_MAX, clock_monotonic_ns());
	for (size_t i = 0; i < n; i++)
		control_row(c, origin_row(v, &origins[i]));
}

/* ---- counters ---- */

static json_t *
by_status(const uint64_t *counts)
{
	json_t *o = json_object();
	char code[16];

	for (unsigned int i = 0; i < STATUS_KINDS; i++) {
		snprintf(code, sizeof code, "%d", status_at(i));
		if (counts[i] > 0)
			json_object_set_new(o, code, number(counts[i]));
	}
	return o;
}

static json_t *
quantile(const struct tally_sums *s, double fraction)
{
	uint64_t us = histogram_scale_quantile(
	    &tally_scale, s->duration, s->duration_max_us, fraction);

	return json_real((double)us / 1e3);
}

/* As Spectrum's analytics have it. */
static json_t *
durations(const struct tally_sums *s)
{
	double n = s->durations > 0 ? (double)s->durations : 1;

	return json_pack("{s:o, s:f, s:f, s:o, s:o, s:o, s:f}", "count",
	    number(s->durations), "sum", (double)s->duration_sum_us / 1e3,
	    "average", (double)s->duration_sum_us / n / 1e3, "median",
	    quantile(s, 0.5), "p90", quantile(s, 0.9), "p99", quantile(s, 0.99),
	    "max", (double)s->duration_max_us / 1e3);
}

static json_t *
counters_row(struct service *v)
{
	json_t *row = json_pack("{s:s, s:s, s:o}", "application", v->app.name,
	    "protocol", notation_proto_str(v->app.proto), "live",
	    number(service_live(v)));
	struct tally_sums s;

	tally_sum(&s, v->book);
	for (int i = 0; i < TALLY_KEYS; i++) {
		const char *name = tally_key_str((enum tally_key)i);

		if (i < TALLY_FROM_CLIENTS || v->app.proto == SOCK_UDP)
			json_object_set_new(row, name, number(s.count[i]));
	}
	json_object_set_new(row, "ended_by", by_status(s.ended_by));
	json_object_set_new(row, "connect_failed", by_status(s.connect_failed));
	json_object_set_new(row, "duration_ms", durations(&s));
	return row;
}

static uint64_t
load(const _Atomic uint64_t *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

static json_t *
worker_row(const struct proxy *p, size_t index)
{
	struct pworker *w = p->workers[index];
	const struct tally_worker *t = pworker_tally(w);
	uint64_t sessions = load(&t->sessions_ended);
	uint64_t flows = load(&t->flows_ended);

	/* what ended is read before what began: the rest cannot be negative */
	sessions = load(&t->sessions_begun) - sessions;
	flows = load(&t->flows_begun) - flows;
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:f}", "worker",
	    (json_int_t)index, "sessions", number(sessions), "sessions_begun",
	    number(load(&t->sessions_begun)), "flows", number(flows),
	    "flows_begun", number(load(&t->flows_begun)), "accept_pauses",
	    number(load(&t->accept_pauses)), "cpu_s",
	    (double)pworker_cpu_ns(w) / 1e9);
}

static json_t *
daemon_row(const struct proxy *p)
{
	char started[CLOCK_RFC3339_LEN];

	return json_pack("{s:s, s:I, s:s, s:f, s:o, s:o, s:s, s:o, s:o, s:o, "
			 "s:I, s:I}",
	    "version", TIMESHARE_VERSION, "pid", (json_int_t)getpid(),
	    "started", clock_rfc3339(started, p->started_us / 1000000),
	    "uptime_s", (double)(clock_monotonic_ns() - p->started_ns) / 1e9,
	    "config", control_text(p->config), "workers",
	    number(p->worker_count), "state",
	    p->stopping ? "stopping" : "serving", "reloads", number(p->reloads),
	    "reloads_failed", number(p->reloads_failed), "event_lines_lost",
	    number(eventlog_lost(p->log)), "tcp_sessions_max",
	    (json_int_t)p->started->tcp_sessions, "udp_flows_max",
	    (json_int_t)p->udp_flows);
}

/* Applications, then workers, then the daemon; one application alone. */
static void
tell_counters(struct control_connection *c)
{
	const struct proxy *p = c->control->proxy;
	struct service *v = next_service(c);
	size_t worker = c->cursor - p->current->apps;

	if (v != NULL) {
		control_row(c, counters_row(v));
	} else if (c->request.application[0] != '\0') {
		end_applications(c);
	} else if (worker < p->worker_count) {
		control_row(c, worker_row(p, worker));
		c->cursor++;
	} else {
		control_row(c, daemon_row(p));
		control_end(c, "good", NULL);
	}
}

/* ---- sessions ---- */

static json_t *
session_row(const struct live_row *r, size_t worker)
{
	json_t *row = json_pack("{s:s, s:s, s:s}", "application",
	    r->application, "protocol", notation_proto_str(r->proto), "state",
	    live_state_str(r->state));

	set_addr(row, "client", &r->client);
	set_addr(row, "edge", &r->edge);
	set_addr(row, "origin", &r->origin);
	json_object_set_new(row, "client_bytes", number(r->client_bytes));
	json_object_set_new(row, "origin_bytes", number(r->origin_bytes));
	if (r->proto == SOCK_UDP) {
		json_object_set_new(
		    row, "client_datagrams", number(r->client_packets));
		json_object_set_new(
		    row, "origin_datagrams", number(r->origin_packets));
	}
	json_object_set_new(row, "age_ms", number(r->age_ms));
	json_object_set_new(row, "idle_ms", number(r->idle_ms));
	json_object_set_new(row, "worker", number(worker));
	return row;
}

/* In the worker's thread. */
static void
answered(struct live_ask *a)
{
	struct control_connection *c = a->context;
	struct control *control = c->control;

	live_box_put(&control->answers, a);
	ev_async_send(control->proxy->loop, &control->answered);
}

static bool
begin_listing(struct control_connection *c)
{
	c->live = calloc(1, sizeof *c->live);
	if (c->live == NULL) {
		control_end(c, "failed", "no memory");
		return false;
	}
	memcpy(c->live->application, c->request.application,
	    sizeof c->live->application);
	c->live->answered = answered;
	c->live->context = c;
	c->live_told = 0;
	return true;
}

static void
ask_worker(struct control_connection *c)
{
	struct pworker *w = c->control->proxy->workers[c->cursor];

	c->live->count = c->live_told = 0;
	c->live_asked = c->waits = true;
	pworker_ask(w, c->live);
}

void
control_listed(struct control_connection *c)
{
	c->live_told = 0;
}

/* One that a reload has removed may still have sessions. */
static bool
is_known(const struct control_connection *c)
{
	return c->request.application[0] == '\0' ||
	    proxy_settings_find(
		c->control->proxy->current, c->request.application) != NULL;
}

/* The cursor is the worker. */
static void
tell_session(struct control_connection *c)
{
	struct live_ask *a = c->live;

	if (a == NULL && !begin_listing(c))
		return;
	a = c->live;
	if (c->request.limit > 0 && c->rows >= c->request.limit) {
		control_end(c, "good", NULL);
	} else if (c->live_told < a->count) {
		control_row(
		    c, session_row(&a->rows[c->live_told++], c->cursor));
	} else if (!a->done) {
		ask_worker(c);
	} else if (c->cursor + 1 < c->control->proxy->worker_count) {
		a->tcp_at = a->udp_at = 0;
		a->tcp_done = a->done = false;
		c->cursor++;
		ask_worker(c);
	} else if (c->rows == 0 && !is_known(c)) {
		end_applications(c);
	} else {
		control_end(c, "good", NULL);
	}
}

/* ---- which ---- */

void
control_answer(struct control_connection *c)
{
	switch (c->request.command) {
	case CONTROL_PING:
		control_end(c, "good", NULL);
		return;
	case CONTROL_VERSION:
		control_row(c, daemon_row(c->control->proxy));
		control_end(c, "good", NULL);
		return;
	case CONTROL_APPLICATIONS:
		tell_application(c);
		return;
	case CONTROL_ORIGINS:
		tell_origins(c);
		return;
	case CONTROL_SESSIONS:
		tell_session(c);
		return;
	case CONTROL_COUNTERS:
		tell_counters(c);
		return;
	case CONTROL_RELOAD:
		control_reload(c);
		return;
	case CONTROL_DRAIN:
	case CONTROL_UNDRAIN:
		control_drain(c);
		return;
	case CONTROL_NONE:
	case CONTROL_COMMANDS:
		return;
	}
}
