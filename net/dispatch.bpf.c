/*
 * The program of net/dispatch (BPF_PROG_TYPE_SK_LOOKUP, Linux 5.9): asked for
 * every packet that begins a TCP connection or that no connected UDP socket
 * claims, in its network namespace. What matches no rule passes untouched.
 */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "net/dispatch_find.h"

#define FAMILY_IPV6 10 /* AF_INET6 */
#define WORDS 10 /* two addresses, two ports */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dispatch_table);
} dispatch_rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, DISPATCH_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} dispatch_socks SEC(".maps");

static __always_inline __u64
pair(__u32 high, __u32 low)
{
	return (__u64)bpf_ntohl(high) << 32 | bpf_ntohl(low);
}

static __always_inline struct dispatch_key
local_key(const struct bpf_sk_lookup *ctx)
{
	bool six = ctx->family == FAMILY_IPV6;
	struct dispatch_key key = { .kind = DISPATCH_KIND(
					ctx->protocol == IPPROTO_TCP, six) };

	if (six) {
		key.high = pair(ctx->local_ip6[0], ctx->local_ip6[1]);
		key.low = pair(ctx->local_ip6[2], ctx->local_ip6[3]);
	} else {
		key.low = bpf_ntohl(ctx->local_ip4);
	}
	return key;
}

static __always_inline __u32
flow_hash(const struct bpf_sk_lookup *ctx, __u64 seed)
{
	__u32 words[WORDS] = { ctx->local_ip4, ctx->remote_ip4, ctx->local_port,
		ctx->remote_port };

	if (ctx->family == FAMILY_IPV6) {
		for (int i = 0; i < 4; i++) {
			words[2 + i] = ctx->local_ip6[i];
			words[6 + i] = ctx->remote_ip6[i];
		}
		words[0] = ctx->local_port;
		words[1] = ctx->remote_port;
	}
	return dispatch_hash(seed, words, WORDS);
}

SEC("sk_lookup")
int
dispatch(struct bpf_sk_lookup *ctx)
{
	const struct dispatch_entry *e;
	const struct dispatch_table *t;
	struct dispatch_key key;
	struct bpf_sock *sk;
	__u32 slot = 0;
	long error;

	t = bpf_map_lookup_elem(&dispatch_rules, &slot);
	if (t == NULL)
		return SK_PASS;
	key = local_key(ctx);
	/* Two calls, so that the bank is a known place to the verifier. */
	if (*(const volatile uint32_t *)&t->active == 0)
		e = dispatch_find(&t->bank[0], &key, (__u16)ctx->local_port);
	else
		e = dispatch_find(&t->bank[1], &key, (__u16)ctx->local_port);
	if (e == NULL)
		return SK_PASS;
	if (e->sockets == 0)
		return e->slot == DISPATCH_PASS ? SK_PASS : SK_DROP;
	slot = e->slot + flow_hash(ctx, t->seed) % e->sockets;
	sk = bpf_map_lookup_elem(&dispatch_socks, &slot);
	if (sk == NULL) /* its owner has closed it, or has died */
		return t->closed ? SK_DROP : SK_PASS;
	error = bpf_sk_assign(ctx, sk, BPF_SK_LOOKUP_F_NO_REUSEPORT);
	bpf_sk_release(sk);
	/* A program before this one has chosen, and that stays; or the socket
	 * does not listen just now. */
	return error != 0 && error != -EEXIST && t->closed ? SK_DROP : SK_PASS;
}

char dispatch_license[] SEC("license") = "ISC";
