/*
 * What a DNS reply says: addresses, or the targets of SRV records, and for how
 * long that is good. Pure: bytes in, values out; c-ares and libc's resolver
 * library do the parsing. Replies come from the network.
 */
#ifndef PROXY_DNSREPLY_H
#define PROXY_DNSREPLY_H

#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

enum dnsreply_kind { DNSREPLY_A = 0, DNSREPLY_AAAA, DNSREPLY_SRV };

#define DNSREPLY_ADDRESSES_MAX 256 /* of one reply; more are left out */
#define DNSREPLY_TARGETS_MAX 64
#define DNSREPLY_HOST_MAX 256

struct dnsreply_addresses {
	struct addr list[DNSREPLY_ADDRESSES_MAX]; /* port 0 */
	size_t count;
	uint32_t ttl_s; /* the smallest, aliases included */
};

/* RFC 2782 */
struct dnsreply_target {
	char host[DNSREPLY_HOST_MAX]; /* without the last dot */
	uint16_t priority, weight, port;
};

struct dnsreply_targets {
	/* by priority, then host and port; the target "." is left out, and so
	 * is port 0 */
	struct dnsreply_target list[DNSREPLY_TARGETS_MAX];
	size_t count;
	uint32_t ttl_s;
};

/*
 * The addresses of a reply to A or AAAA, CNAMEs followed. 0 (there may be
 * none), or -1 when it is no reply of that kind.
 */
int dnsreply_addresses(struct dnsreply_addresses *a, enum dnsreply_kind kind,
    const uint8_t *reply, size_t len);

/* The same for SRV. */
int
dnsreply_targets(struct dnsreply_targets *t, const uint8_t *reply, size_t len);

#endif
