#include "net/route.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "net/device.h"
#include "net/rtnl.h"
#include "net/sock.h"

#define READS_MOST 64 /* of what a watch has to say, in one go */

/* What a datagram may be sent to without asking whether it is there. */
#define NUD_GOOD                                                             \
	(NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_STALE | NUD_DELAY | \
	    NUD_PROBE)

struct question {
	struct nlmsghdr header;
	union {
		struct rtmsg route;
		struct ndmsg neighbour; /* of the same length */
	};
	uint8_t attributes[2 * RTA_SPACE(sizeof(struct in6_addr))];
};

int
route_open(void)
{
	return sock_route_open(0);
}

/* ---- asking ---- */

static void
put_address(struct question *q, uint16_t type, const struct addr *a)
{
	bool six = a->sa.sa_family == AF_INET6;
	const struct rtattr attribute = { .rta_type = type,
		.rta_len = (uint16_t)RTA_LENGTH(six ? 16 : 4) };
	uint8_t *at = (uint8_t *)q + q->header.nlmsg_len;

	memcpy(at, &attribute, sizeof attribute);
	if (six)
		memcpy(RTA_DATA(at), &a->in6.sin6_addr, 16);
	else
		memcpy(RTA_DATA(at), &a->in.sin_addr, 4);
	q->header.nlmsg_len += RTA_SPACE(six ? 16 : 4);
}

static struct question
ask_for(const struct addr *from, const struct addr *to)
{
	uint8_t bits = to->sa.sa_family == AF_INET6 ? 128 : 32;
	struct question q = {
		.header = { .nlmsg_len = NLMSG_LENGTH(sizeof q.route),
		    .nlmsg_type = RTM_GETROUTE },
		.route = { .rtm_family = (uint8_t)to->sa.sa_family,
		    .rtm_src_len = from != NULL ? bits : 0,
		    .rtm_dst_len = bits },
	};

	if (from != NULL)
		put_address(&q, RTA_SRC, from);
	put_address(&q, RTA_DST, to);
	return q;
}

/* ---- the answer ---- */

struct found {
	struct route route;
	bool plain; /* by one interface, to one next hop */
};

static void
read_metrics(const struct rtattr *metrics, struct route *r)
{
	struct rtnl_walk w = rtnl_nested(metrics);
	const struct rtattr *a;

	while ((a = rtnl_next(&w)) != NULL) {
		uint32_t mtu = rtnl_word(a);

		if (a->rta_type == RTAX_MTU && mtu > 0 && mtu < UINT16_MAX)
			r->mtu = (uint16_t)mtu;
	}
}

static void
read_gateway(const struct rtattr *a, struct addr *hop)
{
	if (hop->sa.sa_family == AF_INET6 && RTA_PAYLOAD(a) == 16)
		memcpy(&hop->in6.sin6_addr, RTA_DATA(a), 16);
	else if (hop->sa.sa_family == AF_INET && RTA_PAYLOAD(a) == 4)
		memcpy(&hop->in.sin_addr, RTA_DATA(a), 4);
}

static void
read_attribute(const struct rtattr *a, struct found *f)
{
	switch (a->rta_type) {
	case RTA_OIF:
		f->route.device = rtnl_word(a);
		break;
	case RTA_METRICS:
		read_metrics(a, &f->route);
		break;
	case RTA_GATEWAY:
		read_gateway(a, &f->route.hop);
		break;
	case RTA_VIA: /* of the other family */
		f->route.hop.sa.sa_family = AF_UNSPEC;
		break;
	case RTA_ENCAP:
		f->plain = false;
		break;
	default:
		break;
	}
}

/* Several next hops, or one through a tunnel, are not one device. */
static void
read_route(const struct nlmsghdr *h, void *to)
{
	const struct rtmsg *m = NLMSG_DATA(h);
	struct rtnl_walk w = rtnl_walk(h, sizeof *m);
	const struct rtattr *a;
	struct found *f = to;
	bool local = m->rtm_type == RTN_LOCAL;

	f->plain = local || m->rtm_type == RTN_UNICAST;
	while ((a = rtnl_next(&w)) != NULL)
		read_attribute(a, f);
	if (local) {
		f->route.device = DEVICE_LOOPBACK; /* whoever has the address */
		f->route.hop.sa.sa_family = AF_UNSPEC;
	}
}

int
route_find(
    int fd, const struct addr *from, const struct addr *to, struct route *r)
{
	struct question q = ask_for(from, to);
	struct found f = { .route = { .mtu = UINT16_MAX, .hop = *to } };

	if (rtnl_ask(fd, &q.header, RTM_NEWROUTE, sizeof q.route, read_route,
		&f) != 0)
		return -1;
	*r = f.route;
	if (f.plain && r->device != 0)
		return 0;
	errno = EADDRNOTAVAIL;
	return -1;
}

/* ---- neighbours ---- */

struct neighbour {
	uint8_t mac[ROUTE_MAC_LEN];
	bool known;
};

static void
read_neighbour(const struct nlmsghdr *h, void *to)
{
	const struct ndmsg *m = NLMSG_DATA(h);
	struct rtnl_walk w = rtnl_walk(h, sizeof *m);
	const struct rtattr *a;
	struct neighbour *n = to;

	while ((a = rtnl_next(&w)) != NULL)
		if (a->rta_type == NDA_LLADDR &&
		    RTA_PAYLOAD(a) == sizeof n->mac) {
			memcpy(n->mac, RTA_DATA(a), sizeof n->mac);
			n->known = (m->ndm_state & NUD_GOOD) != 0;
		}
}

int
route_neighbour(int fd, unsigned int device, const struct addr *a,
    uint8_t mac[static ROUTE_MAC_LEN])
{
	struct question q = {
		.header = { .nlmsg_len = NLMSG_LENGTH(sizeof q.neighbour),
		    .nlmsg_type = RTM_GETNEIGH },
		.neighbour = { .ndm_family = (uint8_t)a->sa.sa_family,
		    .ndm_ifindex = (int)device },
	};
	struct neighbour n = { .known = false };

	put_address(&q, NDA_DST, a);
	if (rtnl_ask(fd, &q.header, RTM_NEWNEIGH, sizeof q.neighbour,
		read_neighbour, &n) != 0)
		return -1;
	memcpy(mac, n.mac, sizeof n.mac);
	errno = ENOENT;
	return n.known ? 0 : -1;
}

/* ---- changes ---- */

int
route_watch(void)
{
	return sock_route_open(RTMGRP_LINK | RTMGRP_TC | RTMGRP_IPV4_IFADDR |
	    RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE | RTMGRP_IPV6_IFADDR |
	    RTMGRP_IPV6_ROUTE | (uint32_t)1 << (RTNLGRP_IPV6_RULE - 1));
}

/* What is lost (ENOBUFS) has happened too. */
bool
route_changed(int fd)
{
	uint8_t message[64]; /* what it says does not matter */
	bool any = false;

	for (int i = 0; i < READS_MOST; i++) {
		ssize_t n =
		    recv(fd, message, sizeof message, MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0 && errno != ENOBUFS)
			break;
		any = true;
	}
	return any;
}
