#include "proxy/origin.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/balance.h"

#define SECOND_NS 1000000000ull
#define TENANTS ((unsigned int)INT_MAX / APP_ORIGINS_MAX)

/* Beside each origin of the balance, by its index: the slot. */
struct slot {
	bool used; /* listed, or with sessions */
	bool listed;
	bool down;
	uint32_t contrary; /* checks in a row that say otherwise */
	uint64_t since_us; /* of up or down; Unix */
	uint64_t checks, checks_failed;
	char why[ORIGIN_WHY_LEN]; /* of the last check that went wrong */
	uint32_t failures; /* in a row */
	uint64_t ejected_until_ns; /* monotonic */
	uint64_t total, failed;
	unsigned int tenant; /* of the slot, those counted that left sessions */
};

struct origins {
	pthread_mutex_t mutex; /* of all that follows */
	struct slot slot[APP_ORIGINS_MAX];
	struct balance balance;
	uint16_t port_first; /* the edge port that addresses are for */
	enum app_down all_down;
	struct app_eject eject;
	uint32_t rise, fall;
};

static void
lock(struct origins *o)
{
	pthread_mutex_lock(&o->mutex);
}

static void
unlock(struct origins *o)
{
	pthread_mutex_unlock(&o->mutex);
}

/* ---- which there are ---- */

/* -1: none. */
static int
find(const struct origins *o, const struct addr *address)
{
	for (int i = 0; i < APP_ORIGINS_MAX; i++)
		if (o->slot[i].used &&
		    addr_equal(&o->balance.origin[i].address, address))
			return i;
	return -1;
}

static void
vacate(struct origins *o, int i)
{
	o->slot[i] = (struct slot){ .tenant = o->slot[i].tenant };
	o->balance.origin[i] = (struct balance_origin){ 0 };
}

static void
drop_unlisted(struct origins *o, int i)
{
	if (!o->slot[i].listed && o->balance.origin[i].live == 0)
		vacate(o, i);
}

static int
handle_of(const struct origins *o, int i)
{
	return (int)o->slot[i].tenant * APP_ORIGINS_MAX + i;
}

/* -1: it is another's by now. */
static int
slot_of(const struct origins *o, int handle)
{
	int i = handle % APP_ORIGINS_MAX;

	return handle >= 0 && handle_of(o, i) == handle ? i : -1;
}

/* As many are listed as there are slots at most, so one is free, or a former
 * origin's that has sessions left. */
static int
find_room(struct origins *o)
{
	int room = -1;

	for (int i = 0; i < APP_ORIGINS_MAX; i++) {
		if (!o->slot[i].used)
			return i;
		if (!o->slot[i].listed &&
		    (room < 0 ||
			o->balance.origin[i].live <
			    o->balance.origin[room].live))
			room = i;
	}
	vacate(o, room);
	o->slot[room].tenant = (o->slot[room].tenant + 1) % TENANTS;
	return room;
}

static unsigned int
weight_of(const struct app_origin *a)
{
	return a->weight > 0 ? a->weight : 1;
}

/* Those that have a slot already. */
static void
keep(struct origins *o, const struct app_origin *list, size_t n)
{
	for (int i = 0; i < APP_ORIGINS_MAX; i++)
		o->slot[i].listed = false;
	for (size_t k = 0; k < n; k++) {
		int i = find(o, &list[k].address);

		if (i < 0)
			continue;
		if (!o->slot[i].listed)
			o->balance.origin[i].weight = 0;
		o->slot[i].listed = true;
		o->balance.origin[i].weight += weight_of(&list[k]);
	}
	for (int i = 0; i < APP_ORIGINS_MAX; i++)
		drop_unlisted(o, i);
}

static void
add(struct origins *o, const struct app_origin *a)
{
	int i = find_room(o);

	o->slot[i].used = o->slot[i].listed = true;
	o->balance.origin[i].address = a->address;
	o->balance.origin[i].weight = weight_of(a);
}

static void
replace(struct origins *o, const struct app_origin *list, size_t n)
{
	uint64_t had = 0;

	keep(o, list, n);
	for (int i = 0; i < APP_ORIGINS_MAX; i++)
		had |= (uint64_t)o->slot[i].listed << i;
	for (size_t k = 0; k < n; k++) {
		int i = find(o, &list[k].address);

		if (i < 0)
			add(o, &list[k]);
		else if ((had >> i & 1) == 0) /* named twice, and new */
			o->balance.origin[i].weight += weight_of(&list[k]);
	}
	balance_reweigh(&o->balance);
}

