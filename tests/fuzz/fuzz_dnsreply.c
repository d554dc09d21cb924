/* DNS replies from any bytes; what is taken keeps its promises. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/dnsreply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
check_targets(const struct dnsreply_targets *t)
{
	if (t->count > DNSREPLY_TARGETS_MAX)
		abort();
	for (size_t i = 0; i < t->count; i++) {
		const struct dnsreply_target *one = &t->list[i];
		size_t host = strnlen(one->host, sizeof one->host);

		if (host == 0 || host == sizeof one->host || one->port == 0)
			abort();
		if (i > 0 && one[-1].priority > one->priority)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct dnsreply_addresses a;
	static struct dnsreply_targets t;

	for (int kind = DNSREPLY_A; kind <= DNSREPLY_AAAA; kind++) {
		if (dnsreply_addresses(
			&a, (enum dnsreply_kind)kind, data, len) != 0)
			continue;
		if (a.count > DNSREPLY_ADDRESSES_MAX)
			abort();
		for (size_t i = 0; i < a.count; i++)
			if (addr_len(&a.list[i]) == 0)
				abort();
	}
	if (dnsreply_targets(&t, data, len) == 0)
		check_targets(&t);
	return 0;
}
