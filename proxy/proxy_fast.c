/* The kernel's path for UDP flows: where it is, who may have it, its life. */
#include "proxy/proxy_state.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "net/device.h"
#include "net/route.h"
#include "proxy/fast.h"

#define BEAT_S 1.0
#define PAUSE_S 0.1 /* between two epochs: routes may change all the time */

/* ---- which interfaces ---- */

struct devices {
	unsigned int at[FASTPATH_DEVICES];
	size_t n;
	bool all; /* some edge or origin may be anywhere */
};

static void
add(struct devices *d, unsigned int device)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->at[i] == device)
			return;
	if (device == 0)
		d->all = true; /* of no interface of Ethernet */
	else if (d->n < FASTPATH_DEVICES)
		d->at[d->n++] = device;
}

static void
add_all(struct devices *d)
{
	unsigned int all[FASTPATH_DEVICES];
	size_t n = device_list(all, FASTPATH_DEVICES);

	for (size_t i = 0; i < n; i++)
		add(d, all[i]);
}

static void
add_edge(struct devices *d, const struct addr *edge, bool here, bool elsewhere)
{
	bool wildcard = addr_is_wildcard(edge);

	if (here && (wildcard || addr_is_loopback(edge)))
		add(d, DEVICE_LOOPBACK);
	if (elsewhere && wildcard)
		d->all = true;
	else if (elsewhere && !addr_is_loopback(edge))
		add(d, device_of(edge));
}

static void
add_app(struct devices *d, const struct app *a, int router)
{
	bool unknown = a->origins == 0; /* a name's */
	bool here = unknown, elsewhere = unknown;
	struct route r;

	for (size_t i = 0; i < a->origins; i++) {
		here |= addr_is_loopback(&a->origin[i].address);
		elsewhere |= !addr_is_loopback(&a->origin[i].address);
	}
	for (size_t i = 0; i < a->edges; i++)
		add_edge(d, &a->edge[i], here, elsewhere);
	for (size_t i = 0; i < a->origins; i++)
		if (route_find(router, NULL, &a->origin[i].address, &r) == 0 &&
		    r.device != DEVICE_LOOPBACK)
			add(d, r.device);
	d->all |= unknown;
}

static void
find_devices(struct devices *d, const struct proxy_settings *s)
{
	int router = route_open();

	d->all = router < 0;
	for (size_t i = 0; router >= 0 && i < s->apps; i++)
		if (fast_why_not(&s->app[i]) == FAST_WHY_NONE)
			add_app(d, &s->app[i], router);
	if (router >= 0)
		close(router);
	if (d->all)
		add_all(d);
}

static int
named_devices(struct devices *d, const struct proxy_settings *s,
    char why[static FASTPATH_WHY_LEN])
{
	for (size_t i = 0; i < s->fast_path_interfaces; i++) {
		const char *name = s->fast_path_interface[i];

		unsigned int device = device_named(name);

		if (device == 0 && if_nametoindex(name) == DEVICE_LOOPBACK)
			device = DEVICE_LOOPBACK;
		if (device == 0) {
			snprintf(why, FASTPATH_WHY_LEN,
			    "fast_path_interfaces: %s is no interface of "
			    "Ethernet on this host",
			    name);
			return -1;
		}
		add(d, device);
	}
	return 0;
}

static int
attach(struct proxy *p, const struct devices *d)
{
	char why[FASTPATH_WHY_LEN], name[IF_NAMESIZE];

	if (d->n == 0) {
		snprintf(p->fast_why, sizeof p->fast_why,
		    "no interface of Ethernet has edges or origins");
		return -1;
	}
	for (size_t i = 0; i < d->n; i++) {
		if (fastpath_attach(p->fastpath, d->at[i],
			(enum fastpath_hook)p->started->fast_path_hook,
			why) == 0)
			continue;
		snprintf(p->fast_why, sizeof p->fast_why, "%s: %s",
		    if_indextoname(d->at[i], name) != NULL ? name : "?", why);
		return -1;
	}
	if (fastpath_leave_heir(p->fastpath, p->started->user) == 0)
		return 0;
	snprintf(p->fast_why, sizeof p->fast_why, "fork: %s", strerror(errno));
	return -1;
}

/* ---- at the start ---- */

static bool
wants_fast_path(const struct proxy_settings *s)
{
	for (size_t i = 0; i < s->apps; i++)
		if (fast_why_not(&s->app[i]) == FAST_WHY_NONE)
			return true;
	return false;
}

static uint32_t
flows_of(const struct proxy *p)
{
	size_t workers = proxy_settings_workers(p->started);

	if (p->started->fast_path_flows > 0)
		return (uint32_t)p->started->fast_path_flows;
	return (uint32_t)workers * p->udp_flows;
}

static uint32_t
hops_of(const struct proxy *p)
{
	size_t workers = proxy_settings_workers(p->started);

	return (uint32_t)workers * FAST_ROUTES;
}

static int
open_path(struct proxy *p, bool rehearse)
{
	struct devices d = { 0 };

	if (named_devices(&d, p->started, p->fast_why) != 0)
		return -1;
	if (d.n == 0)
		find_devices(&d, p->started);
	p->fastpath = fastpath_open(flows_of(p), hops_of(p), p->fast_why);
	if (p->fastpath == NULL)
		return -1;
	if (rehearse || attach(p, &d) == 0)
		return 0;
	fastpath_close(p->fastpath);
	p->fastpath = NULL;
	return -1;
}

