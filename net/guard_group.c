/* The sockets of one place: a group that is closed to everybody else. */
#include "net/guard_inner.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "net/listener.h"

/*
 * One socket a worker means a group of SO_REUSEPORT, whose flag stays: each
 * further socket of its user would get a share of the packets, and that user
 * may have other processes. A socket without the flag bolts the door.
 *
 * TCP: a newcomer has to get along with every socket at the place, so one of
 * the group itself goes without. Connections are given to all of the group as
 * long as the one that the kernel finds first has the flag: the newest, of
 * IPv6 the oldest (inet_hash, inet_lhash2_lookup).
 *
 * UDP: the first one in the kernel's list decides alone, about newcomers as
 * about packets (udp_lib_lport_inuse, udp4_lib_lookup2). So a socket more is
 * put there that gets no packet, as it belongs to an interface that does not
 * exist: newest of all, of IPv6 oldest. In IPv6 an address can be bound only
 * before the interface is said; in IPv4 the bolt must not have been in the
 * group, and is bound after.
 */
#define NOWHERE INT_MAX

static bool
is_six(const struct guard_place *place)
{
	return place->address.sa.sa_family == AF_INET6;
}

static size_t
bolt_of_tcp(const struct guard_place *place, size_t count)
{
	return is_six(place) ? count - 1 : 0;
}

int
guard_flags(const struct guard_socket *s, enum guard_way way, bool on)
{
	enum sockflag flag =
	    way == GUARD_BY_ADDR ? SOCKFLAG_REUSEADDR : SOCKFLAG_REUSEPORT;
	bool group = flag == SOCKFLAG_REUSEPORT && s->count > 1;
	int result = 0;

	for (size_t i = 0; i < s->count; i++) {
		bool stays = group &&
		    (s->bolt >= 0 || i != bolt_of_tcp(&s->place, s->count));

		result |= sockflag_set(s->fds[i], flag, on || stays);
	}
	if (s->bolt >= 0)
		result |= sockflag_set(s->bolt, flag, on);
	return result;
}

/* -1 with errno. */
static int
open_bolt(const struct guard_place *place, const struct sock_opts *group)
{
	const bool first = is_six(place);
	const struct sock_opts o = { .reuseport = group->reuseport || !first,
		.reuseaddr = group->reuseaddr,
		.v6only = group->v6only,
		.ifindex = first ? 0 : NOWHERE,
		.owner = group->owner };
	int fd = sock_reserve(place->proto, &place->address, &o), error;

	if (fd < 0 || !first ||
	    (sockflag_set_ifindex(fd, NOWHERE) == 0 &&
		sockflag_set(fd, SOCKFLAG_REUSEPORT, true) == 0))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int
guard_group_open(
    struct guard_socket *s, const struct sock_opts *o, enum sock_step *step)
{
	const bool bolted = s->place.proto == SOCK_UDP && s->count > 1;
	struct sock_opts opts = *o;

	s->bolt = -1;
	*step = SOCK_STEP_BIND;
	if (bolted && is_six(&s->place)) {
		s->bolt = open_bolt(&s->place, o);
		if (s->bolt < 0)
			return -1;
		opts.reuseport = true;
	}
	if (listener_attempt(s->place.proto, &s->place.address, &opts, s->count,
		s->fds, step) != 0) {
		listener_close(&s->bolt, s->bolt >= 0);
		return -1;
	}
	if (!bolted || s->bolt >= 0)
		return 0;
	s->bolt = open_bolt(&s->place, o);
	if (s->bolt >= 0)
		return 0;
	listener_close(s->fds, s->count);
	return -1;
}
