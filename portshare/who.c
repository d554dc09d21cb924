/* `portshare who`: which live socket gets a datagram, or a connection. */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "net/chooser.h"
#include "portshare/command.h"
#include "portshare/place.h"

struct answer {
	const struct place *place;
	struct portlook look;
	struct portrules_packet packet;
	struct portrules_delivery delivery;
	int programs; /* sk_lookup, -1: we may not know */
};

/*
 * By which device: a packet from this host counts as come in by the device
 * that has the address; so does most of what comes from outside.
 */
static unsigned int
device_of(const struct addr *a)
{
	struct addr host = *a, mine;
	unsigned int index = 0;
	struct ifaddrs *list;

	addr_set_port(&host, 0);
	if (getifaddrs(&list) != 0)
		return 0;
	for (struct ifaddrs *i = list; i != NULL && index == 0;
	     i = i->ifa_next) {
		if (i->ifa_addr == NULL ||
		    i->ifa_addr->sa_family != a->sa.sa_family)
			continue;
		memset(&mine, 0, sizeof mine);
		mine.sa.sa_family = a->sa.sa_family;
		memcpy(&mine, i->ifa_addr, addr_len(&mine));
		if (addr_equal(&mine, &host))
			index = if_nametoindex(i->ifa_name);
	}
	freeifaddrs(list);
	return index != 0 ? index : if_nametoindex("lo");
}

static void
make_packet(struct answer *a)
{
	const struct place *p = a->place;
	struct portrules_packet *k = &a->packet;

	k->proto = p->proto;
	k->to = p->address;
	k->device = p->device != 0 ? p->device : device_of(&p->address);
	k->chosen = PORTRULES_NOBODY;
	/* of nobody in particular: no socket is connected to port 0 */
	k->from = p->from.sa.sa_family != 0 ? p->from : p->address;
	if (p->from.sa.sa_family == 0)
		addr_set_port(&k->from, 0);
}

static int
look(struct answer *a)
{
	if (portlook_scan(
		&a->look, a->place->proto, addr_port(&a->place->address)) < 0)
		return -1;
	make_packet(a);
	a->delivery = portrules_deliver(&a->look.rules, &a->packet);
	a->programs = chooser_count();
	return 0;
}

static bool
is_winner(const struct answer *a, size_t i)
{
	return portrules_receives(&a->look.rules, &a->packet, &a->delivery, i);
}

static void
tell_warnings(const struct answer *a)
{
	if (a->programs > 0 && a->delivery.level != PORTRULES_FOUR_TUPLE)
		printf("  beware:  %d sk_lookup program%s choose%s before rule "
		       "3; which socket cannot be told from outside\n",
		    a->programs, a->programs == 1 ? "" : "s",
		    a->programs == 1 ? "s" : "");
	if (a->programs < 0)
		printf("  unsure:  whether an sk_lookup program chooses is for "
		       "root to see\n");
	if (a->look.blind > 0)
		printf("  unsure:  flags of %zu socket%s are not visible to us "
		       "and taken as none\n",
		    a->look.blind, a->look.blind == 1 ? "" : "s");
	if (a->look.total > a->look.n)
		printf("  note:    %zu sockets on the port, %zu looked at\n",
		    a->look.total, a->look.n);
}

static void
tell(const struct answer *a)
{
	const struct portrules_delivery *d = &a->delivery;
	char name[128], owner[512];
	size_t n = 0;

	place_name(name, sizeof name, a->place->proto, &a->place->address);
	if (d->winner == PORTRULES_NOBODY)
		printf("%s: nobody\n", name);
	else
		printf("%s goes to\n", name);
	for (size_t i = 0; i < a->look.n; i++)
		if (is_winner(a, i))
			printf("  %s\n",
			    place_owner(
				owner, sizeof owner, &a->look.found[i]));
	printf("  %s", portrules_level_say(d->level));
	if (d->winner != PORTRULES_NOBODY && d->tie != PORTRULES_ONLY)
		printf("; %s", portrules_tie_say(d->tie));
	putchar('\n');
	for (size_t i = 0; i < a->look.n; i++)
		if (!is_winner(a, i) && n++ < 8)
			printf("  not:     %s\n",
			    place_owner(
				owner, sizeof owner, &a->look.found[i]));
	tell_warnings(a);
}

static void
tell_json(const struct answer *a)
{
	const struct portrules_delivery *d = &a->delivery;
	json_t *winners = json_array(), *others = json_array(), *o;
	char address[ADDR_STR_LEN];

	for (size_t i = 0; i < a->look.n; i++)
		json_array_append_new(is_winner(a, i) ? winners : others,
		    place_owner_json(&a->look.found[i]));
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:i}",
	    "protocol", place_proto_str(a->place->proto), "address",
	    addr_format(address, &a->place->address), "level",
	    portrules_level_str(d->level), "tie", portrules_tie_str(d->tie),
	    "rule", portrules_level_say(d->level), "split", d->split,
	    "receivers", winners, "others", others, "flags_unseen",
	    (int)a->look.blind);
	json_object_set_new(o, "sk_lookup_programs",
	    a->programs < 0 ? json_null() : json_integer(a->programs));
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
}

int
who_command(int argc, char **argv)
{
	struct place p;
	struct answer a = { .place = &p };
	int status = place_parse(&p, false, argc, argv);

	if (status != COMMAND_GOOD)
		return status;
	if (p.help) {
		command_help();
		return COMMAND_GOOD;
	}
	if (addr_is_wildcard(&p.address))
		return command_usage("a packet goes to one address, not to a "
				     "wildcard",
		    "");
	if (look(&a) < 0) {
		log_error("the sockets of this host cannot be seen: %s",
		    strerror(errno));
		status = COMMAND_FAILED;
	} else {
		(p.json ? tell_json : tell)(&a);
		status = a.delivery.winner != PORTRULES_NOBODY ? COMMAND_GOOD
							       : COMMAND_NO;
	}
	portlook_free(&a.look);
	return status;
}
