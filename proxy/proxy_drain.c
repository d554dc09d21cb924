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

/* Workers accept where nothing is drained, and look at the ends of sessions. */
static int
hand_over(struct proxy *p)
{
	if (proxy_configure(p) != 0)
		return -1;
	p->pause_due = true;
	ev_timer_again(p->loop, &p->tick);
	return 0;
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
	if (edge_resume(&p->edges, (size_t)index) != 0) {
		snprintf(why, PROXY_WHY_LEN, "%s: cannot listen again: %s",
		    name, strerror(errno));
		return -1;
	}
	atomic_store(&v->draining, false);
	service_end_by(v, 0);
	if (hand_over(p) != 0) {
		snprintf(why, PROXY_WHY_LEN, "%s: no memory", name);
		return -1;
	}
	log_info("%s: serves again", name);
	return 0;
}

/* A reload may have given a port of a drained application to another. */
void
proxy_resume_others(struct proxy *p)
{
	for (size_t i = 0; i < p->current->apps; i++) {
		const struct service *v = p->services[i];

		if (atomic_load(&v->draining)) {
			log_info("%s: is still drained", v->app.name);
			p->pause_due = true;
		} else if (edge_resume(&p->edges, i) != 0) {
			log_error("%s: cannot listen again: %s", v->app.name,
			    strerror(errno));
		}
	}
}

/* Only then: what had come to a port before has been accepted. */
bool
proxy_pause_drained(struct proxy *p)
{
	if (!p->pause_due)
		return true;
	for (size_t i = 0; i < p->worker_count; i++)
		if (!pworker_settled(p->workers[i]))
			return false;
	for (size_t i = 0; i < p->current->apps; i++)
		if (atomic_load(&p->services[i]->draining))
			edge_pause(&p->edges, i);
	p->pause_due = false;
	control_settled(p->control);
	return true;
}
