/* Which origins there are, which are up. Time is the test's own. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/origin.h"
#include "tests/sockets.h"

#define S 1000000000ull

static const enum app_balance all[] = { APP_ROUND_ROBIN, APP_LEAST_CONNECTIONS,
	APP_SOURCE_HASH };

/* Origin `n` of all that a test may name. */
static struct app_origin
origin(unsigned int n)
{
	struct app_origin o = { .weight = 1 };

	o.address.in.sin_family = AF_INET;
	o.address.in.sin_addr.s_addr = htonl(0xc0000200 + n);
	addr_set_port(&o.address, 53);
	return o;
}

#define EJECT_AFTER 3
#define EJECT_S 10

/* With the defaults of l4proxyd.yaml. */
static struct app *
make_app(enum app_balance balance, unsigned int origins)
{
	struct app *a = calloc(1, sizeof *a);

	assert_non_null(a);
	a->balance = balance;
	a->port_first = a->port_last = 53;
	a->eject = (struct app_eject){ EJECT_AFTER, EJECT_S };
	a->check.rise = 2;
	a->check.fall = 3;
	for (unsigned int i = 0; i < origins; i++)
		a->origin[a->origins++] = origin(i);
	return a;
}

static struct origins *
make_from(struct app *a)
{
	struct origins *o = origins_new(a);

	assert_non_null(o);
	free(a);
	return o;
}

static struct origins *
make(enum app_balance balance, unsigned int origins)
{
	return make_from(make_app(balance, origins));
}

/* `names` one letter each: "ac" is the first and the third. */
static int
replace(struct origins *o, const char *names)
{
	struct app_origin list[APP_ORIGINS_MAX];
	size_t n = 0;

	for (; names[n] != '\0'; n++)
		list[n] = origin((unsigned int)(names[n] - 'a'));
	return origins_replace(o, list, n);
}

static void
health(struct origins *o, unsigned int n, bool up)
{
	struct app_origin a = origin(n);

	/* rise 2 and fall 3 */
	for (int i = 0; i < (up ? 2 : 3); i++)
		origins_checked(o, &a.address, up ? NULL : "test", 7);
}

static int
begin_at(struct origins *o, uint64_t tried, uint64_t now_ns)
{
	struct addr client = sockets_addr("10.0.0.1:1"), to;

	return origins_begin(o, &client, 53, tried, now_ns, &to);
}

/* The slot that would be next. */
static int
choose(struct origins *o, uint64_t tried, uint64_t now_ns)
{
	int slot = begin_at(o, tried, now_ns);

	origins_end(o, slot);
	return slot;
}

static struct origin_view
look(struct origins *o, int slot, uint64_t now_ns)
{
	struct origin_view v[APP_ORIGINS_MAX];
	size_t n = origins_view(o, v, APP_ORIGINS_MAX, now_ns);

	for (size_t i = 0; i < n; i++)
		if (v[i].slot == slot)
			return v[i];
	fail_msg("slot %d is not in use", slot);
	return v[0];
}

static size_t
used(struct origins *o)
{
	struct origin_view v[APP_ORIGINS_MAX];

	return origins_view(o, v, APP_ORIGINS_MAX, 0);
}

/* ---- who gets it ---- */

static void
test_address(void **state)
{
	static const struct {
		uint16_t first;
		const char *origin; /* with its first port */
		uint16_t edge_port;
		const char *to;
	} rows[] = {
		{ 22, "192.0.2.1:2222", 22, "192.0.2.1:2222" },
		{ 1000, "192.0.2.1:3000", 1000, "192.0.2.1:3000" },
		{ 1000, "192.0.2.1:3000", 1005, "192.0.2.1:3005" },
		{ 1000, "192.0.2.1:3000", 2000, "192.0.2.1:4000" },
		{ 60000, "[2001:db8::1]:1", 65535, "[2001:db8::1]:5536" },
		{ 1, "127.0.0.2:1", 65535, "127.0.0.2:65535" },
		{ 1, "127.0.0.2:60000", 5536, "127.0.0.2:65535" },
	};
	struct addr client = sockets_addr("10.0.0.1:1"), to;
	struct app *a = calloc(1, sizeof *a);

	(void)state;
	assert_non_null(a);
	a->origins = 1;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char buf[ADDR_STR_LEN];
		struct origins *o;

		a->port_first = rows[i].first;
		a->origin[0].address = sockets_addr(rows[i].origin);
		o = origins_new(a);
		assert_non_null(o);
		assert_int_equal(
		    origins_begin(o, &client, rows[i].edge_port, 0, S, &to), 0);
		assert_string_equal(addr_format(buf, &to), rows[i].to);
		/* the view has it as it was written */
		to = look(o, 0, S).address;
		assert_string_equal(addr_format(buf, &to), rows[i].origin);
		origins_free(o);
	}
	free(a);
}

