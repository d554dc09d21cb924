#include "net/lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/sock.h"

#define MESSAGE_LEN 512
#define READY_MS 50 /* for one answer */
#define READY_TRIES 200
#define NOBODYS_PORT 9

/* One rtnetlink(7) request under construction. */
struct message {
	_Alignas(struct nlmsghdr) uint8_t bytes[MESSAGE_LEN];
	size_t len;
};

static void *
put(struct message *m, const void *data, size_t len)
{
	void *at = m->bytes + m->len;

	memcpy(at, data, len);
	m->len += NLMSG_ALIGN(len);
	return at;
}

static void
begin(struct message *m, uint16_t type, uint16_t flags, const void *body,
    size_t len)
{
	const struct nlmsghdr h = {
		.nlmsg_type = type,
		.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags),
	};

	memset(m, 0, sizeof *m);
	put(m, &h, sizeof h);
	put(m, body, len);
}

/* Returns where the attribute is, for end_nest(). */
static size_t
attribute(struct message *m, uint16_t type, const void *data, size_t len)
{
	const struct rtattr a = {
		.rta_type = type,
		.rta_len = (uint16_t)RTA_LENGTH(len),
	};
	size_t at = m->len;

	put(m, &a, sizeof a);
	if (len > 0)
		put(m, data, len);
	return at;
}

static void
end_nest(struct message *m, size_t at)
{
	struct rtattr a;

	memcpy(&a, m->bytes + at, sizeof a);
	a.rta_len = (uint16_t)(m->len - at);
	memcpy(m->bytes + at, &a, sizeof a);
}

static int
open_route(void)
{
	const struct timeval patience = { .tv_sec = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd >= 0)
		(void)setsockopt(
		    fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	return fd;
}

/* Sends it in the network we are in; its acknowledgement becomes errno. */
static int
ask(struct message *m)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		uint8_t rest[MESSAGE_LEN];
	} answer;
	uint32_t len = (uint32_t)m->len;
	ssize_t n = -1;
	int fd = open_route();

	if (fd < 0)
		return -1;
	memcpy(m->bytes, &len, sizeof len); /* nlmsg_len comes first */
	if (send(fd, m->bytes, m->len, 0) == (ssize_t)m->len)
		n = recv(fd, &answer, sizeof answer, 0);
	close(fd);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof answer.error))
		return -1;
	errno = -answer.error.error;
	return errno == 0 ? 0 : -1;
}

/* One end here, the other of the same name in the client's network. */
static int
add_wire(const struct lab *l, const char *name)
{
	/* up comes later: an end without its peer cannot be */
	const struct ifinfomsg end = { 0 };
	struct message m;
	size_t info, data, peer;

	begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &end, sizeof end);
	attribute(&m, IFLA_IFNAME, name, strlen(name) + 1);
	info = attribute(&m, IFLA_LINKINFO, NULL, 0);
	attribute(&m, IFLA_INFO_KIND, "veth", 4);
	data = attribute(&m, IFLA_INFO_DATA, NULL, 0);
	peer = attribute(&m, VETH_INFO_PEER, NULL, 0);
	put(&m, &end, sizeof end);
	attribute(&m, IFLA_IFNAME, name, strlen(name) + 1);
	attribute(&m, IFLA_NET_NS_FD, &l->net[LAB_CLIENT], sizeof(int));
	end_nest(&m, peer);
	end_nest(&m, data);
	end_nest(&m, info);
	return ask(&m);
}

static int
raise_link(const char *name)
{
	const struct ifinfomsg i = {
		.ifi_index = (int)if_nametoindex(name),
		.ifi_flags = IFF_UP,
		.ifi_change = IFF_UP,
	};
	struct message m;

	begin(&m, RTM_NEWLINK, 0, &i, sizeof i);
	return ask(&m);
}

/* `peer` non-NULL: the one host at the other end. */
static int
add_address(
    const char *device, const char *text, uint8_t prefix, const char *peer)
{
	bool six = strchr(text, ':') != NULL;
	const struct ifaddrmsg i = {
		.ifa_family = six ? AF_INET6 : AF_INET,
		.ifa_prefixlen = prefix,
		.ifa_flags = IFA_F_NODAD,
		.ifa_index = if_nametoindex(device),
	};
	uint8_t local[16], far[16];
	struct message m;

	if (inet_pton(i.ifa_family, text, local) != 1 ||
	    inet_pton(i.ifa_family, peer != NULL ? peer : text, far) != 1)
		return -1;
	begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &i, sizeof i);
	attribute(&m, IFA_LOCAL, local, six ? 16 : 4);
	attribute(&m, IFA_ADDRESS, far, six ? 16 : 4);
	return ask(&m);
}

/* Every port nobody listens on must say so at once, however often asked. */
static void
answer_always(void)
{
	static const char *const files[] = {
		"/proc/sys/net/ipv4/icmp_ratemask",
		"/proc/sys/net/ipv6/icmp/ratelimit",
	};

	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		int fd = open(files[i], O_WRONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		if (write(fd, "0", 1) != 1)
			errno = 0; /* then a probe waits longer */
		close(fd);
	}
}

