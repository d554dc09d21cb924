/*
 * How an origin learns the client's address: PROXY protocol v1 and v2
 * (haproxy.org's proxy-protocol.txt) and Cloudflare's Simple Proxy Protocol
 * for UDP. Pure encoders and decoders.
 */
#ifndef PROXY_HEADER_H
#define PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "net/addr.h"
#include "net/sock.h"

#define HEADER_V1_MAX 107 /* bytes, CR LF included */
#define HEADER_V2_MAX 232 /* room for what we write, and for 16 + 216 (UNIX) */
/* Of a v2 header with its TLVs: it must fit a segment of the least MSS. */
#define HEADER_READ_MAX 536
#define HEADER_SPP_LEN 38

enum header_fault {
	HEADER_OK = 0,
	HEADER_MORE, /* a prefix of a good one: read more bytes */
	HEADER_ABSENT, /* does not begin like one */
	HEADER_V1_LINE, /* no CR LF within 107 bytes, or words missing */
	HEADER_V1_FAMILY,
	HEADER_V1_ADDRESS,
	HEADER_V1_PORT,
	HEADER_V2_VERSION,
	HEADER_V2_COMMAND,
	HEADER_V2_FAMILY,
	HEADER_V2_LENGTH, /* too short for its family, or over 536 with it */
	HEADER_SPP_MAGIC,
	HEADER_SPP_LENGTH,
	HEADER_FAULTS
};
const char *header_fault_str(enum header_fault fault);

struct header_ends {
	bool local; /* v1 UNKNOWN, v2 LOCAL or UNSPEC: no addresses */
	struct addr client; /* source */
	struct addr proxy; /* destination: the edge that was asked */
};

/* Writers return bytes. The two addresses may differ in family; then both are
 * written as IPv6 (v4-mapped), and as v4 when both are v4 or v4-mapped. */
size_t
header_v1(uint8_t out[static HEADER_V1_MAX], const struct header_ends *e);
size_t header_v2(uint8_t out[static HEADER_V2_MAX], enum sock_proto proto,
    const struct header_ends *e);
size_t
header_spp(uint8_t out[static HEADER_SPP_LEN], const struct header_ends *e);

/*
 * Readers: on HEADER_OK *used is the header's length and *e its addresses,
 * v4-mapped ones as the IPv4 that they mean. TLVs of v2 are skipped by length.
 * The Simple Proxy Protocol comes in datagrams: it never asks for more.
 */
enum header_fault
header_v1_read(struct view bytes, struct header_ends *e, size_t *used);
enum header_fault
header_v2_read(struct view bytes, struct header_ends *e, size_t *used);
/* Either of the two by its first bytes. */
enum header_fault
header_read(struct view bytes, struct header_ends *e, size_t *used);
enum header_fault
header_spp_read(struct view bytes, struct header_ends *e, size_t *used);

#endif
