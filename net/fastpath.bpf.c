/*
 * The program of net/fastpath (BPF_PROG_TYPE_SCHED_CLS): asked for every frame
 * that comes in by an interface with edges or origins. What is no datagram of
 * a flow in the table, and whatever takes more than new addresses, goes on to
 * the stack, untouched.
 *
 * The next hop is the kernel's: bpf_redirect_neigh() asks routes and
 * neighbours as for a datagram that we had sent, so that resolving, probing
 * and the ICMP error of a neighbour that is gone are as ever.
 * bpf_fib_lookup() would refuse on a host that forwards nothing else. Where the
 * next hop is the other end of a veth, in another namespace, and has been heard
 * of lately, bpf_redirect_peer() spares its queue.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "net/fastpath_side.h"

#define FRAGMENT 0x3fff /* more, or an offset (RFC 791) */
#define IPV4_WORDS 5
#define UNREACHABLE 3 /* ICMP, and the code that says why (RFC 1191) */
#define FRAGMENTATION_NEEDED 4
#define PACKET_TOO_BIG 2 /* ICMPv6 (RFC 4443, 3.2) */
#define CARRIED_MARK 0x7473 /* between our two programs */
#define SECOND_SHIFT 30 /* of nanoseconds, about */
#define LOOPBACK 1 /* the ifindex of lo, everywhere */

/* All are sized before they are loaded. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, struct fastpath_tuple);
	__type(value, struct fastpath_entry);
} fastpath_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct fastpath_side);
} fastpath_sides SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fastpath_control);
} fastpath_control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct fastpath_hop);
} fastpath_hops SEC(".maps");

struct datagram {
	struct fastpath_tuple tuple;
	__u32 udp; /* where its header begins */
	__u32 payload; /* bytes, all datagrams of a run together */
	__u32 packet; /* the longest IP packet that it will be */
	__u32 hops; /* left */
};

/* ---- what it is ---- */

static __always_inline bool
read_ipv4(struct datagram *d, void *data, void *end)
{
	const struct iphdr *ip = data + ETH_HLEN;

	if ((void *)(ip + 1) > end || ip->version != 4 ||
	    ip->ihl != IPV4_WORDS || ip->protocol != IPPROTO_UDP ||
	    ip->frag_off & bpf_htons(FRAGMENT))
		return false;
	d->udp = ETH_HLEN + sizeof *ip;
	d->hops = ip->ttl;
	d->tuple.version = 4;
	d->tuple.from[0] = ip->saddr;
	d->tuple.to[0] = ip->daddr;
	return true;
}

static __always_inline bool
read_ipv6(struct datagram *d, void *data, void *end)
{
	const struct ipv6hdr *ip = data + ETH_HLEN;

	if ((void *)(ip + 1) > end || ip->version != 6 ||
	    ip->nexthdr != IPPROTO_UDP)
		return false;
	d->udp = ETH_HLEN + sizeof *ip;
	d->hops = ip->hop_limit;
	d->tuple.version = 6;
	__builtin_memcpy(d->tuple.from, &ip->saddr, sizeof ip->saddr);
	__builtin_memcpy(d->tuple.to, &ip->daddr, sizeof ip->daddr);
	return true;
}

/* A run of datagrams (GSO, GRO) has one header, and lengths of the whole. */
static __always_inline bool
read_udp(struct datagram *d, const struct __sk_buff *skb, void *data, void *end)
{
	const struct udphdr *udp = data + d->udp;
	__u32 len;

	if ((void *)(udp + 1) > end)
		return false;
	len = bpf_ntohs(udp->len);
	if (len < sizeof *udp || d->udp + len > skb->len)
		return false;
	/* IPv6 has no datagrams without a checksum (RFC 8200, 8.1) */
	if (d->tuple.version == 6 && udp->check == 0)
		return false;
	d->tuple.from_port = udp->source;
	d->tuple.to_port = udp->dest;
	d->payload = len - sizeof *udp;
	if (skb->gso_size > 0)
		len = sizeof *udp + skb->gso_size;
	d->packet = d->udp - ETH_HLEN + len;
	return true;
}

static __always_inline bool
read_headers(struct datagram *d, struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (!read_ipv4(d, data, end))
			return false;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (!read_ipv6(d, data, end))
			return false;
	} else {
		return false;
	}
	return read_udp(d, skb, data, end);
}

static __always_inline bool
read_datagram(struct datagram *d, struct __sk_buff *skb)
{
	/* a tag of the hardware's: the interface of that network is asked */
	return skb->pkt_type == PACKET_HOST && !skb->vlan_present &&
	    read_headers(d, skb);
}

/* ---- whose it is ---- */

