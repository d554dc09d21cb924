#include "roughtime/client/load.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "roughtime/client/command.h"
#include "roughtime/message.h"

#define MS 1000000ull

uint32_t
load_allowed(struct load *l, uint32_t want, uint64_t now_ns)
{
	double due;

	if (!l->sending)
		return 0;
	if (l->o->rate <= 0)
		return want;
	due = (double)(now_ns - l->start_ns) / 1e9 * l->o->rate -
	    (double)l->offered;
	return due < want ? (due < 0 ? 0 : (uint32_t)due) : want;
}

/* The reply's nonce in the format of its version; NULL when there is none. */
static const uint8_t *
find_nonce(const struct load *l, struct view packet)
{
	struct view body = packet, v;
	struct message m;

	if (frame_decode(packet, &body) != FRAME_OK)
		body = packet;
	if (message_decode(&m, body) != MESSAGE_OK)
		return NULL;
	if (l->o->version->nonce_place == VERSION_NONCE_SREP &&
	    (!message_get(&m, TAG_SREP, &v) ||
		message_decode(&m, v) != MESSAGE_OK))
		return NULL;
	return message_get(&m, TAG_NONC, &v) && v.len >= 8 ? v.data : NULL;
}

/*
 * An echo gives the start of the request back, where the nonce may still be;
 * otherwise, and for Google servers without NONC, the oldest gets the reply.
 */
static uint32_t
find_slot(const struct load *l, const struct load_flow *f, struct view reply)
{
	const uint8_t *nonce = NULL;

	if (!l->o->echo)
		nonce = find_nonce(l, reply);
	else if (reply.len >= f->slots.nonce_at + 8)
		nonce = reply.data + f->slots.nonce_at;
	if (nonce != NULL)
		return slots_match(&f->slots, nonce);
	return l->o->echo || !l->o->version->framed ? slots_oldest(&f->slots)
						    : SLOTS_NONE;
}

/* An echo gives the start of the request back, unchanged. */
static bool
is_right(
    struct load *l, const struct load_flow *f, uint32_t slot, struct view reply)
{
	const struct view request = { slots_packet(&f->slots, slot),
		f->slots.size };
	struct verify_result result;
	enum verify_fault fault;

	if (l->o->echo)
		return reply.len <= request.len &&
		    memcmp(reply.data, request.data, reply.len) == 0;
	fault = verify_response(
	    &result, l->o->public_key, request, reply, &l->o->verify_options);
	if (fault != VERIFY_OK)
		l->r->fault = fault;
	return fault == VERIFY_OK;
}

static void
sample(
    struct load *l, const struct load_flow *f, uint32_t slot, struct view reply)
{
	l->verify_due += l->o->verify;
	if (l->verify_due < 1)
		return;
	l->verify_due -= 1;
	if (is_right(l, f, slot, reply))
		l->r->verified++;
	else
		l->r->invalid++;
}

void
load_reply(
    struct load *l, struct load_flow *f, struct view reply, uint64_t now_ns)
{
	struct load_result *r = l->r;
	uint32_t slot = find_slot(l, f, reply);

	if (slot == SLOTS_NONE) {
		r->unmatched += l->counting;
		return;
	}
	if (l->counting) {
		uint64_t sent = f->slots.slots[slot].sent_ns;

		if (l->sending)
			r->received++;
		if (sent >= l->start_ns)
			histogram_add(
			    &r->latency, now_ns > sent ? now_ns - sent : 0);
		if (r->reply_min == 0 || reply.len < r->reply_min)
			r->reply_min = reply.len;
		if (reply.len > r->reply_max)
			r->reply_max = reply.len;
		if (l->o->verify > 0)
			sample(l, f, slot, reply);
	}
	slots_release(&f->slots, slot);
}

