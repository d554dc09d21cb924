#include "net/dispatch_table.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A rule, from its first address to its last. */
struct piece {
	struct dispatch_key from, to;
	const struct dispatch_rule *rule;
};

struct compiler {
	struct dispatch_bank *bank;
	struct piece *pieces; /* by precedence */
	const struct dispatch_rule **here; /* those of one span, likewise */
	struct dispatch_key *edges; /* where spans begin */
	uint32_t *ports; /* where entries may begin */
	size_t rules;
};

struct dispatch_key
dispatch_key(enum sock_proto proto, const struct addr *a)
{
	bool six = a->sa.sa_family == AF_INET6;
	struct dispatch_key key = { .kind =
					DISPATCH_KIND(proto == SOCK_TCP, six) };
	uint64_t words[2];

	if (!six) {
		key.low = ntohl(a->in.sin_addr.s_addr);
		return key;
	}
	memcpy(words, &a->in6.sin6_addr, sizeof words);
	key.high = be64toh(words[0]);
	key.low = be64toh(words[1]);
	return key;
}

struct dispatch_rule
dispatch_rule_for(enum sock_proto proto, const struct addr *a,
    uint16_t port_first, uint16_t port_last)
{
	unsigned int all = a->sa.sa_family == AF_INET6 ? 128 : 32;

	return (struct dispatch_rule){ .proto = proto,
		.prefix = *a,
		.bits = addr_is_wildcard(a) ? 0 : all,
		.port_first = port_first,
		.port_last = port_last };
}

/* `bits` ones from the top of 64. */
static uint64_t
mask(unsigned int bits)
{
	return bits == 0 ? 0 : UINT64_MAX << (64 - (bits > 64 ? 64 : bits));
}

static struct piece
piece_of(const struct dispatch_rule *r)
{
	struct piece p = { .from = dispatch_key(r->proto, &r->prefix),
		.rule = r };
	bool six = r->prefix.sa.sa_family == AF_INET6;
	/* the bits of an IPv4 address are the last 32 of `low` */
	uint64_t high = six ? mask(r->bits) : UINT64_MAX;
	uint64_t low =
	    six ? (r->bits > 64 ? mask(r->bits - 64) : 0) : mask(r->bits + 32);

	p.from.high &= high;
	p.from.low &= low;
	p.to = p.from;
	p.to.high |= ~high;
	p.to.low |= ~low;
	return p;
}

/* ---- order ---- */

static int
compare_pieces(const void *a, const void *b)
{
	const struct dispatch_rule *ra = ((const struct piece *)a)->rule;
	const struct dispatch_rule *rb = ((const struct piece *)b)->rule;
	int wide_a = ra->port_last - ra->port_first;
	int wide_b = rb->port_last - rb->port_first;

	if (ra->last != rb->last)
		return ra->last - rb->last;
	if (ra->bits != rb->bits)
		return ra->bits > rb->bits ? -1 : 1;
	if (wide_a != wide_b)
		return wide_a < wide_b ? -1 : 1;
	return ra < rb ? -1 : ra > rb;
}

static int
compare_keys(const void *a, const void *b)
{
	return dispatch_before(a, b) ? -1 : (int)dispatch_before(b, a);
}

static int
compare_ports(const void *a, const void *b)
{
	uint32_t pa = *(const uint32_t *)a, pb = *(const uint32_t *)b;

	return pa < pb ? -1 : pa > pb;
}

/* ---- entries of one span ---- */

static const struct dispatch_rule *
best(const struct compiler *c, size_t n, uint32_t port)
{
	for (size_t i = 0; i < n; i++) {
		if (c->here[i]->port_first <= port &&
		    port <= c->here[i]->port_last)
			return c->here[i];
	}
	return NULL;
}

/* Ports first to last; joins what goes to the same place. */
static int
add_entry(struct dispatch_bank *b, const struct dispatch_span *span,
    const struct dispatch_rule *r, uint32_t first, uint32_t last)
{
	struct dispatch_entry *before = &b->entry[b->entries - 1];

	if (b->entries > span->first && before->slot == r->slot &&
	    before->sockets == r->sockets && before->port_last + 1u == first) {
		before->port_last = (uint16_t)last;
		return 0;
	}
	if (b->entries == DISPATCH_ENTRIES) {
		errno = ENOSPC;
		return -1;
	}
	b->entry[b->entries++] = (struct dispatch_entry){
		.port_first = (uint16_t)first,
		.port_last = (uint16_t)last,
		.slot = r->slot,
		.sockets = r->sockets,
	};
	return 0;
}