int
origins_replace(struct origins *o, const struct app_origin *list, size_t n)
{
	if (n > APP_ORIGINS_MAX) {
		errno = E2BIG;
		return -1;
	}
	lock(o);
	replace(o, list, n);
	unlock(o);
	return 0;
}

struct origins *
origins_new(const struct app *a)
{
	struct origins *o = calloc(1, sizeof *o);

	if (o == NULL)
		return NULL;
	pthread_mutex_init(&o->mutex, NULL);
	o->port_first = a->port_first;
	o->balance.kind = a->balance;
	o->all_down = a->origins_down;
	o->eject = a->eject;
	o->rise = a->check.rise;
	o->fall = a->check.fall;
	randombytes_buf(o->balance.hash_key, sizeof o->balance.hash_key);
	(void)replace(o, a->origin, a->origins); /* all are free: they fit */
	return o;
}

void
origins_free(struct origins *o)
{
	if (o == NULL)
		return;
	pthread_mutex_destroy(&o->mutex);
	free(o);
}

/* ---- who gets the next session ---- */

static bool
is_ejected(const struct slot *s, uint64_t now_ns)
{
	return s->ejected_until_ns > now_ns;
}

/* All are ejected: the one whose time ends first is nearest to working. */
static int
soonest(const struct origins *o, uint64_t set)
{
	int best = __builtin_ctzll(set);

	for (int i = best; i < APP_ORIGINS_MAX; i++)
		if ((set >> i & 1) != 0 &&
		    o->slot[i].ejected_until_ns <
			o->slot[best].ejected_until_ns)
			best = i;
	return best;
}

/* Nobody is left; says why. */
static int
none(uint64_t all, uint64_t up)
{
	if (all == 0)
		errno = ENOENT;
	else
		errno = up == 0 ? EHOSTDOWN : EAGAIN;
	return -1;
}

static int
choose(struct origins *o, const struct addr *client, uint64_t tried,
    uint64_t now_ns)
{
	uint64_t all = 0, any, up = 0, best = 0;

	for (int i = 0; i < APP_ORIGINS_MAX; i++) {
		const struct slot *s = &o->slot[i];
		uint64_t bit = 1ull << i;

		all |= s->listed ? bit : 0;
		up |= s->listed && !s->down ? bit : 0;
		best |= is_ejected(s, now_ns) ? 0 : bit;
	}
	any = (o->all_down == APP_DOWN_REFUSE ? up : all) & ~tried;
	best &= up & ~tried;
	if (best != 0)
		return balance_choose(&o->balance, client, best);
	if ((up & ~tried) != 0)
		return soonest(o, up & ~tried);
	if (any != 0)
		return balance_choose(&o->balance, client, any);
	return none(all, o->all_down == APP_DOWN_REFUSE ? up : all);
}

int
origins_begin(struct origins *o, const struct addr *client, uint16_t edge_port,
    uint64_t tried, uint64_t now_ns, struct addr *address)
{
	int i, handle = -1;

	lock(o);
	i = choose(o, client, tried, now_ns);
	if (i >= 0) {
		struct balance_origin *b = &o->balance.origin[i];

		handle = handle_of(o, i);
		b->live++;
		o->slot[i].total++;
		*address = b->address;
		addr_set_port(address,
		    (uint16_t)(addr_port(address) + edge_port - o->port_first));
	}
	unlock(o);
	return handle;
}

void
origins_end(struct origins *o, int handle)
{
	int i;

	lock(o);
	i = slot_of(o, handle);
	if (i >= 0) {
		o->balance.origin[i].live--;
		drop_unlisted(o, i);
	}
	unlock(o);
}

/* ---- which are up ---- */

static void
count_failure(struct slot *s, const struct app_eject *eject, uint64_t now_ns)
{
	uint64_t times = 1;

	s->failed++;
	/* those that were under way together are one failure, not fifty */
	if (is_ejected(s, now_ns))
		return;
	s->failures++;
	if (eject->after == 0 || s->failures < eject->after)
		return;
	for (uint32_t n = eject->after;
	     n < s->failures && times < ORIGIN_EJECT_TIMES; n++)
		times *= 2;
	s->ejected_until_ns = now_ns + times * eject->for_s * SECOND_NS;
}

