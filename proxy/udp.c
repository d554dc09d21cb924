#include "proxy/udp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/sock.h"
#include "proxy/udp_inner.h"

#define TICK_S 0.05
#define QUIET_MS 1000 /* while stopping: not waited for any longer */
#define EXPIRE_CALLS 4 /* of flow_expire() in a tick */
#define NS_PER_MS 1000000u

/* Lines about refused clients: each once a minute, and all together. */
#define TOLD_CLIENTS 4096
#define TOLD_PER_S 100

/* --- how many flows --- */

/* Local ports that connect(2) may choose from. */
static uint32_t
local_ports(void)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned int first = 32768, last = 60999;

	if (f != NULL) {
		if (fscanf(f, "%u %u", &first, &last) != 2 || last < first) {
			first = 32768;
			last = 60999;
		}
		fclose(f);
	}
	return last - first + 1;
}

uint32_t
udp_flows_most(uint32_t wanted, size_t workers, size_t reserve)
{
	struct rlimit files = { .rlim_cur = RLIM_INFINITY };
	uint64_t most = (uint64_t)local_ports() * 3 / 4 / workers;
	uint64_t fds;

	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur != RLIM_INFINITY) {
		fds = files.rlim_cur > reserve ? files.rlim_cur - reserve : 0;
		if (most > fds / workers)
			most = fds / workers;
	}
	if (most > wanted)
		most = wanted;
	return most > 0 ? (uint32_t)most : 1;
}

/* --- events --- */

static void
read_clock(struct udp_worker *w)
{
	w->now_ns = clock_monotonic_ns();
	w->now_ms = w->now_ns / NS_PER_MS;
}

/* The first of a turn of the loop reads the clock for all. */
static void
begin_round(struct udp_worker *w)
{
	uint32_t round = ev_iteration(w->setup.loop);

	if (round == w->round)
		return;
	w->round = round;
	read_clock(w);
}

static void
flow_event(struct ev_loop *loop, ev_io *io, int what)
{
	struct udp_worker *w = io->data;
	struct udp_side *s = (struct udp_side *)io;
	struct flow *f = flow_at(w->table, (uint32_t)(s - w->sides));

	(void)loop;
	begin_round(w);
	if (what & EV_ERROR) /* the kernel has no memory to watch it */
		flow_close(w->table, f, STATUS_UNAVAILABLE);
	else
		udp_pass_origin(w, f);
}

static void
gathered_event(struct ev_loop *loop, ev_check *check, int what)
{
	struct udp_worker *w = check->data;

	(void)loop;
	(void)what;
	if (w->d->count > 0)
		udp_pass_flush(w);
}

static void
listener_event(struct ev_loop *loop, ev_io *io, int what)
{
	struct udp_worker *w = io->data;
	const struct udp_listener *l = (struct udp_listener *)io;
	char name[ADDR_STR_LEN];

	(void)loop;
	begin_round(w);
	if (w->setup.renew(w->setup.context))
		return; /* what is there is looked at again */
	if (what & EV_ERROR)
		log_error("udp: %s is not served: the kernel watches no more "
			  "sockets (fs.epoll.max_user_watches)",
		    addr_format(name, &l->edge));
	else
		udp_pass_clients(w, l->place);
}

/*
 * Replies first, and all of a turn together: their flows then have had replies
 * when a flood comes.
 */
#define PRIORITY_FLOW 2
#define PRIORITY_GATHERED 1

void
udp_watch_flow(struct udp_worker *w, struct flow *f, int fd)
{
	ev_io *io = &udp_side_of(w, f)->ready;

	ev_io_init(io, flow_event, fd, EV_READ);
	ev_set_priority(io, PRIORITY_FLOW);
	io->data = w;
	ev_io_start(w->setup.loop, io);
}

static void
watch_listener(struct udp_worker *w, struct udp_listener *l, int fd)
{
	ev_io_init(&l->ready, listener_event, fd, EV_READ);
	l->ready.data = w;
	if (fd >= 0)
		ev_io_start(w->setup.loop, &l->ready);
}

/* --- ends --- */

static void
free_listener(struct udp_worker *w, size_t i)
{
	struct udp_listener *l = w->listeners[i];

	ev_io_stop(w->setup.loop, &l->ready);
	if (l->ready.fd != l->edge_fd && l->ready.fd >= 0)
		close(l->ready.fd);
	service_release(l->service);
	free(l->exits);
	free(l);
	w->listeners[i] = NULL;
}

