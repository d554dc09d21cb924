#include "proxy/health.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/probe.h"

#define FIRST_S 1.0 /* within which the first check of an origin begins */
#define LOOK_S 5.0 /* at most, between looks at which origins there are */

/* An origin, by its slot. */
struct target {
	struct checks *owner;
	bool used;
	struct addr address;
	double began; /* the check that is under way, or was the last */
	ev_timer next;
	struct probe probe;
};

/* Of one service. */
struct checks {
	struct service *service; /* held */
	struct ev_loop *loop;
	ev_timer look;
	struct log_gate lack;
	struct target target[APP_ORIGINS_MAX];
};

struct health {
	size_t count;
	struct checks *list[]; /* NULL: taken over by a later one */
};

static double
now_s(void)
{
	return (double)clock_monotonic_ns() / 1e9;
}

/* From 0 to 1. */
static double
chance(void)
{
	return randombytes_uniform(1u << 20) / (double)(1u << 20);
}

double
health_pause(const struct app_check *c, double elapsed_s)
{
	double s = c->interval_ms / 1e3 * (0.9 + 0.2 * chance()) - elapsed_s;

	return s > 0 ? s : 0;
}

/* ---- results ---- */

static size_t
count_up(const struct service *v, size_t *all)
{
	struct origin_view view[APP_ORIGINS_MAX];
	size_t n = origins_view(v->origins, view, APP_ORIGINS_MAX, 0), up = 0;

	*all = 0;
	for (size_t i = 0; i < n; i++) {
		*all += view[i].listed;
		up += view[i].listed && view[i].up;
	}
	return up;
}

static void
tell(const struct service *v, const struct addr *origin,
    enum origin_change change, const char *why)
{
	char text[ADDR_STR_LEN];
	size_t all, up = count_up(v, &all);

	addr_format(text, origin);
	if (change == ORIGIN_ROSE)
		log_info("%s: origin %s is up; %zu of %zu are", v->app.name,
		    text, up, all);
	else if (up > 0)
		log_warning("%s: origin %s is down: %s; %zu of %zu are up",
		    v->app.name, text, why, up, all);
	else
		log_warning("%s: origin %s is down: %s; none of %zu is up, %s",
		    v->app.name, text, why, all,
		    v->app.origins_down == APP_DOWN_REFUSE
			? "new sessions are refused"
			: "they are used as if they were");
}

static void
check_ended(void *arg, enum probe_result result, const char *why)
{
	struct target *t = arg;
	struct checks *c = t->owner;
	enum origin_change change = ORIGIN_SAME;

	if (result == PROBE_UNKNOWN)
		log_limited(&c->lack, LOG_LEVEL_WARNING,
		    "%s: no socket for a health check: %m",
		    c->service->app.name);
	else
		change = origins_checked(c->service->origins, &t->address,
		    result == PROBE_GOOD ? NULL : why, clock_realtime_us());
	if (change != ORIGIN_SAME)
		tell(c->service, &t->address, change, why);
	ev_timer_set(&t->next,
	    health_pause(&c->service->app.check, now_s() - t->began), 0);
	ev_timer_start(c->loop, &t->next);
}

/* ---- turns ---- */

static void
next_event(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct target *t = timer->data;

	(void)loop;
	(void)events;
	t->began = now_s();
	probe_start(&t->probe, &t->address);
}

static void
stop_target(struct target *t)
{
	if (!t->used)
		return;
	ev_timer_stop(t->owner->loop, &t->next);
	probe_stop(&t->probe);
	t->used = false;
}

static void
start_target(struct checks *c, struct target *t, const struct addr *address)
{
	double within = c->service->app.check.interval_ms / 1e3;

	t->owner = c;
	t->used = true;
	t->address = *address;
	probe_init(&t->probe, c->loop, &c->service->app, check_ended, t);
	ev_timer_init(&t->next, next_event,
	    chance() * (within < FIRST_S ? within : FIRST_S), 0);
	t->next.data = t;
	ev_timer_start(c->loop, &t->next);
}

/* Those that are listed are checked, and no others. */
static void
look_event(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct checks *c = timer->data;
	struct origin_view view[APP_ORIGINS_MAX];
	const struct addr *at[APP_ORIGINS_MAX] = { NULL };
	size_t n = origins_view(c->service->origins, view, APP_ORIGINS_MAX, 0);

	(void)loop;
	(void)events;
	for (size_t i = 0; i < n; i++)
		if (view[i].listed)
			at[view[i].slot] = &view[i].address;
	for (int i = 0; i < APP_ORIGINS_MAX; i++) {
		struct target *t = &c->target[i];

		if (t->used &&
		    (at[i] == NULL || !addr_equal(&t->address, at[i])))
			stop_target(t);
		if (!t->used && at[i] != NULL)
			start_target(c, t, at[i]);
	}
}

/* ---- services ---- */

static struct checks *
checks_new(struct ev_loop *loop, struct service *v)
{
	struct checks *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->service = service_hold(v);
	c->loop = loop;
	ev_init(&c->look, look_event);
	c->look.data = c;
	return c;
}

static void
checks_free(struct checks *c)
{
	if (c == NULL)
		return;
	ev_timer_stop(c->loop, &c->look);
	for (int i = 0; i < APP_ORIGINS_MAX; i++)
		stop_target(&c->target[i]);
	service_release(c->service);
	free(c);
}

static void
checks_start(struct checks *c)
{
	double interval = c->service->app.check.interval_ms / 1e3;

	ev_timer_set(&c->look, 0, interval < LOOK_S ? interval : LOOK_S);
	ev_timer_start(c->loop, &c->look);
}

struct health *
health_new(struct ev_loop *loop, struct service *const *services, size_t n)
{
	struct health *h = calloc(1, sizeof *h + n * sizeof(struct checks *));

	for (size_t i = 0; h != NULL && i < n; i++) {
		if (services[i]->app.check.kind == APP_CHECK_OFF)
			continue;
		h->list[h->count] = checks_new(loop, services[i]);
		if (h->list[h->count] == NULL) {
			health_free(h);
			return NULL;
		}
		h->count++;
	}
	return h;
}

/* The checks of `v`, taken away; NULL: there are none. */
static struct checks *
take(struct health *h, const struct service *v)
{
	for (size_t i = 0; h != NULL && i < h->count; i++) {
		struct checks *c = h->list[i];

		if (c == NULL || c->service != v)
			continue;
		h->list[i] = NULL;
		return c;
	}
	return NULL;
}

void
health_start(struct health *h, struct health *former)
{
	for (size_t i = 0; i < h->count; i++) {
		struct checks *c = take(former, h->list[i]->service);

		if (c == NULL) {
			checks_start(h->list[i]);
			continue;
		}
		checks_free(h->list[i]);
		h->list[i] = c;
	}
}

void
health_free(struct health *h)
{
	for (size_t i = 0; h != NULL && i < h->count; i++)
		checks_free(h->list[i]);
	free(h);
}
