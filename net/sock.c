#include "net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "net/steer.h"
#include "net/tcp.h"

const char *
sock_step_str(enum sock_step step)
{
	switch (step) {
	case SOCK_STEP_NONE:
		return "nothing";
	case SOCK_STEP_SOCKET:
		return "socket";
	case SOCK_STEP_OPTION:
		return "setsockopt";
	case SOCK_STEP_BIND:
		return "bind";
	case SOCK_STEP_LISTEN:
		return "listen";
	}
	return "?";
}

/* errno survives: it is what the caller asks about. */
static int
close_failed(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

static int
set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof value);
}

/*
 * The forced form ignores net.core.[rw]mem_max and needs CAP_NET_ADMIN; the
 * plain one is cut to that limit without an error.
 */
static int
set_buffer(int fd, int forced, int plain, int bytes)
{
	if (bytes <= 0 || set_int(fd, SOL_SOCKET, forced, bytes) == 0)
		return 0;
	return set_int(fd, SOL_SOCKET, plain, bytes);
}

void
sock_udp_gro(int fd, bool on)
{
	(void)set_int(fd, SOL_UDP, UDP_GRO, on);
}

int
sock_udp_asked(int fd, int family)
{
	if (family == AF_INET6)
		return set_int(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1);
	return set_int(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, 1);
}

static int
set_udp(int fd, int family, const struct sock_opts *o)
{
	if (o->pktinfo && family == AF_INET &&
	    set_int(fd, IPPROTO_IP, IP_PKTINFO, 1) < 0)
		return -1;
	/* On a dual-stack socket this one covers v4-mapped peers too. The
	 * other lets replies leave from each address of a prefix that routing
	 * calls local, as IPv4 does anyway. */
	if (o->pktinfo && family == AF_INET6 &&
	    (set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) < 0 ||
		set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1) < 0))
		return -1;
	if (o->gro)
		sock_udp_gro(fd, true);
	return 0;
}

static int
set_tcp(int fd, const struct sock_opts *o)
{
	if (o->nodelay && set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0)
		return -1;
	if (o->fast_open > 0 && tcp_fast_open(fd, o->fast_open) < 0)
		return -1;
	tcp_congestion(fd, o->congestion);
	return o->keepalive_s > 0 ? tcp_keepalive(fd, o->keepalive_s) : 0;
}

/* The owner of its inode is the user of the socket (sockfs_setattr); who makes
 * it is that already, and has perhaps no right to say so. */
static int
give(int fd, const uid_t *owner)
{
	return owner == NULL || *owner == geteuid()
	    ? 0
	    : fchown(fd, *owner, (gid_t)-1);
}

static int
set_options(
    int fd, enum sock_proto proto, int family, const struct sock_opts *o)
{
	if (give(fd, o->owner) < 0)
		return -1;
	if (o->reuseaddr && set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0)
		return -1;
	if (o->reuseport && set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
		return -1;
	/* Explicit: the default hangs on net.ipv6.bindv6only. */
	if (family == AF_INET6 &&
	    set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, o->v6only) < 0)
		return -1;
	if (o->device != NULL &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o->device,
		(socklen_t)strlen(o->device)) < 0)
		return -1;
	if (o->ifindex != 0 &&
	    set_int(fd, SOL_SOCKET, SO_BINDTOIFINDEX, o->ifindex) < 0)
		return -1;
	if (set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, o->rcvbuf) < 0 ||
	    set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, o->sndbuf) < 0)
		return -1;
	return proto == SOCK_UDP ? set_udp(fd, family, o) : set_tcp(fd, o);
}

