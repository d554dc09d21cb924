/* port_ranges: which way, why, and what it costs. */
#include <sys/resource.h>

#include "base/log.h"
#include "proxy/proxy_state.h"

static bool
wants_ranges(const struct proxy_settings *s)
{
	for (size_t i = 0; i < s->apps; i++) {
		if (edge_is_range(&s->app[i]))
			return true;
	}
	return false;
}

/* Long enough, but not to be dispatched: edge_is_range says why. */
static void
tell_low_ranges(const struct proxy_settings *s)
{
	for (size_t i = 0; i < s->apps; i++) {
		const struct app *a = &s->app[i];

		if (a->port_last - a->port_first + 1 >= EDGE_RANGE_MIN &&
		    !edge_is_range(a))
			log_info("%s: a socket for each port: replies from "
				 "UDP ports under %d cannot be sent otherwise "
				 "once rights are given up; begin the range "
				 "at %d, and have the others in a second "
				 "application",
			    a->name, IPPORT_RESERVED, IPPORT_RESERVED);
	}
}

int
proxy_open_dispatch(struct proxy *p)
{
	const struct proxy_settings *s = p->started;
	char why[DISPATCH_WHY_LEN];

	if (s->port_ranges == PROXY_RANGES_SOCKETS)
		return 0;
	tell_low_ranges(s);
	if (s->port_ranges == PROXY_RANGES_AUTO && !wants_ranges(s))
		return 0;
	p->dispatch = dispatch_open(why);
	if (p->dispatch != NULL) {
		log_info("port ranges: one socket a worker (sk_lookup)");
		return 0;
	}
	if (s->port_ranges == PROXY_RANGES_DISPATCH) {
		log_error("port_ranges: dispatch: %s", why);
		return -1;
	}
	log_info("port ranges: a socket for each port: %s", why);
	return 0;
}

size_t
proxy_exits(const struct proxy *p, size_t reserve)
{
	const struct proxy_settings *s = p->started;
	struct rlimit limit;
	size_t ports = 0, half;

	for (size_t i = 0; p->dispatch != NULL && i < s->apps; i++) {
		const struct app *a = &s->app[i];

		if (a->proto == SOCK_UDP && edge_is_range(a))
			ports +=
			    a->edges * (size_t)(a->port_last - a->port_first);
	}
	ports *= proxy_settings_workers(s);
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
	    limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur <= reserve)
		return ports;
	half = (limit.rlim_cur - reserve) / 2; /* a flow needs two at most */
	return ports < half ? ports : half;
}