/* Sessions are counted where the balance looks for them. */
static void
test_counts(void **state)
{
	struct origins *o = make(APP_LEAST_CONNECTIONS, 2);
	int first = begin_at(o, 0, S), second = begin_at(o, 0, S);

	(void)state;
	assert_int_equal(first + second, 1);
	assert_int_equal(look(o, 0, S).live, 1);
	assert_int_equal(look(o, 1, S).live, 1);
	origins_end(o, second);
	assert_int_equal(begin_at(o, 0, S), second);
	origins_end(o, first);
	origins_end(o, -1);
	assert_int_equal(look(o, first, S).live, 0);
	assert_int_equal(look(o, first, S).total, 1);
	assert_int_equal(look(o, second, S).total, 2);
	origins_free(o);
}

/* Each rule of balance is the one that was asked for. */
static void
test_balances(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 3);

	(void)state;
	for (int i = 0; i < 9; i++)
		assert_int_equal(choose(o, 0, S), i % 3);
	origins_free(o);
	o = make(APP_SOURCE_HASH, 8);
	for (int first = choose(o, 0, S), i = 0; i < 9; i++)
		assert_int_equal(choose(o, 0, S), first);
	origins_free(o);
}

/* Failover: each origin once, the ejected and then the down one last. */
static void
test_tried(void **state)
{
	(void)state;
	for (size_t b = 0; b < sizeof all / sizeof all[0]; b++) {
		struct origins *o = make(all[b], 5);
		uint64_t tried = 0;

		health(o, 0, false);
		for (int i = 0; i < EJECT_AFTER; i++)
			origins_failed(o, 3, 100 * S);
		for (int n = 0; n < 5; n++) {
			int got = choose(o, tried, 101 * S);

			assert_in_range(got, 0, 4);
			assert_int_equal(tried >> got & 1, 0);
			if (n == 3)
				assert_int_equal(got, 3);
			if (n == 4)
				assert_int_equal(got, 0);
			tried |= 1ull << got;
		}
		assert_int_equal(choose(o, tried, 101 * S), -1);
		assert_int_equal(errno, EAGAIN);
		origins_free(o);
	}
}

/* All down: balanced as if all were up. All ejected: the soonest back. */
static void
test_last_known(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 3);

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		health(o, i, false);
	for (int i = 0; i < 9; i++)
		assert_int_equal(choose(o, 0, S), i % 3);
	for (unsigned int i = 0; i < 3; i++)
		health(o, i, true);
	for (int i = 0; i < EJECT_AFTER; i++) {
		origins_failed(o, 0, 120 * S);
		origins_failed(o, 1, 110 * S);
		origins_failed(o, 2, 130 * S);
	}
	assert_int_equal(choose(o, 0, 111 * S), 1);
	assert_int_equal(choose(o, 1u << 1, 111 * S), 0);
	health(o, 1, false);
	assert_int_equal(choose(o, 0, 111 * S), 0);
	origins_free(o);
}

/* ---- which are up ---- */

