/*
 * Grease (RFC 10049 section 7): spoils a finished reply so that clients keep
 * checking. Never a wrong time under a valid signature. Pure: the caller
 * brings the random word.
 */
#ifndef ROUGHTIME_GREASE_H
#define ROUGHTIME_GREASE_H

#include <stddef.h>
#include <stdint.h>

enum grease_kind {
	GREASE_NONE = 0,
	GREASE_MISSING_TAG, /* a mandatory tag is left out */
	GREASE_WRONG_VERSION, /* VER that was not offered, signature broken by it */
	GREASE_UNDEFINED_TAG, /* one tag more; still valid: clients must ignore it */
	GREASE_WRONG_TIME, /* MIDP changed and SIG broken */
	GREASE_KINDS
};
const char *grease_kind_str(enum grease_kind kind);

/*
 * Changes the framed or bare reply of *len bytes in place (`cap` bytes of
 * room, never longer than `max`); `random` chooses kind and place. Returns
 * what was done (GREASE_NONE when the reply cannot be changed within max).
 */
enum grease_kind grease_apply(
    uint8_t *reply, size_t *len, size_t cap, size_t max, uint64_t random);

#endif