static int
open_flows(struct load *l)
{
	/* room for a whole window of replies, if the system allows it */
	const struct sock_opts opts = { .rcvbuf = 4 << 20, .sndbuf = 4 << 20 };

	l->flows = command_alloc(l->o->flows, sizeof *l->flows);
	for (uint32_t i = 0; i < l->o->flows; i++)
		l->flows[i].fd = -1;
	for (uint32_t i = 0; i < l->o->flows; i++) {
		struct load_flow *f = &l->flows[i];

		f->writing = SLOTS_NONE;
		if (!slots_init(&f->slots, l->o->window, l->o->request))
			return -1;
		if (l->o->proto == SOCK_TCP)
			continue; /* its engine connects, and again */
		f->fd = sock_connect(SOCK_UDP, &l->o->peer, &opts);
		if (f->fd < 0)
			return -1;
	}
	return 0;
}

static void
close_flows(struct load *l)
{
	for (uint32_t i = 0; i < l->o->flows; i++) {
		if (l->flows[i].fd >= 0)
			close(l->flows[i].fd);
		slots_free(&l->flows[i].slots);
		free(l->flows[i].in);
	}
	free(l->flows);
}

/* Nothing to do: sleeps until a socket is readable, at most 1 ms. */
static void
wait_a_little(struct load *l, struct pollfd *fds)
{
	nfds_t n = 0;

	for (uint32_t i = 0; i < l->o->flows; i++) {
		if (l->flows[i].fd < 0)
			continue;
		fds[n].fd = l->flows[i].fd;
		fds[n].events = POLLIN;
		n++;
	}
	(void)poll(fds, n, 1);
}

/* Gives up what waits too long; what the warm-up sent is not our loss. */
static void
expire(struct load *l, struct load_flow *f, uint64_t now_ns)
{
	uint64_t before =
	    now_ns > l->o->lost_after_ns ? now_ns - l->o->lost_after_ns : 0;

	if (!l->counting || before <= l->start_ns) {
		(void)slots_expire(&f->slots, before);
		return;
	}
	(void)slots_expire(&f->slots, l->start_ns);
	l->r->lost += slots_expire(&f->slots, before);
}

/* Runs until `until_ns` or, while draining, until nothing is under way. */
static void
turn_until(struct load *l, uint64_t until_ns, struct pollfd *fds)
{
	bool (*turn)(struct load *, struct load_flow *, uint64_t) =
	    l->o->proto == SOCK_UDP ? load_udp_turn : load_tcp_turn;
	uint64_t now = clock_monotonic_ns();

	while (now < until_ns) {
		bool busy = false;
		uint32_t under_way = 0;

		for (uint32_t i = 0; i < l->o->flows; i++) {
			struct load_flow *f = &l->flows[i];

			busy = turn(l, f, now) || busy;
			expire(l, f, now);
			under_way += slots_under_way(&f->slots);
		}
		if (!l->sending && under_way == 0)
			return;
		if (!busy)
			wait_a_little(l, fds);
		now = clock_monotonic_ns();
	}
}

static void
begin_counting(struct load *l)
{
	uint32_t connections = l->r->connections;

	memset(l->r, 0, sizeof *l->r);
	l->r->connections = connections;
	l->counting = true;
	l->start_ns = clock_monotonic_ns();
	l->offered = 0;
}

int
load_run(const struct load_options *o, struct load_result *r)
{
	struct load l = { .o = o, .r = r, .sending = true, .burst = o->burst };

	struct pollfd *fds = command_alloc(o->flows, sizeof *fds);
	uint64_t cpu;
	int rc;

	memset(r, 0, sizeof *r);
	rc = open_flows(&l);
	if (rc == 0) {
		l.start_ns = clock_monotonic_ns();
		turn_until(&l, l.start_ns + o->warmup_ns, fds);
		begin_counting(&l);
		cpu = clock_thread_cpu_ns();
		turn_until(&l, l.start_ns + o->duration_ns, fds);
		r->elapsed_ns = clock_monotonic_ns() - l.start_ns;
		r->cpu_ns = clock_thread_cpu_ns() - cpu;
		l.sending = false;
		turn_until(
		    &l, clock_monotonic_ns() + o->lost_after_ns + MS, fds);
	}
	close_flows(&l);
	free(fds);
	return rc;
}
