/* proxy/flow.h: who stays, who goes and when. */
#include "proxy/flow.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define START 1000000u /* ms */
#define IDLE 30000u

struct seen {
	uint32_t closed; /* calls of the callback */
	struct addr client;
	enum status status;
};

static void
on_closed(void *context, struct flow *f, enum status status)
{
	struct seen *s = context;

	s->closed++;
	s->client = f->client;
	s->status = status;
}

static struct addr
v4(uint32_t host, uint16_t port)
{
	struct addr a = { .in = { .sin_family = AF_INET } };

	a.in.sin_addr.s_addr = htonl(host);
	a.in.sin_port = htons(port);
	return a;
}

static struct addr
v6(uint8_t last, uint16_t port, uint32_t zone)
{
	struct addr a = { .in6 = { .sin6_family = AF_INET6 } };

	a.in6.sin6_addr.s6_addr[0] = 0xfe;
	a.in6.sin6_addr.s6_addr[1] = 0x80;
	a.in6.sin6_addr.s6_addr[15] = last;
	a.in6.sin6_port = htons(port);
	a.in6.sin6_scope_id = zone;
	return a;
}

static struct flow_table *
table(uint32_t capacity, struct seen *s)
{
	struct flow_table *t;

	memset(s, 0, sizeof *s);
	t = flow_table_new(capacity, START, on_closed, s);
	assert_non_null(t);
	return t;
}

static struct flow *
add(struct flow_table *t, struct addr client, struct addr edge, uint64_t now)
{
	struct flow *f = flow_add(t, &client, &edge, now, IDLE, true);

	assert_non_null(f);
	return f;
}

static struct flow *
find(struct flow_table *t, struct addr client, struct addr edge)
{
	return flow_find(t, &client, &edge);
}

static void
a_key_is_all_of_both_ends(void **state)
{
	const struct addr ends[][2] = {
		{ v4(1, 1), v4(9, 53) },
		{ v4(1, 2), v4(9, 53) },
		{ v4(2, 1), v4(9, 53) },
		{ v4(1, 1), v4(8, 53) },
		{ v4(1, 1), v4(9, 54) },
		{ v6(1, 1, 0), v6(9, 53, 0) },
		{ v6(1, 1, 2), v6(9, 53, 0) },
		{ v6(1, 1, 3), v6(9, 53, 0) },
		{ v6(2, 1, 0), v6(9, 53, 0) },
		{ v6(1, 2, 0), v6(9, 53, 0) },
		{ v6(1, 1, 0), v6(9, 54, 0) },
	};
	const size_t n = sizeof ends / sizeof ends[0];
	struct flow *flows[sizeof ends / sizeof ends[0]];
	struct seen s;
	struct flow_table *t = table(64, &s);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		assert_null(find(t, ends[i][0], ends[i][1]));
		flows[i] = add(t, ends[i][0], ends[i][1], START);
	}
	for (size_t i = 0; i < n; i++) {
		assert_ptr_equal(find(t, ends[i][0], ends[i][1]), flows[i]);
		assert_ptr_equal(flow_at(t, flow_index(t, flows[i])), flows[i]);
	}
	assert_int_equal(flow_count(t), n);
	flow_close(t, flows[3], STATUS_ORIGIN_REFUSED);
	assert_int_equal(s.status, STATUS_ORIGIN_REFUSED);
	for (size_t i = 0; i < n; i++)
		assert_ptr_equal(
		    find(t, ends[i][0], ends[i][1]), i == 3 ? NULL : flows[i]);
	flow_table_free(t);
	assert_int_equal(s.closed, n);
	assert_int_equal(s.status, STATUS_CLOSED);
}

static void
a_new_flow_is_blank(void **state)
{
	struct seen s;
	struct flow_table *t = table(1, &s);
	struct flow *f;

	(void)state;
	for (uint32_t round = 0; round < 3; round++) {
		f = add(t, v4(round, 1), v4(9, 53), START);
		assert_int_equal(f->origin_handle, -1);
		assert_false(f->replied);
		assert_int_equal(f->client_bytes + f->origin_bytes, 0);
		assert_int_equal(f->client_packets + f->origin_packets, 0);
		assert_int_equal(f->announced + f->listener, 0);
		assert_int_equal(flow_active_ms(f), START);
		f->announced = true;
		f->listener = 5;
		flow_touch(t, f, START, IDLE, true, 100);
		flow_touch(t, f, START, IDLE, false, 1);
		flow_touch(t, f, START + 7, IDLE / 2, false, 0);
		assert_int_equal(flow_active_ms(f), START + 7);
		assert_int_equal(f->origin_bytes, 100);
		assert_int_equal(f->origin_packets, 1);
		assert_int_equal(f->client_bytes, 1);
		assert_int_equal(f->client_packets, 2);
	}
	assert_int_equal(s.closed, 2);
	assert_int_equal(s.status, STATUS_UNAVAILABLE);
	flow_table_free(t);
}

