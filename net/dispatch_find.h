/*
 * The table of net/dispatch as the kernel's program and the daemon share it,
 * and the search in it, the same lines for both: included by the BPF program,
 * so no header of ours or of libc is wanted here.
 *
 * A bank is sorted for two binary searches: the span that an address falls
 * into, then the entry of that span that a port falls into. Precedence was
 * settled when the bank was made (net/dispatch_table), so nothing is left to
 * weigh here. Two banks: one is read, the other is written.
 */
#ifndef NET_DISPATCH_FIND_H
#define NET_DISPATCH_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Powers of two: the searches halve them. */
#define DISPATCH_SPANS 2048u
#define DISPATCH_ENTRIES 4096u
#define DISPATCH_SLOTS 8192u /* sockets; an entry names a run of them */
#define DISPATCH_PASS 0xffffu /* the slot of what is left to other sockets */
#define DISPATCH_MAGIC 0x74736432u /* "tsd2": this layout */

/* An address in host order, below its protocol and family. */
struct dispatch_key {
	uint64_t kind;
	uint64_t high, low; /* IPv4: low alone */
};

#define DISPATCH_KIND(is_tcp, is_v6) ((uint64_t)(is_tcp)*2 + (is_v6))

/* From this address to where the next span begins. */
struct dispatch_span {
	struct dispatch_key from;
	uint32_t first, count; /* its entries */
};

struct dispatch_entry {
	uint16_t port_first, port_last;
	uint16_t slot, sockets; /* no sockets: refused, or DISPATCH_PASS */
};

struct dispatch_bank {
	uint32_t spans, entries;
	struct dispatch_span span[DISPATCH_SPANS];
	struct dispatch_entry entry[DISPATCH_ENTRIES];
};

struct dispatch_table {
	uint32_t magic;
	uint32_t pid; /* whose it is */
	uint64_t seed; /* of dispatch_hash() */
	uint32_t active; /* the bank that is read */
	uint32_t closed; /* where the sockets are gone: refused, not passed */
	struct dispatch_bank bank[2];
};

/*
 * No branch in the searches: the kernel's verifier would follow each of their
 * 2^11 ways. 1 when a < b, 1 when a != b (Warren, Hacker's Delight, 2-12).
 */
static inline uint64_t
dispatch_below(uint64_t a, uint64_t b)
{
	return ((~a & b) | ((~a | b) & (a - b))) >> 63;
}

static inline uint64_t
dispatch_differs(uint64_t a, uint64_t b)
{
	return ((a - b) | (b - a)) >> 63;
}

/* 1 when `a` stands before `b`, else 0. */
static inline uint64_t
dispatch_before(const struct dispatch_key *a, const struct dispatch_key *b)
{
	uint64_t kind = dispatch_differs(a->kind, b->kind);
	uint64_t high = dispatch_differs(a->high, b->high);

	return (kind & dispatch_below(a->kind, b->kind)) |
	    ((kind ^ 1) & high & dispatch_below(a->high, b->high)) |
	    ((kind ^ 1) & (high ^ 1) & dispatch_below(a->low, b->low));
}

/* The compiler may not reason about `x` here, so that the mask which follows
 * stays in the program, where the verifier looks for it. */
#ifdef __bpf__
#define DISPATCH_OPAQUE(x) __asm__ volatile("" : "+r"(x))
#else
#define DISPATCH_OPAQUE(x) ((void)(x))
#endif

static inline const struct dispatch_span *
dispatch_span_at(const struct dispatch_bank *b, uint64_t i)
{
	DISPATCH_OPAQUE(i);
	return &b->span[i & (DISPATCH_SPANS - 1)];
}

static inline const struct dispatch_entry *
dispatch_entry_at(const struct dispatch_bank *b, uint64_t i)
{
	DISPATCH_OPAQUE(i);
	return &b->entry[i & (DISPATCH_ENTRIES - 1)];
}

/* The last span that begins at or before the key; NULL: none of its kind. */
static inline const struct dispatch_span *
dispatch_find_span(
    const struct dispatch_bank *b, const struct dispatch_key *key)
{
	const struct dispatch_span *s;
	uint64_t at = 0;

	for (uint64_t step = DISPATCH_SPANS / 2; step > 0; step /= 2) {
		uint64_t there = dispatch_below(at + step, b->spans);

		s = dispatch_span_at(b, at + step);
		at += step * (there & ~dispatch_before(key, &s->from));
	}
	s = dispatch_span_at(b, at);
	if (at >= b->spans || s->from.kind != key->kind ||
	    dispatch_before(key, &s->from))
		return NULL;
	return s;
}

/* NULL: no rule. */
static inline const struct dispatch_entry *
dispatch_find(const struct dispatch_bank *b, const struct dispatch_key *key,
    uint16_t port)
{
	const struct dispatch_span *s = dispatch_find_span(b, key);
	const struct dispatch_entry *e;
	uint64_t at = 0, first, count;

	if (s == NULL || s->count == 0)
		return NULL;
	first = s->first;
	count = s->count;
	for (uint64_t step = DISPATCH_ENTRIES / 2; step > 0; step /= 2) {
		uint64_t there = dispatch_below(at + step, count);

		e = dispatch_entry_at(b, first + at + step);
		at += step * (there & ~dispatch_below(port, e->port_first));
	}
	e = dispatch_entry_at(b, first + at);
	return e->port_first <= port && port <= e->port_last ? e : NULL;
}

/* A flow always meets the same socket of its entry; who does not know the
 * seed cannot choose which. */
static inline uint32_t
dispatch_hash(uint64_t seed, const uint32_t *words, uint32_t count)
{
	uint64_t h = seed;

	for (uint32_t i = 0; i < count; i++) {
		h = (h ^ words[i]) * 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	h = (h ^ seed) * 0xd6e8feb86659fd93u;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return (uint32_t)(h >> 32);
}

#endif