/* Of a flow that is quiet while we wait for an end. */
static bool
is_quiet(const struct udp_worker *w, const struct flow *f)
{
	return flow_active_ms(f) + QUIET_MS <= w->now_ms;
}

static bool
is_due(const struct udp_worker *w, const struct flow *f, uint64_t *next_ns)
{
	const struct udp_side *s = udp_side_of(w, f);
	uint64_t ends_ns = service_ends_ns(s->service, addr_port(&f->edge));

	if (w->all_end_ns != 0 &&
	    (w->all_end_ns <= w->now_ns || is_quiet(w, f)))
		return true;
	if (ends_ns == 0)
		return false;
	if (*next_ns == 0 || ends_ns < *next_ns)
		*next_ns = ends_ns;
	return ends_ns <= w->now_ns;
}

/* Looks at every flow: after a reload, at the end of a service, at our own. */
static void
end_flows(struct udp_worker *w)
{
	uint64_t next_ns = 0;

	for (uint32_t i = 0; i < w->setup.flows; i++) {
		struct flow *f = flow_at(w->table, i);

		if (f != NULL && is_due(w, f, &next_ns))
			flow_close(w->table, f, STATUS_CLOSED);
	}
	w->service_ends_ns = next_ns > w->now_ns ? next_ns : 0;
}

static void
tick_event(struct ev_loop *loop, ev_timer *timer, int what)
{
	struct udp_worker *w = timer->data;
	bool draining = false;

	(void)what;
	read_clock(w);
	udp_fast_tick(w);
	for (int i = 0; i < EXPIRE_CALLS; i++)
		if (flow_expire(w->table, w->now_ms) == 0)
			break;
	if (w->all_end_ns != 0 ||
	    (w->service_ends_ns != 0 && w->now_ns >= w->service_ends_ns))
		end_flows(w);
	for (size_t i = 0; i < w->listeners_cap; i++) {
		if (w->listeners[i] == NULL || !w->listeners[i]->draining)
			continue;
		if (w->listeners[i]->flows == 0)
			free_listener(w, i);
		else
			draining = true;
	}
	atomic_store(&w->lingers, draining);
	if (flow_count(w->table) == 0 && !draining)
		ev_timer_stop(loop, timer);
}

void
udp_worker_end_by(struct udp_worker *w, uint64_t ends_ns)
{
	if (ends_ns != 0)
		w->all_end_ns = ends_ns;
	read_clock(w);
	end_flows(w);
}

/* --- listeners --- */

/* A free place, or -1; made room for beforehand. */
static long
free_place(const struct udp_worker *w, size_t from)
{
	for (size_t i = from; i < w->listeners_cap; i++)
		if (w->listeners[i] == NULL)
			return (long)i;
	return -1;
}

static int
make_room(struct udp_worker *w, size_t more)
{
	size_t cap = w->listeners_cap + more;
	struct udp_listener **list;

	for (size_t i = 0; i < w->listeners_cap; i++)
		cap -= w->listeners[i] == NULL && cap > w->listeners_cap;
	list = realloc(w->listeners, (cap + 1) * sizeof *list);
	if (list == NULL)
		return -1;
	memset(list + w->listeners_cap, 0,
	    (cap - w->listeners_cap) * sizeof *list);
	w->listeners = list;
	w->listeners_cap = cap;
	return 0;
}

/* For every port that a reload could give it: untouched memory is free. */
static int
make_exits(struct udp_worker *w, struct udp_listener *l, const struct post *p)
{
	uint16_t first = addr_port(&p->edge);

	if (p->elsewhere || p->port_last <= first || l->exits != NULL)
		return 0;
	l->exits = calloc(65536u - first, sizeof *l->exits);
	if (l->exits == NULL)
		return -1;
	/* it may have had flows, all on its own port */
	l->exits[0].flows = l->flows;
	atomic_fetch_add(&w->setup.port_flows->on[first], l->flows);
	return 0;
}

