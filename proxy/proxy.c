#include "proxy/proxy_state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/priv.h"
#include "net/sharing.h"

#define TICK_S 0.05 /* while a reload or the end waits for workers */

/* ---- settings ---- */

struct proxy_settings *
proxy_read_settings(const char *config)
{
	struct proxy_settings *s = calloc(1, sizeof *s);

	if (s == NULL) {
		log_error("settings: %s", strerror(errno));
		return NULL;
	}
	if (proxy_settings_load(s, config) == 0)
		return s;
	proxy_drop_settings(s);
	return NULL;
}

void
proxy_drop_settings(struct proxy_settings *s)
{
	if (s == NULL)
		return;
	proxy_settings_free(s);
	free(s);
}

struct edge_options
proxy_edge_options(const struct proxy *p, const struct proxy_settings *s)
{
	return (struct edge_options){
		.workers = proxy_settings_workers(s),
		.rcvbuf = (int)s->rcvbuf,
		.sharing = (enum sharing_mode)s->sharing.mode,
		.source = &p->source,
		.dispatch = p->dispatch,
		.flows = p->port_flows,
		.spare = s->spare,
		.spares = s->spares,
	};
}

/* ---- services ---- */

void
proxy_drop_services(struct service **list, size_t n)
{
	for (size_t i = 0; list != NULL && i < n; i++)
		service_release(list[i]);
	free(list);
}

/* The one that `a` changes, or NULL. */
static struct service *
before(const struct proxy *p, const struct app *a)
{
	for (size_t i = 0; p->services != NULL && i < p->current->apps; i++) {
		struct service *v = p->services[i];

		if (strcmp(v->app.name, a->name) == 0 &&
		    v->app.proto == a->proto)
			return v;
	}
	return NULL;
}

static struct service *
unchanged(const struct proxy *p, const struct app *a)
{
	for (size_t i = 0; p->services != NULL && i < p->current->apps; i++) {
		if (service_same(&p->services[i]->app, a))
			return service_hold(p->services[i]);
	}
	return NULL;
}

struct service **
proxy_services(const struct proxy *p, const struct proxy_settings *s)
{
	struct service **list = calloc(s->apps + 1, sizeof(struct service *));
	size_t workers = proxy_settings_workers(p->started);
	size_t sessions = workers * (size_t)p->started->tcp_sessions;
	size_t flows = workers * p->udp_flows, n = 0;

	while (list != NULL && n < s->apps) {
		list[n] = unchanged(p, &s->app[n]);
		if (list[n] == NULL)
			list[n] = service_new(&s->app[n], workers,
			    s->app[n].proto == SOCK_TCP ? sessions : flows,
			    before(p, &s->app[n]));
		if (list[n] == NULL)
			break;
		n++;
	}
	if (list != NULL && n == s->apps)
		return list;
	log_error("applications: %s", strerror(errno));
	proxy_drop_services(list, n);
	return NULL;
}

/* Sessions may wait for it. */
static void
first_answer(void *arg)
{
	struct proxy *p = arg;

	for (size_t i = 0; i < p->worker_count; i++)
		pworker_resolved(p->workers[i]);
}

struct discovery *
proxy_discover(struct proxy *p, struct service *const *services, size_t n)
{
	const struct discovery_setup setup = { .resolver = p->resolver,
		.loop = p->loop,
		.first_answer = first_answer,
		.arg = p };
	struct discovery *d = discovery_new(&setup, services, n);

	if (d == NULL)
		log_error("origins: %s", strerror(errno));
	return d;
}

struct health *
proxy_health(const struct proxy *p, struct service *const *services, size_t n)
{
	struct health *h = health_new(p->loop, services, n);

	if (h == NULL)
		log_error("health checks: %s", strerror(errno));
	return h;
}

/* ---- coming to life ---- */

/* Root wonders at a refusal that is the user's whom it became. */
static void
tell_log_fault(const struct proxy *p)
{
	log_error("event log %s: %s (uid %u)", p->started->event_log,
	    strerror(errno), (unsigned)geteuid());
}

/* Its thread is the first one: after Landlock, before seccomp. */
static int
open_log(struct proxy *p)
{
	if (p->started->event_log == NULL)
		return 0;
	p->log = eventlog_open(p->started->event_log);
	if (p->log != NULL)
		return 0;
	tell_log_fault(p);
	return -1;
}

/* Before rights are given up: its file is for who starts the daemon. A
 * rehearsal removes it while it has the right to. */
static int
open_control(struct proxy *p, bool rehearse)
{
	const struct proxy_settings *s = p->started;

	if (s->control == NULL || proxy_has_control(p))
		return 0;
	p->control = control_open(s->control, s->control_group, s->user);
	if (p->control == NULL)
		return -1;
	if (rehearse) {
		control_close(p->control);
		p->control = NULL;
	}
	return 0;
}

static int
make_services(struct proxy *p)
{
	p->services = proxy_services(p, p->started);
	return p->services != NULL ? 0 : -1;
}

