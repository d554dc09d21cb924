#include "net/portscan.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ATTR_HEADER sizeof(struct nlattr)
#define ANSWER_LEN 32768 /* of one netlink read; the kernel sends less */
#define READS_MAX 1024 /* of one dump */
#define LINKS_MAX (1u << 20) /* descriptors looked at in /proc */
#define EXPLAIN_MAX 64 /* sockets of one port that are looked at */

struct scan {
	enum sock_proto proto;
	uint16_t port;
	struct portscan_socket *out;
	size_t cap;
	size_t found; /* may pass cap */
};

static int
ask(int fd, const struct scan *s, uint8_t family)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 body;
	} request = {
		.header = { .nlmsg_len = sizeof request,
		    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.body = { .sdiag_family = family,
		    .sdiag_protocol =
			s->proto == SOCK_UDP ? IPPROTO_UDP : IPPROTO_TCP,
		    .idiag_states =
			s->proto == SOCK_UDP ? UINT32_MAX : 1u << TCP_LISTEN,
		    .id = { .idiag_sport = htons(s->port) } },
	};

	return send(fd, &request, sizeof request, 0) == sizeof request ? 0 : -1;
}

static void
read_local(struct addr *a, const struct inet_diag_msg *m)
{
	if (m->idiag_family == AF_INET) {
		a->in.sin_family = AF_INET;
		memcpy(&a->in.sin_addr, m->id.idiag_src, sizeof a->in.sin_addr);
	} else {
		a->in6.sin6_family = AF_INET6;
		memcpy(&a->in6.sin6_addr, m->id.idiag_src,
		    sizeof a->in6.sin6_addr);
		if (IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr))
			a->in6.sin6_scope_id = m->id.idiag_if;
	}
	addr_set_port(a, ntohs(m->id.idiag_sport));
}

/* Attributes follow the fixed part: u16 length, u16 type, value, padding. */
static bool
read_v6only(const uint8_t *at, size_t left)
{
	while (left > ATTR_HEADER) {
		struct nlattr a;
		size_t step;

		memcpy(&a, at, sizeof a);
		if (a.nla_len < ATTR_HEADER || a.nla_len > left)
			break;
		if (a.nla_type == INET_DIAG_SKV6ONLY && a.nla_len > ATTR_HEADER)
			return at[ATTR_HEADER] != 0;
		step = NLA_ALIGN(a.nla_len);
		if (step > left)
			break;
		at += step;
		left -= step;
	}
	return false;
}

static void
add(struct scan *s, const uint8_t *body, size_t len)
{
	struct portscan_socket *p;
	struct inet_diag_msg m;

	if (len < sizeof m)
		return;
	memcpy(&m, body, sizeof m);
	if (ntohs(m.id.idiag_sport) != s->port || s->found++ >= s->cap)
		return;
	p = &s->out[s->found - 1];
	memset(p, 0, sizeof *p);
	p->proto = s->proto;
	read_local(&p->local, &m);
	p->uid = m.idiag_uid;
	p->inode = m.idiag_inode;
	p->listening =
	    m.idiag_state == (s->proto == SOCK_UDP ? TCP_CLOSE : TCP_LISTEN);
	p->v6only = read_v6only(body + sizeof m, len - sizeof m);
	p->fd = -1;
}

/* The error that ends a dump, also with NLMSG_DONE; 0: none. */
static int
read_error(const uint8_t *at, size_t left)
{
	int error = 0;

	if (left >= NLMSG_HDRLEN + sizeof error)
		memcpy(&error, at + NLMSG_HDRLEN, sizeof error);
	return error < 0 ? -error : 0;
}

