/*
 * A client's checks of a reply (RFC 10049 section 5.4), every wire format.
 * Works on the received bytes, never on re-encoded ones. Pure.
 */
#ifndef ROUGHTIME_VERIFY_H
#define ROUGHTIME_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "roughtime/cert.h"
#include "roughtime/merkle.h"
#include "roughtime/version.h"

enum verify_fault {
	VERIFY_OK = 0,
	VERIFY_FRAME, /* framed differently from the request, or cut */
	VERIFY_MALFORMED, /* a map inside does not decode */
	VERIFY_TAG_MISSING,
	VERIFY_TAG_LENGTH,
	VERIFY_TYPE, /* TYPE is not 1 */
	VERIFY_VERSION_UNKNOWN,
	VERIFY_VERSION_NOT_OFFERED,
	VERIFY_VERSION_NOT_LISTED, /* VER is not in VERS */
	VERIFY_NONCE, /* not our nonce: stale, foreign or replayed */
	VERIFY_CERT_SIGNATURE, /* wrong long-term key, or forged */
	VERIFY_SIGNATURE, /* SREP not signed by the online key */
	VERIFY_PATH, /* PATH % node, > 32 nodes, or leftover INDX bits */
	VERIFY_ROOT, /* the path does not lead to ROOT */
	VERIFY_WINDOW, /* MIDP outside MINT…MAXT, or MINT > MAXT */
	VERIFY_RADIUS, /* RADI is 0 */
	VERIFY_REQUEST, /* the request itself is not one */
	VERIFY_FAULTS
};
const char *verify_fault_str(enum verify_fault fault); /* one word */
const char *verify_fault_explain(enum verify_fault fault); /* plain words */

struct verify_options {
	/*
	 * `rfc10049-capital-t`: a version 1 reply that fails with the contexts
	 * of RFC 10049 is checked again with those of the drafts (its own
	 * Appendix B needs it). The result says so.
	 */
	bool compat_capital_t;
	/*
	 * No long-term key is known: the signature of CERT is not checked and
	 * `public_key` is not read. Proves freshness, not who answered.
	 */
	bool any_key;
};

struct verify_result {
	const struct version *version;
	uint64_t midpoint_us; /* Unix */
	uint64_t radius_us;
	uint64_t earliest_us; /* midpoint - radius, saturated */
	uint64_t latest_us;
	uint64_t mint_us, maxt_us; /* saturated */
	uint32_t index;
	size_t path_nodes;
	bool capital_t; /* passed only by compat_capital_t */
	bool any_key; /* nobody was authenticated */
	enum merkle_order
	    order; /* path order that fitted (old versions vary) */
	uint32_t downgrade; /* VERS holds this number, which the request
	                              offered and is better; 0 none */
	struct view versions; /* VERS as sent, or {NULL, 0} */
};

/*
 * `public_key`: 32 bytes. `request`, `response`: whole packets as sent and
 * received. Fills `out` as far as it got, also on failure.
 */
enum verify_fault verify_response(struct verify_result *out,
    const uint8_t public_key[static CERT_PUBLIC_LEN], struct view request,
    struct view response, const struct verify_options *options);

/* The nonce that chains to `previous` (whole packet): H(previous || rand),
 * section 8.2; 64 bytes when `nonce_len` is 64 (SHA-512), else 32. */
void verify_chain_nonce(uint8_t *out, size_t nonce_len, struct view previous,
    const uint8_t rand[static 32]);

/* Section 8.2: i before j; true when MIDP_i - RADI_i <= MIDP_j + RADI_j. */
bool
verify_causal(const struct verify_result *i, const struct verify_result *j);

#endif