struct proxy *
proxy_new(const char *config, bool rehearse)
{
	struct proxy *p = calloc(1, sizeof *p);
	struct edge_options edges;

	if (p == NULL)
		return NULL;
	p->config = config;
	p->raw[0] = p->raw[1] = -1;
	p->started_us = clock_realtime_us();
	p->started_ns = clock_monotonic_ns();
	p->started = p->current = proxy_read_settings(config);
	if (p->started == NULL)
		goto fail;
	log_init("l4proxyd", (enum log_level)p->started->log_level);
	proxy_raise_fds();
	p->source.rehearse = rehearse;
	if (rehearse)
		proxy_find_incumbent(p);
	if (listener_begin(
		&p->source, (enum sharing_mode)p->started->sharing.mode) != 0 ||
	    proxy_open_guard(p) != 0 || proxy_open_dispatch(p) != 0)
		goto fail;
	edges = proxy_edge_options(p, p->started);
	if (edge_open(&p->edges, NULL, p->started->app, p->started->apps,
		&edges) != 0 ||
	    listener_settle(&p->source) != 0)
		goto fail;
	proxy_limit_flows(p);
	proxy_limit_sessions(p);
	if (proxy_open_fast_path(p, rehearse) != 0)
		goto fail;
	proxy_check_host(p->started);
	p->resolver = resolver_new();
	if (p->resolver == NULL || open_control(p, rehearse) != 0 ||
	    proxy_drop_rights(p) != 0 || open_log(p) != 0 ||
	    make_services(p) != 0)
		goto fail;
	proxy_check_sessions(p);
	return p;
fail:
	proxy_free(p);
	return NULL;
}

/* ---- workers ---- */

static struct pworker *
make_worker(struct proxy *p, size_t index)
{
	struct pworker_setup setup = {
		.index = index,
		.log = p->log,
		.tcp_sessions = (size_t)p->started->tcp_sessions,
		.tcp_fds = p->tcp_fds,
		.udp_flows = p->udp_flows,
		.port_flows = p->port_flows,
		.fastpath = p->fastpath,
		.workers = (uint32_t)proxy_settings_workers(p->started),
		.busy_poll_ns = (uint64_t)p->started->busy_poll_us * 1000,
		.splice_after = (uint64_t)p->started->splice_after,
		.raw = { p->raw[0], p->raw[1] },
		.time = p->clients != NULL ? proxy_time_client : NULL,
		.time_arg = p->clients,
		.peek_ms = (uint32_t)p->started->sharing.peek_ms,
		.udp_stays =
		    p->source.activation != NULL || p->source.demux != NULL,
		.tcp_stays = p->source.activation != NULL,
	};
	struct pworker_config *config =
	    pworker_config_new(&p->edges, p->services, p->started->apps, index);
	struct pworker *w = NULL;

	if (config != NULL)
		w = pworker_new(&setup, config);
	if (w == NULL)
		pworker_config_free(config);
	return w;
}

static int
make_workers(struct proxy *p)
{
	size_t n = proxy_settings_workers(p->started);

	p->workers = calloc(n, sizeof(struct pworker *));
	while (p->workers != NULL && p->worker_count < n) {
		struct pworker *w = make_worker(p, p->worker_count);

		if (w == NULL)
			break;
		p->workers[p->worker_count++] = w;
	}
	if (p->worker_count == n)
		return 0;
	log_error("workers: %s", strerror(errno));
	return -1;
}

static int
start_discovery(struct proxy *p)
{
	resolver_start(p->resolver, p->loop);
	if (p->started->resolvers > 0 &&
	    resolver_servers(
		p->resolver, p->started->resolver, p->started->resolvers) != 0)
		return -1;
	p->discovery = proxy_discover(p, p->services, p->started->apps);
	if (p->discovery == NULL)
		return -1;
	discovery_start(p->discovery, NULL);
	return 0;
}

static int
start_health(struct proxy *p)
{
	p->health = proxy_health(p, p->services, p->started->apps);
	if (p->health == NULL)
		return -1;
	health_start(p->health, NULL);
	return 0;
}

static int
start_workers(struct proxy *p)
{
	for (; p->running < p->worker_count; p->running++) {
		if (pworker_start(p->workers[p->running]) != 0) {
			log_error("worker: %s", strerror(errno));
			return -1;
		}
	}
	return 0;
}

static void
stop_workers(struct proxy *p, int64_t drain_s)
{
	uint64_t ends_ns =
	    clock_monotonic_ns() + (uint64_t)drain_s * 1000000000;

	for (size_t i = 0; i < p->running; i++)
		pworker_stop(p->workers[i], ends_ns);
}

static bool
workers_ended(const struct proxy *p)
{
	for (size_t i = 0; i < p->running; i++) {
		if (!pworker_ended(p->workers[i]))
			return false;
	}
	return true;
}

static void
join_workers(struct proxy *p)
{
	for (size_t i = 0; i < p->running; i++)
		pworker_join(p->workers[i]);
	p->running = 0;
}

