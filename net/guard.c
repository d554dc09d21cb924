#include "net/guard_inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/demux.h"

#define MODE 0660
#define EVENTS 16
#define MESSAGES 32 /* of one peer, before others have their turn */
#define RETRY_MS 250 /* connect(2) to a path that is not there is cheap */
#define REFUSED_MS 5000

enum { AT_LISTENER = GUARD_PEERS_MAX, AT_TIMER };

static int
watch(const struct guard *g, int fd, uint32_t what)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = what };

	return epoll_ctl(g->epoll, EPOLL_CTL_ADD, fd, &e);
}

/* ---- peers ---- */

static void
drop(struct guard *g, struct guard_peer *p)
{
	if (guard_is_known(p))
		log_info("sharing: %s (pid %ld) is gone", p->hello.name,
		    (long)p->who.pid);
	close(p->fd);
	guard_orphan(g, p);
	*p = (struct guard_peer){ .fd = -1 };
	if (g->window == p)
		guard_close_window(g);
}

void
guard_tell(struct guard_peer *p, const struct guard_message *m, const int *fds,
    size_t count)
{
	uint8_t bytes[GUARD_MESSAGE_LEN];

	guard_message_format(bytes, m);
	/* what has ended is seen to when it is read */
	if (unixsock_send(p->fd, bytes, sizeof bytes, fds, count) != 0)
		shutdown(p->fd, SHUT_RDWR);
}

static void
greet(const struct guard *g, struct guard_peer *p)
{
	struct guard_message m = { .type = GUARD_HELLO,
		.detail = g->setup.keep };

	snprintf(m.name, sizeof m.name, "%s", g->name);
	guard_tell(p, &m, NULL, 0);
}

/* Whoever may stop these daemons and take their ports anyway. */
static bool
may_be_peer(struct guard *g, const struct unixsock_peer *who)
{
	if (who->uid == 0 || who->uid == g->started_as ||
	    who->uid == g->setup.owner)
		return true;
	if (who->pid != g->refused)
		log_warning("sharing: pid %ld of uid %u may not share our "
			    "ports: it takes root's, uid %u or uid %u",
		    (long)who->pid, (unsigned)who->uid, (unsigned)g->started_as,
		    (unsigned)g->setup.owner);
	g->refused = who->pid;
	return false;
}

static void
meet(struct guard *g, int fd)
{
	struct guard_peer *p = g->peers;
	struct unixsock_peer who;

	while (p < g->peers + GUARD_PEERS_MAX && p->fd >= 0)
		p++;
	if (p == g->peers + GUARD_PEERS_MAX || unixsock_peer(fd, &who) != 0 ||
	    !may_be_peer(g, &who) || watch(g, fd, (uint32_t)(p - g->peers))) {
		close(fd);
		return;
	}
	*p = (struct guard_peer){ .fd = fd, .who = who };
	if (!g->setup.listens)
		greet(g, p);
}

static void
try_to_meet(struct guard *g)
{
	int fd = unixsock_meet(g->path);

	if (fd >= 0)
		meet(g, fd);
	g->meet_ms = clock_monotonic_ms() + RETRY_MS;
}

static void
take_hello(struct guard *g, struct guard_peer *p, const struct guard_message *m)
{
	p->hello = *m;
	g->met = true;
	log_info("sharing: met %s (pid %ld)", m->name, (long)p->who.pid);
	guard_give_back(g, p);
	if (g->setup.listens)
		greet(g, p); /* whoever hears it has what was kept */
	for (size_t i = 0; i < g->count; i++)
		if (g->sockets[i].shared)
			guard_tell_have(p, &g->sockets[i]);
}

/* A late one: the window is not needed any more. */
static void
take_answer(struct guard_peer *p, const struct guard_message *m)
{
	const struct guard_message done = { .type = GUARD_DONE,
		.number = m->number };

	if (m->number == p->asked) {
		p->answer = *m;
		p->asked = 0;
	} else if (m->type == GUARD_OPEN) {
		guard_tell(p, &done, NULL, 0);
	}
}

/* False: that is no way to talk. Takes the descriptors, or leaves them. */
static bool
take(struct guard *g, struct guard_peer *p, const struct guard_message *m,
    const int *fds, size_t *count)
{
	size_t given = *count;

	if ((m->type == GUARD_HELLO) == guard_is_known(p) &&
	    m->type != GUARD_KEPT)
		return false;
	switch (m->type) {
	case GUARD_HELLO:
		take_hello(g, p, m);
		return true;
	case GUARD_ASK:
		guard_take_ask(g, p, m);
		return true;
	case GUARD_OPEN:
	case GUARD_NO:
		take_answer(p, m);
		return true;
	case GUARD_DONE:
		if (g->window == p && g->window_ask.number == m->number)
			guard_close_window(g);
		return true;
	case GUARD_HAVE:
		*count = 0;
		guard_take_have(g, p, m, fds, given);
		return true;
	case GUARD_LEFT:
		guard_take_left(g, p, m);
		return true;
	case GUARD_KEPT:
		*count = 0;
		guard_take_kept(g, m, fds, given);
		return true;
	default:
		return g->demux != NULL &&
		    demux_take(g->demux, p, m, fds, count);
	}
}

/* True: there may be more. */
static bool
hear(struct guard *g, struct guard_peer *p)
{
	uint8_t bytes[GUARD_MESSAGE_LEN + 1];
	int fds[UNIXSOCK_FDS_MAX];
	struct guard_message m;
	size_t count;
	ssize_t n = unixsock_receive(p->fd, bytes, sizeof bytes, fds, &count);
	bool good = false;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n > 0 &&
	    guard_message_parse(&m, (struct view){ bytes, (size_t)n }) == 0)
		good = take(g, p, &m, fds, &count);
	while (count > 0)
		close(fds[--count]);
	if (!good)
		drop(g, p);
	return good;
}

