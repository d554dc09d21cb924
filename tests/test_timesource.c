/* roughtime/timesource.h: judging and publishing the kernel's clock. */
#include "roughtime/timesource.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/timex.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

#define S 1000000u
/* what timesource.c adds to maxerror: a cut second and a minute at 500 ppm */
#define MARGIN (S + 30000)

static const struct timesource_config refuse = {
	.when_unsynchronised = TIMESOURCE_REFUSE,
	.min_radius_us = 3 * S,
	.unsynchronised_radius_us = 60 * S,
	.max_radius_us = 10 * S,
	.step_us = 100000,
};

static const struct {
	const char *what;
	int kernel;
	unsigned int status;
	uint64_t maxerror_us;
	enum timesource_state state;
	uint64_t radius_us;
} judged[] = {
	{ "good", TIME_OK, 0, 5000, TIMESOURCE_SYNCHRONISED, 3 * S },
	{ "zero error", TIME_OK, 0, 0, TIMESOURCE_SYNCHRONISED, 3 * S },
	{ "pll bits", TIME_OK, STA_PLL | STA_NANO, 1, TIMESOURCE_SYNCHRONISED,
	    3 * S },
	{ "just within the minimum", TIME_OK, 0, 3 * S - MARGIN,
	    TIMESOURCE_SYNCHRONISED, 3 * S },
	{ "just over the minimum", TIME_OK, 0, 3 * S - MARGIN + 1,
	    TIMESOURCE_SYNCHRONISED, 3 * S + 1 },
	{ "wide", TIME_OK, 0, 5 * S, TIMESOURCE_SYNCHRONISED, 5 * S + MARGIN },
	{ "at the maximum", TIME_OK, 0, 10 * S - MARGIN,
	    TIMESOURCE_SYNCHRONISED, 10 * S },
	{ "over the maximum", TIME_OK, 0, 10 * S - MARGIN + 1,
	    TIMESOURCE_UNSYNCHRONISED, 60 * S },
	{ "phase limit", TIME_OK, 0, 16 * S, TIMESOURCE_UNSYNCHRONISED,
	    60 * S },
	{ "unsync flag", TIME_OK, STA_UNSYNC, 0, TIMESOURCE_UNSYNCHRONISED,
	    60 * S },
	{ "error state", TIME_ERROR, 0, 0, TIMESOURCE_UNSYNCHRONISED, 60 * S },
	{ "both", TIME_ERROR, STA_UNSYNC, 16 * S, TIMESOURCE_UNSYNCHRONISED,
	    60 * S },
	{ "error over the operator's word", TIME_ERROR, STA_UNSYNC, 70 * S,
	    TIMESOURCE_UNSYNCHRONISED, 70 * S + MARGIN },
	{ "saturates", TIME_ERROR, STA_UNSYNC, UINT64_MAX,
	    TIMESOURCE_UNSYNCHRONISED, UINT64_MAX },
	{ "insert", TIME_INS, STA_INS, 5000, TIMESOURCE_LEAP, 4 * S },
	{ "delete", TIME_DEL, STA_DEL, 5000, TIMESOURCE_LEAP, 4 * S },
	{ "in the leap second", TIME_OOP, STA_INS, 5000, TIMESOURCE_LEAP,
	    4 * S },
	{ "after it", TIME_WAIT, STA_INS, 5000, TIMESOURCE_LEAP, 4 * S },
	{ "leap does not count against the maximum", TIME_INS, STA_INS,
	    10 * S - MARGIN, TIMESOURCE_LEAP, 11 * S },
	{ "leap, unsynchronised", TIME_INS, STA_INS | STA_UNSYNC, 0,
	    TIMESOURCE_UNSYNCHRONISED, 60 * S },
};

