/* port_ranges and sharing.mode dispatch: which way, why, and what it costs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

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

/* ---- sharing.mode: dispatch ---- */

/* For applications of UDP that a reload may bring, too. */
static int
open_raw(struct proxy *p)
{
	static const int families[] = { AF_INET, AF_INET6 };

	for (size_t i = 0; i < 2; i++) {
		p->raw[i] = sock_udp_raw(families[i]);
		if (p->raw[i] >= 0 || errno == EAFNOSUPPORT)
			continue;
		log_error("sharing.mode: dispatch: a raw socket, by which "
			  "replies of UDP leave: %s%s",
		    strerror(errno),
		    errno == EPERM ? " (it takes CAP_NET_RAW)" : "");
		return -1;
	}
	return 0;
}

void
proxy_close_raw(struct proxy *p)
{
	for (size_t i = 0; i < 2; i++) {
		if (p->raw[i] >= 0)
			close(p->raw[i]);
	}
}

/* A test leaves what is pinned alone. */
static int
open_sharing(struct proxy *p)
{
	const char *pin = p->source.rehearse ? NULL : p->started->sharing.pin;
	char why[DISPATCH_WHY_LEN];

	p->dispatch =
	    pin != NULL ? dispatch_open_pinned(pin, why) : dispatch_open(why);
	if (p->dispatch == NULL) {
		log_error("sharing.mode: dispatch: %s", why);
		return -1;
	}
	dispatch_fail_closed(p->dispatch);
	return open_raw(p);
}

int
proxy_open_dispatch(struct proxy *p)
{
	const struct proxy_settings *s = p->started;
	char why[DISPATCH_WHY_LEN];

	p->port_flows = calloc(1, sizeof *p->port_flows);
	if (p->port_flows == NULL) {
		log_error("port ranges: %s", strerror(errno));
		return -1;
	}
	if (s->sharing.mode == SHARING_DISPATCH)
		return open_sharing(p);
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

	if (s->sharing.mode == SHARING_DISPATCH)
		return 0; /* they leave by one raw socket */
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
