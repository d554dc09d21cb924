/* Who gets what is sent to ours: compared with who did at the start. */
#include <string.h>

#include "portshare/watch.h"

const char *
watch_event_str(enum watch_event event)
{
	static const char *const words[] = {
		[WATCH_STEAL] = "steal",
		[WATCH_SPECIFIC] = "specific",
		[WATCH_JOINED] = "joined",
		[WATCH_PROGRAM] = "sk_lookup",
		[WATCH_VACANT] = "vacant",
		[WATCH_GAP] = "gap",
		[WATCH_NOBODY] = "nobody",
	};

	return words[event];
}

const char *
watch_event_say(enum watch_event event)
{
	static const char *const sentences[] = {
		[WATCH_STEAL] = "a newer socket takes all of it",
		[WATCH_SPECIFIC] = "a more specific bind takes it",
		[WATCH_JOINED] = "a socket that joined the SO_REUSEPORT "
				 "group takes a part of it",
		[WATCH_PROGRAM] = "an sk_lookup program comes first",
		[WATCH_VACANT] = "ours are gone, and another user's socket "
				 "has taken the place",
		[WATCH_GAP] = "ours are gone, and it falls to a socket that "
			      "was there before",
		[WATCH_NOBODY] = "ours are gone, and nobody gets it",
	};

	return sentences[event];
}

/* ---- whose socket it is ---- */

static struct watch_known *
find_known(struct watch *w, uint64_t cookie)
{
	for (size_t i = 0; i < w->knowns; i++)
		if (w->known[i].cookie == cookie)
			return &w->known[i];
	return NULL;
}

static struct watch_known *
learn(struct watch *w, const struct portscan_socket *s)
{
	struct watch_known *k = find_known(w, s->cookie);

	if (k == NULL && w->knowns < WATCH_KNOWN) {
		k = &w->known[w->knowns++];
		memset(k, 0, sizeof *k);
		k->cookie = s->cookie;
		k->pid = s->pid;
		k->alive = true;
	}
	return k;
}

static uint64_t
bit(size_t place)
{
	return (uint64_t)1 << place;
}

static bool
is_ours(struct watch *w, size_t place, const struct portscan_socket *s)
{
	const struct watch_known *k = find_known(w, s->cookie);

	return k != NULL && (k->places & bit(place)) != 0;
}

/* One of ours still has the place. */
static bool
is_manned(const struct watch *w, size_t place)
{
	for (size_t i = 0; i < w->knowns; i++)
		if (w->known[i].alive && (w->known[i].places & bit(place)))
			return true;
	return false;
}

/* A process that has one of ours may open others. */
static bool
is_of_our_process(
    const struct watch *w, size_t place, const struct portscan_socket *s)
{
	for (size_t i = 0; s->pid != 0 && i < w->knowns; i++)
		if (w->known[i].alive && w->known[i].pid == s->pid &&
		    (w->known[i].places & bit(place)))
			return true;
	return false;
}

/* What was said on the command line to be ours. */
static bool
is_named(const struct watch *w, size_t place, const struct portscan_socket *s)
{
	const struct watch_place *p = &w->place[place];

	if (w->pid != 0)
		return s->pid == w->pid;
	return w->command != NULL && strcmp(s->command, w->command) == 0 &&
	    (!p->held || p->uid == s->uid);
}

/* A name alone would be anybody's: the user is root or ours. */
static bool
is_allowed(const struct watch *w, size_t place, const struct portscan_socket *s)
{
	size_t len = strlen(s->command);
	const char *at = w->allow;

	if (at == NULL || len == 0 ||
	    (s->uid != 0 && s->uid != w->place[place].uid))
		return false;
	while ((at = strstr(at, s->command)) != NULL) {
		bool begins = at == w->allow || at[-1] == ',';

		if (begins && (at[len] == ',' || at[len] == '\0'))
			return true;
		at += len;
	}
	return false;
}

/* Without a name, the first of our user that comes to just where ours were. */
static bool
is_successor(
    const struct watch *w, size_t place, const struct portscan_socket *s)
{
	const struct watch_place *p = &w->place[place];

	return w->pid == 0 && w->command == NULL && p->uid == s->uid &&
	    addr_equal(&p->local, &s->local) && !is_manned(w, place);
}

/* From the start on, and nobody's of ours. */
static bool
was_there(const struct watch_known *k)
{
	return k != NULL && k->places == 0;
}

