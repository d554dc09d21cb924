#include "proxy/discovery.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/sock.h"
#include "proxy/dnsset.h"
#include "proxy/lookup.h"

#define NS_PER_S 1000000000u
/* Of a set that changes at each look, or a server that fails at each second
 * one, the log hears a few times a minute. */
#define LINES 5
#define LINES_S 60
#define NAMED 4 /* origins in a line */
#define LIST_LEN (NAMED * ADDR_STR_LEN + 32)

/* One service. */
struct watch {
	struct discovery *discovery;
	struct service *service; /* held */
	struct lookup *lookup;
	struct app_origin origin[APP_ORIGINS_MAX]; /* that it has now */
	size_t origins;
	/* what the log has been told */
	enum status status;
	enum resolver_outcome why;
	size_t blocked;
	unsigned int lines; /* of changes, until lines_ns */
	uint64_t lines_ns;
};

struct discovery {
	struct discovery_setup setup;
	struct service **services; /* held */
	size_t count;
	struct watch **watches; /* `watching` of them */
	size_t watching;
};

/* ---- telling: once for each change of state ---- */

/* `192.0.2.1:25, 192.0.2.2:25 and 3 more` */
static char *
list_str(char buf[static LIST_LEN], const struct watch *w)
{
	char one[ADDR_STR_LEN];
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < w->origins && i < NAMED; i++)
		len += (size_t)snprintf(buf + len, LIST_LEN - len, "%s%s",
		    i > 0 ? ", " : "", addr_format(one, &w->origin[i].address));
	if (w->origins > NAMED)
		snprintf(buf + len, LIST_LEN - len, " and %zu more",
		    w->origins - NAMED);
	return buf;
}

static void
tell_failure(const struct watch *w, const struct lookup_result *r)
{
	const char *why = r->why == RESOLVER_ANSWERED
	    ? status_str(w->status)
	    : resolver_outcome_str(r->why);
	const struct app *a = &w->service->app;

	if (w->status == STATUS_OPEN)
		log_warning("%s: %s is resolved in part: %s; what is not "
			    "known stays as it was",
		    a->name, a->dns.name, why);
	else if (w->origins > 0)
		log_warning("%s: %s is not resolved: %s; what it had before "
			    "(%zu) stays",
		    a->name, a->dns.name, why, w->origins);
	else
		log_warning("%s: %s is not resolved: %s; it has no origin",
		    a->name, a->dns.name, why);
}

static bool
may_tell(struct watch *w)
{
	uint64_t now_ns = clock_monotonic_ns();

	if (now_ns >= w->lines_ns) {
		w->lines_ns = now_ns + (uint64_t)LINES_S * NS_PER_S;
		w->lines = 0;
	}
	return w->lines++ < LINES;
}

static void
tell_origins(const struct watch *w, const struct lookup_result *r, bool again)
{
	const struct app *a = &w->service->app;
	char list[LIST_LEN];

	log_info("%s: %s is %s%s, for %u s", a->name, a->dns.name,
	    again ? "resolved again: " : "", list_str(list, w),
	    r->again_ms / 1000);
}

static void
tell(struct watch *w, const struct lookup_result *r, enum status status,
    bool changed)
{
	bool failed = status != STATUS_OPEN || r->why != RESOLVER_ANSWERED;
	bool again = w->status != STATUS_OPEN || w->why != RESOLVER_ANSWERED;
	bool same = status == w->status && r->why == w->why;

	if (failed ? same : !changed && !again)
		return;
	/* a state that is not told now is news as long as it lasts */
	if (!may_tell(w))
		return;
	w->status = status;
	w->why = r->why;
	if (failed)
		tell_failure(w, r);
	else
		tell_origins(w, r, again);
}

/* ---- what a look-up brings ---- */

static bool
is_own_edge(const struct watch *w, const struct addr *to)
{
	const struct app *self = &w->service->app;
	unsigned int ports =
	    (unsigned int)(self->port_last - self->port_first) + 1;
	struct discovery *d = w->discovery;

	for (size_t i = 0; i < d->count; i++) {
		const struct app *a = &d->services[i]->app;
		const struct addr *edge;

		if (a->proto != self->proto)
			continue;
		edge = app_edge_at(a, to, ports, true);
		if (edge != NULL &&
		    (!app_edge_is_wide(a, edge) || sock_is_local(to)))
			return true;
	}
	return false;
}

/* Leaves those out that lead back to us. */
static size_t
filter(struct watch *w, const struct lookup_result *r, struct app_origin *list)
{
	const struct app *a = &w->service->app;
	char text[ADDR_STR_LEN];
	size_t n = 0, blocked = 0;

	for (size_t i = 0; i < r->origins; i++) {
		if (!is_own_edge(w, &r->origin[i].address)) {
			list[n++] = r->origin[i];
			continue;
		}
		if (++blocked > w->blocked)
			log_warning("%s: %s is %s, an edge of this proxy: left "
				    "out, or sessions would run in a circle",
			    a->name, a->dns.name,
			    addr_format(text, &r->origin[i].address));
	}
	w->blocked = blocked;
	return n;
}

