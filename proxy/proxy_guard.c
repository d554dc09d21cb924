/* sharing: guarded, the proxy's end. */
#include "proxy/proxy_state.h"

#include "base/log.h"
#include "base/priv.h"

static int
open_demux(struct proxy *p)
{
	p->source.demux =
	    demux_new(p->source.guard, STEER_CUSTOMER, NULL, NULL);
	if (p->source.demux != NULL)
		return 0;
	log_error("sharing: %m");
	return -1;
}

/* A server that is not there makes no way, and need not. */
int
proxy_open_guard(struct proxy *p)
{
	const struct proxy_sharing *sharing = &p->started->sharing;
	struct guard_setup setup = { .name = "l4proxyd",
		.path = sharing->peer != NULL ? sharing->peer : SHARING_SOCKET,
		.rehearse = p->source.rehearse };
	char why[GUARD_WHY_LEN];

	if (sharing->mode != SHARING_GUARDED && sharing->mode != SHARING_DEMUX)
		return 0;
	if (priv_becomes(p->started->user, &setup.owner, &setup.group) != 0)
		return -1;
	p->source.guard = guard_open(&setup, why);
	if (p->source.guard == NULL) {
		log_error("sharing.peer: %s: %s", setup.path, why);
		return -1;
	}
	return sharing->mode == SHARING_DEMUX ? open_demux(p) : 0;
}

static void
guard_event(struct ev_loop *loop, ev_io *w, int events)
{
	struct proxy *p = w->data;

	(void)loop;
	(void)events;
	guard_serve(p->source.guard);
}

void
proxy_watch_guard(struct proxy *p)
{
	if (p->source.guard == NULL)
		return;
	ev_io_init(
	    &p->guarded, guard_event, guard_fd(p->source.guard), EV_READ);
	p->guarded.data = p;
	ev_io_start(p->loop, &p->guarded);
}