static void
a_bad_capacity_is_refused(void **state)
{
	struct seen s;

	(void)state;
	errno = 0;
	assert_null(flow_table_new(0, START, on_closed, &s));
	assert_int_equal(errno, EINVAL);
	assert_null(flow_table_new(UINT32_MAX, START, on_closed, &s));
	flow_table_free(NULL);
}

/* A hundred thousand addresses that never get an answer, one after another. */
static void
spoofed_flood_leaves_replied_flows(void **state)
{
	enum { CAPACITY = 2000, LIVE = 1500 };
	struct seen s;
	struct flow_table *t = table(CAPACITY, &s);

	(void)state;
	for (uint32_t i = 0; i < LIVE; i++)
		flow_touch(t, add(t, v4(i, 7), v4(9, 53), START), START + 1,
		    IDLE, true, 10);
	for (uint32_t i = 0; i < 100000; i++) {
		add(t, v4(0x0a000000 + i, 1), v4(9, 53), START + 2);
		assert_true(flow_count(t) <= CAPACITY);
	}
	for (uint32_t i = 0; i < LIVE; i++)
		assert_non_null(find(t, v4(i, 7), v4(9, 53)));
	/* Of the others the newest remain. */
	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(
		    find(t, v4(0x0a000000 + i, 1), v4(9, 53)) != NULL,
		    i >= 100000 - (CAPACITY - LIVE));
	assert_int_equal(s.closed, 100000 - (CAPACITY - LIVE));
	assert_int_equal(s.status, STATUS_UNAVAILABLE);
	flow_table_free(t);
}

static void
full_of_replied_flows(void **state)
{
	struct addr late = v4(99, 1), edge = v4(9, 53);
	struct seen s;
	struct flow_table *t = table(64, &s);

	(void)state;
	for (uint32_t i = 0; i < 64; i++)
		flow_touch(
		    t, add(t, v4(i, 1), edge, START), START, IDLE, true, 1);
	assert_null(flow_add(t, &late, &edge, START, IDLE, false));
	assert_int_equal(s.closed, 0);
	assert_int_equal(flow_count(t), 64);
	/* The oldest is in use: one of the idle ones goes instead. */
	for (uint32_t i = 0; i < 64; i++)
		if (i != 5)
			flow_touch(t, find(t, v4(i, 1), edge), START + 9, IDLE,
			    false, 1);
	assert_non_null(flow_add(t, &late, &edge, START + 9, IDLE, true));
	assert_int_equal(s.closed, 1);
	assert_int_equal(ntohl(s.client.in.sin_addr.s_addr), 5);
	flow_table_free(t);
}

/* Or none of many newcomers would live to see its reply. */
static void
newcomers_get_room_where_all_have_had_replies(void **state)
{
	struct seen s;
	struct flow_table *t = table(1000, &s);
	uint64_t now = START + 10000;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		flow_touch(t, add(t, v4(i, 1), v4(9, 53), START), START, IDLE,
		    true, 1);
	for (uint32_t i = 0; i < 62; i++) {
		add(t, v4(i, 2), v4(9, 53), now);
		assert_int_equal(s.closed, 62);
	}
	add(t, v4(62, 2), v4(9, 53), now);
	assert_int_equal(s.closed, 63);
	assert_null(find(t, v4(0, 2), v4(9, 53))); /* no reply, and oldest */
	for (uint32_t i = 0; i < 1000; i++) {
		struct flow *f = flow_at(t, i);

		flow_touch(t, f, now, IDLE, true, 1);
	}
	add(t, v4(63, 2), v4(9, 53), now); /* nobody is quiet */
	assert_int_equal(s.closed, 64);
	flow_table_free(t);
}

