#include <errno.h>
#include <unistd.h>

#include "net/sock.h"
#include "proxy/udp_inner.h"

static struct udp_exit *
exit_at(const struct udp_listener *l, const struct addr *edge)
{
	return &l->exits[addr_port(edge) - addr_port(&l->edge)];
}

/*
 * The first port is the listener's own. The others are bound only while there
 * are flows on them: the kernel's socket lookup, which the program of
 * net/dispatch is asked in, comes before such a socket, so it never receives.
 * SO_REUSEPORT: each worker has its own. 0, or -1 with errno.
 */
int
udp_exit_begin(struct udp_listener *l, const struct addr *edge)
{
	const struct sock_opts o = { .v6only = true, .reuseport = true };
	struct addr from = l->edge;
	enum sock_step step;
	struct udp_exit *e;

	if (l->exits == NULL || addr_port(edge) == addr_port(&l->edge))
		return 0;
	e = exit_at(l, edge);
	if (e->flows == 0) {
		addr_set_port(&from, addr_port(edge));
		e->fd = sock_open(SOCK_UDP, &from, &o, &step);
		if (e->fd < 0)
			return -1;
	}
	e->flows++;
	return 0;
}

void
udp_exit_end(struct udp_listener *l, const struct addr *edge)
{
	struct udp_exit *e;

	if (l->exits == NULL || addr_port(edge) == addr_port(&l->edge))
		return;
	e = exit_at(l, edge);
	if (--e->flows == 0)
		close(e->fd);
}

int
udp_exit_of(const struct udp_listener *l, const struct addr *edge)
{
	if (l->raw >= 0)
		return l->raw;
	if (l->exits == NULL || addr_port(edge) == addr_port(&l->edge))
		return l->ready.fd;
	return exit_at(l, edge)->fd;
}
