#include "portshare/aftermath.h"

/* Where the newcomer and the others may meet. */
static struct addr
disputed(const struct portlook *l, const struct portrules_socket *newer)
{
	struct addr a = newer->local;

	for (size_t i = 0; addr_is_wildcard(&a) && i < l->n; i++)
		if (portrules_overlap(&l->sockets[i], newer) &&
		    l->found[i].state != PORTRULES_CONNECTED)
			a = l->found[i].local;
	return a;
}

static const char *
say(const struct portrules_delivery *d, bool gets)
{
	if (!gets)
		return "packets to the address in dispute stay with the older "
		       "socket";
	if (d->split)
		return "packets are split by hash between it and the others "
		       "of its group";
	if (d->tie == PORTRULES_NEWEST || d->tie == PORTRULES_GROUP_FIRST)
		return "it would TAKE every packet of the older socket";
	return NULL;
}

const char *
aftermath_of(struct portlook *l, const struct portrules_socket *newer)
{
	struct portrules_packet k = {
		.proto = newer->proto,
		.device = newer->device,
		.to = disputed(l, newer),
		.chosen = PORTRULES_NOBODY,
	};
	struct portrules_delivery d;
	size_t before = l->n, self = portlook_add(l, newer);

	if (before == 0 || self == PORTRULES_NOBODY)
		return NULL;
	k.from = k.to;
	d = portrules_deliver(&l->rules, &k);
	if (d.level == PORTRULES_UNHEARD)
		return NULL;
	return say(&d, portrules_receives(&l->rules, &k, &d, self));
}
