/* Taking an application out of service, and back. */
#include "proxy/proxy_state.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* Its index; -1 and why in `why`. */
static long
find(const struct proxy *p, const char *name, char why[static PROXY_WHY_LEN])
{
	for (size_t i = 0; i < p->current->apps; i++)
		if (strcmp(p->services[i]->app.name, name) == 0)
			return (long)i;
	snprintf(why, PROXY_WHY_LEN, "there is no application %s", name);
	return -1;
}

/* What it says of itself now becomes true of its ports: proxy_settle(). */
static int
hand_over(struct proxy *p)
{
	p->settling = true;
	ev_timer_again(p->loop, &p->tick);
	return proxy_configure(p);
}

int
proxy_drain(struct proxy *p, const char *name, int64_t for_ms,
    char why[static PROXY_WHY_LEN])
{
	long index = find(p, name, why);
	struct service *v = index >= 0 ? p->services[index] : NULL;

	if (v == NULL)
		return -1;
	if (for_ms < 0)
		for_ms = p->current->drain_s * 1000;
	atomic_store(&v->draining, true);
	service_end_by(v, clock_monotonic_ns() + (uint64_t)for_ms * 1000000);
	edge_leave(&p->edges, (size_t)index);
	if (hand_over(p) != 0) {
		atomic_store(&v->draining, false);
		service_end_by(v, 0);
		snprintf(why, PROXY_WHY_LEN, "%s: no memory", name);
		return -1;
	}
	log_info("%s: drained, %zu sessions get %lld s", name, service_live(v),
	    (long long)(for_ms / 1000));
	return 0;
}

int
proxy_undrain(struct proxy *p, const char *name, char why[static PROXY_WHY_LEN])
{
	long index = find(p, name, why);
	struct service *v = index >= 0 ? p->services[index] : NULL;

	if (v == NULL)
		return -1;
	atomic_store(&v->draining, false);
	service_end_by(v, 0);
	if (hand_over(p) != 0) {
		snprintf(why, PROXY_WHY_LEN, "%s: no memory", name);
		return -1;
	}
	log_info("%s: serves again", name);
	return 0;
}

static bool
workers_settled(const struct proxy *p)
{
	for (size_t i = 0; i < p->worker_count; i++)
		if (!pworker_settled(p->workers[i]))
			return false;
	return true;
}

/* Not while a worker may still stop one of them. True: some are posts again. */
static bool
resume(struct edge_set *edges, const struct edge_set *old,
    struct service *const *services, size_t n)
{
	bool some = false;

	for (size_t i = 0; i < n; i++) {
		const struct service *v = services[i];
		int result = 0;

		if (!atomic_load(&v->draining))
			result = edge_resume(edges, old, i);
		if (result < 0)
			log_error("%s: cannot listen again: %s", v->app.name,
			    strerror(errno));
		some |= result > 0;
	}
	return some;
}

void
proxy_ports_of_reload(struct proxy *p, struct edge_set *edges,
    struct service *const *services, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!atomic_load(&services[i]->draining))
			continue;
		log_info("%s: is still drained", services[i]->app.name);
		edge_leave(edges, i);
	}
	/* else it is done when they have: a moment later */
	if (workers_settled(p))
		(void)resume(edges, &p->edges, services, n);
	p->settling = true;
	ev_timer_again(p->loop, &p->tick);
}

bool
proxy_settle(struct proxy *p)
{
	if (!p->settling)
		return true;
	if (!workers_settled(p))
		return false;
	for (size_t i = 0; i < p->current->apps; i++)
		if (atomic_load(&p->services[i]->draining))
			edge_pause(&p->edges, i);
	if (resume(&p->edges, &p->retired, p->services, p->current->apps)) {
		edge_resumed(&p->edges);
		if (hand_over(p) == 0)
			return false;
	}
	p->settling = false;
	control_settled(p->control);
	return true;
}
