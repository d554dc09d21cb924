/*
 * Delegations: a long-term key vouches for an online key between MINT and
 * MAXT (RFC 10049 section 5.2.6). One certificate for each cert_kind. Pure.
 *
 *   CERT = { SIG(64), DELE = { PUBK(32), MINT(8), MAXT(8) } } = 152 bytes
 */
#ifndef ROUGHTIME_CERT_H
#define ROUGHTIME_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "keys/bundle.h"
#include "roughtime/version.h"

#define CERT_LEN 152
#define CERT_SEED_LEN 32
#define CERT_PUBLIC_LEN 32
#define CERT_SECRET_LEN 64 /* libsodium's seed || public */
#define CERT_SRV_LEN 32
#define CERT_SIG_LEN 64 /* every signature of the protocol */

const char *cert_kind_str(enum cert_kind kind); /* "rfc", "draft12" … */

struct delegation {
	uint8_t online_public[CERT_PUBLIC_LEN];
	uint64_t mint_s; /* Unix seconds, both inside the window */
	uint64_t maxt_s;
	uint8_t cert[CERT_KINDS][CERT_LEN];
};

/* Signs all kinds with the long-term secret key (64 bytes). */
void delegation_make(struct delegation *d,
    const uint8_t long_term_secret[static CERT_SECRET_LEN],
    const uint8_t online_public[static CERT_PUBLIC_LEN], uint64_t mint_s,
    uint64_t maxt_s);

/*
 * One raw certificate with wire times as they are, for tests and tools that
 * need exact bytes.
 */
void cert_make(enum cert_kind kind, uint8_t out[static CERT_LEN],
    const uint8_t long_term_secret[static CERT_SECRET_LEN],
    const uint8_t online_public[static CERT_PUBLIC_LEN], uint64_t mint_wire,
    uint64_t maxt_wire);

enum delegation_fault {
	DELEGATION_OK = 0,
	DELEGATION_KIND_UNKNOWN,
	DELEGATION_KIND_MISSING,
	DELEGATION_MALFORMED,
	DELEGATION_SIGNATURE, /* not signed by this long-term key */
	DELEGATION_KEY_MISMATCH, /* PUBK is not the online seed's */
	DELEGATION_TIMES_MISMATCH,
	DELEGATION_FAULTS
};
const char *delegation_fault_str(enum delegation_fault fault);

/* Checks every certificate of a bundle against its public key and window. */
enum delegation_fault
delegation_from_bundle(struct delegation *d, const struct bundle *b);
void delegation_to_bundle(struct bundle *b, const struct delegation *d,
    const uint8_t long_term_public[static CERT_PUBLIC_LEN],
    const uint8_t online_seed[static CERT_SEED_LEN]);

/* SRV = first 32 bytes of SHA-512(0xff || long-term public key), 5.1.4. */
void cert_srv(uint8_t srv[static CERT_SRV_LEN],
    const uint8_t long_term_public[static CERT_PUBLIC_LEN]);

#endif