static int
add_listener(struct udp_worker *w, const struct post *p, size_t place)
{
	struct udp_listener *l = calloc(1, sizeof *l);

	if (l == NULL)
		return -1;
	l->edge = p->edge;
	l->place = (uint32_t)place;
	l->edge_fd = p->fd;
	l->post = *p;
	l->wildcard = addr_is_wildcard(&p->edge) || p->elsewhere;
	l->raw =
	    p->elsewhere ? w->setup.raw[p->edge.sa.sa_family == AF_INET6] : -1;
	if (make_exits(w, l, p) != 0) {
		free(l);
		return -1;
	}
	watch_listener(w, l, p->fd);
	l->service = service_hold(p->service);
	l->tally = tally_book_sheet(p->service->book, w->setup.worker);
	w->listeners[place] = l;
	return 0;
}

static bool
serves(const struct udp_listener *l, const struct post *p)
{
	return l != NULL && l->edge_fd == p->fd &&
	    addr_equal(&l->edge, &p->edge);
}

/*
 * The last of what came in is taken; then a descriptor of our own keeps the
 * socket for the flows on it. The kernel's set may know the old one after its
 * owner has closed it, since the open file stays: libev makes that set anew
 * when it is told of it.
 */
static void
retire(struct udp_worker *w, uint32_t i)
{
	struct udp_listener *l = w->listeners[i];

	l->ask = (struct udp_ask){ 0 }; /* for all there is */
	udp_pass_clients(w, i);
	l->draining = true;
	udp_fast_listener(w, i);
	atomic_store(&w->lingers, true);
	ev_timer_again(w->setup.loop, &w->tick);
	if (l->ready.fd != l->edge_fd)
		return; /* not the first time */
	ev_io_stop(w->setup.loop, &l->ready);
	watch_listener(w, l, fcntl(l->edge_fd, F_DUPFD_CLOEXEC, 3));
}

static void
switch_service(
    const struct udp_worker *w, struct udp_listener *l, struct service *v)
{
	struct service *old = l->service;

	l->service = service_hold(v);
	l->tally = tally_book_sheet(v->book, w->setup.worker);
	service_release(old);
	l->draining = false;
	/* datagrams that are looked at one by one do not come as runs */
	sock_udp_gro(l->ready.fd,
	    v->app.header == APP_HEADER_OFF && v->app.trusts == 0 &&
		v->app.udp.requests == 0);
	l->wanted = true;
}

void
udp_worker_rest(struct udp_worker *w)
{
	for (size_t i = 0; i < w->listeners_cap; i++) {
		struct udp_listener *l = w->listeners[i];

		if (l == NULL || l->draining)
			continue;
		ev_io_stop(w->setup.loop, &l->ready);
		l->draining = true;
	}
	ev_timer_again(w->setup.loop, &w->tick);
}

/* The listeners by descriptor; DGRAMS_NONE: none. malloc. */
static uint32_t *
index_by_fd(
    const struct udp_worker *w, const struct post *posts, size_t n, size_t *len)
{
	uint32_t *by_fd;

	*len = 1;
	for (size_t i = 0; i < n; i++)
		if ((size_t)posts[i].fd >= *len)
			*len = (size_t)posts[i].fd + 1;
	by_fd = malloc(*len * sizeof *by_fd);
	if (by_fd == NULL)
		return NULL;
	memset(by_fd, 0xff, *len * sizeof *by_fd);
	for (size_t i = 0; i < w->listeners_cap; i++) {
		const struct udp_listener *l = w->listeners[i];

		if (l == NULL || (size_t)l->edge_fd >= *len)
			continue;
		/* a number that one had may be another's by now */
		if (!l->draining || by_fd[l->edge_fd] == DGRAMS_NONE)
			by_fd[l->edge_fd] = (uint32_t)i;
	}
	return by_fd;
}

/* Adds what is new and notes in by_fd where; undone by the caller. */
static int
add_new(
    struct udp_worker *w, const struct post *posts, size_t n, uint32_t *by_fd)
{
	long place = -1;

	for (size_t i = 0; i < n; i++) {
		uint32_t at = by_fd[posts[i].fd];

		if (at != DGRAMS_NONE && serves(w->listeners[at], &posts[i])) {
			/* also one that drains: it comes back */
			if (make_exits(w, w->listeners[at], &posts[i]) != 0)
				return -1;
			continue;
		}
		place = free_place(w, (size_t)(place + 1));
		if (add_listener(w, &posts[i], (size_t)place) != 0)
			return -1;
		w->listeners[place]->wanted = true;
		by_fd[posts[i].fd] = (uint32_t)place;
	}
	return 0;
}

