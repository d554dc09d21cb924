/*
 * The keyholder: a process of its own, forked before anything else, that
 * reads the long-term seeds into locked memory and signs delegations for the
 * server over a socketpair. It has no network (its own empty network
 * namespace where it may, seccomp without socket() everywhere) and its only
 * answers are public keys and certificates.
 */
#ifndef ROUGHTIME_KEYHOLDER_H
#define ROUGHTIME_KEYHOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "roughtime/cert.h"

struct keyholder; /* opaque: the server's end */

struct keyholder_config {
	const char *user; /* to drop to; NULL: stay */
	uint64_t max_delegation_s; /* it refuses longer windows */
};

/* Forks the process. NULL after a log_error line. */
struct keyholder *keyholder_start(const struct keyholder_config *c);
/* Asks it to end and waits for it (bounded). */
void keyholder_stop(struct keyholder *h);
/* Its end of the socketpair: readable (EOF) when it died. */
int keyholder_fd(const struct keyholder *h);

/*
 * Loads the key at `path` into slot `slot` (0…63), replacing what was there
 * only on success; public_key gets its public half. -1 with a sentence in why.
 */
int keyholder_load(struct keyholder *h, unsigned int slot, const char *path,
    uint8_t public_key[static CERT_PUBLIC_LEN], char *why, size_t len);

/* Signs `online_public` for [mint_s, maxt_s] with slot's key: all kinds. */
int keyholder_delegate(struct keyholder *h, unsigned int slot,
    const uint8_t online_public[static CERT_PUBLIC_LEN], uint64_t mint_s,
    uint64_t maxt_s, struct delegation *out, char *why, size_t len);

#endif
