/* `portshare who`: which live socket gets a datagram, or a connection. */
#include "portshare/who_probe.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

#include "base/log.h"
#include "portshare/command.h"

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
make_packet(struct who *w)
{
	const struct place *p = w->place;
	struct portrules_packet *k = &w->packet;

	k->proto = p->proto;
	k->to = p->address;
	k->device = p->device != 0 ? p->device : device_of(&p->address);
	k->chosen = PORTRULES_NOBODY;
	/* of nobody in particular: no socket is connected to port 0 */
	k->from = p->from.sa.sa_family != 0 ? p->from : p->address;
	if (p->from.sa.sa_family == 0)
		addr_set_port(&k->from, 0);
}

/* The programs are asked unless a connected socket comes first. */
static int
look_at_programs(struct who *w)
{
	int n;

	chosen_look(&w->chosen, w->place->proto, &w->place->address);
	if (w->delivery.level == PORTRULES_FOUR_TUPLE)
		return 0;
	w->decider = chosen_decider(&w->chosen);
	if (w->decider == NULL || w->decider->n == 0)
		return 0;
	n = portscan_cookies(
	    w->place->proto, w->decider->cookies, w->decider->n, w->named);
	if (n < 0)
		return -1;
	w->named_n = (size_t)n;
	return 0;
}

int
who_ask(struct who *w, const struct place *p)
{
	w->place = p;
	w->decider = NULL;
	w->named_n = 0;
	make_packet(w);
	/* whose flow it is, only both ends can tell */
	w->taken = p->proto == SOCK_UDP && p->from.sa.sa_family != 0 &&
	    fastpath_find(&p->from, &p->address, &w->taker);
	w->delivery = portrules_deliver(&w->look.rules, &w->packet);
	return look_at_programs(w);
}

int
who_look(struct who *w, const struct place *p)
{
	memset(w, 0, sizeof *w);
	if (portlook_scan(&w->look, p->proto, addr_port(&p->address)) < 0)
		return -1;
	return who_ask(w, p);
}

void
who_free(struct who *w)
{
	portlook_free(&w->look);
}

static bool
is_named(const struct who *w, const struct portscan_socket *s)
{
	for (size_t i = 0; i < w->decider->n; i++)
		if (w->decider->cookies[i] == s->cookie)
			return true;
	return false;
}

bool
who_receives(const struct who *w, size_t i)
{
	if (w->decider != NULL)
		return is_named(w, &w->look.found[i]);
	return portrules_receives(&w->look.rules, &w->packet, &w->delivery, i);
}

bool
who_is_heard(const struct who *w)
{
	return w->decider != NULL ? w->named_n > 0
				  : w->delivery.winner != PORTRULES_NOBODY;
}

enum portrules_level
who_level(const struct who *w)
{
	return w->decider != NULL ? PORTRULES_SK_LOOKUP : w->delivery.level;
}

enum portrules_tie
who_tie(const struct who *w)
{
	if (w->decider == NULL)
		return w->delivery.tie;
	return w->named_n > 1 ? PORTRULES_GROUP : PORTRULES_ONLY;
}

/* What was found out, told; the status. */
static int
answer(struct who *w)
{
	static struct who_probe probe;
	const struct place *p = w->place;
	bool probed = false;

	chosen_owners(&w->chosen);
	if (p->probe) {
		probed = who_probe_run(&probe, w) == 0;
		if (!probed)
			log_error(
			    "no probe could be sent: %s", strerror(errno));
	}
	(p->json ? who_tell_json : who_tell)(w, probed ? &probe : NULL);
	if (p->probe && !probed)
		return COMMAND_FAILED;
	if (probed && probe.verdict == WHO_PROBE_DIFFERS)
		return COMMAND_NO;
	return w->taken || who_is_heard(w) ? COMMAND_GOOD : COMMAND_NO;
}

int
who_command(int argc, char **argv)
{
	static struct who w;
	struct place p;
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
	if (p.probe && p.from.sa.sa_family != 0)
		return command_usage("a probe comes from a port of the "
				     "kernel's choice: no --from with --probe",
		    "");
	if (who_look(&w, &p) < 0) {
		log_error("the sockets of this host cannot be seen: %s",
		    strerror(errno));
		status = COMMAND_FAILED;
	} else {
		status = answer(&w);
	}
	who_free(&w);
	return status;
}