static const struct {
	enum lab_net net;
	const char *device, *address;
	uint8_t prefix;
	const char *peer;
} addresses[] = {
	{ LAB_SERVER, "d1", "192.0.2.1", 24, NULL },
	{ LAB_SERVER, "d1", "192.0.2.2", 24, NULL },
	{ LAB_SERVER, "d1", "2001:db8::1", 64, NULL },
	{ LAB_SERVER, "d1", "2001:db8::2", 64, NULL },
	{ LAB_SERVER, "d2", "192.0.2.202", 32, "192.0.2.102" },
	{ LAB_OTHER, "lo", "192.0.2.1", 32, NULL },
	{ LAB_OTHER, "lo", "2001:db8::1", 128, NULL },
	{ LAB_CLIENT, "d1", "192.0.2.101", 24, NULL },
	{ LAB_CLIENT, "d1", "2001:db8::101", 64, NULL },
	{ LAB_CLIENT, "d2", "192.0.2.102", 24, NULL },
};

static int
furnish(struct lab *l)
{
	if (lab_enter(l, LAB_SERVER) < 0 || add_wire(l, "d1") < 0 ||
	    add_wire(l, "d2") < 0 || raise_link("d1") < 0 ||
	    raise_link("d2") < 0)
		return -1;
	l->device[0] = if_nametoindex("d1");
	l->device[1] = if_nametoindex("d2");
	if (lab_enter(l, LAB_CLIENT) < 0 || raise_link("d1") < 0 ||
	    raise_link("d2") < 0)
		return -1;
	for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
		if (lab_enter(l, addresses[i].net) < 0 ||
		    add_address(addresses[i].device, addresses[i].address,
			addresses[i].prefix, addresses[i].peer) < 0)
			return -1;
	return lab_enter(l, LAB_SERVER);
}

/*
 * Links, and addresses of IPv6, come to life in the kernel's own time. Then
 * the other end refuses a datagram to a port that is nobody's.
 */
static bool
is_refused(const struct addr *a)
{
	const struct sock_opts o = { .v6only = true };
	int fd = sock_connect(SOCK_UDP, a, &o);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte = 0;
	bool sent = fd >= 0 && send(fd, &byte, 1, 0) == 1;
	bool refused = poll(&p, sent, READY_MS) == 1 &&
	    recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return refused;
}

static const struct {
	enum lab_net net;
	const char *to;
} ways[] = {
	{ LAB_CLIENT, "192.0.2.1" },
	{ LAB_CLIENT, "[2001:db8::1]" },
	{ LAB_OTHER, "[2001:db8::1]" },
	{ LAB_SERVER, "[2001:db8::101]" },
};

static int
await(const struct lab *l)
{
	int tries = READY_TRIES;
	const char *why;
	struct addr a;

	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		if (lab_enter(l, ways[i].net) < 0 ||
		    addr_parse(&a, ways[i].to, NOBODYS_PORT, &why) != 0)
			return -1;
		while (!is_refused(&a)) {
			errno = ETIMEDOUT;
			if (--tries <= 0)
				return -1;
		}
	}
	return lab_enter(l, LAB_SERVER);
}

static int
new_net(struct lab *l, int i)
{
	if (i > 0 && unshare(CLONE_NEWNET) < 0)
		return -1;
	l->net[i] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (l->net[i] < 0 || raise_link("lo") < 0)
		return -1;
	answer_always();
	return 0;
}

static int
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), result;

	if (fd < 0)
		return -1;
	result =
	    write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	close(fd);
	return result;
}

/* As nobody in particular: root of a user namespace of one user. */
static int
become_root_within(void)
{
	unsigned int uid = geteuid(), gid = getegid();
	char line[64];

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -1;
	snprintf(line, sizeof line, "0 %u 1", uid);
	if (write_file("/proc/self/uid_map", line) < 0 ||
	    write_file("/proc/self/setgroups", "deny") < 0)
		return -1;
	snprintf(line, sizeof line, "0 %u 1", gid);
	return write_file("/proc/self/gid_map", line);
}

int
lab_open(struct lab *l)
{
	memset(l, 0, sizeof *l);
	if (unshare(CLONE_NEWNET) == 0)
		l->kind = geteuid() == 0 ? LAB_ROOT : LAB_USER;
	else if (become_root_within() == 0)
		l->kind = LAB_USER;
	if (l->kind == LAB_HOST)
		return 0;
	for (int i = 0; i < LAB_NETS; i++)
		if (new_net(l, i) < 0)
			return -1;
	return furnish(l) < 0 ? -1 : await(l);
}

int
lab_enter(const struct lab *l, enum lab_net net)
{
	return l->kind == LAB_HOST ? 0 : setns(l->net[net], CLONE_NEWNET);
}