static void
judges(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof judged / sizeof judged[0]; i++) {
		struct timesource_sample s = { .state = judged[i].kernel,
			.status = judged[i].status,
			.maxerror_us = judged[i].maxerror_us };
		struct timesource_config serve = refuse;
		bool lost = judged[i].state == TIMESOURCE_UNSYNCHRONISED;
		struct timesource_verdict v = timesource_judge(&refuse, &s);

		if (v.state != judged[i].state ||
		    v.radius_us != judged[i].radius_us)
			fail_msg("%s: %s, %llu us", judged[i].what,
			    timesource_state_str(v.state),
			    (unsigned long long)v.radius_us);
		assert_int_equal(v.serve, !lost);
		serve.when_unsynchronised = TIMESOURCE_SERVE;
		v = timesource_judge(&serve, &s);
		assert_true(v.serve);
		assert_true(v.radius_us == judged[i].radius_us);
	}
}

/* An operator's word below the minimum does not make the radius smaller. */
static void
minimum_holds_when_unsynchronised(void **state)
{
	struct timesource_config c = refuse;
	struct timesource_sample s = { .state = TIME_ERROR };

	(void)state;
	c.unsynchronised_radius_us = 1;
	assert_true(timesource_judge(&c, &s).radius_us == 3 * S);
}

static const struct {
	const char *what;
	int64_t wall_us, raw_us, step_us;
} steps[] = {
	{ "still", 0, 0, 0 },
	{ "even", S, S, 0 },
	{ "slewing 500 ppm", S + 500, S, 0 },
	{ "below the step", S + 500 + 99999, S, 0 },
	{ "at the step", S + 500 + 100000, S, 100500 },
	{ "below, back", S - 500 - 99999, S, 0 },
	{ "at the step, back", S - 500 - 100000, S, -100500 },
	{ "leap second inserted", 0, S, -(int64_t)S },
	{ "an hour on", 3601ll * S, S, 3600ll * S },
	{ "an hour back", -3599ll * S, S, -3600ll * S },
	{ "long gap, slewed", 1000ll * S + 599999, 1000ll * S, 0 },
	{ "long gap, stepped", 1000ll * S + 600000, 1000ll * S, 600000 },
	{ "no time between", 100000, 0, 100000 },
};

static void
finds_steps(void **state)
{
	const struct timesource_sample before = {
		.realtime_us = 1795400000ull * S, .monotonic_us = 5000ull * S
	};

	(void)state;
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		struct timesource_sample after = before;
		int64_t got;

		after.realtime_us += (uint64_t)steps[i].wall_us;
		after.monotonic_us += (uint64_t)steps[i].raw_us;
		got = timesource_step(&refuse, &before, &after);
		if (got != steps[i].step_us)
			fail_msg("%s: %lld", steps[i].what, (long long)got);
	}
}

static uint64_t
boottime_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * S + (uint64_t)t.tv_nsec / 1000;
}

static const struct timesource_sample good = {
	.state = TIME_OK, .maxerror_us = 5000, .realtime_us = 1795400000ull * S
};
static const struct timesource_sample lost = { .state = TIME_ERROR,
	.status = STA_UNSYNC,
	.maxerror_us = 16 * S,
	.realtime_us = 1795400000ull * S };

static void
publishes(void **state)
{
	struct timesource *t = timesource_new(&refuse);
	struct timesource_config serve = refuse;
	struct response_time now;
	uint64_t before = clock_realtime_us();

	(void)state;
	assert_non_null(t);
	assert_true(timesource_accept(t, &good).serve);
	assert_true(timesource_now(t, &now));
	assert_true(now.radius_us == 3 * S);
	assert_in_range(now.midpoint_us, before, before + 60 * S);

	assert_false(timesource_accept(t, &lost).serve);
	assert_false(timesource_now(t, &now));

	serve.when_unsynchronised = TIMESOURCE_SERVE;
	timesource_configure(t, &serve);
	assert_true(timesource_now(t, &now));
	assert_true(now.radius_us == 60 * S);
	timesource_free(t);
}

