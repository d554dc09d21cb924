#include "net/dgrams.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "net/segment.h"

#define LINE 64u
/* An odd number of cache lines: see net/batch.c. */
#define STRIDE (DGRAMS_HEADROOM + DGRAMS_CAP)
#define ARENA (DGRAMS_SLOTS * (size_t)STRIDE)

_Static_assert(STRIDE / LINE % 2 == 1, "an odd number of cache lines");

struct control {
	_Alignas(struct cmsghdr) uint8_t bytes[128];
};

struct dgrams_inner {
	struct mmsghdr rx[DGRAMS_SLOTS], tx[DGRAMS_SLOTS];
	struct iovec rx_iov[DGRAMS_SLOTS], tx_iov[DGRAMS_SLOTS];
	struct control rx_control[DGRAMS_SLOTS], tx_control[DGRAMS_SLOTS];
	uint32_t tx_segment[DGRAMS_SLOTS]; /* of message m, 0: plain */
	/* rx: as it has to be for the next receive */
	bool ready[DGRAMS_SLOTS];
	enum dgrams_from ready_for[DGRAMS_SLOTS];
	uint8_t *arena;
};

static uint8_t *
slot_start(const struct dgrams *d, unsigned int i)
{
	return d->inner->arena + i * (size_t)STRIDE + DGRAMS_HEADROOM;
}

struct dgrams *
dgrams_new(void)
{
	struct dgrams *d = calloc(1, sizeof *d);

	if (d == NULL)
		return NULL;
	d->inner = calloc(1, sizeof *d->inner);
	if (d->inner == NULL) {
		free(d);
		return NULL;
	}
	d->inner->arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (d->inner->arena == MAP_FAILED) {
		free(d->inner);
		free(d);
		return NULL;
	}
	(void)madvise(d->inner->arena, ARENA, MADV_HUGEPAGE);
	for (unsigned int i = 0; i < DGRAMS_SLOTS; i++) {
		d->inner->rx_iov[i].iov_base = slot_start(d, i);
		d->inner->rx_iov[i].iov_len = DGRAMS_CAP;
	}
	d->segment = true;
	return d;
}

void
dgrams_free(struct dgrams *d)
{
	if (d == NULL)
		return;
	munmap(d->inner->arena, ARENA);
	free(d->inner);
	free(d);
}

unsigned int
dgrams_held(const struct dgram *g)
{
	if (g->segment == 0)
		return 1;
	return (g->len + g->segment - 1) / g->segment;
}

/* --- receiving --- */

/* What nothing was received into is still as it was. */
static void
preset(struct dgrams *d, unsigned int i, enum dgrams_from from)
{
	struct dgrams_inner *in = d->inner;
	struct msghdr *h = &in->rx[i].msg_hdr;

	if (in->ready[i] && in->ready_for[i] == from)
		return;
	in->ready[i] = true;
	in->ready_for[i] = from;
	*h = (struct msghdr){ .msg_iov = &in->rx_iov[i], .msg_iovlen = 1 };
	if (from == DGRAMS_NAMED) {
		h->msg_name = &d->at[i].peer;
		h->msg_namelen = sizeof d->at[i].peer;
	}
	if (from != DGRAMS_PLAIN) {
		h->msg_control = &in->rx_control[i];
		h->msg_controllen = sizeof in->rx_control[i];
	}
}

/* ip(7): both addresses differ when the datagram went to a group. */
static void
read_pktinfo4(struct dgram *g, struct cmsghdr *c)
{
	struct in_pktinfo info;

	memcpy(&info, CMSG_DATA(c), sizeof info);
	g->local.in.sin_family = AF_INET;
	g->local.in.sin_addr = info.ipi_addr;
	g->group = info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
}

static void
read_pktinfo6(struct dgram *g, struct cmsghdr *c)
{
	struct in6_pktinfo info;

	memcpy(&info, CMSG_DATA(c), sizeof info);
	g->local.in6.sin6_family = AF_INET6;
	g->local.in6.sin6_addr = info.ipi6_addr;
	/* A link-local address means nothing without its interface. */
	if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
		g->local.in6.sin6_scope_id = info.ipi6_ifindex;
	g->group = IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
}

/* The kernel gives a whole sockaddr, port and all. */
static void
read_asked(struct dgram *g, struct cmsghdr *c, size_t len)
{
	memcpy(&g->local, CMSG_DATA(c), len);
}

