/*
 * Why there is no verified reply, in plain words. Pure: from what the
 * attempts have seen.
 */
#ifndef ROUGHTIME_CLIENT_DIAGNOSE_H
#define ROUGHTIME_CLIENT_DIAGNOSE_H

#include "roughtime/client/attempt.h"

enum diagnosis {
	DIAGNOSIS_NONE = 0, /* nothing was asked */
	DIAGNOSIS_UNREACHABLE, /* no packet could leave, or no route */
	DIAGNOSIS_REFUSED, /* nobody listens */
	DIAGNOSIS_SILENT,
	DIAGNOSIS_CLOSED, /* TCP: taken, and ended without a reply */
	DIAGNOSIS_STALE, /* only replies to other requests */
	DIAGNOSIS_NOT_ROUGHTIME, /* bytes of some other protocol */
	DIAGNOSIS_WRONG_KEY,
	DIAGNOSIS_SIGNATURE,
	DIAGNOSIS_VERSION,
	DIAGNOSIS_INVALID, /* some other fault */
	DIAGNOSES
};
const char *diagnosis_str(enum diagnosis d); /* one word, for JSON */

/* True when a reply came, but none that holds: exit 3 instead of 2. */
bool diagnosis_is_invalid(enum diagnosis d);

#define DIAGNOSE_LEN 2048

/*
 * Looks at `n` attempts and writes one or more lines (each ending in a
 * newline) into `text`: what happened, what was tried, what it may mean.
 */
enum diagnosis diagnose(
    char text[static DIAGNOSE_LEN], const struct attempt_seen *seen, size_t n);

#endif