/* One read's messages. Returns 1 when the dump is over, -1 with errno. */
static int
take(struct scan *s, const uint8_t *at, size_t left)
{
	while (left >= NLMSG_HDRLEN) {
		struct nlmsghdr h;
		size_t step;

		memcpy(&h, at, sizeof h);
		if (h.nlmsg_len < NLMSG_HDRLEN || h.nlmsg_len > left)
			break;
		if (h.nlmsg_type == NLMSG_DONE || h.nlmsg_type == NLMSG_ERROR) {
			errno = read_error(at, h.nlmsg_len);
			return errno != 0 ? -1 : 1;
		}
		if (h.nlmsg_type == SOCK_DIAG_BY_FAMILY)
			add(s, at + NLMSG_HDRLEN, h.nlmsg_len - NLMSG_HDRLEN);
		step = NLMSG_ALIGN(h.nlmsg_len);
		if (step >= left)
			break;
		at += step;
		left -= step;
	}
	return 0;
}

static int
dump(int fd, struct scan *s, uint8_t family)
{
	uint8_t *answer = malloc(ANSWER_LEN);
	int over = 0;

	if (answer == NULL)
		return -1;
	if (ask(fd, s, family) < 0)
		over = -1;
	for (int i = 0; over == 0 && i < READS_MAX; i++) {
		ssize_t n = recv(fd, answer, ANSWER_LEN, 0);

		over = n > 0 ? take(s, answer, (size_t)n) : -1;
	}
	free(answer);
	return over < 0 ? -1 : 0;
}

/* Whatever a process calls itself becomes one printable word. */
static void
read_command(char command[static 64], int proc, const char *pid)
{
	char path[64];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof path, "%.32s/comm", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, command, 63);
		close(fd);
	}
	n = n > 0 && command[n - 1] == '\n' ? n - 1 : n;
	command[n > 0 ? n : 0] = '\0';
	for (char *c = command; *c != '\0'; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
}

/* A descriptor's link reads "socket:[123456]". */
static struct portscan_socket *
match(int dir, const char *name, struct portscan_socket *out, size_t n)
{
	char link[64], *end;
	ssize_t len = readlinkat(dir, name, link, sizeof link - 1);
	unsigned long inode;

	if (len < 9 || memcmp(link, "socket:[", 8) != 0)
		return NULL;
	link[len] = '\0';
	inode = strtoul(link + 8, &end, 10);
	for (size_t i = 0; *end == ']' && i < n; i++)
		if (out[i].inode == inode && out[i].pid == 0)
			return &out[i];
	return NULL;
}

/* Looks at the descriptors of one process; returns how many owners it gave. */
static size_t
search_process(int proc, const char *pid, struct portscan_socket *out, size_t n,
    unsigned int *links)
{
	char path[64];
	struct dirent *entry;
	size_t named = 0;
	DIR *d;
	int fd;

	snprintf(path, sizeof path, "%.32s/fd", pid);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd >= 0 ? fdopendir(fd) : NULL;
	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return 0; /* gone, or not ours to see */
	}
	while ((entry = readdir(d)) != NULL && ++*links < LINKS_MAX) {
		struct portscan_socket *s = match(fd, entry->d_name, out, n);

		if (s == NULL)
			continue;
		s->pid = (pid_t)strtol(pid, NULL, 10);
		s->fd = (int)strtol(entry->d_name, NULL, 10);
		read_command(s->command, proc, pid);
		named++;
	}
	closedir(d);
	return named;
}

static void
find_owners(struct portscan_socket *out, size_t n)
{
	DIR *proc = n > 0 ? opendir("/proc") : NULL;
	unsigned int links = 0;
	struct dirent *entry;
	size_t named = 0;

	if (proc == NULL)
		return;
	while (
	    named < n && links < LINKS_MAX && (entry = readdir(proc)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]))
			named += search_process(
			    dirfd(proc), entry->d_name, out, n, &links);
	closedir(proc);
}

int
portscan_port(enum sock_proto proto, uint16_t port, struct portscan_socket *out,
    size_t cap)
{
	struct scan s = {
		.proto = proto, .port = port, .out = out, .cap = cap
	};
	int fd = sock_diag_open(), result, saved;

	if (fd < 0)
		return -1;
	result = dump(fd, &s, AF_INET);
	if (result == 0)
		result = dump(fd, &s, AF_INET6);
	saved = errno;
	close(fd);
	errno = saved;
	if (result < 0)
		return -1;
	find_owners(out, s.found < cap ? s.found : cap);
	return (int)s.found;
}

