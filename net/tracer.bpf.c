/*
 * The program of net/tracer (BPF_PROG_TYPE_CGROUP_SKB): run where a socket
 * takes a packet in, before the socket's own filter. It counts, and lets all
 * pass.
 */
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "net/tracer_inner.h"

#define SIGHTS_MAX 4096
#define IPV4_FROM 12
#define IPV6_FROM 8
#define TCP_FLAGS 13
#define SYN_ACK 0x12
#define SYN 0x02

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tracer_rule);
} tracer_rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SIGHTS_MAX);
	__type(key, struct tracer_key);
	__type(value, __u32);
} tracer_sights SEC(".maps");

/* Where the ports are, 0: not such a packet. The packet begins with IP. */
static __always_inline __u32
read_addresses(struct __sk_buff *skb, struct tracer_rule *r)
{
	__u8 head[8], pair[8];

	if (bpf_skb_load_bytes(skb, 0, head, sizeof head) != 0)
		return 0;
	if (head[0] >> 4 == 6) {
		r->protocol = head[6];
		return bpf_skb_load_bytes(skb, IPV6_FROM, r->from, 32) == 0 ? 40
									    : 0;
	}
	if (bpf_skb_load_bytes(skb, 9, &pair[0], 1) != 0)
		return 0;
	r->protocol = pair[0];
	if (bpf_skb_load_bytes(skb, IPV4_FROM, pair, 8) != 0)
		return 0;
	r->from[10] = r->from[11] = r->to[10] = r->to[11] = 0xff;
	__builtin_memcpy(r->from + 12, pair, 4);
	__builtin_memcpy(r->to + 12, pair + 4, 4);
	return (__u32)(head[0] & 0xf) * 4;
}

/* TCP: what begins a connection; the rest comes to other sockets. */
static __always_inline _Bool
begins(struct __sk_buff *skb, __u32 ports, __u16 protocol)
{
	__u8 flags;

	return protocol == IPPROTO_UDP ||
	    (bpf_skb_load_bytes(skb, ports + TCP_FLAGS, &flags, 1) == 0 &&
		(flags & SYN_ACK) == SYN);
}

static __always_inline _Bool
counts(const struct tracer_rule *want, const struct tracer_rule *is)
{
	const __u64 *a = (const __u64 *)want, *b = (const __u64 *)is;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] &&
	    want->port == is->port && want->protocol == is->protocol;
}

static __always_inline void
count(struct tracer_key *key)
{
	__u32 one = 1, *n = bpf_map_lookup_elem(&tracer_sights, key);

	if (n != 0)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&tracer_sights, key, &one, BPF_ANY);
}

SEC("cgroup_skb/ingress")
int
tracer(struct __sk_buff *skb)
{
	_Alignas(8) struct tracer_rule is = { 0 };
	const struct tracer_rule *want;
	struct tracer_key key = { 0 };
	__u16 pair[2];
	__u32 zero = 0, ports;

	want = bpf_map_lookup_elem(&tracer_rules, &zero);
	if (want == 0 || want->protocol == 0)
		return 1;
	ports = read_addresses(skb, &is);
	if (ports == 0 || is.protocol != want->protocol ||
	    bpf_skb_load_bytes(skb, ports, pair, sizeof pair) != 0)
		return 1;
	is.port = pair[1];
	if (!counts(want, &is) || !begins(skb, ports, is.protocol))
		return 1;
	key.cookie = bpf_get_socket_cookie(skb);
	key.port = bpf_ntohs(pair[0]);
	count(&key);
	return 1;
}

char tracer_license[] SEC("license") = "ISC";
