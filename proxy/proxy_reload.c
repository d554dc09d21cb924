/* SIGHUP: everything is read, bound and checked before anything changes. */
#include "proxy/proxy_state.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"

static void
drop_configs(struct pworker_config **list, size_t n)
{
	for (size_t i = 0; list != NULL && i < n; i++)
		pworker_config_free(list[i]);
	free(list);
}

/* What the workers will get, or NULL: there is no memory for all of it. */
static struct pworker_config **
make_configs(const struct proxy *p, const struct proxy_settings *fresh,
    const struct edge_set *edges, struct service *const *services)
{
	struct pworker_config **list =
	    calloc(p->worker_count, sizeof(struct pworker_config *));
	size_t n = 0;

	while (list != NULL && n < p->worker_count) {
		list[n] = pworker_config_new(edges, services, fresh->apps, n);
		if (list[n] == NULL)
			break;
		n++;
	}
	if (n == p->worker_count)
		return list;
	log_error("workers: %s", strerror(errno));
	drop_configs(list, n);
	return NULL;
}

static void
hand_over(struct proxy *p, struct pworker_config **configs)
{
	for (size_t i = 0; i < p->worker_count; i++)
		pworker_configure(p->workers[i], configs[i]);
	free(configs);
}

int
proxy_configure(struct proxy *p)
{
	struct pworker_config **configs =
	    make_configs(p, p->current, &p->edges, p->services);

	if (configs == NULL)
		return -1;
	hand_over(p, configs);
	return 0;
}

bool
proxy_has_retired(const struct proxy *p)
{
	return p->retired.count > 0 || edge_drains(&p->edges);
}

bool
proxy_close_retired(struct proxy *p)
{
	bool lingers = false;

	if (!proxy_has_retired(p))
		return true;
	for (size_t i = 0; i < p->worker_count; i++) {
		if (!pworker_settled(p->workers[i]))
			return false;
		lingers |= pworker_lingers(p->workers[i]);
	}
	edge_settle(&p->edges, &p->retired);
	if (lingers) {
		edge_close_tcp(&p->retired);
	} else if (p->retired.count > 0) {
		edge_close(&p->retired);
		edge_parted(&p->edges);
	}
	return true;
}

static void
end_ports(struct service *v, const struct app *a,
    const struct proxy_settings *fresh, uint64_t ends_ns)
{
	if (service_end_ports(v, a->port_first, a->port_last, ends_ns))
		log_info("%s: sessions on ports that it has no more get %lld s",
		    v->app.name, (long long)fresh->drain_s);
}

/* Sessions of an application that changed end by themselves, under the rules
 * they began with; those of one that is gone, or of a port of it, have a set
 * time. */
static void
end_removed(const struct proxy *p, const struct proxy_settings *fresh)
{
	uint64_t ends_ns =
	    clock_monotonic_ns() + (uint64_t)fresh->drain_s * 1000000000;

	for (size_t i = 0; i < p->current->apps; i++) {
		struct service *v = p->services[i];
		const struct app *a = proxy_settings_find(fresh, v->app.name);

		if (a != NULL) {
			end_ports(v, a, fresh, ends_ns);
			continue;
		}
		service_end_by(v, ends_ns);
		log_info("%s: removed, %zu sessions get %lld s", v->app.name,
		    service_live(v), (long long)fresh->drain_s);
	}
}

static void
warn_of_fixed(const struct proxy *p, const struct proxy_settings *fresh)
{
	char keys[256];

	if (proxy_settings_fixed_change(p->started, fresh, keys, sizeof keys) !=
	    NULL)
		log_warning("reload: takes a restart and stays as it was "
			    "until then: %s",
		    keys);
}

/* Of memory that is too little for other servers the log tells. */
static void
apply_resolvers(struct proxy *p, const struct proxy_settings *fresh)
{
	const struct proxy_settings *was = p->current;
	bool same = was->resolvers == fresh->resolvers;

	for (size_t i = 0; same && i < fresh->resolvers; i++)
		same = addr_equal(&was->resolver[i], &fresh->resolver[i]);
	if (!same)
		(void)resolver_servers(
		    p->resolver, fresh->resolver, fresh->resolvers);
}

