#include "proxy/flow.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define NO_SLOT UINT16_MAX /* of the wheel: the flow is free */
#define CAPACITY_MAX (1u << 24)
#define WHEEL_SLOTS 4096u /* of FLOW_TICK_MS: 65 s; longer waits go round */
#define EXPIRE_VISITS 1024u /* flows looked at in one flow_expire() */
#define EVICT_LOOKS 64u /* flows compared when one with replies must go */
#define EVICT_PART 16u /* of the table at most goes at a time */
#define QUIET_MS 1000u /* and of more than one those idle for so long */

/*
 * Indices instead of pointers: half the size, and one array to allocate. A
 * flow that is in use stands in one bucket, one slot of the wheel and one of
 * two lists by age; a free one in the list of free ones (bucket_next).
 */
struct age_list {
	uint32_t oldest, newest;
};

struct flow_table {
	struct flow *flows;
	struct flow_via *via; /* by the same index */
	uint32_t *bucket; /* heads */
	uint32_t bucket_mask;
	uint32_t capacity, count;
	uint32_t free;
	struct age_list age[2]; /* without replies, with replies */
	uint32_t wheel[WHEEL_SLOTS]; /* heads */
	uint64_t tick; /* all slots up to this one have been gone through */
	flow_closed_fn *closed;
	flow_judged_fn *judged; /* NULL: none */
	void *context;
	uint8_t key[crypto_shorthash_KEYBYTES];
};

/* --- the hash: SipHash, since the client chooses what is hashed --- */

static size_t
put_addr(uint8_t *out, const struct addr *a)
{
	size_t n = 0;

	if (a->sa.sa_family == AF_INET) {
		memcpy(out, &a->in.sin_addr, 4);
		memcpy(out + 4, &a->in.sin_port, 2);
		return 6;
	}
	memcpy(out, &a->in6.sin6_addr, n = 16);
	memcpy(out + n, &a->in6.sin6_port, 2);
	memcpy(out + n + 2, &a->in6.sin6_scope_id, 4);
	return n + 6;
}

static uint32_t *
bucket_of(struct flow_table *t, const struct addr *client,
    const struct addr *edge, const struct addr *peer)
{
	uint8_t bytes[66];
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t h;
	size_t n;

	n = put_addr(bytes, client);
	n += put_addr(bytes + n, edge);
	if (peer != NULL)
		n += put_addr(bytes + n, peer);
	crypto_shorthash(hash, bytes, n, t->key);
	memcpy(&h, hash, sizeof h);
	return &t->bucket[h & t->bucket_mask];
}

static uint32_t *
bucket_of_flow(struct flow_table *t, const struct flow *f)
{
	const struct flow_via *via = flow_via(t, f);

	return bucket_of(
	    t, &f->client, &f->edge, via != NULL ? &via->peer : NULL);
}

static void
bucket_add(struct flow_table *t, struct flow *f)
{
	uint32_t *head = bucket_of_flow(t, f);

	f->bucket_next = *head;
	*head = flow_index(t, f);
}

static void
bucket_remove(struct flow_table *t, struct flow *f)
{
	uint32_t *at = bucket_of_flow(t, f);

	while (*at != flow_index(t, f))
		at = &t->flows[*at].bucket_next;
	*at = f->bucket_next;
}

struct flow_via *
flow_name(struct flow_table *t, struct flow *f, const struct addr *peer)
{
	struct flow_via *via = &t->via[flow_index(t, f)];

	bucket_remove(t, f);
	f->named = true;
	via->peer = *peer;
	bucket_add(t, f);
	return via;
}

struct flow_via *
flow_via(const struct flow_table *t, const struct flow *f)
{
	return f->named ? &t->via[flow_index(t, f)] : NULL;
}

void
flow_unbind(struct flow_table *t, struct flow *f)
{
	if (!f->unbound)
		bucket_remove(t, f);
	f->unbound = true;
}

/* --- age --- */