static int
new_socket(enum sock_proto proto, int family)
{
	int type = proto == SOCK_UDP ? SOCK_DGRAM : SOCK_STREAM;

	return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int
get_int(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof value;

	return getsockopt(fd, level, name, &value, &len) == 0 ? value : -1;
}

int
sock_identify(int fd, enum sock_proto *proto, struct addr *a, const char **why)
{
	int family = get_int(fd, SOL_SOCKET, SO_DOMAIN);
	int protocol = get_int(fd, SOL_SOCKET, SO_PROTOCOL);
	struct addr peer;
	socklen_t len = sizeof peer;

	*why = "is no socket of UDP or TCP";
	if ((family != AF_INET && family != AF_INET6) ||
	    (protocol != IPPROTO_UDP && protocol != IPPROTO_TCP))
		return -1;
	*proto = protocol == IPPROTO_UDP ? SOCK_UDP : SOCK_TCP;
	*why = "is bound to no port";
	if (sock_local(fd, a) != 0 || addr_port(a) == 0)
		return -1;
	*why = "is connected, where one that waits for clients was expected "
	       "(Accept=no)";
	return getpeername(fd, &peer.sa, &len) == 0 ? -1 : 0;
}

int
sock_adopt(int fd, enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, const char **why)
{
	int family = a->sa.sa_family, flags = fcntl(fd, F_GETFL);
	bool ok;

	*why = o->v6only ? "takes IPv4 along (BindIPv6Only=ipv6-only is needed)"
			 : "does not take IPv4 along (BindIPv6Only=both is "
			   "needed)";
	if (family == AF_INET6 && addr_is_wildcard(a) &&
	    get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY) != o->v6only)
		return -1;
	ok = flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
	    set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, o->rcvbuf) == 0 &&
	    (proto == SOCK_UDP ? set_udp(fd, family, o) : set_tcp(fd, o)) == 0;
	if (ok && proto == SOCK_TCP &&
	    get_int(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1)
		ok = tcp_listen_again(fd) == 0;
	if (!ok)
		*why = strerror(errno);
	return ok ? 0 : -1;
}

static int
open_bound(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, enum sock_step *failed)
{
	int fd;

	*failed = SOCK_STEP_SOCKET;
	fd = new_socket(proto, a->sa.sa_family);
	if (fd < 0)
		return -1;
	*failed = SOCK_STEP_OPTION;
	if (set_options(fd, proto, a->sa.sa_family, o) < 0)
		return close_failed(fd);
	*failed = SOCK_STEP_BIND;
	if (bind(fd, &a->sa, addr_len(a)) < 0)
		return close_failed(fd);
	return fd;
}

int
sock_reserve(
    enum sock_proto proto, const struct addr *a, const struct sock_opts *o)
{
	enum sock_step step;

	return open_bound(proto, a, o, &step);
}

int
sock_open(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, enum sock_step *failed)
{
	int fd = open_bound(proto, a, o, failed);

	if (fd < 0)
		return -1;
	*failed = SOCK_STEP_OPTION;
	if (o->reuseport_late && set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
		return close_failed(fd);
	*failed = SOCK_STEP_LISTEN;
	if (proto == SOCK_TCP &&
	    listen(fd, o->backlog > 0 ? o->backlog : SOMAXCONN) < 0)
		return close_failed(fd);
	*failed = SOCK_STEP_NONE;
	return fd;
}

/* Without a cookie from before, or where it is switched off, the bytes stay
 * here: the connection is one like any other. */
static int
start_connect(int fd, const struct addr *peer, struct sock_early *early)
{
	ssize_t n;

	if (early != NULL && early->len > 0) {
		n = sendto(fd, early->bytes, early->len,
		    MSG_FASTOPEN | MSG_NOSIGNAL, &peer->sa, addr_len(peer));
		early->sent = n > 0 ? (size_t)n : 0;
		if (n >= 0 || errno == EINPROGRESS)
			return 0;
		if (errno != EOPNOTSUPP)
			return -1;
	}
	if (connect(fd, &peer->sa, addr_len(peer)) < 0 && errno != EINPROGRESS)
		return -1;
	return 0;
}

int
sock_connect(
    enum sock_proto proto, const struct addr *peer, const struct sock_opts *o)
{
	int fd = new_socket(proto, peer->sa.sa_family);

	if (fd < 0)
		return -1;
	if (set_options(fd, proto, peer->sa.sa_family, o) < 0)
		return close_failed(fd);
	if (start_connect(fd, peer, o->early) < 0)
		return close_failed(fd);
	return fd;
}

static int
set_transparent(int fd, int family)
{
	if (family == AF_INET6)
		return set_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
	return set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}

static int
connect_from(enum sock_proto proto, const struct addr *source,
    const struct addr *peer, const struct sock_opts *o)
{
	int fd = new_socket(proto, peer->sa.sa_family);

	if (fd < 0)
		return -1;
	/* port 0 is then chosen at connect(2), by both ends */
	if (set_options(fd, proto, peer->sa.sa_family, o) < 0 ||
	    set_transparent(fd, peer->sa.sa_family) < 0 ||
	    set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1) < 0 ||
	    bind(fd, &source->sa, addr_len(source)) < 0)
		return close_failed(fd);
	if (start_connect(fd, peer, o->early) < 0)
		return close_failed(fd);
	return fd;
}