/* Before workers see its services: they begin with what is known. */
static void
apply_discovery(struct proxy *p, struct discovery *discovery)
{
	discovery_start(discovery, p->discovery);
	discovery_free(p->discovery);
	p->discovery = discovery;
}

static void
apply_health(struct proxy *p, struct health *health)
{
	health_start(health, p->health);
	health_free(p->health);
	p->health = health;
}

/* Nothing fails from here on. */
static void
apply(struct proxy *p, struct proxy_settings *fresh, struct edge_set *edges,
    struct service **services, struct discovery *discovery,
    struct health *health, struct pworker_config **configs)
{
	warn_of_fixed(p, fresh);
	end_removed(p, fresh);
	apply_resolvers(p, fresh);
	apply_discovery(p, discovery);
	apply_health(p, health);
	hand_over(p, configs); /* before anybody comes by the new rules */
	edge_commit(edges, &p->edges);
	edge_tune(edges, fresh->app);
	edge_forget(&p->retired); /* what there was of it is in p->edges */
	p->retired = p->edges;
	p->edges = *edges;
	proxy_drop_services(p->services, p->current->apps);
	p->services = services;
	if (p->current != p->started)
		proxy_drop_settings(p->current);
	p->current = fresh;
	log_init("l4proxyd", (enum log_level)fresh->log_level);
	ev_timer_again(p->loop, &p->tick);
	edge_log(&p->edges, fresh->app, fresh->apps);
	proxy_tell_fast_path(p);
	guard_forget(p->source.guard);
	log_info("reloaded");
}

static int
open_and_apply(struct proxy *p, struct proxy_settings *fresh)
{
	struct edge_options o = proxy_edge_options(p, p->started);
	struct pworker_config **configs = NULL;
	struct discovery *discovery = NULL;
	struct health *health = NULL;
	struct service **services;
	struct edge_set edges;

	o.rcvbuf = (int)fresh->rcvbuf;
	o.spare = fresh->spare;
	o.spares = fresh->spares;
	if (edge_open(&edges, &p->edges, fresh->app, fresh->apps, &o) != 0)
		return -1;
	services = proxy_services(p, fresh);
	if (services != NULL)
		discovery = proxy_discover(p, services, fresh->apps);
	if (discovery != NULL)
		health = proxy_health(p, services, fresh->apps);
	if (health != NULL) {
		proxy_ports_of_reload(p, &edges, services, fresh->apps);
		configs = make_configs(p, fresh, &edges, services);
	}
	if (configs == NULL) {
		health_free(health);
		discovery_free(discovery);
		proxy_drop_services(services, fresh->apps);
		edge_undo(&edges, &p->edges);
		return -1;
	}
	apply(p, fresh, &edges, services, discovery, health, configs);
	return 0;
}

/* What went away by an earlier reload may come back by this one. */
static int
try_reload(struct proxy *p, struct proxy_settings *fresh)
{
	if (edge_join(&p->edges, &p->retired) != 0) {
		log_error("reload: %s", strerror(errno));
		return -1;
	}
	if (open_and_apply(p, fresh) == 0)
		return 0;
	edge_part(&p->edges, &p->retired);
	return -1;
}

void
proxy_reload(struct proxy *p)
{
	struct proxy_settings *fresh;
	bool good;

	if (!proxy_close_retired(p)) {
		/* a SIGHUP must not be lost: the tick asks again */
		p->reload_waits = true;
		return;
	}
	p->reload_waits = false;
	notify_reloading();
	control_reload_begins(p->control);
	fresh = proxy_read_settings(p->config);
	good = fresh != NULL &&
	    proxy_check_rights(fresh,
		", which was given up at the start, when no application "
		"asked for it: restart") == 0 &&
	    proxy_check_fast_path(p, fresh) == 0 && try_reload(p, fresh) == 0;
	control_reload_ends(p->control, good);
	if (!good) {
		proxy_drop_settings(fresh);
		log_error("reload failed: everything stays as it was");
		p->reloads_failed++;
	} else {
		p->reloads++;
	}
	notify_ready("Carrying sessions");
}
