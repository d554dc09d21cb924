#include "roughtime/client/load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

/* Receive rounds in one turn: sending must go on while replies pour in. */
#define ROUNDS 4

static bool
is_fault(int error)
{
	return error != EAGAIN && error != EINTR;
}

/*
 * Segmentation offload (udp(7), UDP_SEGMENT): one message carries several
 * equal datagrams down the stack and is cut up at its end. The server sees
 * ordinary datagrams, and one core of ours can load more than one of its.
 */
struct burst {
	struct iovec vectors[LOAD_BATCH];
	union {
		char bytes[CMSG_SPACE(sizeof(uint16_t))];
		struct cmsghdr align;
	} control[LOAD_BATCH];
	struct mmsghdr messages[LOAD_BATCH];
};

static void
set_segment(struct burst *b, uint32_t m, size_t size)
{
	struct msghdr *h = &b->messages[m].msg_hdr;
	struct cmsghdr *c;
	uint16_t segment = (uint16_t)size;

	h->msg_control = b->control[m].bytes;
	h->msg_controllen = sizeof b->control[m].bytes;
	c = CMSG_FIRSTHDR(h);
	c->cmsg_level = SOL_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof segment);
	memcpy(CMSG_DATA(c), &segment, sizeof segment);
}

/* Messages of up to `per` packets each; returns how many messages. */
static uint32_t
arrange(struct burst *b, const struct load_flow *f, const uint32_t *taken,
    uint32_t n, uint32_t per)
{
	uint32_t m = 0;

	for (uint32_t i = 0; i < n; i += per, m++) {
		struct msghdr *h = &b->messages[m].msg_hdr;

		memset(&b->messages[m], 0, sizeof b->messages[m]);
		h->msg_iov = &b->vectors[i];
		h->msg_iovlen = n - i < per ? n - i : per;
		for (uint32_t k = i; k < i + h->msg_iovlen; k++) {
			b->vectors[k].iov_base =
			    slots_packet(&f->slots, taken[k]);
			b->vectors[k].iov_len = f->slots.size;
		}
		if (per > 1)
			set_segment(b, m, f->slots.size);
	}
	return m;
}

/* Sends taken slots; returns how many packets went out. */
static uint32_t
send_taken(
    struct load *l, struct load_flow *f, const uint32_t *taken, uint32_t n)
{
	struct burst b;
	uint32_t m = arrange(&b, f, taken, n, l->burst);
	int sent = sendmmsg(f->fd, b.messages, m, MSG_DONTWAIT);

	if (sent >= 0)
		return (uint32_t)sent * l->burst < n ? (uint32_t)sent * l->burst
						     : n;
	/* no offload on this path (EIO), or datagrams over the MTU (EINVAL) */
	if ((errno == EIO || errno == EINVAL || errno == EMSGSIZE) &&
	    l->burst > 1)
		l->burst = 1;
	else if (is_fault(errno))
		l->r->refused += l->counting;
	return 0;
}

static bool
send_some(struct load *l, struct load_flow *f, uint64_t now_ns)
{
	uint32_t taken[LOAD_BATCH];
	uint32_t allowed = load_allowed(l, LOAD_BATCH, now_ns);
	uint32_t n = 0, sent;

	while (n < allowed) {
		taken[n] = slots_take(&f->slots, now_ns);
		if (taken[n] == SLOTS_NONE)
			break;
		n++;
	}
	if (l->o->rate > 0 && l->counting)
		l->r->held_back += allowed - n;
	/* with a rate, what the window held back is not made up for */
	l->offered += allowed;
	if (n == 0)
		return false;
	sent = send_taken(l, f, taken, n);
	if (l->counting)
		l->r->sent += sent;
	for (uint32_t i = sent; i < n; i++)
		slots_release(&f->slots, taken[i]);
	return sent > 0;
}

static bool
receive_some(struct load *l, struct load_flow *f)
{
	static uint8_t buffers[LOAD_BATCH][LOAD_REPLY_MAX];
	struct mmsghdr messages[LOAD_BATCH];
	struct iovec vectors[LOAD_BATCH];
	uint64_t now;
	int n;

	memset(messages, 0, sizeof messages);
	for (int i = 0; i < LOAD_BATCH; i++) {
		vectors[i].iov_base = buffers[i];
		vectors[i].iov_len = sizeof buffers[i];
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(f->fd, messages, LOAD_BATCH, MSG_DONTWAIT, NULL);
	if (n < 0) {
		if (is_fault(errno))
			l->r->refused += l->counting;
		return false;
	}
	now = clock_monotonic_ns();
	for (int i = 0; i < n; i++)
		load_reply(l, f,
		    (struct view){ buffers[i], messages[i].msg_len }, now);
	return n == LOAD_BATCH;
}

bool
load_udp_turn(struct load *l, struct load_flow *f, uint64_t now_ns)
{
	uint64_t before = l->r->received + l->r->latency.count;
	bool busy = send_some(l, f, now_ns);

	for (int i = 0; i < ROUNDS; i++) {
		if (!receive_some(l, f))
			break;
	}
	return busy || l->r->received + l->r->latency.count != before;
}
