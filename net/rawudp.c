#include "net/rawudp.h"

#include <arpa/inet.h>
#include <string.h>

/* The sum of 16-bit words in network order (RFC 1071), the last one filled up
 * with zero; more than 32 bits are folded at the end. */
static uint64_t
sum_words(uint64_t sum, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint32_t word;
	uint16_t half;

	for (; len >= sizeof word; at += sizeof word, len -= sizeof word) {
		memcpy(&word, at, sizeof word);
		sum += word;
	}
	if (len >= sizeof half) {
		memcpy(&half, at, sizeof half);
		sum += half;
		at += sizeof half;
		len -= sizeof half;
	}
	half = 0;
	memcpy(&half, at, len);
	return sum + half;
}

static uint16_t
fold(uint64_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint64_t
sum_address(uint64_t sum, const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return sum_words(sum, &a->in.sin_addr, sizeof a->in.sin_addr);
	return sum_words(sum, &a->in6.sin6_addr, sizeof a->in6.sin6_addr);
}

/* With the pseudo header of RFC 768 or RFC 8200, 8.1: over 16-bit words they
 * come to the same. */
static uint16_t
checksum(const struct dgram *g)
{
	uint64_t sum = htons(IPPROTO_UDP) + (uint64_t)htons((uint16_t)g->len);
	uint16_t result;

	sum = sum_address(sum_address(sum, &g->local), &g->peer);
	result = (uint16_t)~fold(sum_words(sum, g->data, g->len));
	return result == 0 ? 0xffff : result; /* 0 says that there is none */
}

void
rawudp_wrap(struct dgram *g)
{
	uint16_t header[RAWUDP_HEADER / 2] = {
		htons(addr_port(&g->local)),
		htons(addr_port(&g->peer)),
		htons((uint16_t)(g->len + RAWUDP_HEADER)),
	};

	g->data -= RAWUDP_HEADER;
	g->len += RAWUDP_HEADER;
	memcpy(g->data, header, sizeof header);
	header[3] = checksum(g);
	memcpy(g->data, header, sizeof header);
	addr_set_port(&g->peer, 0);
	g->raw = true;
}
