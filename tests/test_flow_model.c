/* proxy/flow.h: a random trial, beside a simple model. */
#include "proxy/flow.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define START 1000000u /* ms */

static struct addr
client_of(uint32_t i)
{
	struct addr a = { .in = { .sin_family = AF_INET, .sin_port = 5 } };

	a.in.sin_addr.s_addr = htonl(i);
	return a;
}

#define CLIENTS 60u
#define SLOTS 40u

struct model {
	bool live, replied;
	uint64_t born, active, expires, bytes[2];
};

struct trial {
	struct model m[CLIENTS];
	struct flow_table *t;
	uint64_t now, births;
	uint32_t live;
	/* What the next close must be; NULL: expiry. */
	bool evicting, by_hand;
	unsigned int evicted;
};

static uint32_t random_state;

static uint32_t
draw(uint32_t below)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % below;
}

static void
trial_closed(void *context, struct flow *f, enum status status)
{
	struct trial *r = context;
	struct model *m = &r->m[ntohl(f->client.in.sin_addr.s_addr)];

	assert_true(m->live);
	assert_int_equal(f->replied, m->replied);
	assert_int_equal(f->client_bytes, m->bytes[0]);
	assert_int_equal(f->origin_bytes, m->bytes[1]);
	assert_int_equal(f->expires_ms, m->expires);
	if (r->evicting && r->evicted++ > 0) {
		/* more than one: of those with replies, when they are quiet */
		assert_int_equal(status, STATUS_UNAVAILABLE);
		assert_true(m->replied && m->active + 1000 <= r->now);
	} else if (r->evicting) {
		assert_int_equal(status, STATUS_UNAVAILABLE);
		for (uint32_t i = 0; i < CLIENTS; i++) {
			const struct model *o = &r->m[i];

			/* Nobody without replies was older. */
			if (o != m && o->live && !o->replied)
				assert_true(!m->replied && o->born > m->born);
		}
	} else if (!r->by_hand) {
		assert_int_equal(status, STATUS_CLOSED);
		assert_true(m->expires <= r->now);
	}
	m->live = false;
	r->live--;
}

static void
trial_add(struct trial *r, uint32_t i)
{
	struct addr client = client_of(i), edge = client_of(9);
	bool may = draw(2) == 0, any_new = false;
	uint32_t idle = draw(4) == 0 ? 100000 : draw(3000);
	struct flow *f;

	for (uint32_t k = 0; k < CLIENTS; k++)
		any_new |= r->m[k].live && !r->m[k].replied;
	r->evicting = r->live == SLOTS && (may || any_new);
	r->evicted = 0;
	f = flow_add(r->t, &client, &edge, r->now, idle, may);
	assert_int_equal(r->evicted > 0, r->evicting);
	assert_true(r->evicted <= SLOTS / 16);
	r->evicting = false;
	assert_int_equal(f != NULL, r->live < SLOTS);
	if (f == NULL)
		return;
	r->m[i] = (struct model){
		.live = true,
		.born = ++r->births,
		.active = r->now,
		.expires = r->now + idle,
	};
	r->live++;
}

static void
trial_touch(struct trial *r, uint32_t i, struct flow *f)
{
	bool from_origin = draw(3) == 0;
	uint32_t idle = draw(5000), bytes = draw(1500);

	flow_touch(r->t, f, r->now, idle, from_origin, bytes);
	r->m[i].replied |= from_origin;
	r->m[i].bytes[from_origin] += bytes;
	r->m[i].active = r->now;
	r->m[i].expires = r->now + idle;
}

static void
trial_expire(struct trial *r)
{
	r->now += draw(20) == 0 ? draw(200000) : draw(40);
	for (int call = 0; call < 64; call++)
		flow_expire(r->t, r->now);
	for (uint32_t i = 0; i < CLIENTS; i++)
		if (r->m[i].live)
			assert_true(r->m[i].expires + FLOW_TICK_MS > r->now);
}

static void
trial_step(struct trial *r)
{
	uint32_t i = draw(CLIENTS), what = draw(10);
	struct addr client = client_of(i), edge = client_of(9);
	struct flow *f = flow_find(r->t, &client, &edge);

	assert_int_equal(f != NULL, r->m[i].live);
	assert_int_equal(flow_count(r->t), r->live);
	if (f == NULL && what < 6)
		trial_add(r, i);
	else if (f != NULL && what < 6)
		trial_touch(r, i, f);
	else if (f != NULL && what == 6) {
		r->by_hand = true;
		flow_close(r->t, f, STATUS_ORIGIN_REFUSED);
		r->by_hand = false;
		assert_false(r->m[i].live);
	} else if (what > 7)
		trial_expire(r);
}

static void
agrees_with_a_simple_model(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 8; seed++) {
		struct trial r = { .now = START };

		random_state = seed;
		r.t = flow_table_new(SLOTS, START, trial_closed, &r);
		assert_non_null(r.t);
		for (int step = 0; step < 20000; step++)
			trial_step(&r);
		r.by_hand = true;
		flow_table_free(r.t);
		assert_int_equal(r.live, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_a_simple_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
