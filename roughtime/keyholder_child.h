/*
 * The keyholder's own side, and the fixed-size messages between the two. One
 * question, one answer with the same sequence number; nothing is queued.
 */
#ifndef ROUGHTIME_KEYHOLDER_CHILD_H
#define ROUGHTIME_KEYHOLDER_CHILD_H

#include <limits.h>
#include <stdint.h>

#include "base/file.h"
#include "roughtime/cert.h"
#include "roughtime/keyholder.h"

enum keyholder_verb {
	KEYHOLDER_READY = 0, /* answer only: the first, unasked */
	KEYHOLDER_LOAD,
	KEYHOLDER_FORGET,
	KEYHOLDER_DELEGATE,
};

struct keyholder_ask {
	uint32_t sequence;
	uint32_t verb;
	uint32_t slot;
	uint32_t zero;
	uint64_t mint_s;
	uint64_t maxt_s;
	uint8_t online_public[CERT_PUBLIC_LEN];
	char path[PATH_MAX];
};

struct keyholder_answer {
	uint32_t sequence;
	uint32_t failed; /* not 0: `why` says it, the rest is zero */
	char why[FILE_WHY_LEN];
	uint8_t public_key[CERT_PUBLIC_LEN];
	struct delegation delegation;
};

/* Gives up rights, answers on `fd` until the other end closes; the exit
 * status of the process. */
int keyholder_serve(int fd, const struct keyholder_config *c);

#endif
