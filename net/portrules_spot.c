/* Addresses as binds see them. */
#include "net/portrules.h"

#include <string.h>

#include "net/portrules_inner.h"

#ifdef PORTRULES_MUTATE
int portrules_spoiled;
#endif

void
portrules_spot(struct portrules_spot *spot, const struct addr *a, bool v6only)
{
	static const uint8_t zero[16];
	const uint8_t *six = a->in6.sin6_addr.s6_addr;

	memset(spot, 0, sizeof *spot);
	spot->family = a->sa.sa_family;
	if (spot->family == AF_INET) {
		spot->four = true;
		memcpy(spot->bytes, &a->in.sin_addr, 4);
	} else if (RULE(MAPPED_IS_FOUR,
		       IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))) {
		spot->four = true;
		memcpy(spot->bytes, six + 12, 4);
	} else {
		memcpy(spot->bytes, six, 16);
	}
	spot->any = memcmp(spot->bytes, zero, 16) == 0;
	spot->dual = spot->any && !spot->four && !v6only;
}

bool
portrules_same_spot(
    const struct portrules_spot *a, const struct portrules_spot *b)
{
	return a->four == b->four && memcmp(a->bytes, b->bytes, 16) == 0;
}

bool
portrules_spots_meet(
    const struct portrules_spot *a, const struct portrules_spot *b)
{
	if (portrules_same_spot(a, b))
		return true;
	if (a->four == b->four)
		return RULE(WILDCARD_MEETS, a->any || b->any);
	return RULE(DUAL_MEETS, a->four ? b->dual : a->dual);
}

void
portrules_spot_of(struct portrules_spot *spot, const struct portrules_socket *s)
{
	portrules_spot(spot, &s->local, s->v6only);
}

bool
portrules_overlap(
    const struct portrules_socket *a, const struct portrules_socket *b)
{
	struct portrules_spot x, y;

	portrules_spot_of(&x, a);
	portrules_spot_of(&y, b);
	return RULE(ADDRESSES_MEET, portrules_spots_meet(&x, &y));
}
