#include "proxy/edge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "net/listener.h"
#include "net/tcp.h"
#include "proxy/edge_before.h"
#include "proxy/edge_range.h"
#include "proxy/notation.h"

#define FDS_BESIDE 64 /* event loops, log, files */
#define TOLD_MAX 4 /* ports of one application that cannot be opened */

/* ---- how many ---- */

static size_t
ports_of(const struct app *a)
{
	return (size_t)(a->port_last - a->port_first + 1);
}

bool
edge_is_range(const struct app *a)
{
	return ports_of(a) >= EDGE_RANGE_MIN &&
	    (a->proto == SOCK_TCP || a->port_first >= IPPORT_RESERVED);
}

/* A shorter one is dispatched as well where a range was: its ports may be held
 * by sockets for replies, and its flows stay with their workers. */
static bool
follows_range(const struct edge_before *before, const struct app *a)
{
	if (a->proto == SOCK_UDP && a->port_first < IPPORT_RESERVED)
		return false;
	for (size_t e = 0; e < a->edges; e++) {
		if (edge_before_reaches(before, a->proto,
			a->edge[e].sa.sa_family, a->port_first, a->port_last))
			return true;
	}
	return false;
}

/* One socket for all ports. */
static bool
is_dispatched(const struct app *a, const struct edge_options *o,
    const struct edge_before *before)
{
	return o->dispatch != NULL &&
	    (o->sharing == SHARING_DISPATCH || edge_is_range(a) ||
		follows_range(before, a));
}

static size_t
sockets_of(const struct app *apps, size_t n, const struct edge_options *o,
    const struct edge_before *before)
{
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += apps[i].edges *
		    (is_dispatched(&apps[i], o, before) ? 1
							: ports_of(&apps[i]));
	return total;
}

/* Better said at once than by thousands of lines later. */
static int
check_descriptors(size_t sockets, size_t queues)
{
	size_t need = sockets * queues + FDS_BESIDE;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || need <= limit.rlim_cur)
		return 0;
	log_error("%zu ports for %zu %s need %zu files open, and %llu may be: "
		  "raise the limit (ulimit -Hn, LimitNOFILE=), or have fewer "
		  "ports or workers",
	    sockets, queues, queues == 1 ? "worker" : "workers", need,
	    (unsigned long long)limit.rlim_cur);
	return -1;
}

/* ---- opening ---- */

struct opening {
	struct edge_set *set;
	const struct edge_options *options;
	struct edge_before before; /* may be empty */
};

static struct sock_opts
socket_options(const struct app *a, const struct edge_socket *s,
    const struct edge_options *o, const struct edge_before *before)
{
	struct sock_opts opts = { .v6only = true };

	sharing_options(o->sharing, s->proto, &opts);
	if (s->proto == SOCK_UDP) {
		/* beside those that replies of ours leave by */
		opts.reuseport |= edge_before_reaches(before, SOCK_UDP,
		    s->address.sa.sa_family, addr_port(&s->address),
		    addr_port(&s->address));
		/* a socket with one address answers from it anyway */
		opts.pktinfo = addr_is_wildcard(&s->address) && !s->elsewhere;
		opts.rcvbuf = o->rcvbuf;
		return opts;
	}
	/* old connections in TIME_WAIT must not hold up a restart; unlike
	 * UDP, a listener still keeps everybody else out */
	opts.reuseaddr = true;
	opts.nodelay = true;
	opts.keepalive_s = (int)a->tcp.keepalive_s;
	opts.fast_open = (int)a->tcp.fast_open;
	opts.congestion = app_congestion(a, &s->address);
	return opts;
}

/* Where a rule leads packets to, whatever they asked for: an address that
 * nobody else wants, and a port of the kernel's choice. */
static struct addr
place_of(const struct edge_socket *s)
{
	struct addr a = s->address;

	if (!s->elsewhere)
		return a;
	if (a.sa.sa_family == AF_INET)
		a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a.in6.sin6_addr = in6addr_loopback;
	addr_set_port(&a, 0);
	return a;
}

