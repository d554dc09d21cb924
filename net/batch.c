#include "net/batch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "net/segment.h"

#define SLOTS_MAX 1024 /* UIO_MAXIOV: the kernel takes no more in a call */
#define CAP_MAX 65536 /* no UDP datagram is longer */
#define LINE 64 /* bytes of a cache line */
#define HUGE_PAGE (2u << 20)

/* PKTINFO takes 40 bytes at most; and some room. */
#define CONTROL_IN 64

struct control {
	_Alignas(struct cmsghdr) uint8_t bytes[CONTROL_IN + SEGMENT_CONTROL];
};

struct batch {
	unsigned int slots;
	unsigned int received; /* slots whose headers the kernel changed */
	bool segment; /* UDP_SEGMENT works as far as we know */
	size_t in_stride, out_stride, out_cap;

	/* All of the following point into one arena. */
	size_t arena_len;
	uint8_t *in, *out;
	struct mmsghdr *rx, *tx; /* tx is dense: messages of replies */
	uint16_t *held; /* replies in each message of tx */
	struct iovec *rx_iov, *tx_iov; /* one a slot */
	struct addr *peers;
	struct control *control;
};

/*
 * An odd number of cache lines: at a power of two the same byte of all
 * datagrams would fall into one set of the first-level cache.
 */
static size_t
stride(size_t cap)
{
	return ((cap + LINE - 1) / LINE | 1) * LINE;
}

/* Takes `n` things of `size` bytes off the arena, on a cache line. */
static void *
carve(uint8_t *arena, size_t *at, size_t n, size_t size)
{
	void *p = arena != NULL ? arena + *at : NULL;

	*at += (n * size + LINE - 1) / LINE * LINE;
	return p;
}

/* Run twice: over NULL to learn the length, then over the arena. */
static size_t
lay_out(struct batch *b, uint8_t *arena)
{
	size_t at = 0, n = b->slots;

	b->rx = carve(arena, &at, n, sizeof *b->rx);
	b->tx = carve(arena, &at, n, sizeof *b->tx);
	b->held = carve(arena, &at, n, sizeof *b->held);
	b->rx_iov = carve(arena, &at, n, sizeof *b->rx_iov);
	b->tx_iov = carve(arena, &at, n, sizeof *b->tx_iov);
	b->peers = carve(arena, &at, n, sizeof *b->peers);
	b->control = carve(arena, &at, n, sizeof *b->control);
	b->in = carve(arena, &at, n, b->in_stride);
	b->out = carve(arena, &at, n, b->out_stride);
	return at;
}

/* What a receive changes in a slot, set back to what it must be before. */
static void
reset_slot(struct batch *b, unsigned int i)
{
	struct msghdr *h = &b->rx[i].msg_hdr;

	h->msg_namelen = sizeof b->peers[i];
	h->msg_controllen = CONTROL_IN;
	h->msg_flags = 0;
	b->tx_iov[i].iov_len = 0;
}

static void
preset_slot(struct batch *b, unsigned int i, size_t in_cap)
{
	struct msghdr *h = &b->rx[i].msg_hdr;

	h->msg_name = &b->peers[i];
	h->msg_iov = &b->rx_iov[i];
	h->msg_iovlen = 1;
	h->msg_control = &b->control[i];
	b->rx_iov[i].iov_base = b->in + i * b->in_stride;
	b->rx_iov[i].iov_len = in_cap;
	b->tx_iov[i].iov_base = b->out + i * b->out_stride;
	reset_slot(b, i);
}