/* Counts us in; false: these are not the entries of this flow any more. */
static __always_inline bool
enter(struct fastpath_side *s, const struct fastpath_entry *e)
{
	__u64 was = __sync_fetch_and_add(&s->gate, 1);

	if (was >> FASTPATH_TURN_SHIFT == e->turn)
		return true;
	__sync_fetch_and_add(&s->gate, (__u64)-1);
	return false;
}

static __always_inline bool
is_of(const struct fastpath_side *s, const struct fastpath_tuple *t)
{
	bool same = s->version == t->version &&
	    s->old_ports == *(const __u32 *)&t->from_port;

	for (int i = 0; i < 4; i++)
		same &= s->old_addr[i] == t->from[i] &&
		    s->old_addr[4 + i] == t->to[i];
	return same;
}

static __always_inline bool
is_alive(const struct fastpath_side *s, __u64 now_ns)
{
	const struct fastpath_control *c;
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&fastpath_control, &zero);
	return c != NULL && now_ns < c->alive_ns + FASTPATH_DEAD_NS &&
	    s->epoch == (__u16)c->epoch;
}

/*
 * Nothing is rewritten before one datagram of this side has come, and one has
 * left, with the addresses that the sockets know: where NAT of this host is in
 * the way, that does not happen.
 */
static __always_inline bool
is_carried(struct fastpath_side *s)
{
	if ((s->state & FASTPATH_CAME) == 0)
		s->state |= FASTPATH_CAME;
	return s->state == FASTPATH_CARRIED;
}

/* From a client of this host to an origin of this host, or neither. */
static __always_inline bool
is_of_one_host(const struct __sk_buff *skb, const struct fastpath_side *s)
{
	return (skb->ifindex == LOOPBACK) == (s->device == LOOPBACK);
}

/* The path's limit, and that of the interface as it is now. */
static __always_inline bool
fits(struct __sk_buff *skb, const struct fastpath_side *s, __u32 len)
{
	__u32 size = len;

	return len <= s->mtu && bpf_check_mtu(skb, s->device, &size, 0, 0) == 0;
}

/* ---- whom it goes to ---- */

/* The next hop of this side, if it is remembered. */
static __always_inline struct fastpath_hop *
hop_of(const struct fastpath_side *s)
{
	__u32 place = s->hop;
	struct fastpath_hop *h;
	bool same;

	if (place == 0)
		return NULL;
	h = bpf_map_lookup_elem(&fastpath_hops, &place);
	if (h == NULL)
		return NULL;
	same = h->device == s->device;
	for (int i = 0; i < 4; i++)
		same &= h->addr[i] == s->new_addr[4 + i];
	return same ? h : NULL;
}

static __always_inline bool
is_same_mac(const __u8 *a, const __u8 *b)
{
	bool same = true;

	for (int i = 0; i < ETH_ALEN; i++)
		same &= a[i] == b[i];
	return same;
}

/* Who sends is there: once a second will do. The next hop of what is sent back
 * to it is of the other side. */
static __always_inline void
hear(struct __sk_buff *skb, const struct fastpath_side *s, __u32 index,
    __u64 now_ns)
{
	void *data = (void *)(long)skb->data;
	const struct fastpath_side *back;
	const struct ethhdr *eth = data;
	struct fastpath_hop *h;

	if (now_ns >> SECOND_SHIFT == s->seen_ns >> SECOND_SHIFT)
		return;
	index ^= 1;
	back = bpf_map_lookup_elem(&fastpath_sides, &index);
	if (back == NULL || back->device != skb->ifindex)
		return;
	h = hop_of(back);
	if (h == NULL || (void *)(eth + 1) > (void *)(long)skb->data_end)
		return;
	if (h->fixed && !is_same_mac(h->frame, eth->h_source)) {
		h->heard_ns = 0;
		return;
	}
	__builtin_memcpy(h->frame, eth->h_source, ETH_ALEN);
	__builtin_memcpy(h->frame + ETH_ALEN, eth->h_dest, ETH_ALEN);
	h->heard_ns = now_ns;
}

/* The frame is as if it had come through the pair: behind it may be a bridge.
 * What a mark means, it means in this namespace. */
static __always_inline int
send_on(struct __sk_buff *skb, const struct fastpath_side *s, __u64 now_ns)
{
	struct fastpath_hop *h = hop_of(s);
	void *data = (void *)(long)skb->data;
	struct ethhdr *eth = data;

	if (h == NULL || now_ns >= h->heard_ns + FASTPATH_HEARD_NS ||
	    (void *)(eth + 1) > (void *)(long)skb->data_end) {
		skb->tc_index = CARRIED_MARK;
		return (int)bpf_redirect_neigh(s->device, NULL, 0, 0);
	}
	__builtin_memcpy(eth, h->frame, 2 * ETH_ALEN);
	skb->mark = 0;
	return (int)bpf_redirect_peer(s->device, 0);
}