/* Somebody has it, or it is one of the first 1024. */
static bool
is_port_taken(int error)
{
	return error == EADDRINUSE || error == EADDRNOTAVAIL || error == EACCES;
}

int
sock_connect_from(enum sock_proto proto, const struct addr *source,
    const struct addr *peer, const struct sock_opts *o)
{
	struct sock_opts opts = *o;
	struct addr from = *source;
	int fd;

	if (source->sa.sa_family != peer->sa.sa_family) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	/* Connections of TCP may share a port as long as their other ends
	 * differ. Of UDP sockets with both ends alike one would get all. */
	opts.reuseaddr = proto == SOCK_TCP;
	fd = connect_from(proto, &from, peer, &opts);
	if (fd >= 0 || !is_port_taken(errno))
		return fd;
	addr_set_port(&from, 0);
	return connect_from(proto, &from, peer, &opts);
}

int
sock_may_be_transparent(void)
{
	int fd = new_socket(SOCK_UDP, AF_INET), result;

	if (fd < 0)
		return -1;
	result = set_transparent(fd, AF_INET);
	close_failed(fd);
	return result;
}

/* Connected it is offered only what this host says to itself, and a filter
 * drops that; each send names its own destination. */
int
sock_udp_raw(int family)
{
	const struct addr four = { .in = { .sin_family = AF_INET,
				       .sin_addr.s_addr =
					   htonl(INADDR_LOOPBACK) } };
	const struct addr six = { .in6 = { .sin6_family = AF_INET6,
				      .sin6_addr = IN6ADDR_LOOPBACK_INIT } };
	const struct addr *self = family == AF_INET ? &four : &six;
	int fd = socket(
	    family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);

	if (fd < 0)
		return -1;
	/* any address of a prefix that routing calls local */
	if (steer_stop(fd) != 0 ||
	    (family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)
				: set_int(fd, IPPROTO_IP, IP_FREEBIND, 1)) != 0)
		return close_failed(fd);
	(void)connect(fd, &self->sa, addr_len(self));
	return fd;
}

int
sock_local(int fd, struct addr *a)
{
	socklen_t len = sizeof *a;

	memset(a, 0, sizeof *a);
	return getsockname(fd, &a->sa, &len);
}

int
sock_peer(int fd, struct addr *a)
{
	socklen_t len = sizeof *a;

	memset(a, 0, sizeof *a);
	return getpeername(fd, &a->sa, &len);
}

bool
sock_is_local(const struct addr *a)
{
	struct addr host = *a, mine;
	bool local = addr_is_loopback(a);
	struct ifaddrs *list;

	addr_set_port(&host, 0);
	if (local || getifaddrs(&list) != 0)
		return local;
	for (struct ifaddrs *i = list; i != NULL && !local; i = i->ifa_next) {
		if (i->ifa_addr == NULL ||
		    i->ifa_addr->sa_family != a->sa.sa_family)
			continue;
		mine.sa.sa_family = a->sa.sa_family;
		memcpy(&mine, i->ifa_addr, addr_len(&mine));
		local = addr_equal(&mine, &host);
	}
	freeifaddrs(list);
	return local;
}

/* Its reads give up after a second. */
static int
open_netlink(int protocol)
{
	const struct timeval patience = { .tv_sec = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd >= 0 &&
	    setsockopt(
		fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
		return close_failed(fd);
	return fd;
}

int
sock_diag_open(void)
{
	return open_netlink(NETLINK_SOCK_DIAG);
}

int
sock_route_open(uint32_t groups)
{
	const struct sockaddr_nl a = { .nl_family = AF_NETLINK,
		.nl_groups = groups };
	int fd = open_netlink(NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof a) < 0)
		return close_failed(fd);
	return fd;
}