int
proxy_open_fast_path(struct proxy *p, bool rehearse)
{
	snprintf(p->fast_why, sizeof p->fast_why,
	    "no application could have it at the start: restart");
	/* past the sockets nobody looks whose a datagram is */
	if (p->started->sharing.mode == SHARING_DEMUX)
		snprintf(p->fast_why, sizeof p->fast_why,
		    "sharing.mode is demux, and each datagram is looked at");
	else if (wants_fast_path(p->started) && open_path(p, rehearse) != 0)
		log_info("fast path: none: %s", p->fast_why);
	return proxy_check_fast_path(p, p->started);
}

/* ---- what is told ---- */

const char *
proxy_fast_why(const struct proxy *p, const struct app *a)
{
	enum fast_why why = fast_why_not(a);

	if (why != FAST_WHY_NONE)
		return fast_why_str(why);
	return p->fastpath != NULL ? NULL : p->fast_why;
}

int
proxy_check_fast_path(const struct proxy *p, const struct proxy_settings *s)
{
	for (size_t i = 0; i < s->apps; i++) {
		const struct app *a = &s->app[i];
		const char *why = proxy_fast_why(p, a);

		if (a->fast_path != APP_FAST_REQUIRE || why == NULL)
			continue;
		log_error(
		    "application %s: fast_path: require: %s", a->name, why);
		return -1;
	}
	return 0;
}

/* Of those where the program is, or of those where it is missing. */
static const char *
device_names(const struct proxy *p, bool lost, char *text, size_t len)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < fastpath_devices(p->fastpath) && used < len; i++)
		if (p->fast_lost[i] == lost)
			used += (size_t)snprintf(text + used, len - used,
			    "%s%s", used > 0 ? ", " : "",
			    fastpath_device(p->fastpath, i));
	return text;
}

const char *
proxy_fast_lacks(const struct proxy *p, char text[static PROXY_FAST_LACKS_LEN])
{
	char names[PROXY_FAST_LACKS_LEN / 2];

	device_names(p, true, names, sizeof names);
	if (names[0] == '\0')
		return NULL;
	snprintf(text, PROXY_FAST_LACKS_LEN,
	    "without %s: gone, or the program taken off", names);
	return text;
}

void
proxy_tell_fast_path(const struct proxy *p)
{
	char names[256];

	for (size_t i = 0; i < p->current->apps; i++) {
		const struct app *a = &p->current->app[i];
		const char *why = proxy_fast_why(p, a);

		if (a->proto != SOCK_UDP)
			continue;
		if (why != NULL)
			log_info("%s: flows on sockets: %s", a->name, why);
		else
			log_info("%s: established flows by the kernel (%s)",
			    a->name,
			    device_names(p, false, names, sizeof names));
	}
}

/* ---- while it lives ---- */

static void
lose(struct proxy *p, size_t n)
{
	const char *name = fastpath_device(p->fastpath, n);

	p->fast_lost[n] = true;
	fastpath_next_epoch(p->fastpath);
	if (fastpath_is_gone(p->fastpath, n))
		log_warning("fast path: %s is gone: flows by it are on sockets "
			    "until it is back",
		    name);
	else
		log_warning("fast path: somebody has taken the program off %s: "
			    "flows by it are on sockets until a restart",
		    name);
}

/* What somebody has taken off an interface that is still there stays off. */
static void
look_after(struct proxy *p)
{
	for (size_t i = 0; i < fastpath_devices(p->fastpath); i++) {
		if (!p->fast_lost[i] && !fastpath_attached(p->fastpath, i))
			lose(p, i);
		else if (p->fast_lost[i] && fastpath_return(p->fastpath, i)) {
			p->fast_lost[i] = false;
			fastpath_next_epoch(p->fastpath);
			log_info("fast path: %s is back",
			    fastpath_device(p->fastpath, i));
		}
	}
}

static void
beat_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct proxy *p = w->data;

	(void)loop;
	(void)events;
	fastpath_beat(p->fastpath);
	look_after(p);
}

static void
pause_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct proxy *p = w->data;

	(void)events;
	if (!p->fast_changed) {
		ev_timer_stop(loop, w);
		return;
	}
	p->fast_changed = false;
	fastpath_next_epoch(p->fastpath);
}

/* At once, then after each pause as long as more comes. */
static void
routes_event(struct ev_loop *loop, ev_io *w, int events)
{
	struct proxy *p = w->data;

	(void)events;
	if (!route_changed(w->fd))
		return;
	if (ev_is_active(&p->fast_pause)) {
		p->fast_changed = true;
		return;
	}
	fastpath_next_epoch(p->fastpath);
	ev_timer_again(loop, &p->fast_pause);
}

int
proxy_start_fast_path(struct proxy *p)
{
	int fd;

	if (p->fastpath == NULL)
		return 0;
	fd = route_watch();
	if (fd < 0) {
		log_error("fast path: routes: %s", strerror(errno));
		return -1;
	}
	ev_io_init(&p->fast_routes, routes_event, fd, EV_READ);
	ev_timer_init(&p->fast_beat, beat_event, 0, BEAT_S);
	ev_init(&p->fast_pause, pause_event);
	p->fast_pause.repeat = PAUSE_S;
	p->fast_routes.data = p->fast_beat.data = p->fast_pause.data = p;
	ev_io_start(p->loop, &p->fast_routes);
	ev_timer_again(p->loop, &p->fast_beat);
	fastpath_next_epoch(p->fastpath); /* since they were looked at */
	fastpath_beat(p->fastpath);
	return 0;
}

void
proxy_close_fast_path(struct proxy *p)
{
	if (p->fast_routes.fd > 0)
		close(p->fast_routes.fd);
	fastpath_close(p->fastpath);
}
