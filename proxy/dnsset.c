#include "proxy/dnsset.h"

#include <stdlib.h>
#include <string.h>

/* Divides by how many share a weight, for up to 8 of them and most others. */
#define SCALE 840u

/* ---- origins ---- */

static int
compare(const void *one, const void *other)
{
	const struct dnsset_record *a = one, *b = other;
	uint8_t key[2][ADDR_KEY_LEN];
	int order;

	addr_prefix_key(key[0], &a->address, 32, 128);
	addr_prefix_key(key[1], &b->address, 32, 128);
	order = memcmp(key[0], key[1], ADDR_KEY_LEN);
	if (order != 0)
		return order;
	return (int)addr_port(&a->address) - (int)addr_port(&b->address);
}

/* How many addresses the SRV record of `r` has. */
static size_t
sharers(const struct dnsset_record *r, const struct dnsset_record *records,
    size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += records[i].srv == r->srv;
	return r->srv == 0 ? 1 : count;
}

/* RFC 2782: a weight of 0 has a very small chance beside others. */
static unsigned int
weight(const struct dnsset_record *r, const struct dnsset_record *records,
    size_t n)
{
	size_t w = (size_t)r->weight * SCALE / sharers(r, records, n);

	return w > 0 ? (unsigned int)w : 1;
}

static unsigned int
common_divisor(unsigned int a, unsigned int b)
{
	while (b != 0) {
		unsigned int rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static void
reduce(struct app_origin *list, size_t n)
{
	unsigned int by = 0;

	for (size_t i = 0; i < n; i++)
		by = common_divisor(list[i].weight, by);
	for (size_t i = 0; i < n; i++)
		list[i].weight /= by;
}

size_t
dnsset_origins(
    struct app_origin *out, size_t max, struct dnsset_record *records, size_t n)
{
	size_t count = 0;

	if (n > 1)
		qsort(records, n, sizeof *records, compare);
	for (size_t i = 0; i < n; i++) {
		unsigned int w = weight(&records[i], records, n);

		if (i > 0 && compare(&records[i - 1], &records[i]) == 0) {
			/* two hosts of SRV records at one address */
			if (count > 0 && records[i].srv != 0)
				out[count - 1].weight += w;
			continue;
		}
		if (count == max)
			break;
		out[count++] =
		    (struct app_origin){ .address = records[i].address,
			    .weight = w };
	}
	reduce(out, count);
	return count;
}

bool
dnsset_same(
    const struct app_origin *a, size_t n, const struct app_origin *b, size_t m)
{
	for (size_t i = 0; i < n && n == m; i++) {
		if (a[i].weight != b[i].weight ||
		    !addr_equal(&a[i].address, &b[i].address))
			return false;
	}
	return n == m;
}

/* ---- when to look again ---- */

uint32_t
dnsset_again_ms(uint32_t ttl_s, uint32_t wanted_s)
{
	uint32_t s = wanted_s > 0 ? wanted_s : ttl_s;

	if (s < DNSSET_AGAIN_MIN_S)
		s = DNSSET_AGAIN_MIN_S;
	if (s > DNSSET_AGAIN_MAX_S)
		s = DNSSET_AGAIN_MAX_S;
	return s * 1000;
}

uint32_t
dnsset_retry_ms(unsigned int failures, uint32_t random)
{
	uint32_t ms = 1000;

	while (failures-- > 1 && ms < DNSSET_RETRY_MAX_MS)
		ms *= 2;
	if (ms > DNSSET_RETRY_MAX_MS)
		ms = DNSSET_RETRY_MAX_MS;
	return ms - random % (ms / 4 + 1);
}
