#include "proxy/lookup.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "proxy/dnsset.h"

#define RECORDS_MAX 256

/* The service's own questions come first, then those of SRV targets. */
#define OWN_QUESTIONS 2
#define QUESTIONS_MAX (OWN_QUESTIONS + 2 * DNSREPLY_TARGETS_MAX)

struct question {
	struct lookup *lookup;
	enum dnsreply_kind kind;
	uint64_t id; /* the same in the next round */
	uint16_t port, weight;
	uint32_t srv;
};

struct records {
	struct dnsset_record list[RECORDS_MAX];
	size_t count;
};

struct lookup {
	struct resolver *resolver;
	struct ev_loop *loop;
	ev_timer timer;
	struct app_dns dns;
	lookup_done *done; /* NULL: its owner has left */
	void *arg;

	struct question questions[QUESTIONS_MAX];
	size_t asked;
	size_t open; /* questions without an answer, and whoever asks */
	enum resolver_outcome why; /* the worst of this round */
	bool cancelled;
	bool fresh; /* something was found in this round */
	uint32_t ttl_s;
	struct dnsreply_targets targets; /* SRV */
	size_t next_target;
	struct records now, before;

	unsigned int failures; /* rounds in a row */
	struct lookup_result last;
};

static void step(struct lookup *l);

/* ---- what was found ---- */

/* FNV-1a: tells the questions of one name apart, no more. */
static uint64_t
mix(uint64_t h, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++)
		h = (h ^ at[i]) * 0x100000001b3;
	return h;
}

static void
keep(struct records *r, const struct dnsset_record *one)
{
	if (r->count < RECORDS_MAX)
		r->list[r->count++] = *one;
}

static void
take_ttl(struct lookup *l, uint32_t ttl_s)
{
	if (ttl_s < l->ttl_s)
		l->ttl_s = ttl_s;
}

static void
note(struct lookup *l, enum resolver_outcome why)
{
	l->cancelled |= why == RESOLVER_CANCELLED;
	if (why > l->why)
		l->why = why;
}

static void
take_addresses(struct question *q, const uint8_t *reply, size_t len)
{
	struct dnsreply_addresses a;
	struct lookup *l = q->lookup;

	if (dnsreply_addresses(&a, q->kind, reply, len) != 0) {
		note(l, RESOLVER_FAILED);
		return;
	}
	take_ttl(l, a.ttl_s);
	if (a.count == 0)
		note(l, RESOLVER_NO_RECORDS);
	l->fresh |= a.count > 0;
	for (size_t i = 0; i < a.count; i++) {
		struct dnsset_record one = { .address = a.list[i],
			.weight = q->weight,
			.srv = q->srv,
			.question = q->id };

		addr_set_port(&one.address, q->port);
		keep(&l->now, &one);
	}
}

static void
take_targets(struct question *q, const uint8_t *reply, size_t len)
{
	struct lookup *l = q->lookup;

	if (dnsreply_targets(&l->targets, reply, len) != 0) {
		l->targets.count = 0;
		note(l, RESOLVER_FAILED);
		return;
	}
	take_ttl(l, l->targets.ttl_s);
	if (l->targets.count == 0)
		note(l, RESOLVER_NO_RECORDS);
}

/* Not known now is not the same as gone: those of before stay. */
static void
take_before(const struct question *q)
{
	const struct records *before = &q->lookup->before;

	for (size_t i = 0; i < before->count; i++) {
		struct dnsset_record one = before->list[i];

		if (one.question != q->id)
			continue;
		one.weight = q->weight;
		one.srv = q->srv;
		keep(&q->lookup->now, &one);
	}
}

/* ---- asking ---- */

static void
forget(struct lookup *l)
{
	ev_timer_stop(l->loop, &l->timer);
	free(l);
}

/* One question less is open. */
static void
settle(struct lookup *l)
{
	if (--l->open > 0)
		return;
	if (l->done == NULL)
		forget(l);
	else
		step(l);
}

static void
answered(
    void *arg, enum resolver_outcome outcome, const uint8_t *reply, size_t len)
{
	struct question *q = arg;
	struct lookup *l = q->lookup;

	if (outcome != RESOLVER_ANSWERED)
		note(l, outcome);
	else if (q->kind == DNSREPLY_SRV)
		take_targets(q, reply, len);
	else
		take_addresses(q, reply, len);
	if (outcome >= RESOLVER_TIMEDOUT)
		take_before(q);
	settle(l);
}

static void
ask(struct lookup *l, const char *name, enum dnsreply_kind kind,
    const struct dnsreply_target *target)
{
	struct question *q = &l->questions[l->asked++];

	*q = (struct question){ .lookup = l,
		.kind = kind,
		.port = target != NULL ? target->port : l->dns.port,
		.weight = target != NULL ? target->weight : 1,
		.srv = target != NULL ? (uint32_t)(target - l->targets.list) + 1
				      : 0 };
	q->id = mix(0xcbf29ce484222325, name, strlen(name));
	q->id = mix(q->id, &q->port, sizeof q->port);
	q->id = mix(q->id, &q->kind, sizeof q->kind);
	l->open++;
	resolver_ask(l->resolver, name, kind, answered, q);
}

