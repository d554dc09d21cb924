/* sharing: demux, TCP: connections of the time service, from the workers that
 * have looked at them to the main thread, which knows the other daemon. */
#include "proxy/proxy_state.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "net/tcp.h"

#define WAITING 256

struct proxy_clients {
	pthread_mutex_t lock;
	struct {
		int fd;
		struct addr edge;
	} list[WAITING];
	size_t count;
	ev_async wake;
	struct proxy *proxy;
	struct log_gate nobody;
};

static void
turn_away(int fd)
{
	tcp_reset_on_close(fd);
	close(fd);
}

void
proxy_time_client(void *arg, int fd, const struct addr *edge)
{
	struct proxy_clients *c = arg;
	bool room;

	pthread_mutex_lock(&c->lock);
	room = c->count < WAITING;
	if (room) {
		c->list[c->count].fd = fd;
		c->list[c->count++].edge = *edge;
	}
	pthread_mutex_unlock(&c->lock);
	if (room)
		ev_async_send(c->proxy->loop, &c->wake);
	else
		turn_away(fd);
}

static bool
next_client(struct proxy_clients *c, int *fd, struct addr *edge)
{
	bool found;

	pthread_mutex_lock(&c->lock);
	found = c->count > 0;
	if (found) {
		*fd = c->list[--c->count].fd;
		*edge = c->list[c->count].edge;
	}
	pthread_mutex_unlock(&c->lock);
	return found;
}

static void
pass_event(struct ev_loop *loop, ev_async *w, int events)
{
	struct proxy_clients *c = w->data;
	struct addr edge;
	int fd;

	(void)loop;
	(void)events;
	while (next_client(c, &fd, &edge)) {
		if (demux_pass(c->proxy->source.demux, fd, &edge))
			continue;
		log_limited(&c->nobody, LOG_LEVEL_WARNING,
		    "sharing: a client of the time service came, and no time "
		    "server is there");
		turn_away(fd);
	}
}

int
proxy_watch_clients(struct proxy *p)
{
	struct proxy_clients *c;

	if (p->source.demux == NULL)
		return 0;
	c = calloc(1, sizeof *c);
	if (c == NULL) {
		log_error("sharing: %m");
		return -1;
	}
	pthread_mutex_init(&c->lock, NULL);
	c->proxy = p;
	p->clients = c;
	ev_async_init(&c->wake, pass_event);
	c->wake.data = c;
	ev_async_start(p->loop, &c->wake);
	return 0;
}

void
proxy_drop_clients(struct proxy *p)
{
	struct proxy_clients *c = p->clients;
	struct addr edge;
	int fd;

	while (c != NULL && next_client(c, &fd, &edge))
		turn_away(fd);
	free(c);
	p->clients = NULL;
}