/* The `n` rules of `here` become entries. */
static int
add_entries(struct compiler *c, struct dispatch_span *span, size_t n)
{
	size_t edges = 0;

	for (size_t i = 0; i < n; i++) {
		c->ports[edges++] = c->here[i]->port_first;
		c->ports[edges++] = c->here[i]->port_last + 1u;
	}
	qsort(c->ports, edges, sizeof *c->ports, compare_ports);
	for (size_t i = 0; i + 1 < edges; i++) {
		const struct dispatch_rule *r;

		if (c->ports[i] == c->ports[i + 1])
			continue;
		r = best(c, n, c->ports[i]);
		if (r != NULL &&
		    add_entry(c->bank, span, r, c->ports[i],
			c->ports[i + 1] - 1) != 0)
			return -1;
	}
	return 0;
}

/* ---- spans ---- */

static int
add_span(struct compiler *c, const struct dispatch_key *from)
{
	struct dispatch_bank *b = c->bank;
	struct dispatch_span *span = &b->span[b->spans];
	size_t n = 0;

	if (b->spans == DISPATCH_SPANS) {
		errno = ENOSPC;
		return -1;
	}
	*span = (struct dispatch_span){ .from = *from, .first = b->entries };
	for (size_t i = 0; i < c->rules; i++) {
		if (!dispatch_before(from, &c->pieces[i].from) &&
		    !dispatch_before(&c->pieces[i].to, from))
			c->here[n++] = c->pieces[i].rule;
	}
	if (add_entries(c, span, n) != 0)
		return -1;
	span->count = b->entries - span->first;
	b->spans++;
	return 0;
}

/* What lies behind the last address; false: nothing does. */
static bool
next_key(struct dispatch_key *k)
{
	if (++k->low == 0 && ++k->high == 0)
		return false;
	return true;
}

static int
add_spans(struct compiler *c)
{
	size_t edges = 0;

	for (size_t i = 0; i < c->rules; i++) {
		c->edges[edges++] = c->pieces[i].from;
		c->edges[edges] = c->pieces[i].to;
		edges += next_key(&c->edges[edges]);
	}
	qsort(c->edges, edges, sizeof *c->edges, compare_keys);
	for (size_t i = 0; i < edges; i++) {
		if (i > 0 && compare_keys(&c->edges[i], &c->edges[i - 1]) == 0)
			continue;
		if (add_span(c, &c->edges[i]) != 0)
			return -1;
	}
	return 0;
}

int
dispatch_compile(
    struct dispatch_bank *b, const struct dispatch_rule *rules, size_t n)
{
	struct compiler c = { .bank = b, .rules = n };
	int result = -1;

	b->spans = b->entries = 0;
	if (n > DISPATCH_RULES_MAX) {
		errno = ENOSPC;
		return -1;
	}
	c.pieces = calloc(n + 1, sizeof *c.pieces);
	c.here = calloc(n + 1, sizeof(const struct dispatch_rule *));
	c.edges = calloc(2 * n + 1, sizeof *c.edges);
	c.ports = calloc(2 * n + 1, sizeof *c.ports);
	if (c.pieces != NULL && c.here != NULL && c.edges != NULL &&
	    c.ports != NULL) {
		for (size_t i = 0; i < n; i++)
			c.pieces[i] = piece_of(&rules[i]);
		qsort(c.pieces, n, sizeof *c.pieces, compare_pieces);
		result = add_spans(&c);
	}
	free(c.pieces);
	free(c.here);
	free(c.edges);
	free(c.ports);
	return result;
}

/* ---- two tables ---- */

bool
dispatch_meets(const struct dispatch_bank *b, const struct dispatch_rule *r)
{
	struct piece p = piece_of(r);

	for (uint32_t i = 0; i < b->spans && i < DISPATCH_SPANS; i++) {
		const struct dispatch_span *s = &b->span[i];

		/* ends before it begins, or begins after its end */
		if (i + 1 < b->spans && !dispatch_before(&p.from, &s[1].from))
			continue;
		if (s->from.kind != p.from.kind ||
		    dispatch_before(&p.to, &s->from))
			continue;
		for (uint32_t k = 0; k < s->count; k++) {
			const struct dispatch_entry *e =
			    &b->entry[(s->first + k) % DISPATCH_ENTRIES];

			if (e->port_first <= r->port_last &&
			    r->port_first <= e->port_last)
				return true;
		}
	}
	return false;
}