/* How two addresses collide, the better reason the greater. */
enum overlap { OVERLAP_NONE = 0, OVERLAP_IF_DUAL, OVERLAP_WILD, OVERLAP_SAME };

/* ::ffff:a.b.c.d binds the IPv4 address. */
static struct addr
unmap(const struct addr *a)
{
	struct addr four = { .in = { .sin_family = AF_INET } };

	if (a->sa.sa_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return *a;
	memcpy(&four.in.sin_addr, a->in6.sin6_addr.s6_addr + 12, 4);
	return four;
}

/*
 * The kernel's rule, without the excuses that socket options give. Whether
 * the wanted socket would be dual-stack is not known here.
 */
static enum overlap
overlap(const struct addr *wanted, const struct portscan_socket *held)
{
	struct addr w = unmap(wanted), h = unmap(&held->local);

	addr_set_port(&w, 0);
	addr_set_port(&h, 0);
	if (w.sa.sa_family == h.sa.sa_family) {
		if (addr_equal(&w, &h))
			return OVERLAP_SAME;
		return addr_is_wildcard(&w) || addr_is_wildcard(&h)
		    ? OVERLAP_WILD
		    : OVERLAP_NONE;
	}
	if (h.sa.sa_family == AF_INET6)
		return addr_is_wildcard(&h) && !held->v6only ? OVERLAP_WILD
							     : OVERLAP_NONE;
	return addr_is_wildcard(&w) ? OVERLAP_IF_DUAL : OVERLAP_NONE;
}

static const struct portscan_socket *
holder(const struct addr *wanted, const struct portscan_socket *all, size_t n,
    enum overlap *how)
{
	const struct portscan_socket *best = NULL;

	*how = OVERLAP_NONE;
	for (size_t i = 0; i < n; i++) {
		enum overlap o = overlap(wanted, &all[i]);

		if (o > *how) {
			*how = o;
			best = &all[i];
		}
	}
	return best;
}

/* Why an address that looks different is in the way. */
static const char *
remark(const struct addr *wanted, const struct portscan_socket *held,
    enum overlap how)
{
	struct addr w = unmap(wanted), h = unmap(&held->local);

	if (how == OVERLAP_IF_DUAL)
		return ", which a socket for IPv6 and IPv4 overlaps";
	if (w.sa.sa_family != h.sa.sa_family)
		return ", which takes IPv4 too";
	if (how == OVERLAP_WILD)
		return ", which overlaps";
	return "";
}

char *
portscan_explain(
    char *buf, size_t len, enum sock_proto proto, const struct addr *wanted)
{
	struct portscan_socket all[EXPLAIN_MAX];
	const struct portscan_socket *s;
	const char *name = proto == SOCK_UDP ? "udp" : "tcp";
	char here[ADDR_STR_LEN], there[ADDR_STR_LEN];
	enum overlap how;
	int n;

	addr_format(here, wanted);
	n = portscan_port(proto, addr_port(wanted), all, EXPLAIN_MAX);
	if (n < 0) {
		snprintf(buf, len,
		    "%s %s is in use; by whom cannot be told: sock_diag: %s",
		    name, here, strerror(errno));
		return buf;
	}
	s = holder(
	    wanted, all, n < EXPLAIN_MAX ? (size_t)n : EXPLAIN_MAX, &how);
	if (s == NULL) {
		snprintf(buf, len, "%s %s: no socket in sight holds this port",
		    name, here);
		return buf;
	}
	addr_format(there, &s->local);
	if (s->pid == 0)
		snprintf(buf, len,
		    "%s %s is in use: held by a process of uid %u on %s%s; %s",
		    name, here, s->uid, there, remark(wanted, s, how),
		    geteuid() == 0 ? "it is not visible from here"
				   : "only root can see which");
	else
		snprintf(buf, len,
		    "%s %s is in use: held by pid %ld (%s), uid %u, on %s%s",
		    name, here, (long)s->pid, s->command, s->uid, there,
		    remark(wanted, s, how));
	return buf;
}