static void
read_control(struct dgram *g, struct msghdr *h)
{
	int segment;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL;
	     c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			read_pktinfo4(g, c);
		else if (c->cmsg_level == IPPROTO_IPV6 &&
		    c->cmsg_type == IPV6_PKTINFO)
			read_pktinfo6(g, c);
		else if (c->cmsg_level == IPPROTO_IP &&
		    c->cmsg_type == IP_ORIGDSTADDR)
			read_asked(g, c, sizeof g->local.in);
		else if (c->cmsg_level == IPPROTO_IPV6 &&
		    c->cmsg_type == IPV6_ORIGDSTADDR)
			read_asked(g, c, sizeof g->local.in6);
		else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(&segment, CMSG_DATA(c), sizeof segment);
			if (segment > 0 && (uint32_t)segment < g->len)
				g->segment = (uint32_t)segment;
		}
	}
}

/* One is asked for: recvmmsg(2) would do the same and more. */
static int
receive_one(struct mmsghdr *m, int fd, enum dgrams_from from)
{
	const struct iovec *v = m->msg_hdr.msg_iov;
	ssize_t n;

	if (from == DGRAMS_PLAIN)
		n = recv(fd, v->iov_base, v->iov_len, MSG_DONTWAIT);
	else
		n = recvmsg(fd, &m->msg_hdr, MSG_DONTWAIT);
	if (n < 0)
		return -1;
	m->msg_len = (unsigned int)n;
	return 1;
}

static void
take(struct dgrams *d, unsigned int i)
{
	struct dgram *g = &d->at[i];
	struct msghdr *h = &d->inner->rx[i].msg_hdr;

	/* a plain one has nothing that the kernel would change */
	d->inner->ready[i] = d->inner->ready_for[i] == DGRAMS_PLAIN;
	g->data = slot_start(d, i);
	g->len = d->inner->rx[i].msg_len;
	g->segment = 0;
	g->owner = DGRAMS_NONE;
	/* port and all: what this slot had before is another datagram's */
	g->local = (struct addr){ .in6 = { 0 } };
	g->group = g->raw = false;
	if (h->msg_controllen > 0)
		read_control(g, h);
}

int
dgrams_receive(
    struct dgrams *d, int fd, unsigned int most, enum dgrams_from from)
{
	unsigned int first = d->count, left = DGRAMS_SLOTS - first;
	struct mmsghdr *rx = d->inner->rx + first;
	int n;