static void
ask_addresses(struct lookup *l, const char *name, enum app_dns_type type,
    const struct dnsreply_target *target)
{
	if (type != APP_DNS_AAAA)
		ask(l, name, DNSREPLY_A, target);
	if (type != APP_DNS_A)
		ask(l, name, DNSREPLY_AAAA, target);
}

/* Those of the lowest priority that were not asked yet (RFC 2782). */
static void
ask_targets(struct lookup *l)
{
	const struct dnsreply_target *list = l->targets.list;
	size_t first = l->next_target;

	while (l->next_target < l->targets.count &&
	    list[l->next_target].priority == list[first].priority) {
		const struct dnsreply_target *t = &list[l->next_target++];

		ask_addresses(l, t->host, APP_DNS_BOTH, t);
	}
}

/* ---- a round ---- */

static void
begin(struct lookup *l)
{
	l->asked = l->next_target = l->targets.count = l->now.count = 0;
	l->why = RESOLVER_ANSWERED;
	l->cancelled = l->fresh = false;
	l->ttl_s = UINT32_MAX;
	l->open = 1; /* this one: answers may come while it asks */
	if (l->dns.type == APP_DNS_SRV)
		ask(l, l->dns.name, DNSREPLY_SRV, NULL);
	else
		ask_addresses(l, l->dns.name, l->dns.type, NULL);
	settle(l);
}

static enum status
status_of(enum resolver_outcome why)
{
	switch (why) {
	case RESOLVER_ANSWERED:
	case RESOLVER_NO_NAME:
	case RESOLVER_NO_RECORDS:
		return STATUS_RESOLVE_EMPTY;
	case RESOLVER_TIMEDOUT:
		return STATUS_RESOLVE_TIMEDOUT;
	case RESOLVER_FAILED:
	case RESOLVER_CANCELLED:
		break;
	}
	return STATUS_RESOLVE_FAILED;
}

static void
schedule(struct lookup *l, uint32_t ms)
{
	l->last.again_ms = ms;
	ev_timer_stop(l->loop, &l->timer);
	ev_timer_set(&l->timer, ms / 1e3, 0);
	ev_timer_start(l->loop, &l->timer);
}

static void
end(struct lookup *l)
{
	uint32_t again_ms = dnsset_again_ms(l->ttl_s, l->dns.ttl_s), retry_ms;
	/* a name with IPv4 addresses only lacks nothing */
	bool whole = l->fresh && l->why < RESOLVER_TIMEDOUT;

	l->last.status = l->fresh ? STATUS_OPEN : status_of(l->why);
	l->last.why = whole ? RESOLVER_ANSWERED : l->why;
	l->failures = whole ? 0 : l->failures + 1;
	retry_ms = dnsset_retry_ms(l->failures, randombytes_random());
	if (l->fresh) {
		l->before = l->now;
		l->last.origins = dnsset_origins(
		    l->last.origin, APP_ORIGINS_MAX, l->now.list, l->now.count);
	}
	if (!whole && (retry_ms < again_ms || !l->fresh))
		again_ms = retry_ms;
	schedule(l, again_ms);
	l->done(l->arg, &l->last);
}

/* All that was asked so far is answered. */
static void
step(struct lookup *l)
{
	if (l->cancelled) {
		schedule(l, 0); /* other servers: the same once more */
		return;
	}
	if (l->now.count == 0 && l->next_target < l->targets.count) {
		l->open = 1;
		ask_targets(l);
		settle(l);
		return;
	}
	end(l);
}

static void
timer_event(struct ev_loop *loop, ev_timer *w, int events)
{
	(void)loop;
	(void)events;
	begin(w->data);
}

/* ---- making and ending ---- */

struct lookup *
lookup_new(struct resolver *resolver, struct ev_loop *loop,
    const struct app_dns *dns, lookup_done *done, void *arg)
{
	struct lookup *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->resolver = resolver;
	l->loop = loop;
	l->dns = *dns;
	l->done = done;
	l->arg = arg;
	ev_timer_init(&l->timer, timer_event, 0, 0);
	l->timer.data = l;
	return l;
}

void
lookup_inherit(struct lookup *l, const struct lookup *from)
{
	l->before = from->before;
	l->last = from->last;
	l->failures = from->failures;
}

void
lookup_start(struct lookup *l)
{
	ev_timer_start(l->loop, &l->timer);
}

const struct lookup_result *
lookup_last(const struct lookup *l)
{
	return &l->last;
}

void
lookup_free(struct lookup *l)
{
	if (l == NULL)
		return;
	l->done = NULL;
	if (l->open == 0)
		forget(l);
	else
		ev_timer_stop(l->loop, &l->timer);
}
