#include "net/route.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "net/device.h"
#include "net/sock.h"

#define ANSWER_LEN 2048
#define READS_MOST 64 /* of what a watch has to say, in one go */

struct question {
	struct nlmsghdr header;
	struct rtmsg route;
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
		    .nlmsg_type = RTM_GETROUTE,
		    .nlmsg_flags = NLM_F_REQUEST },
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

static uint32_t
word_of(const struct rtattr *a)
{
	uint32_t word = 0;

	if (RTA_PAYLOAD(a) >= sizeof word)
		memcpy(&word, RTA_DATA(a), sizeof word);
	return word;
}

/* RTA_NEXT() without its mix of signs. */
static const struct rtattr *
next(const struct rtattr *a, int *left)
{
	int step = (int)RTA_ALIGN(a->rta_len);

	*left -= step;
	return (const struct rtattr *)((const uint8_t *)a + step);
}

static void
read_metrics(const struct rtattr *metrics, struct route *r)
{
	int left = (int)RTA_PAYLOAD(metrics);

	for (const struct rtattr *a = RTA_DATA(metrics); RTA_OK(a, left);
	     a = next(a, &left)) {
		uint32_t mtu = word_of(a);

		if (a->rta_type == RTAX_MTU && mtu > 0 && mtu < UINT16_MAX)
			r->mtu = (uint16_t)mtu;
	}
}

/* Several next hops, or one through a tunnel, are not one device. */
static int
read_route(const struct nlmsghdr *h, struct route *r)
{
	const struct rtmsg *m = NLMSG_DATA(h);
	int left = (int)RTM_PAYLOAD(h);
	bool local = m->rtm_type == RTN_LOCAL;
	bool plain = local || m->rtm_type == RTN_UNICAST;

	*r = (struct route){ .mtu = UINT16_MAX };
	for (const struct rtattr *a = RTM_RTA(m); RTA_OK(a, left);
	     a = next(a, &left)) {
		if (a->rta_type == RTA_OIF)
			r->device = word_of(a);
		else if (a->rta_type == RTA_METRICS)
			read_metrics(a, r);
		else if (a->rta_type == RTA_ENCAP)
			plain = false;
	}
	if (local)
		r->device = DEVICE_LOOPBACK; /* whoever has the address */
	if (plain && r->device != 0)
		return 0;
	errno = EADDRNOTAVAIL;
	return -1;
}

static int
read_answer(const struct nlmsghdr *h, size_t len, struct route *r)
{
	struct nlmsgerr e;

	if (!NLMSG_OK(h, len)) {
		errno = EPROTO;
		return -1;
	}
	if (h->nlmsg_type == RTM_NEWROUTE &&
	    h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct rtmsg)))
		return read_route(h, r);
	errno = EPROTO;
	if (h->nlmsg_type == NLMSG_ERROR &&
	    h->nlmsg_len >= NLMSG_LENGTH(sizeof e)) {
		memcpy(&e, NLMSG_DATA(h), sizeof e);
		errno = -e.error;
	}
	return -1;
}

int
route_find(
    int fd, const struct addr *from, const struct addr *to, struct route *r)
{
	_Alignas(struct nlmsghdr) uint8_t answer[ANSWER_LEN];
	struct question q = ask_for(from, to);
	ssize_t n;

	if (send(fd, &q, q.header.nlmsg_len, 0) < 0)
		return -1;
	n = recv(fd, answer, sizeof answer, 0);
	if (n < 0)
		return -1;
	return read_answer((const struct nlmsghdr *)answer, (size_t)n, r);
}

/* ---- changes ---- */

int
route_watch(void)
{
	return sock_route_open(RTMGRP_LINK | RTMGRP_IPV4_IFADDR |
	    RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE | RTMGRP_IPV6_IFADDR |
	    RTMGRP_IPV6_ROUTE | (uint32_t)1 << (RTNLGRP_IPV6_RULE - 1));
}

/* What is lost (ENOBUFS) has happened too. */
bool
route_changed(int fd)
{
	uint8_t message[ANSWER_LEN];
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
