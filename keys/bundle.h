/*
 * A delegation bundle: one online key with its certificates of every
 * (context, time unit), signed in advance by a long-term key that stays
 * elsewhere. Text, mode 0600 (it holds the online seed).
 *
 *   timeshare-delegation 1
 *   public: <base64>          the long-term key
 *   seed: <base64>            the online key
 *   not-before: <Unix s>      = MINT
 *   not-after: <Unix s>       = MAXT
 *   cert-<kind>: <base64>     one line for each kind in roughtime/cert.h
 *
 * Here a certificate is a named run of bytes; delegation_from_bundle() of
 * roughtime/cert.h checks what is in it.
 */
#ifndef KEYS_BUNDLE_H
#define KEYS_BUNDLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#define BUNDLE_TEXT_MAX 4096
#define BUNDLE_CERT_LEN 152
#define BUNDLE_CERTS_MAX 8
#define BUNDLE_KIND_LEN 16

enum bundle_fault {
	BUNDLE_OK = 0,
	BUNDLE_NOT_A_BUNDLE,
	BUNDLE_TOO_LONG,
	BUNDLE_UNKNOWN_LINE,
	BUNDLE_REPEATED_LINE,
	BUNDLE_MISSING_LINE,
	BUNDLE_BAD_BASE64,
	BUNDLE_BAD_NUMBER,
	BUNDLE_BAD_WINDOW, /* not-after <= not-before */
	BUNDLE_FAULTS
};
const char *bundle_fault_str(enum bundle_fault fault);

struct bundle_cert {
	char kind[BUNDLE_KIND_LEN];
	uint8_t bytes[BUNDLE_CERT_LEN];
};

struct bundle {
	uint8_t public_key[32];
	uint8_t online_seed[32];
	uint64_t not_before_s; /* Unix */
	uint64_t not_after_s;
	size_t count;
	struct bundle_cert certs[BUNDLE_CERTS_MAX];
};

/* Pure; `b` lives in locked memory at the caller, zeroed after a fault. */
enum bundle_fault bundle_parse(struct bundle *b, struct view text);

/* Makes the text; returns bytes (a NUL follows), 0 when it does not fit. */
size_t bundle_format(char *out, size_t cap, const struct bundle *b);

/* file_read_secret and bundle_parse; 0, or -1 with a sentence in `why`. */
int bundle_load(struct bundle *b, const char *path, char *why, size_t len);

#endif