/* Never early, at most a tick late, whatever the idle time. */
static void
expires_when_due(void **state)
{
	const uint32_t idle[] = { 0, 1, 15, 16, 17, 1000, 30000, 65519, 65520,
		65536, 65537, 100000, 600000 };

	(void)state;
	for (size_t i = 0; i < sizeof idle / sizeof idle[0]; i++) {
		struct addr client = v4(1, 1), edge = v4(9, 53);
		struct seen s;
		struct flow_table *t = table(4, &s);
		uint64_t now = START + 3;

		flow_add(t, &client, &edge, now, idle[i], true);
		while (s.closed == 0 && now < START + 3 + 700000) {
			now++;
			flow_expire(t, now);
		}
		assert_int_equal(s.closed, 1);
		assert_int_equal(s.status, STATUS_CLOSED);
		assert_in_range(now - (START + 3), idle[i],
		    idle[i] + (uint64_t)FLOW_TICK_MS);
		flow_table_free(t);
	}
}

static void
touching_puts_expiry_off(void **state)
{
	struct addr client = v4(1, 1), edge = v4(9, 53);
	struct seen s;
	struct flow_table *t = table(4, &s);
	struct flow *f = flow_add(t, &client, &edge, START, 100, true);
	uint64_t now;

	(void)state;
	for (now = START; now < START + 5000; now += 50) {
		assert_int_equal(flow_expire(t, now), 0);
		flow_touch(t, f, now, 100, now % 100 == 0, 1);
	}
	assert_int_equal(flow_expire(t, now + 49), 0);
	assert_int_equal(flow_expire(t, now + 50 + FLOW_TICK_MS), 1);
	assert_int_equal(flow_count(t), 0);
	flow_table_free(t);
}

static void
touching_can_bring_expiry_forward(void **state)
{
	struct addr client = v4(1, 1), edge = v4(9, 53);
	struct seen s;
	struct flow_table *t = table(4, &s);
	struct flow *f = flow_add(t, &client, &edge, START, 60000, true);

	(void)state;
	flow_touch(t, f, START, 100, true, 1);
	assert_int_equal(flow_expire(t, START + 99), 0);
	assert_int_equal(flow_expire(t, START + 100 + FLOW_TICK_MS), 1);
	flow_table_free(t);
}

/* An hour without a call: bounded work, then all are gone. */
static void
expiry_after_a_pause_is_bounded(void **state)
{
	struct seen s;
	struct flow_table *t = table(5000, &s);
	uint64_t now = START + 3600000;
	size_t closed = 0;

	(void)state;
	for (uint32_t i = 0; i < 5000; i++)
		add(t, v4(i, 1), v4(9, 53), START);
	for (int call = 0; call < 10; call++) {
		size_t n = flow_expire(t, now);

		assert_true(n <= 1024);
		closed += n;
	}
	assert_int_equal(closed, 5000);
	assert_int_equal(flow_count(t), 0);
	/* And an empty table catches up at once. */
	add(t, v4(1, 1), v4(9, 53), now * 2);
	assert_int_equal(flow_expire(t, now * 2 + IDLE - 1), 0);
	for (int call = 0; call < 2000 && flow_count(t) > 0; call++)
		flow_expire(t, now * 2 + IDLE + FLOW_TICK_MS);
	assert_int_equal(flow_count(t), 0);
	flow_table_free(t);
}

/* The next one with its key is another, and both end by themselves. */
static void
unbound_ones_live_on(void **state)
{
	struct seen s;
	struct flow_table *t = table(8, &s);
	struct flow *old = add(t, v4(1, 1), v4(9, 53), START), *young;

	(void)state;
	flow_unbind(t, old);
	flow_unbind(t, old);
	assert_null(find(t, v4(1, 1), v4(9, 53)));
	assert_int_equal(flow_count(t), 1);
	young = add(t, v4(1, 1), v4(9, 53), START + 1000);
	assert_ptr_not_equal(old, young);
	assert_ptr_equal(find(t, v4(1, 1), v4(9, 53)), young);
	flow_touch(t, old, START + 2000, IDLE, true, 1);
	flow_close(t, old, STATUS_CLOSED);
	assert_ptr_equal(find(t, v4(1, 1), v4(9, 53)), young);
	/* its place is taken by one that is found again */
	old = add(t, v4(2, 1), v4(9, 53), START + 2000);
	assert_ptr_equal(find(t, v4(2, 1), v4(9, 53)), old);
	flow_unbind(t, young);
	while (flow_count(t) > 0)
		flow_expire(t, START + 4 * IDLE);
	assert_int_equal(s.closed, 3);
	flow_table_free(t);
}