static void
age_append(struct flow_table *t, struct flow *f)
{
	struct age_list *l = &t->age[f->replied];
	uint32_t i = flow_index(t, f);

	f->age_next = NONE;
	f->age_prev = l->newest;
	if (l->newest == NONE)
		l->oldest = i;
	else
		t->flows[l->newest].age_next = i;
	l->newest = i;
}

static void
age_remove(struct flow_table *t, struct flow *f)
{
	struct age_list *l = &t->age[f->replied];

	if (f->age_prev == NONE)
		l->oldest = f->age_next;
	else
		t->flows[f->age_prev].age_next = f->age_next;
	if (f->age_next == NONE)
		l->newest = f->age_prev;
	else
		t->flows[f->age_next].age_prev = f->age_prev;
}

/* --- the wheel --- */

/* The first tick that begins at or after the expiry, within one turn. */
static uint16_t
wheel_slot(const struct flow_table *t, uint64_t expires_ms)
{
	uint64_t tick = expires_ms / FLOW_TICK_MS;

	tick += expires_ms % FLOW_TICK_MS != 0;
	if (tick <= t->tick)
		tick = t->tick + 1;
	if (tick > t->tick + WHEEL_SLOTS - 1)
		tick = t->tick + WHEEL_SLOTS - 1;
	return (uint16_t)(tick % WHEEL_SLOTS);
}

static void
wheel_add(struct flow_table *t, struct flow *f)
{
	uint32_t i = flow_index(t, f), *head;

	f->slot = wheel_slot(t, f->expires_ms);
	head = &t->wheel[f->slot];
	f->wheel_prev = NONE;
	f->wheel_next = *head;
	if (*head != NONE)
		t->flows[*head].wheel_prev = i;
	*head = i;
}

static void
wheel_remove(struct flow_table *t, struct flow *f)
{
	if (f->wheel_prev == NONE)
		t->wheel[f->slot] = f->wheel_next;
	else
		t->flows[f->wheel_prev].wheel_next = f->wheel_next;
	if (f->wheel_next != NONE)
		t->flows[f->wheel_next].wheel_prev = f->wheel_prev;
}

/* --- the table --- */

static void
release(struct flow_table *t, uint32_t i)
{
	memset(&t->flows[i], 0, sizeof t->flows[i]);
	t->flows[i].slot = NO_SLOT;
	t->flows[i].bucket_next = t->free;
	t->free = i;
}

static void
clear(struct flow_table *t)
{
	for (uint32_t i = 0; i <= t->bucket_mask; i++)
		t->bucket[i] = NONE;
	for (uint32_t i = 0; i < WHEEL_SLOTS; i++)
		t->wheel[i] = NONE;
	for (int i = 0; i < 2; i++)
		t->age[i].oldest = t->age[i].newest = NONE;
	t->free = NONE;
	for (uint32_t i = t->capacity; i-- > 0;)
		release(t, i);
}

struct flow_table *
flow_table_new(
    uint32_t capacity, uint64_t now_ms, flow_closed_fn *closed, void *context)
{
	struct flow_table *t;
	uint32_t buckets = 1;

	if (capacity < 1 || capacity > CAPACITY_MAX || sodium_init() < 0) {
		errno = EINVAL;
		return NULL;
	}
	while (buckets < capacity)
		buckets *= 2;
	t = calloc(1, sizeof *t);
	if (t == NULL)
		return NULL;
	t->flows = calloc(capacity, sizeof *t->flows);
	t->bucket = calloc(buckets, sizeof *t->bucket);
	/* so large that the kernel gives its pages at their first use */
	t->via = calloc(capacity, sizeof *t->via);
	if (t->flows == NULL || t->bucket == NULL || t->via == NULL) {
		free(t->flows);
		free(t->bucket);
		free(t->via);
		free(t);
		return NULL;
	}
	t->capacity = capacity;
	t->bucket_mask = buckets - 1;
	t->tick = now_ms / FLOW_TICK_MS;
	t->closed = closed;
	t->context = context;
	crypto_shorthash_keygen(t->key);
	clear(t);
	return t;
}

