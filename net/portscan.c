#include "net/portscan.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/portowner.h"

#define ATTR_HEADER sizeof(struct nlattr)
#define ANSWER_LEN 32768 /* of one netlink read; the kernel sends less */
#define READS_MAX 1024 /* of one dump */
#define TCP_BOUND 13 /* TCP_BOUND_INACTIVE, from Linux 6.8 on */

struct scan {
	enum sock_proto proto;
	uint16_t port;
	struct portscan_socket *out;
	size_t cap;
	size_t found; /* may pass cap */
	uint32_t states;
	uint8_t *ports; /* not NULL: every port, and only marked here */
	const uint64_t *cookies; /* not NULL: every port, and only these */
	size_t cookie_count;
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
		    .idiag_states = s->states,
		    .id = { .idiag_sport = htons(s->port) } },
	};

	return send(fd, &request, sizeof request, 0) == sizeof request ? 0 : -1;
}

/* The kernel's bytes of one end; all zero: no such end. */
static void
read_end(struct addr *a, const struct inet_diag_msg *m, const void *bytes,
    uint16_t port)
{
	if (m->idiag_family == AF_INET) {
		a->in.sin_family = AF_INET;
		memcpy(&a->in.sin_addr, bytes, sizeof a->in.sin_addr);
	} else {
		a->in6.sin6_family = AF_INET6;
		memcpy(&a->in6.sin6_addr, bytes, sizeof a->in6.sin6_addr);
		if (IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr))
			a->in6.sin6_scope_id = m->id.idiag_if;
	}
	addr_set_port(a, ntohs(port));
}

static enum portrules_state
read_state(enum sock_proto proto, unsigned int state)
{
	if (proto == SOCK_UDP)
		return state == TCP_ESTABLISHED ? PORTRULES_CONNECTED
						: PORTRULES_IDLE;
	if (state == TCP_LISTEN)
		return PORTRULES_LISTEN;
	if (state == TCP_TIME_WAIT)
		return PORTRULES_TIME_WAIT;
	return state == TCP_BOUND || state == TCP_CLOSE ? PORTRULES_IDLE
							: PORTRULES_CONNECTED;
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

static uint64_t
read_cookie(const struct inet_diag_msg *m)
{
	return (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0];
}

static bool
is_wanted(const struct scan *s, const struct inet_diag_msg *m)
{
	if (s->cookies == NULL)
		return ntohs(m->id.idiag_sport) == s->port;
	for (size_t i = 0; i < s->cookie_count; i++)
		if (s->cookies[i] == read_cookie(m))
			return true;
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
	if (s->ports != NULL) {
		s->ports[ntohs(m.id.idiag_sport) / 8] |=
		    (uint8_t)(1u << ntohs(m.id.idiag_sport) % 8);
		return;
	}
	if (!is_wanted(s, &m) || s->found++ >= s->cap)
		return;
	p = &s->out[s->found - 1];
	memset(p, 0, sizeof *p);
	p->proto = s->proto;
	p->state = read_state(s->proto, m.idiag_state);
	read_end(&p->local, &m, m.id.idiag_src, m.id.idiag_sport);
	if (p->state == PORTRULES_CONNECTED)
		read_end(&p->peer, &m, m.id.idiag_dst, m.id.idiag_dport);
	p->device = m.id.idiag_if;
	p->uid = m.idiag_uid;
	p->inode = m.idiag_inode;
	p->cookie = read_cookie(&m);
	p->queued = m.idiag_rqueue;
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

/* A chain is told from its newest socket on. */
static void
reverse(struct portscan_socket *s, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		struct portscan_socket t = s[i];

		s[i] = s[n - 1 - i];
		s[n - 1 - i] = t;
	}
}

static int
dump_both(int fd, struct scan *s, uint32_t states)
{
	s->states = states;
	if (dump(fd, s, AF_INET) < 0)
		return -1;
	return dump(fd, s, AF_INET6);
}

/* Opens, asks for `states` and then for `more` (0: nothing), closes. */
static int
run(struct scan *s, uint32_t states, uint32_t more)
{
	int fd = sock_diag_open(), result, saved;

	if (fd < 0)
		return -1;
	result = dump_both(fd, s, states);
	if (result == 0 && more != 0)
		result = dump_both(fd, s, more);
	saved = errno;
	close(fd);
	errno = saved;
	return result;
}

#define LISTENERS (1u << TCP_LISTEN)

/* Listeners first: of many connections the rest may not fit. */
int
portscan_bare(enum sock_proto proto, uint16_t port, bool all,
    struct portscan_socket *out, size_t cap)
{
	struct scan s = {
		.proto = proto, .port = port, .out = out, .cap = cap
	};
	bool udp = proto == SOCK_UDP;

	if (run(&s, udp ? UINT32_MAX : LISTENERS,
		!udp && all ? ~LISTENERS : 0) < 0)
		return -1;
	reverse(out, s.found < cap ? s.found : cap);
	return (int)s.found;
}

int
portscan_port(enum sock_proto proto, uint16_t port, bool all,
    struct portscan_socket *out, size_t cap)
{
	int found = portscan_bare(proto, port, all, out, cap);

	if (found > 0)
		portowner_find(out, (size_t)found < cap ? (size_t)found : cap);
	return found;
}

int
portscan_cookies(enum sock_proto proto, const uint64_t *cookies, size_t n,
    struct portscan_socket *out)
{
	struct scan s = { .proto = proto,
		.cookies = cookies,
		.cookie_count = n,
		.out = out,
		.cap = n };

	if (run(&s, proto == SOCK_UDP ? UINT32_MAX : LISTENERS, 0) < 0)
		return -1;
	portowner_find(out, s.found);
	return (int)s.found;
}

int
portscan_ports(enum sock_proto proto, uint8_t ports[static PORTSCAN_PORTS_LEN])
{
	struct scan s = { .proto = proto, .ports = ports };

	memset(ports, 0, PORTSCAN_PORTS_LEN);
	return run(&s, UINT32_MAX, 0);
}