void
origins_failed(struct origins *o, int handle, uint64_t now_ns)
{
	int i;

	lock(o);
	i = slot_of(o, handle);
	if (i >= 0)
		count_failure(&o->slot[i], &o->eject, now_ns);
	unlock(o);
}

void
origins_worked(struct origins *o, int handle)
{
	int i;

	lock(o);
	i = slot_of(o, handle);
	if (i >= 0) {
		o->slot[i].failures = 0;
		o->slot[i].ejected_until_ns = 0;
	}
	unlock(o);
}

static enum origin_change
count_check(struct origins *o, struct slot *s, const char *why, uint64_t now_us)
{
	bool good = why == NULL;

	s->checks++;
	if (!good) {
		s->checks_failed++;
		snprintf(s->why, sizeof s->why, "%s", why);
	}
	if (good == !s->down) {
		s->contrary = 0;
		return ORIGIN_SAME;
	}
	if (++s->contrary < (good ? o->rise : o->fall))
		return ORIGIN_SAME;
	s->contrary = 0;
	s->down = !good;
	s->since_us = now_us;
	if (!good)
		return ORIGIN_FELL;
	s->failures = 0;
	s->ejected_until_ns = 0;
	return ORIGIN_ROSE;
}

enum origin_change
origins_checked(struct origins *o, const struct addr *address, const char *why,
    uint64_t now_us)
{
	enum origin_change change = ORIGIN_SAME;
	int i;

	lock(o);
	i = find(o, address);
	if (i >= 0)
		change = count_check(o, &o->slot[i], why, now_us);
	unlock(o);
	return change;
}

/* Without checks nobody would ever bring it up again. */
static void
inherit(struct origins *o, struct slot *to, const struct slot *from)
{
	to->failures = from->failures;
	to->ejected_until_ns = o->eject.after > 0 ? from->ejected_until_ns : 0;
	if (o->fall == 0)
		return;
	to->down = from->down;
	to->since_us = from->since_us;
	memcpy(to->why, from->why, sizeof to->why);
}

/* None is listed yet, by DNS: slots that wait for the first origins_replace(),
 * which drops those that it does not name. */
static void
prepare(struct origins *o, const struct origins *former)
{
	for (int i = 0; i < APP_ORIGINS_MAX; i++) {
		if (!former->slot[i].listed)
			continue;
		o->slot[i].used = true;
		o->balance.origin[i].address =
		    former->balance.origin[i].address;
		o->balance.origin[i].weight = former->balance.origin[i].weight;
	}
}

void
origins_inherit(struct origins *o, struct origins *former)
{
	bool listed = false;

	for (int i = 0; i < APP_ORIGINS_MAX; i++)
		listed |= o->slot[i].listed;
	lock(former);
	memcpy(o->balance.hash_key, former->balance.hash_key,
	    sizeof o->balance.hash_key);
	if (!listed)
		prepare(o, former);
	for (int i = 0; i < APP_ORIGINS_MAX; i++) {
		int was = o->slot[i].used
		    ? find(former, &o->balance.origin[i].address)
		    : -1;

		if (was >= 0)
			inherit(o, &o->slot[i], &former->slot[was]);
	}
	unlock(former);
}

static struct origin_view
view(const struct origins *o, int i, uint64_t now_ns)
{
	const struct balance_origin *b = &o->balance.origin[i];
	const struct slot *s = &o->slot[i];

	struct origin_view v = {
		.slot = i,
		.address = b->address,
		.weight = b->weight,
		.listed = s->listed,
		.up = !s->down,
		.ejected_ns =
		    is_ejected(s, now_ns) ? s->ejected_until_ns - now_ns : 0,
		.live = b->live,
		.failures = s->failures,
		.total = s->total,
		.failed = s->failed,
		.since_us = s->since_us,
		.checks = s->checks,
		.checks_failed = s->checks_failed,
	};

	memcpy(v.why, s->why, sizeof v.why);
	return v;
}

size_t
origins_view(
    struct origins *o, struct origin_view *out, size_t max, uint64_t now_ns)
{
	size_t n = 0;

	lock(o);
	for (int i = 0; i < APP_ORIGINS_MAX && n < max; i++)
		if (o->slot[i].used)
			out[n++] = view(o, i, now_ns);
	unlock(o);
	return n;
}