/* After the third failure in a row 10 s, then 20, 40 … 320. */
static void
test_ejection(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 2);
	uint64_t now = 1000 * S, out_s = EJECT_S;

	(void)state;
	origins_failed(o, 0, now);
	origins_failed(o, 0, now);
	assert_int_equal(choose(o, 0, now), 0);
	assert_int_equal(choose(o, 0, now), 1);
	/* a success in between starts the count again */
	origins_worked(o, 0);
	origins_failed(o, 0, now);
	origins_failed(o, 0, now);
	assert_int_equal(look(o, 0, now).ejected_ns, 0);
	for (int round = 0; round < 8; round++) {
		origins_failed(o, 0, now);
		/* failures that were under way do not add to it */
		for (int i = 0; i < 50; i++)
			origins_failed(o, 0, now + S);
		assert_true(look(o, 0, now).ejected_ns == out_s * S);
		for (int i = 0; i < 4; i++)
			assert_int_equal(choose(o, 0, now + out_s * S - 1), 1);
		now += out_s * S;
		assert_true(choose(o, 0, now) == 0 || choose(o, 0, now) == 0);
		out_s = round < 5 ? out_s * 2 : 32 * EJECT_S;
	}
	assert_true(look(o, 0, now).failed > 400);
	origins_worked(o, 0);
	assert_int_equal(look(o, 0, now).failures, 0);
	assert_int_equal(look(o, 0, now).ejected_ns, 0);
	origins_failed(o, -1, now);
	origins_worked(o, -1);
	origins_free(o);
}

static void
test_ejection_settings(void **state)
{
	struct app *a = make_app(APP_ROUND_ROBIN, 2);
	struct origins *o;

	(void)state;
	a->eject = (struct app_eject){ 1, 2 };
	o = make_from(a);
	origins_failed(o, 1, S);
	assert_true(look(o, 1, S).ejected_ns == 2 * S);
	origins_failed(o, 1, 3 * S);
	assert_true(look(o, 1, 3 * S).ejected_ns == 4 * S);
	origins_free(o);
	/* 0: off */
	a = make_app(APP_ROUND_ROBIN, 2);
	a->eject.after = 0;
	o = make_from(a);
	for (int i = 0; i < 100; i++)
		origins_failed(o, 1, S);
	assert_int_equal(look(o, 1, S).ejected_ns, 0);
	assert_int_equal(look(o, 1, S).failures, 100);
	origins_free(o);
}

/* origins_down: refuse. Nobody goes to an origin that is down. */
static void
test_refuse(void **state)
{
	struct app *a = make_app(APP_ROUND_ROBIN, 3);
	struct origins *o;

	(void)state;
	a->origins_down = APP_DOWN_REFUSE;
	o = make_from(a);
	health(o, 0, false);
	for (int i = 0; i < 6; i++)
		assert_int_not_equal(choose(o, 0, S), 0);
	assert_int_equal(choose(o, 6, S), -1);
	assert_int_equal(errno, EAGAIN);
	/* ejected is not down */
	for (int i = 0; i < EJECT_AFTER; i++)
		origins_failed(o, 1, S);
	assert_int_equal(choose(o, 4, S), 1);
	health(o, 1, false);
	health(o, 2, false);
	assert_int_equal(choose(o, 0, S), -1);
	assert_int_equal(errno, EHOSTDOWN);
	health(o, 1, true);
	assert_int_equal(choose(o, 0, S), 1);
	assert_int_equal(replace(o, ""), 0);
	assert_int_equal(choose(o, 0, S), -1);
	assert_int_equal(errno, ENOENT);
	origins_free(o);
}

static void
test_health(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 2);

	(void)state;
	health(o, 1, false);
	health(o, 7, false); /* nobody */
	for (int i = 0; i < 4; i++)
		assert_int_equal(choose(o, 0, S), 0);
	assert_true(look(o, 0, S).up && !look(o, 1, S).up);
	health(o, 1, true);
	assert_true(choose(o, 0, S) == 1 || choose(o, 0, S) == 1);
	origins_free(o);
}

/* '-' a check that goes wrong, '+' one that goes well; then what follows:
 * ' ' nothing, 'v' it falls, '^' it rises. */
