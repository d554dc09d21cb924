#include "net/guard_places.h"

#include <stdlib.h>
#include <string.h>

static void
make_key(uint8_t key[static GUARD_PLACE_KEY_LEN], enum sock_proto proto,
    const struct addr *a)
{
	uint16_t port = addr_port(a);

	key[0] = (uint8_t)proto;
	key[1] = (uint8_t)(port >> 8);
	key[2] = (uint8_t)port;
	addr_prefix_key(key + 3, a, 32, 128);
}

static int
compare(const void *a, const void *b)
{
	return memcmp(a, b, GUARD_PLACE_KEY_LEN);
}

struct guard_places *
guard_places_new(size_t count)
{
	struct guard_places *p =
	    calloc(1, sizeof *p + count * GUARD_PLACE_KEY_LEN);

	return p;
}

void
guard_places_add(struct guard_places *p, const struct guard_place *place)
{
	make_key(p->keys[p->count++], place->proto, &place->address);
}

void
guard_places_sort(struct guard_places *p)
{
	qsort(p->keys, p->count, GUARD_PLACE_KEY_LEN, compare);
}

bool
guard_places_has(
    const struct guard_places *p, enum sock_proto proto, const struct addr *a)
{
	uint8_t key[GUARD_PLACE_KEY_LEN];

	make_key(key, proto, a);
	return bsearch(key, p->keys, p->count, sizeof key, compare) != NULL;
}