/* Who was named by a peer is somebody else than who came by itself. */
static void
a_peer_is_part_of_the_key(void **state)
{
	const struct addr client = v4(1, 1), edge = v4(9, 53);
	const struct addr peers[] = { v4(7, 1), v4(7, 2), v6(7, 1, 0) };
	struct seen s;
	struct flow_table *t = table(8, &s);
	struct flow *direct = add(t, client, edge, START), *named[3];

	(void)state;
	assert_null(flow_via(t, direct));
	for (size_t i = 0; i < 3; i++) {
		assert_null(flow_find_via(t, &client, &edge, &peers[i]));
		named[i] = add(t, client, edge, START);
		assert_true(addr_equal(
		    &flow_name(t, named[i], &peers[i])->peer, &peers[i]));
	}
	for (size_t i = 0; i < 3; i++) {
		assert_ptr_equal(
		    flow_find_via(t, &client, &edge, &peers[i]), named[i]);
		assert_true(
		    addr_equal(&flow_via(t, named[i])->peer, &peers[i]));
	}
	assert_ptr_equal(find(t, client, edge), direct);
	flow_close(t, named[1], STATUS_CLOSED);
	assert_null(flow_find_via(t, &client, &edge, &peers[1]));
	flow_close(t, direct, STATUS_CLOSED);
	assert_null(find(t, client, edge));
	/* a place that is used again is nobody's */
	assert_null(flow_via(t, add(t, client, edge, START)));
	assert_ptr_equal(flow_find_via(t, &client, &edge, &peers[2]), named[2]);
	flow_table_free(t);
	assert_int_equal(s.closed, 5);
}

/* The kernel has the flow, and is asked before it is judged. */
static struct flow_table *judged_table;
static uint64_t judged_at_ms; /* when the kernel saw it last */

static void
on_judged(void *context, struct flow *f)
{
	(void)context;
	flow_carried(judged_table, f, judged_at_ms, IDLE, true, 2, 100);
}

static void
carried_flows_are_asked_after(void **state)
{
	struct seen s;
	struct flow_table *t = judged_table = table(8, &s);
	struct flow *f = add(t, v4(1, 1), v4(2, 2), START);

	(void)state;
	flow_table_judge(t, on_judged);
	flow_touch(t, f, START, IDLE, true, 10);
	judged_at_ms = START + 20000;
	/* due by what is known here, but it was heard of since */
	assert_int_equal(flow_expire(t, START + IDLE + FLOW_TICK_MS), 0);
	assert_int_equal(f->origin_bytes, 110);
	assert_int_equal(f->origin_packets, 3);
	assert_int_equal(flow_active_ms(f), START + 20000);
	assert_int_equal(f->expires_ms, START + 20000 + IDLE);
	/* what comes late takes nothing away */
	flow_carried(t, f, START + 5, IDLE, false, 1, 7);
	assert_int_equal(f->client_bytes, 7);
	assert_int_equal(flow_active_ms(f), START + 20000);
	assert_int_equal(
	    flow_expire(t, START + 20000 + IDLE + FLOW_TICK_MS), 1);
	assert_int_equal(s.closed, 1);
	flow_table_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_is_all_of_both_ends),
		cmocka_unit_test(a_new_flow_is_blank),
		cmocka_unit_test(a_bad_capacity_is_refused),
		cmocka_unit_test(spoofed_flood_leaves_replied_flows),
		cmocka_unit_test(full_of_replied_flows),
		cmocka_unit_test(newcomers_get_room_where_all_have_had_replies),
		cmocka_unit_test(expires_when_due),
		cmocka_unit_test(touching_puts_expiry_off),
		cmocka_unit_test(touching_can_bring_expiry_forward),
		cmocka_unit_test(expiry_after_a_pause_is_bounded),
		cmocka_unit_test(carried_flows_are_asked_after),
		cmocka_unit_test(unbound_ones_live_on),
		cmocka_unit_test(a_peer_is_part_of_the_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
