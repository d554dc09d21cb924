/* What `portshare who` says. */
#include <stdio.h>

#include "portshare/who_probe.h"

#define OTHERS_MAX 8 /* lines about those that do not get it */

static void
tell_socket(const char *what, const struct portscan_socket *s)
{
	char owner[512];

	printf("  %s%s\n", what, place_owner(owner, sizeof owner, s));
}

/* "dispatch (id 17) of pid 812 (l4proxyd)" */
static char *
program_name(char *buf, size_t len, const struct chosen_program *p)
{
	int n = snprintf(buf, len, "%s (id %u)",
	    p->name[0] != '\0' ? p->name : "without a name", p->id);

	if (n < 0 || (size_t)n >= len)
		return buf;
	if (p->pid != 0)
		snprintf(buf + n, len - (size_t)n, " of pid %ld (%s)",
		    (long)p->pid, p->command);
	else
		snprintf(buf + n, len - (size_t)n,
		    ", pinned or of a process not visible from here");
	return buf;
}

/* Another's program: what can be known. */
static void
tell_unknown(const struct who *w, const struct chosen_program *p)
{
	struct portscan_socket held[CHOSEN_SOCKETS_MAX];
	char name[160];
	int n = 0;

	printf("  beware:  the sk_lookup program %s is not ours: it may choose "
	       "before rule 3, and which socket cannot be told from outside\n",
	    program_name(name, sizeof name, p));
	if (p->n > 0)
		n = portscan_cookies(w->place->proto, p->cookies, p->n, held);
	for (int i = 0; i < n && i < OTHERS_MAX; i++)
		tell_socket("maybe:   ", &held[i]);
}

static void
tell_warnings(const struct who *w)
{
	for (int i = 0; i < w->chosen.n; i++)
		if (w->chosen.program[i].kind == CHOSEN_UNKNOWN &&
		    who_level(w) != PORTRULES_FOUR_TUPLE)
			tell_unknown(w, &w->chosen.program[i]);
	if (w->chosen.n < 0)
		printf("  unsure:  whether an sk_lookup program chooses is for "
		       "root to see\n");
	if (w->look.blind > 0)
		printf("  unsure:  flags of %zu socket%s are not visible to us "
		       "and taken as none\n",
		    w->look.blind, w->look.blind == 1 ? "" : "s");
	if (w->look.total > w->look.n)
		printf("  note:    %zu sockets on the port, %zu looked at\n",
		    w->look.total, w->look.n);
}

static void
tell_receivers(const struct who *w)
{
	for (size_t i = 0; i < w->named_n; i++)
		tell_socket("", &w->named[i]);
	for (size_t i = 0; i < w->look.n && w->decider == NULL; i++)
		if (who_receives(w, i))
			tell_socket("", &w->look.found[i]);
}

static const char *
split_say(const struct who *w)
{
	return w->decider != NULL ? "the program splits it by the flow's hash"
				  : portrules_tie_say(who_tie(w));
}

static void
tell_rule(const struct who *w)
{
	char name[160];

	if (w->decider != NULL && w->decider->kind == CHOSEN_REFUSES)
		printf("  rule 2: an sk_lookup program refuses it");
	else
		printf("  %s", portrules_level_say(who_level(w)));
	if (who_is_heard(w) && who_tie(w) != PORTRULES_ONLY)
		printf("; %s", split_say(w));
	putchar('\n');
	if (w->decider != NULL)
		printf("  by:      the program %s\n",
		    program_name(name, sizeof name, w->decider));
}

/* The sockets do not see it, and no rule of theirs decides. */
static void
tell_taker(const struct who *w, const char *name)
{
	char to[ADDR_STR_LEN];

	printf("%s goes to\n  %s, past the sockets\n", name,
	    addr_format(to, &w->taker.to));
	printf("  the program of l4proxyd's fast_path, of pid %ld, carries "
	       "this flow where it comes in\n",
	    (long)w->taker.pid);
}

static void
tell_sockets(const struct who *w, const char *name)
{
	size_t n = 0;

	printf(who_is_heard(w) ? "%s goes to\n" : "%s: nobody\n", name);
	tell_receivers(w);
	tell_rule(w);
	for (size_t i = 0; i < w->look.n; i++)
		if (!who_receives(w, i) && n++ < OTHERS_MAX)
			tell_socket("not:     ", &w->look.found[i]);
	tell_warnings(w);
}

void
who_tell(const struct who *w, const struct who_probe *p)
{
	char name[128];

	place_name(name, sizeof name, w->place->proto, &w->place->address);
	(w->taken ? tell_taker : tell_sockets)(w, name);
	if (p != NULL)
		who_probe_tell(p, w);
}

/* ---- for programs ---- */

static json_t *
json_program(const struct who *w, const struct chosen_program *p)
{
	struct portscan_socket held[CHOSEN_SOCKETS_MAX];
	json_t *sockets = json_array();
	json_t *o = json_pack("{s:i, s:s, s:s, s:o}", "id", (int)p->id, "name",
	    p->name, "does", chosen_kind_str(p->kind), "sockets", sockets);
	int n = 0;

	if (p->n > 0)
		n = portscan_cookies(w->place->proto, p->cookies, p->n, held);
	for (int i = 0; i < n; i++)
		json_array_append_new(sockets, place_owner_json(&held[i]));
	if (p->pid != 0) {
		json_object_set_new(o, "pid", json_integer(p->pid));
		json_object_set_new(o, "command", json_string(p->command));
	}
	return o;
}

static json_t *
json_programs(const struct who *w)
{
	json_t *list = json_array();

	if (w->chosen.n < 0) {
		json_decref(list);
		return json_null();
	}
	for (int i = 0; i < w->chosen.n; i++)
		json_array_append_new(
		    list, json_program(w, &w->chosen.program[i]));
	return list;
}

static json_t *
json_taker(const struct who *w)
{
	char to[ADDR_STR_LEN];

	if (!w->taken)
		return json_null();
	return json_pack("{s:i, s:s}", "pid", (int)w->taker.pid, "to",
	    addr_format(to, &w->taker.to));
}

void
who_tell_json(const struct who *w, const struct who_probe *p)
{
	json_t *winners = json_array(), *others = json_array(), *o;
	char address[ADDR_STR_LEN];

	for (size_t i = 0; i < w->named_n; i++)
		json_array_append_new(winners, place_owner_json(&w->named[i]));
	for (size_t i = 0; i < w->look.n; i++)
		if (!who_receives(w, i))
			json_array_append_new(
			    others, place_owner_json(&w->look.found[i]));
		else if (w->decider == NULL)
			json_array_append_new(
			    winners, place_owner_json(&w->look.found[i]));
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:o, s:i}",
	    "protocol", place_proto_str(w->place->proto), "address",
	    addr_format(address, &w->place->address), "level",
	    portrules_level_str(who_level(w)), "tie",
	    portrules_tie_str(who_tie(w)), "rule",
	    portrules_level_say(who_level(w)), "split",
	    w->decider != NULL ? w->named_n > 1 : w->delivery.split,
	    "receivers", winners, "others", others, "flags_unseen",
	    (int)w->look.blind);
	json_object_set_new(o, "sk_lookup_programs",
	    w->chosen.n < 0 ? json_null() : json_integer(w->chosen.n));
	json_object_set_new(o, "programs", json_programs(w));
	if (p != NULL)
		json_object_set_new(o, "probe", who_probe_json(p));
	json_object_set_new(o, "kernel_path", json_taker(w));
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
}