static void
test_rise_and_fall(void **state)
{
	static const char rows[][32] = { "- - -v- + +^+ ", "- - + - - + - - -v",
		"- - -v+ - + - - - + +^", "+ + + + - - -v+ +^- - -v+ +^" };
	struct app_origin a = origin(0);

	(void)state;
	for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
		struct origins *o = make(APP_ROUND_ROBIN, 1);

		for (size_t i = 0; rows[r][i] != '\0'; i += 2) {
			enum origin_change got = origins_checked(o, &a.address,
			    rows[r][i] == '-' ? "test" : NULL, i + 1);
			char is = " ^v"[got];

			if (is != rows[r][i + 1])
				fail_msg("%s: '%c' at %zu", rows[r], is, i);
		}
		origins_free(o);
	}
}

static void
test_check_is_shown(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 2);
	struct app_origin a = origin(1), other = origin(9);
	char longer[200];

	(void)state;
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	assert_true(look(o, 1, S).up && look(o, 1, S).since_us == 0);
	assert_string_equal(look(o, 1, S).why, "");
	origins_checked(o, &a.address, longer, 40);
	origins_checked(o, &a.address, longer, 41);
	assert_int_equal(
	    origins_checked(o, &a.address, longer, 42), ORIGIN_FELL);
	origins_checked(o, &a.address, NULL, 43);
	assert_false(look(o, 1, S).up);
	assert_int_equal(look(o, 1, S).since_us, 42);
	assert_int_equal(look(o, 1, S).checks, 4);
	assert_int_equal(look(o, 1, S).checks_failed, 3);
	assert_int_equal(strlen(look(o, 1, S).why), ORIGIN_WHY_LEN - 1);
	assert_int_equal(look(o, 0, S).checks, 0);
	/* nobody's */
	for (int i = 0; i < 5; i++)
		assert_int_equal(origins_checked(o, &other.address, "test", 50),
		    ORIGIN_SAME);
	/* what brings it up ends its ejection, too */
	for (int i = 0; i < EJECT_AFTER; i++)
		origins_failed(o, 1, S);
	assert_true(look(o, 1, S).ejected_ns > 0);
	assert_int_equal(origins_checked(o, &a.address, NULL, 60), ORIGIN_ROSE);
	assert_int_equal(look(o, 1, S).since_us, 60);
	assert_int_equal(look(o, 1, S).ejected_ns, 0);
	origins_free(o);
}

/* A reload that changes the service: who was down is not tried again. */
static void
test_inherit(void **state)
{
	struct origins *was = make(APP_SOURCE_HASH, 8), *now;
	struct app *a = make_app(APP_SOURCE_HASH, 8);
	int first = choose(was, 0, S);

	(void)state;
	health(was, 3, false);
	origins_failed(was, 4, S);
	a->origin[5] = origin(30);
	a->origin[6] = origin(3); /* another place in the list */
	a->origin[3] = origin(6);
	now = make_from(a);
	origins_inherit(now, was);
	assert_true(look(now, 3, S).up);
	assert_false(look(now, 6, S).up);
	assert_string_equal(look(now, 6, S).why, "test");
	assert_int_equal(look(now, 6, S).since_us, 7);
	assert_int_equal(look(now, 4, S).failures, 1);
	assert_int_equal(look(now, 0, S).live, 0);
	origins_free(now);
	/* the same origins: the same client goes to the same one */
	for (int i = 0; i < 20; i++) {
		now = make(APP_SOURCE_HASH, 8);
		origins_inherit(now, was);
		if (first != 3)
			assert_int_equal(choose(now, 0, S), first);
		origins_free(now);
	}
	/* by DNS: as soon as it is named again, if it is */
	now = make(APP_SOURCE_HASH, 0);
	origins_inherit(now, was);
	assert_int_equal(choose(now, 0, S), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(replace(now, "dax"), 0);
	assert_int_equal(used(now), 3);
	assert_false(look(now, 3, S).up);
	assert_true(look(now, 0, S).up && look(now, 0, S).listed);
	origins_free(now);
	/* without checks nobody would bring it up again */
	a = make_app(APP_SOURCE_HASH, 8);
	a->check.rise = a->check.fall = 0;
	now = make_from(a);
	origins_inherit(now, was);
	assert_true(look(now, 3, S).up);
	origins_free(now);
	origins_free(was);
}

/* ---- which there are ---- */

static void
test_none(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 0);

	(void)state;
	assert_int_equal(choose(o, 0, S), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(replace(o, "a"), 0);
	assert_int_equal(choose(o, 0, S), 0);
	assert_int_equal(replace(o, ""), 0);
	assert_int_equal(choose(o, 0, S), -1);
	assert_int_equal(used(o), 0);
	origins_free(o);
}

/* Order does not matter; who stays keeps slot, counts and state. */
static void
test_replace_keeps(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 3);

	(void)state;
	health(o, 1, false);
	origins_failed(o, 2, S);
	assert_int_equal(begin_at(o, 3, S), 2);
	assert_int_equal(replace(o, "dcb"), 0);
	assert_int_equal(used(o), 3);
	assert_false(look(o, 1, S).up);
	assert_int_equal(look(o, 2, S).failures, 1);
	assert_int_equal(look(o, 2, S).live, 1);
	assert_int_equal(look(o, 2, S).total, 1);
	/* the place of one that had no sessions is free at once */
	assert_true(look(o, 0, S).up);
	assert_int_equal(look(o, 0, S).total, 0);
	assert_int_equal(
	    ntohl(look(o, 0, S).address.in.sin_addr.s_addr) & 0xff, 3);
	origins_free(o);
}