/* ---- what a router says of it ---- */

/* The head of an ICMP message (linux/icmp.h asks for libc); then comes that of
 * the packet that it is about. */
struct icmp {
	__u8 type, code;
	__u16 sum;
	__u32 mtu; /* IPv4: the lower half */
};

struct too_big {
	struct fastpath_tuple asked; /* of the side that answers it */
	__u32 mtu;
};

static __always_inline bool
read_too_big4(struct too_big *b, void *data, void *end)
{
	const struct iphdr *ip = data + ETH_HLEN;
	const struct icmp *icmp = (const void *)(ip + 1);
	const struct iphdr *its = (const void *)(icmp + 1);
	const struct udphdr *udp = (const void *)(its + 1);

	if ((void *)(udp + 1) > end || ip->ihl != IPV4_WORDS ||
	    ip->protocol != IPPROTO_ICMP || icmp->type != UNREACHABLE ||
	    icmp->code != FRAGMENTATION_NEEDED || its->ihl != IPV4_WORDS ||
	    its->protocol != IPPROTO_UDP)
		return false;
	b->mtu = bpf_ntohl(icmp->mtu) & 0xffff;
	if (b->mtu < FASTPATH_MTU_LEAST4)
		b->mtu = FASTPATH_MTU_LEAST4;
	b->asked.version = 4;
	b->asked.from[0] = its->daddr;
	b->asked.to[0] = its->saddr;
	b->asked.from_port = udp->dest;
	b->asked.to_port = udp->source;
	return true;
}

static __always_inline bool
read_too_big6(struct too_big *b, void *data, void *end)
{
	const struct ipv6hdr *ip = data + ETH_HLEN;
	const struct icmp *icmp = (const void *)(ip + 1);
	const struct ipv6hdr *its = (const void *)(icmp + 1);
	const struct udphdr *udp = (const void *)(its + 1);

	if ((void *)(udp + 1) > end || ip->nexthdr != IPPROTO_ICMPV6 ||
	    icmp->type != PACKET_TOO_BIG || its->nexthdr != IPPROTO_UDP)
		return false;
	b->mtu = bpf_ntohl(icmp->mtu);
	if (b->mtu < FASTPATH_MTU_LEAST6)
		b->mtu = FASTPATH_MTU_LEAST6;
	b->asked.version = 6;
	__builtin_memcpy(b->asked.from, &its->daddr, sizeof its->daddr);
	__builtin_memcpy(b->asked.to, &its->saddr, sizeof its->saddr);
	b->asked.from_port = udp->dest;
	b->asked.to_port = udp->source;
	return true;
}

/*
 * Longer ones go to the stack from now on, which has heard the same, and cuts
 * them. Nobody else's flow, and never below what every path carries: who
 * forges this slows down one flow, whose ports must be known.
 */
static __always_inline void
hear_icmp(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	const struct fastpath_entry *e;
	struct too_big b = { 0 };
	struct fastpath_side *s;
	__u32 index;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (!read_too_big4(&b, data, end))
			return;
	} else if (skb->protocol != bpf_htons(ETH_P_IPV6) ||
	    !read_too_big6(&b, data, end)) {
		return;
	}
	e = bpf_map_lookup_elem(&fastpath_flows, &b.asked);
	if (e == NULL)
		return;
	index = e->side ^ 1;
	s = bpf_map_lookup_elem(&fastpath_sides, &index);
	if (s != NULL && b.mtu < s->mtu)
		s->mtu = (__u16)b.mtu;
}

/* ---- what it becomes ---- */

