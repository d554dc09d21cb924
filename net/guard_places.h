/*
 * Addresses of others that lie within ours: what comes to them by us has gone
 * astray. A list that is made once and read by many.
 */
#ifndef NET_GUARD_PLACES_H
#define NET_GUARD_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/guard_message.h"

#define GUARD_PLACES_MAX 256
#define GUARD_PLACE_KEY_LEN (ADDR_KEY_LEN + 3)

struct guard_places {
	size_t count;
	uint8_t keys[][GUARD_PLACE_KEY_LEN]; /* in order */
};

/* Room for `count`, malloc; NULL with errno. */
struct guard_places *guard_places_new(size_t count);
/* In any order; guard_places_sort() before the first question. */
void guard_places_add(struct guard_places *p, const struct guard_place *place);
void guard_places_sort(struct guard_places *p);

/* IPv4 within IPv6 is IPv4; `a` with the port. */
bool guard_places_has(
    const struct guard_places *p, enum sock_proto proto, const struct addr *a);

#endif
