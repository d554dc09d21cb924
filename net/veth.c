#include "net/veth.h"

#include <linux/pkt_sched.h>

#include "net/fastpath_inner.h"
#include "net/rtnl.h"

struct link {
	bool veth, elsewhere; /* its other end */
	bool queued, port;
};

static void
read_kind(const struct rtattr *info, struct link *l)
{
	struct rtnl_walk w = rtnl_nested(info);
	const struct rtattr *a;

	while ((a = rtnl_next(&w)) != NULL)
		if (a->rta_type == IFLA_INFO_KIND)
			l->veth = rtnl_is(a, "veth");
}

static void
read_link(const struct nlmsghdr *h, void *to)
{
	struct rtnl_walk w = rtnl_walk(h, sizeof(struct ifinfomsg));
	const struct rtattr *a;
	struct link *l = to;

	*l = (struct link){ .queued = true };
	while ((a = rtnl_next(&w)) != NULL)
		switch (a->rta_type) {
		case IFLA_LINKINFO:
			read_kind(a, l);
			break;
		case IFLA_LINK_NETNSID:
			l->elsewhere = true;
			break;
		case IFLA_QDISC:
			l->queued = !rtnl_is(a, "noqueue");
			break;
		case IFLA_MASTER:
			l->port = true;
			break;
		default:
			break;
		}
}

static bool
is_plain(int fd, unsigned int device)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg about;
	} q = {
		.header = { .nlmsg_len = sizeof q, .nlmsg_type = RTM_GETLINK },
		.about = { .ifi_index = (int)device },
	};
	struct link l = { 0 };

	return rtnl_ask(fd, &q.header, RTM_NEWLINK, sizeof q.about, read_link,
		   &l) == 0 &&
	    l.veth && l.elsewhere && !l.queued && !l.port;
}

static void
read_filter(const struct nlmsghdr *h, void *to)
{
	const struct tcmsg *m = NLMSG_DATA(h);
	bool *others = to;
	uint32_t priority = TC_H_MAJ(m->tcm_info) >> 16;

	if (priority - FASTPATH_PRIORITY >= FASTPATH_PRIORITIES)
		*others = true;
}

/* Where there is no clsact the kernel has nothing to list. */
static bool
has_filters(int fd, unsigned int device)
{
	struct {
		struct nlmsghdr header;
		struct tcmsg about;
	} q = {
		.header = { .nlmsg_len = sizeof q,
		    .nlmsg_type = RTM_GETTFILTER,
		    .nlmsg_flags = NLM_F_DUMP },
		.about = { .tcm_ifindex = (int)device,
		    .tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) },
	};
	bool others = false;

	return rtnl_ask(fd, &q.header, RTM_NEWTFILTER, sizeof q.about,
		   read_filter, &others) != 0 ||
	    others;
}

bool
veth_is_bare(int fd, unsigned int device)
{
	return is_plain(fd, device) && !has_filters(fd, device);
}
