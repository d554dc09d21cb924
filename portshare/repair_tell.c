/* What `portshare repair` says. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "portshare/place.h"
#include "portshare/repair.h"

static const char *
newcomers_flags(const struct repair_plan *p)
{
	if (p->proto == SOCK_UDP)
		return "SO_REUSEADDR";
	return p->newer.reuseaddr ? "SO_REUSEPORT and SO_REUSEADDR"
				  : "SO_REUSEPORT";
}

/* What nobody can do for the newcomer: both sides must carry the flag. */
static void
tell_duties(FILE *to, const struct repair_plan *p)
{
	fprintf(to, "  newcomer: must itself set %s before its bind",
	    newcomers_flags(p));
	if (p->proto == SOCK_TCP)
		fprintf(to,
		    ", on a socket that uid %u created (as it is: setpriv "
		    "--reuid=%u --clear-groups PROGRAM)",
		    p->newer.uid, p->newer.uid);
	putc('\n', to);
	if (p->then != NULL)
		fprintf(to, "  then:     %s\n", p->then);
}

static void
tell_holders(FILE *to, const struct repair_plan *p, const char *what)
{
	char owner[512];

	for (size_t i = 0; i < p->n; i++)
		fprintf(to, "  holder:   %s: %s %s\n",
		    place_owner(
			owner, sizeof owner, &p->look.found[p->needs[i]]),
		    sockflag_str(p->flag), what);
}

static void
tell_useless(FILE *to, const struct repair_plan *p)
{
	char owner[512];

	if (p->verdict.other < p->look.n)
		fprintf(to, "  holder:   %s\n",
		    place_owner(
			owner, sizeof owner, &p->look.found[p->verdict.other]));
	fprintf(to, "  why:      %s\n  fix:      %s\n",
	    portrules_rule_say(p->verdict.rule),
	    portrules_fix_say(p->verdict.fix));
}

static void
tell_hidden(FILE *to, const struct repair_plan *p)
{
	char owner[512];

	fprintf(to, "  holder:   %s\n",
	    place_owner(owner, sizeof owner, &p->look.found[p->hidden]));
	fprintf(to,
	    "  why:      its descriptor is for root to take: run this as "
	    "root, in the holder's PID namespace\n");
}

void
repair_tell_plan(
    FILE *to, const struct repair_wish *w, const struct repair *r, bool done)
{
	static const char *const words[] = {
		[REPAIR_PLAN_FREE] = "nobody is in the way, nothing is opened",
		[REPAIR_PLAN_OPEN] = "opened",
		[REPAIR_PLAN_USELESS] = "no flag of the holder's would help",
		[REPAIR_PLAN_HIDDEN] = "not to be opened by this user",
	};
	const struct repair_plan *p = &r->plan;
	char name[128];

	place_name(name, sizeof name, p->proto, &w->address);
	if (p->kind == REPAIR_PLAN_OPEN && !done)
		fprintf(to, "%s: would be opened\n", name);
	else
		fprintf(to, "%s: %s\n", name, words[p->kind]);
	if (p->kind == REPAIR_PLAN_USELESS)
		tell_useless(to, p);
	else if (p->kind == REPAIR_PLAN_HIDDEN)
		tell_hidden(to, p);
	else {
		tell_holders(to, p, done ? "is set" : "would be set");
		/* what meets nobody need carry nothing */
		if (p->verdict.rule > PORTRULES_V6ONLY_APART)
			tell_duties(to, p);
	}
	fflush(to);
}

void
repair_tell_undone(FILE *to, const struct repair_wish *w)
{
	fputs("nothing was changed", to);
	if (w->command != NULL)
		fprintf(to, ", and %s was not started", w->command[0]);
	putc('\n', to);
}

/* What stays behind although our flag is off. */
static void
tell_rest(FILE *to, const struct repair *r)
{
	const struct portscan_socket *s = &r->newcomer;
	bool carries =
	    r->plan.flag == SOCKFLAG_REUSEADDR ? s->reuseaddr : s->reuseport;

	if (r->mended)
		fprintf(to, "  newcomer: %s cleared too\n",
		    sockflag_str(r->plan.flag));
	else if (r->plan.proto == SOCK_UDP && carries)
		fprintf(to,
		    "  beware:   the newcomer still carries SO_REUSEADDR: "
		    "where only its address is in the way, any local user "
		    "may join; --both clears it there too\n");
	if (r->plan.proto == SOCK_TCP)
		fprintf(to,
		    "  beware:   TCP remembers: as long as anybody has the "
		    "port, a socket of uid %u with SO_REUSEPORT may bind "
		    "what the newcomer's address covers, though the flag is "
		    "off\n",
		    s->uid);
}

void
repair_tell_end(FILE *to, const struct repair_wish *w, const struct repair *r,
    enum repair_end end)
{
	char name[128], owner[512];

	place_name(name, sizeof name, r->plan.proto, &w->address);
	if (r->bound) {
		fprintf(to, "%s: bound, and closed after %.0f ms\n", name,
		    r->open_ms);
		fprintf(to, "  newcomer: %s\n",
		    place_owner(owner, sizeof owner, &r->newcomer));
		tell_rest(to, r);
		return;
	}
	fprintf(to, "%s: closed after %.0f ms, nobody bound: %s\n", name,
	    r->open_ms,
	    end == REPAIR_STOPPED    ? "told to stop"
		: end == REPAIR_GONE ? "the command ended, see above; one "
				       "that goes to the background must be "
				       "told to stay"
				     : "the window is over");
}

static json_t *
json_of(
    const struct repair_wish *w, const struct repair *r, enum repair_end end)
{
	static const char *const kinds[] = { "free", "open", "useless",
		"hidden" };
	const struct repair_plan *p = &r->plan;
	char address[ADDR_STR_LEN];
	json_t *holders = json_array(), *must = json_array(), *o;

	for (size_t i = 0; i < p->n; i++)
		json_array_append_new(
		    holders, place_owner_json(&p->look.found[p->needs[i]]));
	json_array_append_new(must, json_string(sockflag_str(p->flag)));
	if (p->proto == SOCK_TCP && p->newer.reuseaddr)
		json_array_append_new(must, json_string("SO_REUSEADDR"));
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "protocol",
	    place_proto_str(p->proto), "address",
	    addr_format(address, &w->address), "plan", kinds[p->kind], "end",
	    r->bound ? "bound" : repair_end_str(end), "flag",
	    sockflag_str(p->flag), "holders", holders, "newcomer_must_set",
	    must);
	if (p->proto == SOCK_TCP)
		json_object_set_new(
		    o, "newcomer_uid", json_integer(p->newer.uid));
	if (p->then != NULL)
		json_object_set_new(o, "then", json_string(p->then));
	if (p->kind == REPAIR_PLAN_USELESS)
		json_object_set_new(o, "rule",
		    json_string(portrules_rule_str(p->verdict.rule)));
	if (r->bound) {
		json_object_set_new(
		    o, "newcomer", place_owner_json(&r->newcomer));
		json_object_set_new(
		    o, "newcomer_cleared", json_boolean(r->mended));
	}
	if (end != REPAIR_OPEN)
		json_object_set_new(o, "open_ms", json_real(r->open_ms));
	return o;
}

void
repair_tell_json(FILE *to, const struct repair_wish *w, const struct repair *r,
    size_t n, enum repair_end end)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_of(w, &r[i], end));
	json_dumpf(list, to, JSON_INDENT(2));
	putc('\n', to);
	fflush(to);
	json_decref(list);
}
