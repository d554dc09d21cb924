/* The flows of net/fastpath: entries and their two sides. */
#include "net/fastpath_inner.h"

#ifdef HAVE_FASTPATH

#include <bpf/bpf.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

#define MAC_LEN 6
#define YIELDS 1000 /* a run of the program takes a microsecond */

static struct fastpath_side *
side_of(const struct fastpath *f, uint32_t index, enum fastpath_direction d)
{
	return &f->sides[2 * index + (uint32_t)d];
}

/* ---- addresses ---- */

static void
put_end(uint32_t words[4], uint16_t *port, const struct addr *a)
{
	memset(words, 0, 4 * sizeof *words);
	if (a->sa.sa_family == AF_INET) {
		words[0] = a->in.sin_addr.s_addr;
		*port = a->in.sin_port;
	} else {
		memcpy(words, &a->in6.sin6_addr, 16);
		*port = a->in6.sin6_port;
	}
}

struct fastpath_tuple
fastpath_tuple_of(const struct addr *from, const struct addr *to)
{
	struct fastpath_tuple t = {
		.version = from->sa.sa_family == AF_INET ? 4 : 6,
	};

	put_end(t.from, &t.from_port, from);
	put_end(t.to, &t.to_port, to);
	return t;
}

static uint32_t
ports_of(const struct fastpath_tuple *t)
{
	const uint16_t ports[2] = { t->from_port, t->to_port };
	uint32_t word;

	memcpy(&word, ports, sizeof word);
	return word;
}

static void
put_addresses(uint32_t words[8], const struct fastpath_tuple *t)
{
	memcpy(words, t->from, sizeof t->from);
	memcpy(words + 4, t->to, sizeof t->to);
}

static struct fastpath_tuple
old_tuple(const struct fastpath_side *s)
{
	struct fastpath_tuple t = { .version = s->version };

	memcpy(t.from, s->old_addr, sizeof t.from);
	memcpy(t.to, s->old_addr + 4, sizeof t.to);
	memcpy(&t.from_port, &s->old_ports, 2);
	memcpy(&t.to_port, (const char *)&s->old_ports + 2, 2);
	return t;
}

struct addr
fastpath_new_to(const struct fastpath_side *s)
{
	const char *port = (const char *)&s->new_ports + 2;
	struct addr a = { 0 };

	if (s->version == 4) {
		a.in.sin_family = AF_INET;
		a.in.sin_addr.s_addr = s->new_addr[4];
		memcpy(&a.in.sin_port, port, 2);
	} else {
		a.in6.sin6_family = AF_INET6;
		memcpy(&a.in6.sin6_addr, s->new_addr + 4, 16);
		memcpy(&a.in6.sin6_port, port, 2);
	}
	return a;
}

/* Sums of the Internet checksum (RFC 1071), carried round at the end. */
static uint32_t
sum_add(uint32_t sum, uint32_t word)
{
	uint64_t wide = (uint64_t)sum + word;

	return (uint32_t)wide + (uint32_t)(wide >> 32);
}

static uint32_t
address_change(const struct fastpath_side *s)
{
	uint32_t sum = 0;

	for (int i = 0; i < 8; i++)
		sum = sum_add(sum_add(sum, ~s->old_addr[i]), s->new_addr[i]);
	return sum;
}

/* ---- the gate ---- */

static bool
is_empty(const struct fastpath_side *s)
{
	uint64_t gate = __atomic_load_n(&s->gate, __ATOMIC_ACQUIRE);

	return (uint32_t)(gate & FASTPATH_COUNT_MASK) ==
	    __atomic_load_n(&s->ended, __ATOMIC_ACQUIRE);
}

static void
close_gate(struct fastpath_side *s)
{
	__atomic_fetch_or(&s->gate, FASTPATH_CLOSED, __ATOMIC_SEQ_CST);
}