/* One that is gone serves those it has, and nobody else. */
static void
test_replace_drains(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 2);

	(void)state;
	assert_int_equal(begin_at(o, 0, S), 0);
	assert_int_equal(begin_at(o, 2, S), 0);
	assert_int_equal(replace(o, "bc"), 0);
	assert_int_equal(used(o), 3);
	assert_false(look(o, 0, S).listed);
	for (int i = 0; i < 10; i++)
		assert_int_not_equal(choose(o, 0, S), 0);
	/* nor when nothing else is left */
	assert_int_equal(choose(o, 6, S), -1);
	assert_int_equal(errno, EAGAIN);
	origins_failed(o, 0, S);
	origins_end(o, 0);
	assert_int_equal(look(o, 0, S).live, 1);
	/* back before the last one ended: as it was */
	assert_int_equal(replace(o, "abc"), 0);
	assert_true(look(o, 0, S).listed);
	assert_int_equal(look(o, 0, S).failures, 1);
	assert_int_equal(replace(o, "bc"), 0);
	origins_end(o, 0);
	assert_int_equal(used(o), 2);
	/* and back later: as if new */
	assert_int_equal(replace(o, "abc"), 0);
	assert_int_equal(look(o, 0, S).failures, 0);
	origins_free(o);
}

static void
test_replace_full(void **state)
{
	struct app_origin list[APP_ORIGINS_MAX + 1];
	struct origins *o = make(APP_ROUND_ROBIN, 0);
	uint64_t tried = 0;

	(void)state;
	for (unsigned int i = 0; i <= APP_ORIGINS_MAX; i++)
		list[i] = origin(i);
	assert_int_equal(replace(o, "a"), 0);
	assert_int_equal(origins_replace(o, list, APP_ORIGINS_MAX + 1), -1);
	assert_int_equal(errno, E2BIG);
	assert_int_equal(used(o), 1);
	assert_int_equal(origins_replace(o, list, APP_ORIGINS_MAX), 0);
	assert_int_equal(used(o), APP_ORIGINS_MAX);
	for (int i = 0; i < APP_ORIGINS_MAX; i++)
		tried |= 1ull << begin_at(o, tried, S);
	assert_true(tried == UINT64_MAX);
	/* all slots have a session: there is no room for a new one */
	assert_int_equal(origins_replace(o, list + 1, APP_ORIGINS_MAX), -1);
	assert_int_equal(errno, ENOSPC);
	assert_false(look(o, 0, S).listed);
	assert_true(look(o, 63, S).listed);
	origins_end(o, 0);
	assert_int_equal(origins_replace(o, list + 1, APP_ORIGINS_MAX), 0);
	assert_true(look(o, 0, S).listed);
	origins_free(o);
}