static void
adopt(struct watch *w, size_t place, const struct portscan_socket *s)
{
	struct watch_known *k = learn(w, s);

	if (k != NULL)
		k->places |= bit(place);
	w->place[place].uid = s->uid;
	w->place[place].local = s->local;
	w->place[place].held = true;
}

/* ---- findings ---- */

/* Of a wildcard an address that is nobody's, so that only wildcards hear it. */
static struct addr
sample(const struct addr *wildcard)
{
	struct addr a = *wildcard;
	const char *why;

	if (addr_is_wildcard(wildcard))
		addr_parse(&a,
		    wildcard->sa.sa_family == AF_INET6 ? "100::1" : "240.0.0.1",
		    addr_port(wildcard), &why);
	return a;
}

bool
watch_same(const struct watch_finding *a, const struct watch_finding *b)
{
	return a->event == b->event && a->place == b->place &&
	    a->socket.cookie == b->socket.cookie && a->program == b->program;
}

/* Once each; `s` and `by` may be NULL. */
static void
add(struct watch *w, enum watch_event event, size_t place,
    const struct addr *to, const struct portscan_socket *s,
    const struct chosen_program *by)
{
	const struct addr *ours = &w->place[place].address;
	struct addr shown = sample(ours);
	struct watch_finding f = { .event = event, .place = place };

	f.to = addr_equal(to, &shown) ? *ours : *to;
	if (s != NULL) {
		f.socket = *s;
		f.other_user = s->uid != w->place[place].uid;
	}
	if (by != NULL) {
		f.program = by->id;
		memcpy(f.name, by->name, sizeof f.name);
	}
	for (size_t i = 0; i < w->findings; i++)
		if (watch_same(&w->finding[i], &f))
			return;
	if (w->findings < WATCH_FINDINGS)
		w->finding[w->findings++] = f;
}

static bool
are_at_wildcards(const struct watch *w, size_t place, const struct who *a)
{
	for (size_t i = 0; i < a->look.n; i++)
		for (size_t k = 0; k < w->knowns; k++)
			if (w->known[k].cookie == a->look.found[i].cookie &&
			    (w->known[k].places & bit(place)) &&
			    !addr_is_wildcard(&a->look.found[i].local))
				return false;
	return true;
}

static enum watch_event
kind_of(const struct watch *w, size_t place, const struct who *a)
{
	if (a->decider != NULL)
		return WATCH_PROGRAM;
	if (a->delivery.split)
		return WATCH_JOINED;
	if (a->delivery.level == PORTRULES_EXACT &&
	    are_at_wildcards(w, place, a))
		return WATCH_SPECIFIC;
	return WATCH_STEAL;
}

/* One that gets what is sent to `a->place`. */
static void
judge(struct watch *w, size_t place, const struct who *a,
    const struct portscan_socket *s)
{
	const struct watch_place *p = &w->place[place];
	const struct watch_known *k = find_known(w, s->cookie);
	enum watch_event event;

	if (is_ours(w, place, s))
		return;
	if (is_of_our_process(w, place, s) || is_named(w, place, s) ||
	    (!was_there(k) && is_successor(w, place, s))) {
		adopt(w, place, s);
		return;
	}
	if (!p->held || is_allowed(w, place, s))
		return; /* ours have not come yet; a friend */
	if (is_manned(w, place))
		event = kind_of(w, place, a);
	else
		event =
		    k != NULL || p->uid == s->uid ? WATCH_GAP : WATCH_VACANT;
	add(w, event, place, &a->place->address, s, a->decider);
}

static void
judge_all(struct watch *w, size_t place, const struct who *a)
{
	for (size_t i = 0; i < a->named_n; i++)
		judge(w, place, a, &a->named[i]);
	for (size_t i = 0; a->decider == NULL && i < a->look.n; i++)
		if (who_receives(a, i))
			judge(w, place, a, &a->look.found[i]);
	if (!who_is_heard(a) && w->place[place].held)
		add(w, WATCH_NOBODY, place, &a->place->address, NULL,
		    a->decider);
}

/* ---- what is asked ---- */

static void
ask(struct watch *w, size_t place, struct who *a, const struct addr *to)
{
	const struct place p = {
		.proto = w->place[place].proto,
		.address = *to,
	};

	if (who_ask(a, &p) == 0)
		judge_all(w, place, a);
}

static bool
overlaps_ours(struct watch *w, size_t place, const struct who *a, size_t i)
{
	for (size_t k = 0; k < a->look.n; k++)
		if (is_ours(w, place, &a->look.found[k]) &&
		    portrules_overlap(&a->look.sockets[i], &a->look.sockets[k]))
			return true;
	return false;
}

