#include "proxy/app.h"

#include <string.h>

bool
app_check_same(const struct app_check *a, const struct app_check *b)
{
	return a->kind == b->kind && a->interval_ms == b->interval_ms &&
	    a->timeout_ms == b->timeout_ms && a->rise == b->rise &&
	    a->fall == b->fall && a->port == b->port &&
	    a->send_len == b->send_len && a->expect_len == b->expect_len &&
	    memcmp(a->send, b->send, a->send_len) == 0 &&
	    memcmp(a->expect, b->expect, a->expect_len) == 0;
}

/* The address bits of the rule begin those of the client, family and all. */
static bool
matches(const struct app_prefix *p, const uint8_t client[static ADDR_KEY_LEN])
{
	uint8_t family = p->address.sa.sa_family == AF_INET ? 4 : 6;
	const uint8_t *rule = family == 4
	    ? (const uint8_t *)&p->address.in.sin_addr
	    : p->address.in6.sin6_addr.s6_addr;
	size_t bytes = p->bits / 8, rest = p->bits % 8;

	if (client[0] != family || memcmp(rule, client + 1, bytes) != 0)
		return false;
	return rest == 0 ||
	    (rule[bytes] ^ client[1 + bytes]) >> (8 - rest) == 0;
}

/* Bits of the longest rule that matches; -1: none does. */
static int
longest(const struct app_prefix *list, size_t count,
    const uint8_t client[static ADDR_KEY_LEN])
{
	int best = -1;

	for (size_t i = 0; i < count; i++) {
		if ((int)list[i].bits > best && matches(&list[i], client))
			best = (int)list[i].bits;
	}
	return best;
}

enum app_rule_action
app_firewall(const struct app *a, const struct addr *client)
{
	uint8_t key[ADDR_KEY_LEN];
	int allow, deny;

	if (a->allows == 0 && a->denies == 0)
		return APP_ALLOW;
	addr_prefix_key(key, client, 32, 128); /* unmaps; masks nothing */
	allow = longest(a->allow, a->allows, key);
	deny = longest(a->deny, a->denies, key);
	if (deny >= 0 && deny >= allow)
		return APP_DENY;
	if (a->allows > 0 && allow < 0)
		return APP_DENY;
	return APP_ALLOW;
}

bool
app_trusts(const struct app *a, const struct addr *peer)
{
	uint8_t key[ADDR_KEY_LEN];

	if (a->trusts == 0)
		return false;
	addr_prefix_key(key, peer, 32, 128);
	return longest(a->trust, a->trusts, key) >= 0;
}

bool
app_dns_same(const struct app *a, const struct app *b)
{
	return strcmp(a->dns.name, b->dns.name) == 0 &&
	    a->dns.type == b->dns.type && a->dns.ttl_s == b->dns.ttl_s &&
	    a->dns.port == b->dns.port;
}

bool
app_reaches(
    const struct app *a, const struct addr *client, const struct addr *origin)
{
	return !a->transparent || client->sa.sa_family == origin->sa.sa_family;
}

const char *
app_congestion(const struct app *a, const struct addr *ours)
{
	if (a->tcp.congestion[0] != '\0')
		return a->tcp.congestion;
	return addr_is_loopback(ours) ? "reno" : NULL;
}

bool
app_edge_is_wide(const struct app *a, const struct addr *edge)
{
	return addr_is_wildcard(edge) || a->edge_bits[edge - a->edge] > 0;
}

static bool
is_edge(const struct app *a, size_t i, const struct addr *host, bool local)
{
	const struct addr *edge = &a->edge[i];

	if (!app_edge_is_wide(a, edge))
		return addr_equal(edge, host);
	/* of a wildcard no bit counts, but the family does */
	return local && edge->sa.sa_family == host->sa.sa_family &&
	    addr_in_prefix(host, edge, a->edge_bits[i]);
}

const struct addr *
app_edge_at(
    const struct app *a, const struct addr *to, unsigned int ports, bool local)
{
	unsigned int first = addr_port(to), last = first + ports - 1;
	struct addr host = *to;

	if (last < a->port_first || first > a->port_last)
		return NULL;
	addr_set_port(&host, 0);
	for (size_t i = 0; i < a->edges; i++)
		if (is_edge(a, i, &host, local))
			return &a->edge[i];
	return NULL;
}