static void
undo_new(struct udp_worker *w)
{
	for (size_t i = 0; i < w->listeners_cap; i++) {
		if (w->listeners[i] != NULL && w->listeners[i]->wanted)
			free_listener(w, i);
	}
}

static void
commit(struct udp_worker *w, const struct post *posts, size_t n,
    const uint32_t *by_fd)
{
	for (size_t i = 0; i < n; i++) {
		struct udp_listener *l = w->listeners[by_fd[posts[i].fd]];

		l->post = posts[i];
		switch_service(w, l, posts[i].service);
		udp_fast_listener(w, by_fd[posts[i].fd]);
	}
	/* those that stay know their ports now, but nothing is left yet */
	for (uint32_t i = 0; i < w->setup.flows; i++) {
		struct flow *f = flow_at(w->table, i);

		if (f != NULL)
			udp_exit_move(w, f);
	}
	for (uint32_t i = 0; i < w->listeners_cap; i++) {
		struct udp_listener *l = w->listeners[i];

		if (l != NULL && !l->wanted && !l->draining)
			retire(w, i);
	}
}

int
udp_worker_listen(struct udp_worker *w, const struct post *posts, size_t n)
{
	size_t len;
	uint32_t *by_fd = index_by_fd(w, posts, n, &len);
	int result = -1, saved;

	for (size_t i = 0; i < w->listeners_cap; i++)
		if (w->listeners[i] != NULL)
			w->listeners[i]->wanted = false;
	if (by_fd != NULL && make_room(w, n) == 0)
		result = add_new(w, posts, n, by_fd);
	saved = errno;
	read_clock(w);
	if (result == 0)
		commit(w, posts, n, by_fd);
	else
		undo_new(w);
	free(by_fd);
	errno = saved;
	return result;
}

/* --- the worker --- */

static int
make_limits(struct udp_worker *w)
{
	const struct limit_config all = { .entries = 1,
		.rate_per_s = TOLD_PER_S,
		.burst = TOLD_PER_S,
		.prefix4 = 32,
		.prefix6 = 128 };
	const struct limit_config client = { .entries = TOLD_CLIENTS,
		.rate_per_s = 1.0 / 60,
		.burst = 1,
		.prefix4 = 32,
		.prefix6 = 64 };

	w->told = limit_new(&all);
	w->told_client = limit_new(&client);
	return w->told != NULL && w->told_client != NULL ? 0 : -1;
}

static int
make(struct udp_worker *w)
{
	read_clock(w);
	w->d = dgrams_new();
	w->table =
	    flow_table_new(w->setup.flows, w->now_ms, udp_flow_closed, w);
	w->sides = calloc(w->setup.flows, sizeof *w->sides);
	if (w->d == NULL || w->table == NULL || w->sides == NULL ||
	    make_limits(w) != 0 || udp_fast_open(w) != 0)
		return -1;
	ev_check_start(w->setup.loop, &w->gathered);
	return 0;
}

struct udp_worker *
udp_worker_new(const struct udp_setup *setup)
{
	struct udp_worker *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	w->setup = *setup;
	memset(w->via, 0xff, sizeof w->via); /* DGRAMS_NONE */
	ev_init(&w->tick, tick_event);
	w->tick.repeat = TICK_S;
	ev_check_init(&w->gathered, gathered_event);
	ev_set_priority(&w->gathered, PRIORITY_GATHERED);
	w->gathered.data = w->tick.data = w;
	if (make(w) == 0)
		return w;
	udp_worker_free(w);
	errno = ENOMEM;
	return NULL;
}

void
udp_worker_free(struct udp_worker *w)
{
	if (w == NULL)
		return;
	ev_check_stop(w->setup.loop, &w->gathered);
	ev_timer_stop(w->setup.loop, &w->tick);
	flow_table_free(w->table);
	udp_fast_close(w);
	for (size_t i = 0; i < w->listeners_cap; i++)
		if (w->listeners[i] != NULL)
			free_listener(w, i);
	free(w->listeners);
	free(w->sides);
	dgrams_free(w->d);
	limit_free(w->told);
	limit_free(w->told_client);
	free(w);
}

bool
udp_worker_lingers(const struct udp_worker *w)
{
	return atomic_load(&w->lingers);
}

size_t
udp_worker_flows(const struct udp_worker *w)
{
	return flow_count(w->table);
}
