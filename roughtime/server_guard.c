/* sharing: guarded, the time server's end. */
#include "roughtime/server_state.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/priv.h"
#include "net/sharing.h"

static void
changed(void *arg)
{
	server_tell_foreign(arg);
}

void
server_tell_foreign(struct server *s)
{
	for (size_t i = 0; s->source.guard != NULL && i < s->worker_count;
	     i++) {
		struct guard_places *p = guard_places(s->source.guard);

		if (p != NULL)
			worker_foreign(s->workers[i], p);
		else
			log_error("sharing: %s", strerror(errno));
	}
}

/* A connection that the proxy has looked at: to the workers in turn. */
static void
take_client(void *arg, int fd)
{
	struct server *s = arg;

	if (s->running == 0) {
		close(fd);
		return;
	}
	worker_take(s->workers[s->next_worker++ % s->running], fd);
}

static int
open_demux(struct server *s)
{
	s->source.demux =
	    demux_new(s->source.guard, STEER_TIME, take_client, s);
	if (s->source.demux != NULL)
		return 0;
	log_error("sharing: %m");
	return -1;
}

/* Before sockets are bound, as peers may have to make way. A socket of the
 * default's place may be another server's: that is no reason not to start. */
int
server_open_guard(struct server *s)
{
	const struct settings_sharing_section *sharing = &s->started->sharing;
	struct guard_setup setup = { .name = "roughtimed",
		.path =
		    sharing->socket != NULL ? sharing->socket : SHARING_SOCKET,
		.listens = true,
		.keep = sharing->fail == SETTINGS_FAIL_CLOSED,
		.changed = changed,
		.arg = s,
		.rehearse = s->source.rehearse };
	char why[GUARD_WHY_LEN];

	if (sharing->mode != SHARING_GUARDED && sharing->mode != SHARING_DEMUX)
		return 0;
	if (priv_becomes(s->started->user, &setup.owner, &setup.group) != 0)
		return -1;
	s->source.guard = guard_open(&setup, why);
	if (s->source.guard != NULL)
		return sharing->mode == SHARING_DEMUX ? open_demux(s) : 0;
	if (sharing->socket != NULL && !s->source.rehearse) {
		log_error("sharing.socket: %s: %s", setup.path, why);
		return -1;
	}
	log_info(
	    "sharing: no other daemon can be met: %s: %s", setup.path, why);
	return 0;
}

static void
guard_event(struct ev_loop *loop, ev_io *w, int events)
{
	struct server *s = w->data;

	(void)loop;
	(void)events;
	guard_serve(s->source.guard);
}

void
server_watch_guard(struct server *s)
{
	if (s->source.guard == NULL)
		return;
	ev_io_init(
	    &s->guarded, guard_event, guard_fd(s->source.guard), EV_READ);
	s->guarded.data = s;
	ev_io_start(s->loop, &s->guarded);
}
