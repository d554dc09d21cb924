/* proxy/spin.h: when a loop looks again, and when it goes to sleep. */
#include "proxy/spin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#define HOUR_NS 3600000000000u

struct world {
	struct ev_loop *loop;
	struct spin spin;
	ev_io io;
	int pipe[2];
	int events;
};

static void
io_event(struct ev_loop *loop, ev_io *io, int what)
{
	struct world *w = io->data;
	char byte;

	(void)loop;
	(void)what;
	assert_int_equal(read(w->pipe[0], &byte, 1), 1);
	w->events++;
}

static void
start(struct world *w, uint64_t most_ns)
{
	*w = (struct world){ .loop = ev_loop_new(EVFLAG_AUTO) };
	assert_non_null(w->loop);
	assert_int_equal(pipe(w->pipe), 0);
	ev_io_init(&w->io, io_event, w->pipe[0], EV_READ);
	w->io.data = w;
	ev_io_start(w->loop, &w->io);
	spin_start(&w->spin, w->loop, most_ns);
}

static void
stop(struct world *w)
{
	spin_stop(&w->spin);
	ev_io_stop(w->loop, &w->io);
	close(w->pipe[0]);
	close(w->pipe[1]);
	ev_loop_destroy(w->loop);
}

/* Without an event only while it is awake: it would wait for one. */
static void
turn(struct world *w)
{
	ev_run(w->loop, EVRUN_NOWAIT);
}

static void
turn_with_event(struct world *w)
{
	int before = w->events;

	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	turn(w);
	assert_int_equal(w->events, before + 1);
}

static bool
is_awake(const struct world *w)
{
	return ev_is_active(&w->spin.idle);
}

static void
nothing_starts_when_it_is_off(void **state)
{
	struct world w;

	(void)state;
	start(&w, 0);
	for (int i = 0; i < 3; i++) {
		turn_with_event(&w);
		assert_false(is_awake(&w));
	}
	stop(&w);
}

static void
it_stays_awake_while_events_come(void **state)
{
	struct world w;

	(void)state;
	start(&w, HOUR_NS);
	for (int i = 0; i < 100; i++) {
		turn_with_event(&w);
		assert_true(is_awake(&w));
		turn(&w); /* nothing, for far less than an hour */
		assert_true(is_awake(&w));
	}
	assert_true(w.spin.worth > 0);
	stop(&w);
	assert_false(is_awake(&w));
}

static void
it_rests_when_told_so(void **state)
{
	struct world w;

	(void)state;
	start(&w, HOUR_NS);
	for (int i = 0; i < 100; i++) {
		turn_with_event(&w);
		assert_true(is_awake(&w));
		spin_rest(&w.spin);
		turn(&w);
		assert_false(is_awake(&w));
		turn(&w); /* what woke it said nothing of rest */
		assert_true(is_awake(&w));
	}
	stop(&w);
}

/* Each time it has looked in vain; soon it does not look any more. */
static void
it_sleeps_where_nothing_comes_in_time(void **state)
{
	struct world w;
	int attempts = 0;

	(void)state;
	start(&w, 1);
	for (int i = 0; i < 1000; i++) {
		turn_with_event(&w);
		if (!is_awake(&w))
			continue;
		attempts++;
		turn(&w);
		assert_false(is_awake(&w));
	}
	assert_in_range(attempts, 10, 20); /* once in 64 */
	stop(&w);
}

static void
what_pays_again_is_found_out(void **state)
{
	struct world w;

	(void)state;
	start(&w, 1);
	turn_with_event(&w);
	turn(&w);
	assert_false(is_awake(&w));
	assert_true(w.spin.worth < 0);
	w.spin.most_ns = HOUR_NS;
	for (int i = 0; i < 70; i++)
		turn_with_event(&w);
	assert_true(is_awake(&w));
	assert_true(w.spin.worth > 0);
	/* and a few in vain do not end it */
	w.spin.most_ns = 1;
	turn(&w);
	assert_false(is_awake(&w));
	turn_with_event(&w);
	turn_with_event(&w);
	assert_true(is_awake(&w));
	stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_starts_when_it_is_off),
		cmocka_unit_test(it_stays_awake_while_events_come),
		cmocka_unit_test(it_rests_when_told_so),
		cmocka_unit_test(it_sleeps_where_nothing_comes_in_time),
		cmocka_unit_test(what_pays_again_is_found_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