static void
test_replace_weights(void **state)
{
	struct app_origin list[3] = { origin(0), origin(1), origin(1) };
	struct origins *o = make(APP_ROUND_ROBIN, 0);
	int second = 0;

	(void)state;
	list[1].weight = 0; /* counts as 1 */
	/* named twice, when new and when known */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(origins_replace(o, list, 3), 0);
		assert_int_equal(used(o), 2);
		assert_int_equal(look(o, 0, S).weight, 1);
		assert_int_equal(look(o, 1, S).weight, 2);
	}
	list[2].weight = 8;
	assert_int_equal(origins_replace(o, list, 3), 0);
	for (int i = 0; i < 100; i++)
		second += choose(o, 0, S);
	assert_int_equal(second, 90);
	origins_free(o);
}

static void
test_view_is_bounded(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 5);
	struct origin_view v[3] = { 0 };

	(void)state;
	assert_int_equal(origins_view(o, v, 2, S), 2);
	assert_int_equal(v[1].slot, 1);
	assert_int_equal(v[2].address.sa.sa_family, AF_UNSPEC);
	origins_free(o);
}

/* ---- from several threads ---- */

#define THREADS 4
#define SESSIONS 20000

static void *
sessions(void *context)
{
	struct origins *o = context;

	for (int i = 0; i < SESSIONS; i++) {
		int slot = begin_at(o, 0, S);

		if (i % 7 == 0)
			origins_failed(o, slot, S);
		else
			origins_worked(o, slot);
		origins_end(o, slot);
	}
	return NULL;
}

/* Workers come and go, names change: no count is lost. */
static void
test_threads(void **state)
{
	struct origins *o = make(APP_LEAST_CONNECTIONS, 4);
	struct origin_view v[APP_ORIGINS_MAX];
	pthread_t thread[THREADS];
	size_t n;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&thread[i], NULL, sessions, o), 0);
	for (int i = 0; i < 2000; i++) {
		health(o, (unsigned int)i % 6, i % 3 == 0);
		assert_int_equal(replace(o, i % 2 ? "abcd" : "cdef"), 0);
		n = origins_view(o, v, APP_ORIGINS_MAX, S);
		assert_in_range(n, 4, 6);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	n = origins_view(o, v, APP_ORIGINS_MAX, S);
	assert_int_equal(n, 4);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(v[i].live, 0);
	origins_free(o);
}

/* SRV weights of millions, then plain ones: nobody starves meanwhile. */
static void
test_replace_weights_of_another_scale(void **state)
{
	struct origins *o = make(APP_ROUND_ROBIN, 2);
	struct app_origin list[2] = { origin(0), origin(1) };
	const struct addr client = sockets_addr("203.0.113.1");
	struct addr to;
	int times[2] = { 0 };

	(void)state;
	list[1].weight = 55049400;
	assert_int_equal(origins_replace(o, list, 2), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(origins_begin(o, &client, 53, 0, 0, &to), 1);
	list[1].weight = 1;
	assert_int_equal(origins_replace(o, list, 2), 0);
	for (int i = 0; i < 10; i++)
		times[origins_begin(o, &client, 53, 0, 0, &to)]++;
	assert_in_range(times[0], 4, 8);
	origins_free(o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_address),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_balances),
		cmocka_unit_test(test_tried),
		cmocka_unit_test(test_last_known),
		cmocka_unit_test(test_ejection),
		cmocka_unit_test(test_ejection_settings),
		cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_rise_and_fall),
		cmocka_unit_test(test_check_is_shown),
		cmocka_unit_test(test_inherit),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_replace_keeps),
		cmocka_unit_test(test_replace_drains),
		cmocka_unit_test(test_replace_full),
		cmocka_unit_test(test_replace_weights),
		cmocka_unit_test(test_replace_weights_of_another_scale),
		cmocka_unit_test(test_view_is_bounded),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