/* A good verdict that nobody renewed is not believed after a minute. */
static void
grows_stale(void **state)
{
	struct timesource *t = timesource_new(&refuse);
	struct timesource_config serve = refuse;
	uint64_t now;

	(void)state;
	timesource_accept(t, &good);
	now = boottime_us();
	assert_true(timesource_radius_at(t, now) == 3 * S);
	assert_true(timesource_radius_at(t, now - S) == 3 * S);
	assert_true(timesource_radius_at(t, now + 59 * S) == 3 * S);
	assert_true(timesource_radius_at(t, now + 61 * S) == 0);
	serve.when_unsynchronised = TIMESOURCE_SERVE;
	timesource_configure(t, &serve);
	assert_true(timesource_radius_at(t, now + 61 * S) == 60 * S);
	timesource_free(t);
}

/* Whatever this machine's kernel says, the verdict is one that follows. */
static void
asks_the_kernel(void **state)
{
	struct timesource_config serve = refuse;
	struct timesource_sample a, b;
	struct timesource_verdict v;
	struct timesource *t;
	struct response_time now;

	(void)state;
	timesource_take(&a);
	timesource_take(&b);
	assert_in_range(a.state, TIME_OK, TIME_ERROR);
	assert_in_range(
	    a.realtime_us / S, clock_realtime_us() / S - 5, UINT32_MAX);
	assert_true(b.monotonic_us >= a.monotonic_us && a.monotonic_us > 0);
	serve.when_unsynchronised = TIMESOURCE_SERVE;
	t = timesource_new(&serve);
	v = timesource_poll(t);
	assert_true(v.serve);
	assert_true(v.state != TIMESOURCE_UNKNOWN);
	assert_true(timesource_now(t, &now));
	assert_true(now.radius_us == v.radius_us);
	assert_in_range(now.radius_us, 3 * S, 60 * S);
	timesource_free(t);
}

struct reader {
	const struct timesource *t;
	atomic_bool *stop;
	uint64_t calls, odd;
};

static void *
read_along(void *arg)
{
	struct reader *r = arg;
	struct response_time now;

	do {
		bool ok = timesource_now(r->t, &now);

		r->calls++;
		if (ok != (now.radius_us != 0) ||
		    (ok && now.radius_us != 3 * S))
			r->odd++;
	} while (!atomic_load(r->stop));
	return NULL;
}

/* Readers beside a writer see one verdict or the other, nothing between. */
static void
readers_see_whole_verdicts(void **state)
{
	struct timesource *t = timesource_new(&refuse);
	atomic_bool stop = false;
	struct reader r = { t, &stop, 0, 0 };
	struct timesource_verdict v;
	pthread_t thread;

	(void)state;
	timesource_accept(t, &good);
	assert_int_equal(pthread_create(&thread, NULL, read_along, &r), 0);
	for (int i = 0; i < 2000; i++) {
		struct timesource_config c = refuse;

		c.min_radius_us = 3 * S;
		c.max_radius_us = i % 2 == 0 ? 1 : 10 * S;
		timesource_configure(t, &c);
	}
	v = timesource_accept(t, &good);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_true(v.serve);
	assert_true(r.calls > 0);
	assert_int_equal(r.odd, 0);
	timesource_free(t);
}

static void
names_every_state(void **state)
{
	(void)state;
	for (int i = TIMESOURCE_UNKNOWN; i <= TIMESOURCE_UNSYNCHRONISED; i++)
		assert_string_not_equal(
		    timesource_state_str((enum timesource_state)i), "?");
	assert_string_equal(
	    timesource_state_str((enum timesource_state)99), "?");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judges),
		cmocka_unit_test(minimum_holds_when_unsynchronised),
		cmocka_unit_test(finds_steps),
		cmocka_unit_test(publishes),
		cmocka_unit_test(grows_stale),
		cmocka_unit_test(asks_the_kernel),
		cmocka_unit_test(readers_see_whole_verdicts),
		cmocka_unit_test(names_every_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