/* Whether it is another set than before. */
static bool
take(struct watch *w, const struct app_origin *list, size_t n)
{
	if (dnsset_same(list, n, w->origin, w->origins))
		return false;
	memcpy(w->origin, list, n * sizeof *list);
	w->origins = n;
	/* never more than there is room for */
	(void)origins_replace(w->service->origins, list, n);
	return true;
}

static void
settle(struct watch *w, enum status status)
{
	int before = atomic_exchange(&w->service->resolution,
	    w->origins > 0 ? (int)STATUS_OPEN : (int)status);

	if (before == SERVICE_RESOLVING)
		w->discovery->setup.first_answer(w->discovery->setup.arg);
}

static void
looked_up(void *arg, const struct lookup_result *r)
{
	struct app_origin list[APP_ORIGINS_MAX];
	struct watch *w = arg;
	enum status status = r->status;
	bool changed = false;
	size_t n;

	if (status == STATUS_OPEN) {
		n = filter(w, r, list);
		if (n > 0)
			changed = take(w, list, n);
		else
			status = STATUS_ORIGIN_BLOCKED;
	}
	tell(w, r, status, changed);
	settle(w, status);
}

/* ---- over a reload ---- */

static struct watch *
find(struct discovery *d, const struct service *v, bool same)
{
	for (size_t i = 0; d != NULL && i < d->watching; i++) {
		struct watch *w = d->watches[i];

		if (w != NULL &&
		    (same ? w->service == v
			  : app_dns_same(&w->service->app, &v->app)))
			return w;
	}
	return NULL;
}

static void
free_watch(struct watch *w)
{
	if (w == NULL)
		return;
	lookup_free(w->lookup);
	service_release(w->service);
	free(w);
}

/* The same service: its watch changes hands. */
static bool
take_over(struct discovery *d, size_t i, struct discovery *former)
{
	struct watch *w = find(former, d->watches[i]->service, true);

	if (w == NULL)
		return false;
	for (size_t k = 0; k < former->watching; k++)
		if (former->watches[k] == w)
			former->watches[k] = NULL;
	free_watch(d->watches[i]);
	w->discovery = d;
	d->watches[i] = w;
	return true;
}

/* The same name: its service begins with what is known. */
static void
inherit(struct watch *w, const struct watch *from)
{
	lookup_inherit(w->lookup, from->lookup);
	w->status = from->status;
	w->why = from->why;
	w->blocked = from->blocked;
	w->lines = from->lines;
	w->lines_ns = from->lines_ns;
	take(w, from->origin, from->origins);
	atomic_store(
	    &w->service->resolution, atomic_load(&from->service->resolution));
}

void
discovery_start(struct discovery *d, struct discovery *former)
{
	if (d->watching > 0)
		resolver_log(d->setup.resolver);
	for (size_t i = 0; i < d->watching; i++) {
		struct watch *from;

		if (take_over(d, i, former))
			continue;
		from = find(former, d->watches[i]->service, false);
		if (from != NULL)
			inherit(d->watches[i], from);
		lookup_start(d->watches[i]->lookup);
	}
}

/* ---- making and ending ---- */

static struct watch *
make_watch(struct discovery *d, struct service *v)
{
	struct watch *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	w->discovery = d;
	w->service = service_hold(v);
	w->lookup = lookup_new(
	    d->setup.resolver, d->setup.loop, &v->app.dns, looked_up, w);
	if (w->lookup != NULL)
		return w;
	free_watch(w);
	return NULL;
}

static int
fill(struct discovery *d, struct service *const *services, size_t n)
{
	d->services = calloc(n + 1, sizeof(struct service *));
	d->watches = calloc(n + 1, sizeof(struct watch *));
	if (d->services == NULL || d->watches == NULL)
		return -1;
	for (; d->count < n; d->count++) {
		struct service *v = services[d->count];

		d->services[d->count] = service_hold(v);
		if (v->app.dns.name[0] == '\0')
			continue;
		d->watches[d->watching] = make_watch(d, v);
		if (d->watches[d->watching++] == NULL)
			return -1;
	}
	return 0;
}

struct discovery *
discovery_new(const struct discovery_setup *setup,
    struct service *const *services, size_t n)
{
	struct discovery *d = calloc(1, sizeof *d);

	if (d == NULL)
		return NULL;
	d->setup = *setup;
	if (fill(d, services, n) == 0)
		return d;
	discovery_free(d);
	errno = ENOMEM;
	return NULL;
}

void
discovery_free(struct discovery *d)
{
	if (d == NULL)
		return;
	for (size_t i = 0; i < d->watching; i++)
		free_watch(d->watches[i]);
	for (size_t i = 0; i < d->count; i++)
		service_release(d->services[i]);
	free(d->watches);
	free(d->services);
	free(d);
}