static void
hear_all(struct guard *g, struct guard_peer *p)
{
	for (int i = 0; i < MESSAGES && p->fd >= 0; i++)
		if (!hear(g, p))
			return;
}

/* ---- turns ---- */

static bool
is_alone(const struct guard *g)
{
	for (size_t i = 0; i < GUARD_PEERS_MAX; i++)
		if (g->peers[i].fd >= 0)
			return false;
	return true;
}

static void
set_timer(struct guard *g)
{
	uint64_t now_ms = clock_monotonic_ms(), then_ms = UINT64_MAX;
	struct itimerspec when = { 0 };

	if (!g->setup.listens && is_alone(g))
		then_ms = g->meet_ms;
	if (g->window != NULL && g->window_ends_ms < then_ms)
		then_ms = g->window_ends_ms;
	if (then_ms != UINT64_MAX) {
		uint64_t ms = then_ms > now_ms ? then_ms - now_ms : 1;

		when.it_value.tv_sec = (time_t)(ms / 1000);
		when.it_value.tv_nsec = (long)(ms % 1000 * 1000000);
	}
	(void)timerfd_settime(g->timer, 0, &when, NULL);
}

static void
look_at_clock(struct guard *g)
{
	uint64_t now_ms = clock_monotonic_ms();

	if (g->window != NULL && now_ms >= g->window_ends_ms) {
		log_warning("sharing: %s (pid %ld) does not come through its "
			    "window, which is closed",
		    g->window->hello.name, (long)g->window->who.pid);
		guard_close_window(g);
	}
	if (!g->setup.listens && is_alone(g) && now_ms >= g->meet_ms)
		try_to_meet(g);
}

static void
see_to(struct guard *g, uint32_t what)
{
	uint64_t ticks;
	int fd;

	switch (what) {
	case AT_LISTENER:
		fd = unixsock_accept(g->listener);
		if (fd >= 0)
			meet(g, fd);
		return;
	case AT_TIMER:
		(void)!read(g->timer, &ticks, sizeof ticks);
		return;
	default:
		hear_all(g, &g->peers[what]);
	}
}

void
guard_turn(struct guard *g, int ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(g->epoll, events, EVENTS, ms);

	for (int i = 0; i < n; i++)
		see_to(g, events[i].data.u32);
	look_at_clock(g);
	set_timer(g);
}

void
guard_set_demux(struct guard *g, struct demux *d)
{
	g->demux = d;
}

int
guard_fd(const struct guard *g)
{
	return g->epoll;
}

void
guard_serve(struct guard *g)
{
	if (!g->started)
		guard_decline(g);
	g->started = true;
	guard_turn(g, 0);
}

/* ---- making and ending ---- */

static int
open_listener(struct guard *g, char *why)
{
	const struct unixsock_place place = { g->path, SOCK_SEQPACKET, MODE,
		geteuid() == 0 ? g->setup.owner : UNIXSOCK_OURS,
		geteuid() == 0 ? g->setup.group : UNIXSOCK_OURS };

	unixsock_make_directory(&place, g->setup.owner, g->setup.group);
	g->listener = unixsock_listen(&place, &g->file, why);
	return g->listener >= 0 ? watch(g, g->listener, AT_LISTENER) : -1;
}

static int
make(struct guard *g, char *why)
{
	why[0] = '\0';
	if (g->name == NULL || g->path == NULL || g->epoll < 0 ||
	    g->timer < 0 || watch(g, g->timer, AT_TIMER) != 0)
		return -1;
	if (g->setup.listens)
		return open_listener(g, why);
	try_to_meet(g);
	return 0;
}

struct guard *
guard_open(const struct guard_setup *setup, char why[static GUARD_WHY_LEN])
{
	struct guard *g = calloc(1, sizeof *g);

	if (g == NULL) {
		snprintf(why, GUARD_WHY_LEN, "%s", strerror(errno));
		return NULL;
	}
	g->setup = *setup;
	g->started_as = geteuid();
	g->opened_ms = clock_monotonic_ms();
	g->listener = -1;
	for (size_t i = 0; i < GUARD_PEERS_MAX; i++)
		g->peers[i].fd = -1;
	g->name = strdup(setup->name);
	g->path = strdup(setup->path);
	g->epoll = epoll_create1(EPOLL_CLOEXEC);
	g->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (make(g, why) == 0) {
		set_timer(g);
		return g;
	}
	if (why[0] == '\0')
		snprintf(why, GUARD_WHY_LEN, "%s", strerror(errno));
	guard_close(g);
	return NULL;
}

void
guard_close(struct guard *g)
{
	if (g == NULL)
		return;
	for (size_t i = 0; i < GUARD_PEERS_MAX; i++) {
		if (g->peers[i].fd >= 0)
			close(g->peers[i].fd);
		g->peers[i].fd = -1; /* that is all that peers are told */
	}
	/* its file stays where rights are gone, and is replaced */
	if (g->listener >= 0)
		close(g->listener);
	if (g->timer >= 0)
		close(g->timer);
	if (g->epoll >= 0)
		close(g->epoll);
	guard_kept_free(&g->theirs);
	guard_kept_free(&g->ours);
	while (g->count > 0)
		guard_release(g, g->sockets[0].fds[0]);
	free(g->sockets);
	free(g->name);
	free(g->path);
	free(g);
}