struct batch *
batch_new(unsigned int slots, size_t in_cap, size_t out_cap)
{
	struct batch *b;
	void *arena;

	if (slots < 1 || slots > SLOTS_MAX || in_cap < 1 || in_cap > CAP_MAX ||
	    out_cap < 1 || out_cap > CAP_MAX) {
		errno = EINVAL;
		return NULL;
	}
	b = calloc(1, sizeof *b);
	if (b == NULL)
		return NULL;
	b->slots = slots;
	b->segment = true;
	b->in_stride = stride(in_cap);
	b->out_stride = stride(out_cap);
	b->out_cap = out_cap;
	b->arena_len = lay_out(b, NULL);
	/* Populated now: no page fault later, on the packet path. */
	arena = mmap(NULL, b->arena_len, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (arena == MAP_FAILED) {
		free(b);
		return NULL;
	}
	if (b->arena_len >= HUGE_PAGE)
		(void)madvise(arena, b->arena_len, MADV_HUGEPAGE);
	lay_out(b, arena);
	for (unsigned int i = 0; i < slots; i++)
		preset_slot(b, i, in_cap);
	return b;
}

void
batch_free(struct batch *b)
{
	if (b == NULL)
		return;
	munmap(b->rx, b->arena_len); /* rx lies first in the arena */
	free(b);
}

/*
 * Nothing there, or an ICMP message about an earlier reply (udp(7)): the
 * socket is well, and the next call reads on.
 */
static bool
is_passing(int error)
{
	switch (error) {
	case EAGAIN:
	case EINTR:
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case ENETDOWN:
	case ENONET:
	case EPROTO:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case EACCES:
	case EMSGSIZE:
		return true;
	default:
		return false;
	}
}

int
batch_receive(struct batch *b, int fd)
{
	int n;

	for (unsigned int i = 0; i < b->received; i++)
		reset_slot(b, i);
	b->received = 0;
	n = recvmmsg(fd, b->rx, b->slots, MSG_DONTWAIT, NULL);
	if (n < 0)
		return is_passing(errno) ? 0 : -1;
	b->received = (unsigned int)n;
	return n;
}

const uint8_t *
batch_in(const struct batch *b, unsigned int i, size_t *len)
{
	*len = b->rx[i].msg_len;
	return b->in + i * b->in_stride;
}

bool
batch_truncated(const struct batch *b, unsigned int i)
{
	return (b->rx[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
}

const struct addr *
batch_peer(const struct batch *b, unsigned int i)
{
	return &b->peers[i];
}

uint8_t *
batch_out(struct batch *b, unsigned int i)
{
	return b->out + i * b->out_stride;
}

void
batch_reply(struct batch *b, unsigned int i, size_t len)
{
	assert(i < b->received && len <= b->out_cap);
	b->tx_iov[i].iov_len = len;
}

static bool
is_info(const struct cmsghdr *c, int level, int type)
{
	return c->cmsg_level == level && c->cmsg_type == type;
}

bool
batch_asked(const struct batch *b, unsigned int i, struct addr *a)
{
	struct msghdr h = b->rx[i].msg_hdr;
	struct in6_pktinfo six;
	struct in_pktinfo four;

	memset(a, 0, sizeof *a);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c != NULL;
	     c = CMSG_NXTHDR(&h, c)) {
		if (is_info(c, IPPROTO_IP, IP_PKTINFO)) {
			memcpy(&four, CMSG_DATA(c), sizeof four);
			a->in.sin_family = AF_INET;
			a->in.sin_addr = four.ipi_addr;
			return true;
		}
		if (is_info(c, IPPROTO_IPV6, IPV6_PKTINFO)) {
			memcpy(&six, CMSG_DATA(c), sizeof six);
			a->in6.sin6_family = AF_INET6;
			a->in6.sin6_addr = six.ipi6_addr;
			return true;
		}
	}
	return false;
}

/*
 * ip(7): the header's destination differs from ipi_spec_dst only when it was
 * a broadcast or multicast address. Such a request gets no reply: it could
 * only come from an address that was not asked, and one spoofed datagram
 * would make every server of a network answer.
 */
static bool
make_source4(struct cmsghdr *c)
{
	struct in_pktinfo info;

	memcpy(&info, CMSG_DATA(c), sizeof info);
	if (info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr)
		return false;
	info.ipi_ifindex = 0; /* routing decides: paths may be asymmetric */
	memcpy(CMSG_DATA(c), &info, sizeof info);
	return true;
}

/* A link-local source means nothing without its interface (RFC 4007). */
static bool
make_source6(struct cmsghdr *c)
{
	struct in6_pktinfo info;

	memcpy(&info, CMSG_DATA(c), sizeof info);
	if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
		return false;
	if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
		info.ipi6_ifindex = 0;
	memcpy(CMSG_DATA(c), &info, sizeof info);
	return true;
}

/*
 * The reply's control message is the request's own PKTINFO, edited in place:
 * it leaves from the address that was asked. None came in: none goes out, the
 * socket is bound to that address. False: the request deserves no reply.
 */
static bool
make_source(struct msghdr *reply, struct msghdr *request)
{
	struct cmsghdr *c;

	reply->msg_control = request->msg_control;
	reply->msg_controllen = 0;
	for (c = CMSG_FIRSTHDR(request); c != NULL;
	     c = CMSG_NXTHDR(request, c)) {
		bool four = is_info(c, IPPROTO_IP, IP_PKTINFO);
		bool six = is_info(c, IPPROTO_IPV6, IPV6_PKTINFO);

		if (!four && !six)
			continue;
		reply->msg_control = c;
		reply->msg_controllen = CMSG_ALIGN(c->cmsg_len);
		return four ? make_source4(c) : make_source6(c);
	}
	return true;
}

/* Fills in the message for the reply to i; false when none may be sent. */
static bool
make_message(struct batch *b, unsigned int i, struct msghdr *h)
{
	/* Port 0 is nobody's: sending there is EINVAL at best. */
	if (addr_port(&b->peers[i]) == 0 || !make_source(h, &b->rx[i].msg_hdr))
		return false;
	h->msg_name = &b->peers[i];
	h->msg_namelen = b->rx[i].msg_hdr.msg_namelen;
	h->msg_iov = &b->tx_iov[i];
	h->msg_iovlen = 1;
	return true;
}

/* Whether reply `next`, of slot i, can travel with message m before it. */
static bool
may_join(const struct batch *b, unsigned int m, unsigned int i,
    const struct msghdr *next)
{
	const struct msghdr *h = &b->tx[m].msg_hdr;
	size_t len = b->tx_iov[i].iov_len, control = next->msg_controllen;
	size_t segment = b->held[m] > 1 ? SEGMENT_CONTROL : 0;

	return b->segment && len == h->msg_iov->iov_len &&
	    len <= SEGMENT_LEN_MAX && b->held[m] < SEGMENT_COUNT_MAX &&
	    (b->held[m] + 1u) * len <= SEGMENT_TOTAL_MAX &&
	    addr_equal(h->msg_name, &b->peers[i]) &&
	    h->msg_controllen == control + segment &&
	    memcmp(h->msg_control, next->msg_control, control) == 0;
}

/* Slots between the two have no reply: their vectors are empty. */
static void
join(struct batch *b, unsigned int m, unsigned int i)
{
	struct msghdr *h = &b->tx[m].msg_hdr;

	h->msg_iovlen = (size_t)(&b->tx_iov[i] - h->msg_iov) + 1;
	if (b->held[m]++ == 1)
		segment_put(h, (uint32_t)h->msg_iov->iov_len);
}

/* Fills the dense array of messages; returns how many. */
static unsigned int
collect(struct batch *b, unsigned int *refused)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < b->received; i++) {
		struct msghdr *h = &b->tx[n].msg_hdr;

		if (b->tx_iov[i].iov_len == 0)
			continue;
		if (!make_message(b, i, h)) {
			b->tx_iov[i].iov_len = 0;
			++*refused;
		} else if (n > 0 && may_join(b, n - 1, i, h)) {
			join(b, n - 1, i);
		} else {
			b->held[n++] = 1;
		}
	}
	return n;
}

/* Message m was refused. Returns how many replies did not go out. */
static unsigned int
refuse(struct batch *b, unsigned int m, int fd)
{
	const struct msghdr *h = &b->tx[m].msg_hdr;
	int error = errno;

	if (b->held[m] == 1 || !segment_is_refusal(error))
		return b->held[m];
	if (error == EIO)
		b->segment = false;
	return segment_singly(h, (uint32_t)h->msg_iov->iov_len, fd, &error);
}

unsigned int
batch_send(struct batch *b, int fd, unsigned int *refused)
{
	unsigned int n, at = 0, sent = 0;

	*refused = 0;
	n = collect(b, refused);
	while (at < n) {
		int r = sendmmsg(fd, b->tx + at, n - at, MSG_DONTWAIT);

		if (r < 1) {
			/* The first of the rest failed, whatever it was. */
			unsigned int lost = refuse(b, at, fd);

			sent += b->held[at++] - lost;
			*refused += lost;
		}
		for (; r > 0; r--)
			sent += b->held[at++];
	}
	return sent;
}