/* One listener, for its own port or, with its ports to `last`, a range. */
static int
open_socket(struct opening *op, const struct app *a, size_t index, size_t e,
    uint16_t port, uint16_t last, bool dispatched)
{
	struct edge_set *set = op->set;
	struct edge_socket *s = &set->sockets[set->count];
	int *fds = &set->fds[set->count * set->queues];
	struct sock_opts o;
	struct addr place;

	*s = (struct edge_socket){ .proto = a->proto,
		.address = a->edge[e],
		.bits = a->edge_bits[e],
		.elsewhere = op->options->sharing == SHARING_DISPATCH,
		.port_last = last,
		.slot = -1,
		.app = index };
	addr_set_port(&s->address, port);
	o = socket_options(a, s, op->options, &op->before);
	place = place_of(s);
	if (!edge_before_take(&op->before, s, fds, dispatched) &&
	    listener_obtain(
		set->source, s->proto, &place, &o, set->queues, fds) != 0)
		return -1;
	set->count++;
	return 0;
}

static int
open_ports(struct opening *op, const struct app *a, size_t index, size_t e)
{
	int failed = 0;

	for (unsigned int port = a->port_first; port <= a->port_last; port++) {
		if (open_socket(op, a, index, e, (uint16_t)port, (uint16_t)port,
			false) == 0)
			continue;
		if (++failed < TOLD_MAX)
			continue;
		log_error("application %s: no further port is tried", a->name);
		break;
	}
	return failed == 0 ? 0 : -1;
}

static int
open_range(struct opening *op, const struct app *a, size_t index, size_t e)
{
	struct edge_set *set = op->set;
	size_t range = set->count;

	if (open_socket(op, a, index, e, a->port_first, a->port_last, true) !=
	    0)
		return -1;
	if (op->options->sharing != SHARING_DISPATCH)
		edge_before_take_ports(&op->before, set, range);
	return edge_range_join(set, range, a, op->before.count == 0);
}

/* What is said of the port would not tell that it is our own. */
static void
tell_holder(const struct opening *op, const struct app *a)
{
	const struct edge_socket *s = edge_before_holder(&op->before, a);
	char name[ADDR_STR_LEN];

	if (s != NULL)
		log_error("application %s: this proxy itself still has %s %s: "
			  "an address and a wildcard follow each other at a "
			  "port under sharing.mode: guarded; restart, or "
			  "reload without it first",
		    a->name, listener_proto_str(s->proto),
		    addr_format(name, &s->address));
}

static int
open_app(struct opening *op, const struct app *a, size_t index)
{
	bool dispatched = is_dispatched(a, op->options, &op->before);
	int result = 0;

	for (size_t e = 0; e < a->edges && result == 0; e++)
		result =
		    (dispatched ? open_range : open_ports)(op, a, index, e);
	if (result != 0)
		tell_holder(op, a);
	return result;
}

static int
open_all(struct opening *op, const struct app *apps, size_t n)
{
	int result = 0;

	for (size_t i = 0; i < n; i++) {
		if (open_app(op, &apps[i], i) != 0)
			result = -1;
	}
	return result;
}

/* The old ones are marked `kept` again when this failed. */
static void
none_kept(struct edge_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		set->sockets[i].kept = false;
}

static int
make_room(struct edge_set *set, size_t count)
{
	set->sockets = calloc(count + 1, sizeof *set->sockets);
	set->fds = calloc(count * set->queues + 1, sizeof *set->fds);
	if (set->sockets != NULL && set->fds != NULL)
		return 0;
	log_error("listen: %s", strerror(errno));
	return -1;
}

int
edge_open(struct edge_set *set, struct edge_set *old, const struct app *apps,
    size_t n, const struct edge_options *o)
{
	struct edge_set none = { 0 };
	struct opening op = { .set = set, .options = o };
	size_t count;
	int result = -1;

	old = old != NULL ? old : &none;
	*set = (struct edge_set){ .queues = o->workers,
		.source = o->source,
		.dispatch = o->dispatch,
		.flows = o->flows,
		.spare = o->spare,
		.spares = o->spares };
	if (edge_before_begin(&op.before, old) != 0) {
		log_error("listen: %s", strerror(errno));
		return -1;
	}
	count = sockets_of(apps, n, o, &op.before);
	if (check_descriptors(count, o->workers) == 0 &&
	    make_room(set, count + old->count) == 0)
		result = open_all(&op, apps, n);
	if (result == 0)
		result = edge_range_prepare(set, old);
	edge_before_end(&op.before);
	if (result != 0)
		edge_undo(set, old);
	else if (old == &none)
		edge_range_publish(set);
	return result;
}

