/*
 * The keyholder: a process of its own, forked before anything else, that
 * reads the long-term seeds into locked memory and signs delegations for the
 * server over a socketpair. It has no network (its own empty network
 * namespace where it may, seccomp without socket() everywhere) and its only
 * answers are public keys and certificates.
 *
 * It ends when the server does. When it dies first, the server goes on until
 * its delegations end (they are renewed well before) and says so loudly;
 * restarting the whole service is the service manager's task: a new keyholder
 * would need the rights that the server has given up.
 */
#ifndef ROUGHTIME_KEYHOLDER_H
#define ROUGHTIME_KEYHOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "roughtime/cert.h"

#define KEYHOLDER_SLOTS 128

struct keyholder; /* opaque: the server's end */

struct keyholder_config {
	const char *user; /* to drop to; NULL: stay */
	uint64_t max_delegation_s; /* it refuses longer windows */

	/*
	 * Where keys may be read from, for its whole life: directories, or key
	 * files that stand for theirs. None: anywhere its user may read.
	 */
	const char *const *paths;
	size_t npaths;
	/* Its first line opens encrypted keys: mode 0600, read once, before
	 * rights are given up. NULL: only plain keys. */
	const char *passphrase_file;
};

/*
 * Forks the process and waits until it is ready. NULL after a log_error line.
 * Started as root it keeps the one right to read any file, so that a reload
 * finds the root-owned 0600 keys.
 */
struct keyholder *keyholder_start(const struct keyholder_config *c);
/* Asks it to end and waits for it (two seconds, then it is killed). */
void keyholder_stop(struct keyholder *h);
/* Its end of the socketpair: readable (EOF) when it died. */
int keyholder_fd(const struct keyholder *h);
/* Whether it did, when that is readable; an answer that came too late for its
 * question is thrown away. */
bool keyholder_ended(struct keyholder *h);

/*
 * Loads the key at `path` into slot `slot` (under KEYHOLDER_SLOTS), replacing
 * what was there only on success; public_key gets its public half. -1 with a
 * sentence in why. Waits 20 seconds at most (an encrypted key takes time by
 * design).
 */
int keyholder_load(struct keyholder *h, unsigned int slot, const char *path,
    uint8_t public_key[static CERT_PUBLIC_LEN], char *why, size_t len);

/* Wipes a slot; an empty one is no error. */
int
keyholder_forget(struct keyholder *h, unsigned int slot, char *why, size_t len);

/*
 * Signs `online_public` for [mint_s, maxt_s] with slot's key: all kinds. -1
 * with a sentence in why: an empty slot, a window that is longer than
 * max_delegation_s, has ended or reaches further than that into the future by
 * its own clock, or no answer within 5 seconds (then, for the next 10 or until
 * keyholder_ended has seen an answer, every question fails at once).
 */
int keyholder_delegate(struct keyholder *h, unsigned int slot,
    const uint8_t online_public[static CERT_PUBLIC_LEN], uint64_t mint_s,
    uint64_t maxt_s, struct delegation *out, char *why, size_t len);

#endif
