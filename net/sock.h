/*
 * Every socket() and setsockopt() of the project (socket(7), ip(7), ipv6(7),
 * udp(7), tcp(7)). Options are set before bind, in one place, so that what a
 * socket carries at bind time can be read off one struct.
 */
#ifndef NET_SOCK_H
#define NET_SOCK_H

#include <stdbool.h>
#include <sys/types.h>

#include "net/addr.h"

enum sock_proto { SOCK_UDP = 0, SOCK_TCP };

struct incumbent;

struct sock_opts {
	bool reuseaddr; /* SO_REUSEADDR */
	bool reuseport; /* SO_REUSEPORT: one group a (address, port, uid) */
	/* the same, once bound: the bind itself shares the port with nobody,
	 * the other sockets of the group may follow */
	bool reuseport_late;
	bool v6only; /* IPV6_V6ONLY, set explicitly to this value */
	bool pktinfo; /* IP_PKTINFO / IPV6_RECVPKTINFO (UDP) */
	bool gro; /* UDP_GRO: runs of equal datagrams arrive as one (UDP) */
	int rcvbuf; /* bytes, 0 = kernel default; FORCE tried first */
	int sndbuf;
	int backlog; /* TCP listen(2); 0 = SOMAXCONN */
	bool nodelay; /* TCP_NODELAY (TCP); an accepted one inherits it */
	int keepalive_s; /* SO_KEEPALIVE after so long, 0 = none; inherited */
	int fast_open; /* TCP_FASTOPEN queue of a listener, 0 = none */
	const char
	    *congestion; /* TCP_CONGESTION, NULL = the host's; inherited */
	struct sock_early *early; /* NULL = none */
	const char *device; /* SO_BINDTODEVICE, NULL = any */
	int ifindex; /* SO_BINDTOIFINDEX, 0 = any; it need not exist */
	/* whose socket it is, for SO_REUSEPORT; NULL = who makes it */
	const uid_t *owner;
	/* whose sockets are not to blame when it cannot be bound; NULL = all
	 * are (net/incumbent) */
	const struct incumbent *beside;
};

/* Bytes for the first packet of a TCP connection (RFC 7413). Those that did
 * not go there are not sent at all. */
struct sock_early {
	const uint8_t *bytes;
	size_t len;
	size_t sent; /* out: how many the connection has taken */
};

enum sock_step {
	SOCK_STEP_NONE = 0,
	SOCK_STEP_SOCKET,
	SOCK_STEP_OPTION,
	SOCK_STEP_BIND,
	SOCK_STEP_LISTEN,
};
const char *sock_step_str(enum sock_step step);

/*
 * Opens a non-blocking, close-on-exec socket with `o`, binds it to `a`, and
 * listens when it is TCP. Returns the fd, or -1 with errno and the step that
 * failed.
 */
int sock_open(enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, enum sock_step *failed);

/* The same, and it does not listen: a port of TCP that is bound and no more. */
int sock_reserve(
    enum sock_proto proto, const struct addr *a, const struct sock_opts *o);

/* Client side: a non-blocking socket connected (UDP) or connecting (TCP). */
int sock_connect(
    enum sock_proto proto, const struct addr *peer, const struct sock_opts *o);

/*
 * As above, but the peer sees `source` as the other end, an address of another
 * host (IP_TRANSPARENT, ip(7)): with its port, or with one of the kernel's
 * choice where that is taken. Answers come back only if routing leads them
 * here. EAFNOSUPPORT: the two are not of one family. EPERM: see below.
 */
int sock_connect_from(enum sock_proto proto, const struct addr *source,
    const struct addr *peer, const struct sock_opts *o);

/* Whether that is allowed: CAP_NET_RAW or CAP_NET_ADMIN. 0, or -1 with errno. */
int sock_may_be_transparent(void);

/* Turns UDP_GRO on or off later; a kernel without it goes on without. */
void sock_udp_gro(int fd, bool on);

/* Each datagram tells the address and port that were asked, which under
 * net/dispatch are not those of the socket (IP_RECVORIGDSTADDR, ip(7)). */
int sock_udp_asked(int fd, int family);

/*
 * For datagrams that bring their UDP header along (net/rawudp): from any port,
 * whoever has it. It receives nothing. CAP_NET_RAW, once; -1 with errno.
 */
int sock_udp_raw(int family);

/*
 * What a socket is that somebody else has made: UDP or TCP, bound to a port,
 * not connected. -1 and why it is not, as the end of a sentence.
 */
int
sock_identify(int fd, enum sock_proto *proto, struct addr *a, const char **why);
/*
 * Gives it, not blocking from now on, what of `o` can be set after bind;
 * without the flags that share a port. One of TCP listens. A wildcard must
 * take IPv4 along as o->v6only says. -1 and why, as above.
 */
int sock_adopt(int fd, enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, const char **why);

/* The address a socket is bound to (getsockname(2)). */
int sock_local(int fd, struct addr *a);
int sock_peer(int fd, struct addr *a); /* where it is connected to */

/* Whether this host has the address (loopback, or getifaddrs(3)). */
bool sock_is_local(const struct addr *a);

/* A sock_diag(7) netlink socket; its reads give up after a second. */
int sock_diag_open(void);
/* The same for rtnetlink(7), told of what happens in `groups` (RTMGRP_…). */
int sock_route_open(uint32_t groups);

#endif