	if (most > left)
		most = left;
	if (most == 0)
		return 0;
	for (unsigned int i = first; i < first + most; i++)
		preset(d, i, from);
	if (most == 1)
		n = receive_one(rx, fd, from);
	else
		n = recvmmsg(fd, rx, most, MSG_DONTWAIT, NULL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	d->count += (unsigned int)n;
	for (unsigned int i = first; i < d->count; i++)
		take(d, i);
	return n;
}

/* --- sending --- */

/* The interface is left to routing, but for link-local addresses. */
static void
put_source(struct msghdr *h, const struct addr *local)
{
	if (local->sa.sa_family == AF_INET) {
		const struct in_pktinfo info = { .ipi_spec_dst =
						     local->in.sin_addr };

		memcpy(segment_control(h, IPPROTO_IP, IP_PKTINFO, sizeof info),
		    &info, sizeof info);
	} else if (local->sa.sa_family == AF_INET6) {
		const struct in6_pktinfo info = { .ipi6_addr =
						      local->in6.sin6_addr,
			.ipi6_ifindex = local->in6.sin6_scope_id };

		memcpy(
		    segment_control(h, IPPROTO_IPV6, IPV6_PKTINFO, sizeof info),
		    &info, sizeof info);
	}
}

/* Slots from which[at] that can go as one message of equal datagrams. */
static unsigned int
join(const struct dgrams *d, const uint8_t *which, unsigned int n)
{
	const struct dgram *first = &d->at[which[0]];
	uint32_t total = first->len, last = first->len;
	unsigned int k = 1;

	if (!d->segment || first->raw || first->segment > 0 ||
	    first->len > SEGMENT_LEN_MAX)
		return 1;
	for (; k < n && k < SEGMENT_COUNT_MAX; k++) {
		const struct dgram *g = &d->at[which[k]];

		/* A shorter one may only be the last; an empty one vanishes. */
		if (g->owner != first->owner || g->segment > 0 ||
		    last != first->len || g->len > first->len || g->len == 0 ||
		    total + g->len > SEGMENT_TOTAL_MAX)
			break;
		last = g->len;
		total += g->len;
	}
	return k;
}

/* Message m of the slots which[at…]; returns how many it takes. */
static unsigned int
make_message(struct dgrams *d, unsigned int m, const uint8_t *which,
    unsigned int at, unsigned int n, bool named)
{
	struct dgrams_inner *in = d->inner;
	struct msghdr *h = &in->tx[m].msg_hdr;
	struct dgram *g = &d->at[which[at]];
	unsigned int taken = join(d, which + at, n - at);

	for (unsigned int i = at; i < at + taken; i++)
		in->tx_iov[i] =
		    (struct iovec){ d->at[which[i]].data, d->at[which[i]].len };
	*h = (struct msghdr){ .msg_iov = &in->tx_iov[at],
		.msg_iovlen = taken,
		.msg_control = &in->tx_control[m] };
	if (named) {
		h->msg_name = &g->peer;
		h->msg_namelen = addr_len(&g->peer);
		put_source(h, &g->local);
	}
	in->tx_segment[m] = taken > 1 ? g->len : g->segment;
	/* Last: segment_singly() takes it off again. */
	if (in->tx_segment[m] > 0)
		segment_put(h, in->tx_segment[m]);
	if (h->msg_controllen == 0)
		h->msg_control = NULL;
	return taken;
}

static unsigned int
held(const struct dgrams_inner *in, unsigned int m)
{
	const struct msghdr *h = &in->tx[m].msg_hdr;
	struct dgram g = { .segment = in->tx_segment[m] };

	if (h->msg_iovlen > 1)
		return (unsigned int)h->msg_iovlen;
	g.len = (uint32_t)h->msg_iov->iov_len;
	return dgrams_held(&g);
}

/* Message m was refused. */
static unsigned int
refuse(struct dgrams *d, unsigned int m, int fd, int *error)
{
	int fault = errno;

	if (d->inner->tx_segment[m] > 0 && segment_is_refusal(fault)) {
		if (fault == EIO)
			d->segment = false;
		return segment_singly(&d->inner->tx[m].msg_hdr,
		    d->inner->tx_segment[m], fd, error);
	}
	*error = fault;
	return held(d->inner, m);
}

/* The usual case: nothing but bytes and, perhaps, where they go. */
static bool
is_bare(const struct dgram *g, bool named)
{
	return g->segment == 0 &&
	    !(named && g->local.sa.sa_family != AF_UNSPEC);
}

static unsigned int
send_bare(
    struct dgrams *d, int fd, const struct dgram *g, bool named, int *error)
{
	const struct sockaddr *to = named ? &g->peer.sa : NULL;
	socklen_t len = named ? addr_len(&g->peer) : 0;

	if (sendto(fd, g->data, g->len, MSG_DONTWAIT, to, len) >= 0)
		return 0;
	*error = errno;
	d->refused++;
	return 1;
}

/* How many were sent, -1 with errno. */
static int
send_messages(
    struct dgrams_inner *in, unsigned int at, unsigned int messages, int fd)
{
	if (messages - at == 1)
		return sendmsg(fd, &in->tx[at].msg_hdr, MSG_DONTWAIT) < 0 ? -1
									  : 1;
	return sendmmsg(fd, &in->tx[at], messages - at, MSG_DONTWAIT);
}

unsigned int
dgrams_send(struct dgrams *d, int fd, const uint8_t *which, unsigned int n,
    bool named, int *error)
{
	struct dgrams_inner *in = d->inner;
	unsigned int messages = 0, at = 0, refused = 0;

	*error = 0;
	if (n == 1 && is_bare(&d->at[which[0]], named))
		return send_bare(d, fd, &d->at[which[0]], named, error);
	for (unsigned int i = 0; i < n; messages++)
		i += make_message(d, messages, which, i, n, named);
	while (at < messages) {
		int r = send_messages(in, at, messages, fd);

		if (r > 0)
			at += (unsigned int)r;
		else
			refused += refuse(d, at++, fd, error);
	}
	d->refused += refused;
	return refused;
}
