#include <stdatomic.h>
#include <unistd.h>

#include "net/sock.h"
#include "proxy/udp_inner.h"

static struct udp_exit *
exit_at(const struct udp_listener *l, const struct addr *edge)
{
	return &l->exits[addr_port(edge) - addr_port(&l->edge)];
}

static bool
is_own_port(const struct udp_listener *l, const struct addr *edge)
{
	return addr_port(edge) == addr_port(&l->edge);
}

/*
 * The first port is the listener's own. The others are bound only while there
 * are flows on them: the kernel's socket lookup, which the program of
 * net/dispatch is asked in, comes before such a socket, so it never receives.
 * SO_REUSEPORT: each worker has its own. 0, or -1 with errno.
 */
static int
open_exit(const struct udp_listener *l, struct udp_exit *e, uint16_t port)
{
	const struct sock_opts o = { .v6only = true, .reuseport = true };
	struct addr from = l->edge;
	enum sock_step step;

	addr_set_port(&from, port);
	e->fd = sock_open(SOCK_UDP, &from, &o, &step);
	return e->fd >= 0 ? 0 : -1;
}

int
udp_exit_begin(
    struct udp_worker *w, struct udp_listener *l, const struct addr *edge)
{
	struct udp_exit *e;

	if (l->exits == NULL)
		return 0;
	e = exit_at(l, edge);
	if (e->flows == 0 && !is_own_port(l, edge) &&
	    open_exit(l, e, addr_port(edge)) != 0)
		return -1;
	e->flows++;
	atomic_fetch_add(&w->setup.port_flows->on[addr_port(edge)], 1);
	return 0;
}

void
udp_exit_end(
    struct udp_worker *w, struct udp_listener *l, const struct addr *edge)
{
	struct udp_exit *e;

	if (l->exits == NULL)
		return;
	e = exit_at(l, edge);
	if (--e->flows == 0 && !is_own_port(l, edge))
		close(e->fd);
	atomic_fetch_sub(&w->setup.port_flows->on[addr_port(edge)], 1);
}

int
udp_exit_of(const struct udp_listener *l, const struct addr *edge)
{
	if (l->raw >= 0)
		return l->raw;
	if (l->exits == NULL || is_own_port(l, edge))
		return l->ready.fd;
	return exit_at(l, edge)->fd;
}

/* ---- ports that move ---- */

static bool
takes(const struct udp_listener *l, const struct addr *edge)
{
	return l->wanted && !l->draining && edge_post_serves(&l->post, edge);
}

bool
udp_exit_is_of_ranges(const struct udp_listener *l)
{
	return l->exits != NULL || l->post.elsewhere;
}

static struct udp_listener *
find_home(const struct udp_worker *w, const struct addr *edge, bool of_ranges)
{
	for (size_t i = 0; i < w->listeners_cap; i++) {
		struct udp_listener *other = w->listeners[i];

		if (other != NULL &&
		    (!of_ranges || udp_exit_is_of_ranges(other)) &&
		    takes(other, edge))
			return other;
	}
	return NULL;
}

struct udp_listener *
udp_exit_home(
    const struct udp_worker *w, struct udp_listener *l, const struct addr *edge)
{
	return takes(l, edge) ? l : find_home(w, edge, false);
}

/* Not to a port of its own: of its sockets the kernel chooses one for a client,
 * which may be another worker's. */
void
udp_exit_move(struct udp_worker *w, struct flow *f)
{
	struct udp_listener *l = w->listeners[f->listener], *home;

	if (l->exits == NULL || takes(l, &f->edge))
		return;
	home = find_home(w, &f->edge, true);
	if (home == NULL || home == l || udp_exit_begin(w, home, &f->edge) != 0)
		return;
	udp_exit_end(w, l, &f->edge);
	l->flows--;
	home->flows++;
	f->listener = home->place;
}
