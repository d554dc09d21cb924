/*
 * The requests that are under way on one flow: a fixed window of slots. The
 * nonce carries the slot and a generation, so a reply is matched without a
 * search, and a late one is told from its successor. Pure.
 */
#ifndef ROUGHTIME_CLIENT_SLOTS_H
#define ROUGHTIME_CLIENT_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

#define SLOTS_NONE UINT32_MAX

struct slot {
	uint64_t sent_ns;
	uint32_t generation;
	uint32_t older, newer; /* those under way, by time of sending */
	bool under_way;
};

struct slots {
	uint32_t window;
	size_t size; /* bytes of one request */
	size_t nonce_at; /* where the nonce is in it */
	uint8_t *packets; /* window * size, one for each slot */
	struct slot *slots;
	uint32_t *free; /* stack of free slots */
	uint32_t free_count;
	uint32_t oldest, newest;
	uint32_t generation;
};

/*
 * `request`: a finished packet, copied for each slot; the first eight bytes of
 * its nonce will be ours. False without memory or nonce.
 */
bool slots_init(struct slots *s, uint32_t window, struct view request);
void slots_free(struct slots *s);

/* Takes a free slot and writes its nonce; SLOTS_NONE when all are under way. */
uint32_t slots_take(struct slots *s, uint64_t now_ns);
uint8_t *slots_packet(const struct slots *s, uint32_t slot);

/* The slot that these first eight bytes of a nonce belong to, if it is still
 * under way; SLOTS_NONE: late, duplicate or foreign. */
uint32_t slots_match(const struct slots *s, const uint8_t nonce[static 8]);
/* The slot that waits longest, or SLOTS_NONE. */
uint32_t slots_oldest(const struct slots *s);
void slots_release(struct slots *s, uint32_t slot);

/* Gives up those sent before `before_ns`; returns how many. */
uint32_t slots_expire(struct slots *s, uint64_t before_ns);
uint32_t slots_under_way(const struct slots *s);

#endif