/* Of a wildcard each address counts at which a stranger sits. */
static void
ask_all(struct watch *w, size_t place, struct who *a)
{
	const struct addr *ours = &w->place[place].address;
	struct addr to = sample(ours);

	ask(w, place, a, &to);
	for (size_t i = 0; addr_is_wildcard(ours) && i < a->look.n; i++) {
		const struct portscan_socket *s = &a->look.found[i];

		if (s->state != PORTRULES_CONNECTED &&
		    !addr_is_wildcard(&s->local) &&
		    find_known(w, s->cookie) == NULL &&
		    overlaps_ours(w, place, a, i))
			ask(w, place, a, &s->local);
	}
}

/* New programs of others, of which nobody knows what they do. */
static void
ask_programs(struct watch *w, size_t place, const struct who *a)
{
	for (int i = 0; i < a->chosen.n; i++) {
		const struct chosen_program *p = &a->chosen.program[i];
		bool known = p->kind != CHOSEN_UNKNOWN;

		for (int k = 0; k < w->program_count; k++)
			known |= w->programs[k] == p->id;
		if (!known)
			add(w, WATCH_PROGRAM, place, &w->place[place].address,
			    NULL, p);
	}
}

/* ---- a look ---- */

bool
watch_same_port(const struct watch_place *a, const struct watch_place *b)
{
	return a->proto == b->proto &&
	    addr_port(&a->address) == addr_port(&b->address);
}

static void
mark_alive(struct watch *w, const struct who *a)
{
	for (size_t i = 0; i < a->look.n + a->named_n; i++) {
		const struct portscan_socket *s = i < a->look.n
		    ? &a->look.found[i]
		    : &a->named[i - a->look.n];
		struct watch_known *k = find_known(w, s->cookie);

		if (k != NULL)
			k->alive = true;
	}
}

static int
scan(const struct watch_place *p, struct who *a)
{
	const struct place place = {
		.proto = p->proto,
		.address = addr_is_wildcard(&p->address) ? sample(&p->address)
							 : p->address,
	};

	return who_look(a, &place);
}

/* Ports are used again and again: what is gone is forgotten. */
static void
forget_the_dead(struct watch *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->knowns; i++)
		if (w->known[i].alive)
			w->known[n++] = w->known[i];
	w->knowns = n;
}

static bool
may_hear(const struct watch_place *p, const struct portscan_socket *s)
{
	return s->state != PORTRULES_CONNECTED &&
	    (addr_is_wildcard(&s->local) || addr_is_wildcard(&p->address) ||
		addr_equal(&s->local, &p->address));
}

/* Those that were said to be ours, also while others get what is theirs. */
static void
adopt_named(struct watch *w, size_t place, const struct who *a)
{
	for (size_t i = 0; i < a->look.n; i++)
		if (may_hear(&w->place[place], &a->look.found[i]) &&
		    is_named(w, place, &a->look.found[i]))
			adopt(w, place, &a->look.found[i]);
}

int
watch_look(struct watch *w)
{
	static struct who a;
	int result = 0;

	w->findings = 0;
	for (size_t i = 0; i < w->knowns; i++)
		w->known[i].alive = false;
	for (size_t i = 0; i < w->places && result == 0; i++) {
		result = scan(&w->place[i], &a);
		if (result == 0) {
			mark_alive(w, &a);
			adopt_named(w, i, &a);
			ask_all(w, i, &a);
			ask_programs(w, i, &a);
		}
		who_free(&a);
	}
	if (result == 0)
		forget_the_dead(w);
	return result;
}

/* All that are there are known; those that get it are ours. */
static void
take_in(struct watch *w, size_t place, const struct who *a)
{
	for (size_t i = 0; i < a->named_n; i++)
		adopt(w, place, &a->named[i]);
	for (size_t i = 0; i < a->look.n; i++) {
		const struct portscan_socket *s = &a->look.found[i];

		if (s->state == PORTRULES_CONNECTED)
			continue;
		if (a->decider == NULL && who_receives(a, i))
			adopt(w, place, s);
		else
			(void)learn(w, s);
	}
}

int
watch_start(struct watch *w)
{
	static struct who a;
	int result = 0;

	w->program_count = chosen_ids(w->programs);
	for (size_t i = 0; i < w->places && result == 0; i++) {
		result = scan(&w->place[i], &a);
		if (result == 0 && (w->pid != 0 || w->command != NULL))
			adopt_named(w, i, &a);
		else if (result == 0)
			take_in(w, i, &a);
		who_free(&a);
	}
	return result;
}