/* Its own sum makes up for the addresses and the hop. */
static __always_inline int
rewrite_ipv4(struct __sk_buff *skb, const struct fastpath_side *s)
{
	struct iphdr *ip = (void *)(long)skb->data + ETH_HLEN;
	__u32 *ports = (void *)(ip + 1), sum;

	if ((void *)(ports + 1) > (void *)(long)skb->data_end)
		return -1;
	sum =
	    (__u16)~ip->check + (s->ip_change & 0xffff) + (s->ip_change >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = (__u16) ~(sum + (sum >> 16));
	ip->ttl--;
	ip->saddr = s->new_addr[0];
	ip->daddr = s->new_addr[4];
	*ports = s->new_ports;
	return 0;
}

/*
 * No sum of the header makes up for the addresses, as in IPv4, so a sum of the
 * whole packet (CHECKSUM_COMPLETE) must learn of them here.
 */
static __always_inline int
rewrite_ipv6(
    struct __sk_buff *skb, const struct datagram *d, struct fastpath_side *s)
{
	__u8 hops = (__u8)(d->hops - 1);
	__u32 ports = s->new_ports;
	int error;

	error = bpf_skb_store_bytes(skb,
	    ETH_HLEN + __builtin_offsetof(struct ipv6hdr, hop_limit), &hops, 1,
	    BPF_F_RECOMPUTE_CSUM);
	error |= bpf_skb_store_bytes(skb,
	    ETH_HLEN + __builtin_offsetof(struct ipv6hdr, saddr), s->new_addr,
	    sizeof s->new_addr, BPF_F_RECOMPUTE_CSUM);
	return error |
	    bpf_skb_store_bytes(skb, d->udp, &ports, sizeof ports, 0);
}

/* A sum of 0 means none: it stays, and none becomes 0. The sum of the ports is
 * no part of what CHECKSUM_PARTIAL leaves to be added to. */
static __always_inline int
rewrite(
    struct __sk_buff *skb, const struct datagram *d, struct fastpath_side *s)
{
	__u32 check = d->udp + __builtin_offsetof(struct udphdr, check);
	int error;

	error = d->tuple.version == 4 ? rewrite_ipv4(skb, s)
				      : rewrite_ipv6(skb, d, s);
	error |= bpf_l4_csum_replace(skb, check, 0, s->address_change,
	    BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
	return error |
	    bpf_l4_csum_replace(skb, check, s->old_ports, s->new_ports,
		sizeof s->new_ports | BPF_F_MARK_MANGLED_0);
}

static __always_inline void
count(const struct __sk_buff *skb, const struct datagram *d,
    struct fastpath_side *s, __u64 now_ns)
{
	__u32 size = skb->gso_size;

	__sync_fetch_and_add(
	    &s->datagrams, size > 0 ? (d->payload + size - 1) / size : 1);
	__sync_fetch_and_add(&s->bytes, d->payload);
	s->seen_ns = now_ns;
	__sync_fetch_and_add(&s->ended, 1);
}

SEC("tc")
int
fastpath(struct __sk_buff *skb)
{
	struct datagram d = { 0 };
	const struct fastpath_entry *e;
	struct fastpath_side *s;
	__u32 index;
	__u64 now_ns;

	if (!read_datagram(&d, skb)) {
		hear_icmp(skb);
		return TC_ACT_UNSPEC;
	}
	e = bpf_map_lookup_elem(&fastpath_flows, &d.tuple);
	if (e == NULL)
		return TC_ACT_UNSPEC;
	index = e->side;
	s = bpf_map_lookup_elem(&fastpath_sides, &index);
	if (s == NULL || !enter(s, e))
		return TC_ACT_UNSPEC;
	now_ns = bpf_ktime_get_coarse_ns(); /* milliseconds will do */
	if (!is_of(s, &d.tuple) || !is_alive(s, now_ns) || !is_carried(s) ||
	    !is_of_one_host(skb, s) || d.hops <= 1 || !fits(skb, s, d.packet)) {
		__sync_fetch_and_add(&s->gate, (__u64)-1);
		return TC_ACT_UNSPEC;
	}
	hear(skb, s, index, now_ns);
	count(skb, &d, s, now_ns);
	if (rewrite(skb, &d, s) != 0)
		return TC_ACT_SHOT; /* no memory for a header of its own */
	if (s->device == LOOPBACK)
		return TC_ACT_UNSPEC; /* it is where it goes to */
	return send_on(skb, s, now_ns);
}

/* Where frames leave: what the sockets send is looked at, no more. */
SEC("tc")
int
fastpath_out(struct __sk_buff *skb)
{
	const struct fastpath_entry *e;
	struct fastpath_tuple back = { 0 };
	struct datagram d = { 0 };
	struct fastpath_side *s;
	__u32 index;

	if (skb->tc_index == CARRIED_MARK) {
		skb->tc_index = 0;
		return TC_ACT_UNSPEC;
	}
	if (!read_headers(&d, skb))
		return TC_ACT_UNSPEC;
	/* the answer's side is found by it, and this one is beside that */
	back.version = d.tuple.version;
	__builtin_memcpy(back.from, d.tuple.to, sizeof back.from);
	__builtin_memcpy(back.to, d.tuple.from, sizeof back.to);
	back.from_port = d.tuple.to_port;
	back.to_port = d.tuple.from_port;
	e = bpf_map_lookup_elem(&fastpath_flows, &back);
	if (e == NULL)
		return TC_ACT_UNSPEC;
	index = e->side ^ 1;
	s = bpf_map_lookup_elem(&fastpath_sides, &index);
	if (s != NULL && (s->state & FASTPATH_LEFT) == 0)
		s->state |= FASTPATH_LEFT;
	return TC_ACT_UNSPEC;
}

/* bpf_check_mtu() is there for such alone; ISC is BSD's in other words. This
 * file may be used under GPL-2.0 too. */
char fastpath_license[] SEC("license") = "Dual BSD/GPL";