/* Returns the turn that entries must name. */
static uint32_t
open_gate(struct fastpath_side *s)
{
	uint64_t was = __atomic_load_n(&s->gate, __ATOMIC_RELAXED), now, turn;

	do {
		turn = ((was >> FASTPATH_TURN_SHIFT) + 1) & FASTPATH_TURN_MASK;
		now = (was & FASTPATH_COUNT_MASK) | turn << FASTPATH_TURN_SHIFT;
	} while (!__atomic_compare_exchange_n(
	    &s->gate, &was, now, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	return (uint32_t)turn;
}

/* Until no run of the program is inside; one that the host has put to sleep is
 * not waited for. */
static void
wait_empty(const struct fastpath_side *s)
{
	for (int i = 0; i < YIELDS && !is_empty(s); i++)
		sched_yield();
}

/* ---- entries ---- */

static void
fill(struct fastpath_side *s, const struct fastpath_tuple *old,
    const struct fastpath_tuple *new, const struct fastpath_way *way,
    uint32_t epoch)
{
	s->version = (uint8_t)old->version;
	s->old_ports = ports_of(old);
	s->new_ports = ports_of(new);
	put_addresses(s->old_addr, old);
	put_addresses(s->new_addr, new);
	s->address_change = address_change(s);
	/* the word of the hops, which is even there, loses 0x0100 */
	s->ip_change = sum_add(s->address_change, ~(uint32_t)htons(0x0100));
	s->device = way->device;
	s->mtu = way->mtu;
	s->hop = way->hop;
	s->epoch = (uint16_t)epoch;
	s->state = 0;
}

static int
add_entry(struct fastpath *f, struct fastpath_side *s)
{
	const struct fastpath_tuple key = old_tuple(s);
	const struct fastpath_entry e = {
		.side = (uint32_t)(s - f->sides),
		.turn = open_gate(s),
	};

	if (bpf_map_update_elem(f->flows, &key, &e, BPF_NOEXIST) == 0)
		return 0;
	close_gate(s);
	return -1;
}

static void
remove_entry(const struct fastpath *f, const struct fastpath_side *s)
{
	const struct fastpath_tuple key = old_tuple(s);

	(void)bpf_map_delete_elem(f->flows, &key);
}

/* Both entries, or none. */
static int
carry(struct fastpath *f, uint32_t index, const struct fastpath_flow *flow)
{
	struct fastpath_side *in = side_of(f, index, FASTPATH_FROM_CLIENT);
	struct fastpath_side *out = side_of(f, index, FASTPATH_FROM_ORIGIN);
	const struct fastpath_tuple asked =
	    fastpath_tuple_of(&flow->client, &flow->edge);
	const struct fastpath_tuple answered =
	    fastpath_tuple_of(&flow->origin, &flow->near);
	const struct fastpath_tuple sent =
	    fastpath_tuple_of(&flow->near, &flow->origin);
	const struct fastpath_tuple back =
	    fastpath_tuple_of(&flow->edge, &flow->client);
	int error;

	if (!is_empty(in) || !is_empty(out)) {
		errno = EBUSY;
		return -1;
	}
	fill(in, &asked, &sent, &flow->to_origin, flow->epoch);
	fill(out, &answered, &back, &flow->to_client, flow->epoch);
	if (add_entry(f, in) != 0)
		return -1;
	if (add_entry(f, out) == 0)
		return 0;
	error = errno;
	close_gate(in);
	remove_entry(f, in);
	errno = error;
	return -1;
}

static bool
is_hop(const struct fastpath_hop *h, const struct fastpath_hop *other)
{
	return h->device == other->device && h->fixed == other->fixed &&
	    memcmp(h->addr, other->addr, sizeof h->addr) == 0 &&
	    (!h->fixed || memcmp(h->frame, other->frame, MAC_LEN) == 0);
}

/* Not to be used by the flows of before while it becomes another's. */
uint16_t
fastpath_beside(struct fastpath *f, uint32_t place, unsigned int device,
    const struct addr *to, const uint8_t gateway[6])
{
	struct fastpath_hop *h,
	    now = { .device = device, .fixed = gateway != NULL };
	uint16_t port;

	if (place >= f->hop_count - 1)
		return 0;
	h = &f->hops[1 + place];
	put_end(now.addr, &port, to);
	if (gateway != NULL)
		memcpy(now.frame, gateway, MAC_LEN);
	if (!is_hop(h, &now)) {
		__atomic_store_n(&h->heard_ns, 0, __ATOMIC_SEQ_CST);
		*h = now;
	}
	return (uint16_t)(1 + place);
}

int
fastpath_carry(
    struct fastpath *f, uint32_t index, const struct fastpath_flow *flow)
{
	if (index < f->count)
		return carry(f, index, flow);
	errno = E2BIG;
	return -1;
}

void
fastpath_recall(struct fastpath *f, uint32_t index)
{
	for (int d = FASTPATH_FROM_CLIENT; d <= FASTPATH_FROM_ORIGIN; d++)
		close_gate(side_of(f, index, (enum fastpath_direction)d));
	for (int d = FASTPATH_FROM_CLIENT; d <= FASTPATH_FROM_ORIGIN; d++) {
		struct fastpath_side *s =
		    side_of(f, index, (enum fastpath_direction)d);

		remove_entry(f, s);
		wait_empty(s);
	}
}

/* ---- what they say ---- */

bool
fastpath_is_carried(const struct fastpath *f, uint32_t index)
{
	const struct fastpath_side *s = side_of(f, index, FASTPATH_FROM_CLIENT);

	return s->epoch == (uint16_t)fastpath_epoch(f) &&
	    (s[0].state == FASTPATH_CARRIED || s[1].state == FASTPATH_CARRIED);
}

struct fastpath_count
fastpath_count(
    const struct fastpath *f, uint32_t index, enum fastpath_direction direction)
{
	const struct fastpath_side *s = side_of(f, index, direction);

	return (struct fastpath_count){
		.datagrams = __atomic_load_n(&s->datagrams, __ATOMIC_RELAXED),
		.bytes = __atomic_load_n(&s->bytes, __ATOMIC_RELAXED),
		.seen_ns = __atomic_load_n(&s->seen_ns, __ATOMIC_RELAXED),
	};
}

#endif