/* Takes the sockets out whose `kept` is as given; closes them or not. */
static void
take_out(struct edge_set *set, bool kept, bool closing)
{
	size_t left = 0, q = set->queues;

	for (size_t i = 0; i < set->count; i++) {
		if (set->sockets[i].kept == kept) {
			if (closing)
				listener_leave(
				    set->source, &set->fds[i * q], q);
			continue;
		}
		set->sockets[left] = set->sockets[i];
		memmove(&set->fds[left * q], &set->fds[i * q],
		    q * sizeof *set->fds);
		left++;
	}
	set->count = left;
}

void
edge_forget(struct edge_set *set)
{
	free(set->sockets);
	free(set->fds);
	*set = (struct edge_set){ 0 };
}

void
edge_commit(struct edge_set *set, struct edge_set *old)
{
	edge_range_publish(set);
	take_out(old, true, false);
	none_kept(set);
}

void
edge_tune(const struct edge_set *set, const struct app *apps)
{
	for (size_t i = 0; i < set->count * set->queues; i++) {
		const struct edge_socket *s = &set->sockets[i / set->queues];
		const struct app *a = &apps[s->app];

		if (s->proto != SOCK_TCP)
			continue;
		/* they were taken once, by this kernel */
		(void)tcp_keepalive(set->fds[i], (int)a->tcp.keepalive_s);
		(void)tcp_fast_open(set->fds[i], (int)a->tcp.fast_open);
		tcp_congestion(set->fds[i], app_congestion(a, &s->address));
	}
}

void
edge_undo(struct edge_set *set, struct edge_set *old)
{
	take_out(set, false, true);
	edge_forget(set);
	none_kept(old);
}

void
edge_close(struct edge_set *set)
{
	take_out(set, false, true);
	edge_forget(set);
}

/* ---- out of service ---- */

/* For each queue of a socket; -1 with errno when one did not go. */
static int
each_queue(const struct edge_set *set, size_t socket, int (*change)(int fd))
{
	int result = 0;

	for (size_t q = 0; q < set->queues; q++)
		if (change(set->fds[socket * set->queues + q]) != 0)
			result = -1;
	return result;
}

static bool
is_tcp_of(const struct edge_socket *s, size_t app)
{
	return s->app == app && s->proto == SOCK_TCP;
}

void
edge_leave(struct edge_set *set, size_t app)
{
	for (size_t i = 0; i < set->count; i++)
		if (is_tcp_of(&set->sockets[i], app))
			set->sockets[i].paused = true;
}

void
edge_pause(struct edge_set *set, size_t app)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct edge_socket *s = &set->sockets[i];

		if (is_tcp_of(s, app) && s->paused &&
		    each_queue(set, i, tcp_listen_stop) != 0)
			log_warning("a port that is drained still takes "
				    "connections: %m");
	}
}

static int
listen_again(const struct edge_set *set, size_t socket)
{
	struct guard *guard = set->source->guard;

	if (guard != NULL && set->source->demux == NULL)
		return guard_listen_again(
		    guard, set->fds[socket * set->queues]);
	return each_queue(set, socket, tcp_listen_again);
}

int
edge_resume(struct edge_set *set, const struct edge_set *old, size_t app)
{
	int result = 0;

	for (size_t i = 0; i < set->count; i++) {
		struct edge_socket *s = &set->sockets[i];

		if (!is_tcp_of(s, app) || !s->paused)
			continue;
		if (listen_again(set, i) != 0 ||
		    edge_range_again(set, old, i) != 0)
			return -1;
		s->paused = false;
		result = 1;
	}
	return result;
}

void
edge_resumed(struct edge_set *set)
{
	edge_range_publish(set);
}