void
flow_table_judge(struct flow_table *t, flow_judged_fn *judged)
{
	t->judged = judged;
}

static void
judge(struct flow_table *t, struct flow *f)
{
	if (t->judged != NULL)
		t->judged(t->context, f);
}

void
flow_table_free(struct flow_table *t)
{
	if (t == NULL)
		return;
	for (uint32_t i = 0; i < t->capacity; i++)
		if (t->flows[i].slot != NO_SLOT)
			flow_close(t, &t->flows[i], STATUS_CLOSED);
	sodium_memzero(t->key, sizeof t->key);
	free(t->flows);
	free(t->bucket);
	free(t->via);
	free(t);
}

static bool
is_named_by(
    const struct flow_table *t, const struct flow *f, const struct addr *peer)
{
	if (peer == NULL || !f->named)
		return peer == NULL && !f->named;
	return addr_equal(&flow_via(t, f)->peer, peer);
}

struct flow *
flow_find_via(struct flow_table *t, const struct addr *client,
    const struct addr *edge, const struct addr *peer)
{
	uint32_t i = *bucket_of(t, client, edge, peer);

	for (; i != NONE; i = t->flows[i].bucket_next)
		if (addr_equal(&t->flows[i].client, client) &&
		    addr_equal(&t->flows[i].edge, edge) &&
		    is_named_by(t, &t->flows[i], peer))
			return &t->flows[i];
	return NULL;
}

struct flow *
flow_find(
    struct flow_table *t, const struct addr *client, const struct addr *edge)
{
	return flow_find_via(t, client, edge, NULL);
}

void
flow_close(struct flow_table *t, struct flow *f, enum status status)
{
	assert(f->slot != NO_SLOT);
	t->closed(t->context, f, status);
	flow_unbind(t, f);
	wheel_remove(t, f);
	age_remove(t, f);
	release(t, flow_index(t, f));
	t->count--;
}

static int
compare_expiry(const void *a, const void *b)
{
	const struct flow *const *x = a, *const *y = b;

	return ((*x)->expires_ms > (*y)->expires_ms) -
	    ((*x)->expires_ms < (*y)->expires_ms);
}

static size_t
evict_most(const struct flow_table *t)
{
	uint32_t part = t->capacity / EVICT_PART;

	return part < EVICT_LOOKS ? part : EVICT_LOOKS;
}

/*
 * The list with replies is by the first reply, not by the last datagram (no
 * list moves on the packet path): of its first few the one idle the longest
 * goes, and the others that are quiet. More than one, as newcomers have no
 * reply yet and give way to each other: in a single place none would live to
 * see it. The rest gets a second chance at the end.
 */
static void
evict_replied(struct flow_table *t, uint64_t now_ms)
{
	struct flow *looked[EVICT_LOOKS];
	uint32_t n = 0, i = t->age[true].oldest;

	for (; n < EVICT_LOOKS && i != NONE; i = t->flows[i].age_next)
		judge(t, looked[n++] = &t->flows[i]);
	qsort(looked, n, sizeof(struct flow *), compare_expiry);
	for (uint32_t k = 0; k < n; k++) {
		bool quiet = flow_active_ms(looked[k]) + QUIET_MS <= now_ms;

		if (k == 0 || (k < evict_most(t) && quiet)) {
			flow_close(t, looked[k], STATUS_UNAVAILABLE);
			continue;
		}
		age_remove(t, looked[k]);
		age_append(t, looked[k]);
	}
}

static bool
evict(struct flow_table *t, uint64_t now_ms, bool may_evict_replied)
{
	uint32_t oldest = t->age[false].oldest;

	if (oldest != NONE)
		flow_close(t, &t->flows[oldest], STATUS_UNAVAILABLE);
	else if (may_evict_replied)
		evict_replied(t, now_ms);
	return t->free != NONE;
}