/* ---- the main loop ---- */

static void
reopen_log(struct proxy *p)
{
	if (p->log == NULL)
		return;
	if (eventlog_reopen(p->log) == 0)
		log_info("event log opened again, %llu lines lost so far",
		    (unsigned long long)eventlog_lost(p->log));
	else if (errno == EACCES)
		log_error("event log %s: Permission denied (uid %u), or its "
			  "directory is not that of the start any more, which "
			  "takes a restart",
		    p->started->event_log, (unsigned)geteuid());
	else
		tell_log_fault(p);
}

/* Who asks twice does not want to wait. */
static void
stop(struct proxy *p)
{
	int64_t drain_s = p->stopping ? 0 : p->current->drain_s;

	if (p->stopping)
		log_info("stopping at once");
	else
		log_info("stopping: accepts no more, sessions get %lld s",
		    (long long)drain_s);
	notify_stopping("Waiting for sessions to end");
	p->stopping = true;
	stop_workers(p, drain_s);
	ev_timer_again(p->loop, &p->tick);
}

static void
signal_event(struct ev_loop *loop, ev_signal *w, int events)
{
	struct proxy *p = w->data;

	(void)loop;
	(void)events;
	switch (w->signum) {
	case SIGHUP:
		if (!p->stopping)
			proxy_reload(p);
		break;
	case SIGUSR1:
		reopen_log(p);
		break;
	default:
		stop(p);
	}
}

static void
tick_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct proxy *p = w->data;

	(void)events;
	if (p->stopping)
		control_stopping(p->control);
	if (p->stopping && workers_ended(p))
		ev_break(loop, EVBREAK_ALL);
	if (!proxy_settle(p) || !proxy_close_retired(p) || p->stopping)
		return;
	if (!proxy_has_retired(p))
		ev_timer_stop(loop, w);
	if (p->reload_waits)
		proxy_reload(p); /* may start it again */
}

static int
init_loop(struct proxy *p)
{
	static const int numbers[SIGNALS] = { SIGTERM, SIGINT, SIGHUP,
		SIGUSR1 };
	sigset_t none;

	p->loop =
	    ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOTIMERFD);
	if (p->loop == NULL) {
		log_error("event loop: %s", strerror(errno));
		return -1;
	}
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < SIGNALS; i++) {
		ev_signal_init(&p->signals[i], signal_event, numbers[i]);
		p->signals[i].data = p;
		ev_signal_start(p->loop, &p->signals[i]);
	}
	/* whoever started us may have had them blocked, which is inherited */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	ev_timer_init(&p->tick, tick_event, 0, TICK_S);
	p->tick.data = p;
	proxy_watch_guard(p);
	return 0;
}

static void
tell_sharing(const struct proxy_settings *s)
{
	bool has[SOCK_TCP + 1] = { false };
	const char *caution;

	for (size_t i = 0; i < s->apps; i++)
		has[s->app[i].proto] = true;
	caution = sharing_caution(
	    (enum sharing_mode)s->sharing.mode, has[SOCK_UDP], has[SOCK_TCP]);
	if (caution != NULL)
		log_warning("sharing: %s", caution);
}

int
proxy_run(struct proxy *p)
{
	int result = -1;

	if (init_loop(p) != 0 || proxy_watch_clients(p) != 0 ||
	    make_workers(p) != 0 || start_discovery(p) != 0 ||
	    start_health(p) != 0 || proxy_start_fast_path(p) != 0)
		return -1;
	if (priv_seccomp(PRIV_PROXY) != 0) {
		log_error("seccomp: %s", strerror(errno));
		return -1;
	}
	edge_log(&p->edges, p->started->app, p->started->apps);
	proxy_tell_fast_path(p);
	control_start(p->control, p);
	tell_sharing(p->started);
	if (start_workers(p) == 0) {
		log_info("%zu %s", p->worker_count,
		    p->worker_count == 1 ? "worker" : "workers");
		notify_ready("Carrying sessions");
		ev_run(p->loop, 0);
		result = 0;
	}
	if (!p->stopping)
		stop_workers(p, 0);
	join_workers(p);
	return result;
}

void
proxy_free(struct proxy *p)
{
	if (p == NULL)
		return;
	control_close(p->control);
	for (size_t i = 0; i < p->worker_count; i++)
		pworker_free(p->workers[i]);
	free(p->workers);
	proxy_drop_clients(p);
	health_free(p->health);
	discovery_free(p->discovery);
	resolver_free(p->resolver);
	if (p->current != NULL)
		proxy_drop_services(p->services, p->current->apps);
	listener_end(&p->source);
	edge_close(&p->edges);
	edge_close(&p->retired);
	free(p->port_flows);
	proxy_close_fast_path(p);
	dispatch_close(p->dispatch);
	proxy_close_raw(p);
	if (p->log != NULL)
		eventlog_close(p->log);
	if (p->current != p->started)
		proxy_drop_settings(p->current);
	proxy_drop_settings(p->started);
	free(p);
}