bool
edge_is_paused(const struct edge_set *set, size_t app)
{
	for (size_t i = 0; i < set->count; i++)
		if (is_tcp_of(&set->sockets[i], app) && set->sockets[i].paused)
			return true;
	return false;
}

/* ---- what is not wanted any more ---- */

int
edge_join(struct edge_set *set, const struct edge_set *more)
{
	size_t n = set->count + more->count, q = set->queues;
	struct edge_socket *sockets =
	    realloc(set->sockets, (n + 1) * sizeof *sockets);
	int *fds;

	if (sockets == NULL)
		return -1;
	set->sockets = sockets;
	fds = realloc(set->fds, (n * q + 1) * sizeof *fds);
	if (fds == NULL)
		return -1;
	set->fds = fds;
	for (size_t i = 0; i < more->count; i++)
		sockets[set->count + i] = more->sockets[i];
	for (size_t i = 0; i < more->count * q; i++)
		fds[set->count * q + i] = more->fds[i];
	set->count = n;
	return 0;
}

void
edge_part(struct edge_set *set, const struct edge_set *more)
{
	set->count -= more->count;
}

void
edge_parted(struct edge_set *set)
{
	const struct edge_set none = { 0 };

	if (edge_range_prepare(set, &none) == 0)
		edge_range_publish(set);
}

bool
edge_drains(const struct edge_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->sockets[i].port_drain > 0)
			return true;
	return false;
}

void
edge_settle(struct edge_set *set, const struct edge_set *old)
{
	bool settled = false;

	for (size_t i = 0; i < set->count; i++)
		settled |= edge_range_settle(set, i);
	if (settled && edge_range_prepare(set, old) == 0)
		edge_range_publish(set);
}

void
edge_close_tcp(struct edge_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		set->sockets[i].kept = set->sockets[i].proto == SOCK_TCP;
	take_out(set, true, true);
}

/* ---- views ---- */

static void
log_edge(const struct app *a, size_t e)
{
	char name[ADDR_STR_LEN], edge[NOTATION_EDGE_LEN];
	char ports[NOTATION_PORTS_LEN];
	const char *proto = listener_proto_str(a->proto);
	struct addr first = a->edge[e];

	addr_set_port(&first, a->port_first);
	addr_format(name, &first);
	if (a->edge_bits[e] > 0)
		log_info("%s: listening on %s/%s of %s", a->name, proto,
		    notation_ports_str(ports, a->port_first, a->port_last),
		    notation_edge(edge, a, e));
	else if (a->port_first == a->port_last)
		log_info("%s: listening on %s %s", a->name, proto, name);
	else
		log_info("%s: listening on %s %s-%u", a->name, proto, name,
		    a->port_last);
}

void
edge_log(const struct edge_set *set, const struct app *apps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t e = 0; e < apps[i].edges; e++)
			log_edge(&apps[i], e);
	log_info("%zu listening sockets", set->count * set->queues);
}

int
edge_posts(const struct edge_set *set, enum sock_proto proto, size_t worker,
    struct service *const *services, struct post **posts, size_t *count)
{
	struct post *list = calloc(set->count + 1, sizeof *list);
	size_t n = 0;

	*posts = list;
	*count = 0;
	if (list == NULL)
		return -1;
	for (size_t i = 0; i < set->count; i++) {
		const struct edge_socket *s = &set->sockets[i];

		if (s->proto != proto || s->paused)
			continue;
		list[n++] = (struct post){ .service = services[s->app],
			.edge = s->address,
			.fd = set->fds[i * set->queues + worker],
			.port_last = s->port_last,
			.dispatched = s->slot >= 0,
			.elsewhere = s->elsewhere,
			.bits = s->bits };
	}
	*count = n;
	return 0;
}

bool
edge_post_serves(const struct post *p, const struct addr *asked)
{
	unsigned int all = p->edge.sa.sa_family == AF_INET ? 32 : 128;
	uint16_t port = addr_port(asked);

	if (p->edge.sa.sa_family != asked->sa.sa_family ||
	    port < addr_port(&p->edge) || port > p->port_last)
		return false;
	return addr_is_wildcard(&p->edge) ||
	    addr_in_prefix(asked, &p->edge, p->bits > 0 ? p->bits : all);
}
