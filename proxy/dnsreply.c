#include "proxy/dnsreply.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define TTL_MAX 0x7fffffff /* RFC 2181, section 8: above it means 0 */

static void
take_ttl(uint32_t *least, uint32_t ttl_s)
{
	if (ttl_s > TTL_MAX)
		ttl_s = 0;
	if (ttl_s < *least)
		*least = ttl_s;
}

/* ---- addresses ---- */

static int
read_four(struct dnsreply_addresses *a, const uint8_t *reply, int len)
{
	struct ares_addrttl list[DNSREPLY_ADDRESSES_MAX];
	int n = DNSREPLY_ADDRESSES_MAX;
	int result = ares_parse_a_reply(reply, len, NULL, list, &n);

	if (result != ARES_SUCCESS)
		return result == ARES_ENODATA ? 0 : -1;
	for (int i = 0; i < n; i++) {
		struct addr *to = &a->list[a->count++];

		to->in = (struct sockaddr_in){ .sin_family = AF_INET,
			.sin_addr = list[i].ipaddr };
		take_ttl(&a->ttl_s, (uint32_t)list[i].ttl);
	}
	return 0;
}

static int
read_six(struct dnsreply_addresses *a, const uint8_t *reply, int len)
{
	struct ares_addr6ttl list[DNSREPLY_ADDRESSES_MAX];
	int n = DNSREPLY_ADDRESSES_MAX;
	int result = ares_parse_aaaa_reply(reply, len, NULL, list, &n);

	if (result != ARES_SUCCESS)
		return result == ARES_ENODATA ? 0 : -1;
	for (int i = 0; i < n; i++) {
		struct addr *to = &a->list[a->count++];

		to->in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6 };
		memcpy(&to->in6.sin6_addr, &list[i].ip6addr,
		    sizeof to->in6.sin6_addr);
		take_ttl(&a->ttl_s, (uint32_t)list[i].ttl);
	}
	return 0;
}

/* c-ares takes an int; a message of the DNS has at most 65535 bytes. */
static bool
has_length(size_t len)
{
	return len > 0 && len <= UINT16_MAX;
}

int
dnsreply_addresses(struct dnsreply_addresses *a, enum dnsreply_kind kind,
    const uint8_t *reply, size_t len)
{
	a->count = 0;
	a->ttl_s = UINT32_MAX;
	if (!has_length(len))
		return -1;
	return kind == DNSREPLY_A ? read_four(a, reply, (int)len)
				  : read_six(a, reply, (int)len);
}

/* ---- targets ---- */

/* c-ares gives no TTL with SRV records: the smallest of the answer's. */
static int
read_ttl(uint32_t *ttl_s, const uint8_t *reply, int len)
{
	ns_msg message;
	ns_rr record;

	if (ns_initparse(reply, len, &message) != 0)
		return -1;
	for (int i = 0; i < ns_msg_count(message, ns_s_an); i++) {
		if (ns_parserr(&message, ns_s_an, i, &record) != 0)
			return -1;
		take_ttl(ttl_s, ns_rr_ttl(record));
	}
	return 0;
}

/* "." means that the service is not there (RFC 2782). */
static bool
is_usable(const struct ares_srv_reply *r)
{
	size_t len = strlen(r->host);

	return len > 0 && len < DNSREPLY_HOST_MAX && r->port != 0 &&
	    strcmp(r->host, ".") != 0;
}

static int
compare(const void *one, const void *other)
{
	const struct dnsreply_target *a = one, *b = other;
	int names = strcmp(a->host, b->host);

	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	return names != 0 ? names : (int)a->port - (int)b->port;
}

static void
take_targets(struct dnsreply_targets *t, const struct ares_srv_reply *r)
{
	for (; r != NULL && t->count < DNSREPLY_TARGETS_MAX; r = r->next) {
		struct dnsreply_target *to = &t->list[t->count];

		if (!is_usable(r))
			continue;
		memcpy(to->host, r->host, strlen(r->host) + 1);
		to->priority = r->priority;
		to->weight = r->weight;
		to->port = r->port;
		t->count++;
	}
	qsort(t->list, t->count, sizeof t->list[0], compare);
}

int
dnsreply_targets(struct dnsreply_targets *t, const uint8_t *reply, size_t len)
{
	struct ares_srv_reply *records = NULL;
	int result;

	t->count = 0;
	t->ttl_s = UINT32_MAX;
	if (!has_length(len))
		return -1;
	result = ares_parse_srv_reply(reply, (int)len, &records);
	if (result != ARES_SUCCESS)
		return result == ARES_ENODATA ? 0 : -1;
	take_targets(t, records);
	ares_free_data(records);
	return read_ttl(&t->ttl_s, reply, (int)len);
}