struct flow *
flow_add(struct flow_table *t, const struct addr *client,
    const struct addr *edge, uint64_t now_ms, uint32_t idle_ms,
    bool may_evict_replied)
{
	struct flow *f;
	uint32_t i;

	if (t->free == NONE && !evict(t, now_ms, may_evict_replied))
		return NULL;
	i = t->free;
	f = &t->flows[i];
	t->free = f->bucket_next;
	f->client = *client;
	f->edge = *edge;
	f->origin_handle = -1;
	f->born_ms = now_ms;
	f->idle_ms = idle_ms;
	f->expires_ms = now_ms + idle_ms;
	bucket_add(t, f);
	wheel_add(t, f);
	age_append(t, f);
	t->count++;
	return f;
}

static void
mark_replied(struct flow_table *t, struct flow *f)
{
	age_remove(t, f);
	f->replied = true;
	age_append(t, f);
}

static void
put_off(
    struct flow_table *t, struct flow *f, uint64_t active_ms, uint32_t idle_ms)
{
	uint64_t expires_ms = active_ms + idle_ms;
	bool sooner = expires_ms < f->expires_ms;

	/* Later: the wheel finds out when the old time comes. */
	f->expires_ms = expires_ms;
	f->idle_ms = idle_ms;
	if (sooner) {
		wheel_remove(t, f);
		wheel_add(t, f);
	}
}

void
flow_carried(struct flow_table *t, struct flow *f, uint64_t at_ms,
    uint32_t idle_ms, bool from_origin, uint32_t n, uint64_t bytes)
{
	if (at_ms > flow_active_ms(f))
		put_off(t, f, at_ms, idle_ms);
	if (from_origin) {
		f->origin_bytes += bytes;
		f->origin_packets += n;
	} else {
		f->client_bytes += bytes;
		f->client_packets += n;
	}
}

void
flow_touch(struct flow_table *t, struct flow *f, uint64_t now_ms,
    uint32_t idle_ms, bool from_origin, size_t bytes)
{
	put_off(t, f, now_ms, idle_ms);
	if (from_origin) {
		f->origin_bytes += bytes;
		f->origin_packets++;
		if (!f->replied)
			mark_replied(t, f);
	} else {
		f->client_bytes += bytes;
		f->client_packets++;
	}
}

/*
 * Empties one slot: what has expired is closed, what was touched since moves
 * on to the slot of its new time. False: `left` ran out first.
 */
static bool
turn_slot(struct flow_table *t, uint64_t tick, uint64_t now_ms, uint32_t *left,
    size_t *closed)
{
	uint32_t *head = &t->wheel[tick % WHEEL_SLOTS];

	while (*head != NONE) {
		struct flow *f = &t->flows[*head];

		if ((*left)-- == 0)
			return false;
		if (f->expires_ms <= now_ms)
			judge(t, f);
		if (f->expires_ms <= now_ms) {
			flow_close(t, f, STATUS_CLOSED);
			++*closed;
			continue;
		}
		wheel_remove(t, f);
		wheel_add(t, f);
	}
	return true;
}

size_t
flow_expire(struct flow_table *t, uint64_t now_ms)
{
	uint64_t now_tick = now_ms / FLOW_TICK_MS;
	uint32_t left = EXPIRE_VISITS;
	size_t closed = 0;

	/* Nobody waits: time may have jumped over many turns. */
	if (t->count == 0 && now_tick > t->tick)
		t->tick = now_tick;
	/*
	 * t->tick counts as gone through while its slot is worked on, so that
	 * wheel_add() never puts a flow into that slot again.
	 */
	for (uint32_t n = 0; t->tick < now_tick && n < WHEEL_SLOTS; n++) {
		t->tick++;
		if (!turn_slot(t, t->tick, now_ms, &left, &closed)) {
			t->tick--;
			break;
		}
	}
	return closed;
}

uint32_t
flow_count(const struct flow_table *t)
{
	return t->count;
}

uint32_t
flow_index(const struct flow_table *t, const struct flow *f)
{
	return (uint32_t)(f - t->flows);
}

struct flow *
flow_at(struct flow_table *t, uint32_t index)
{
	if (index >= t->capacity || t->flows[index].slot == NO_SLOT)
		return NULL;
	return &t->flows[index];
}
