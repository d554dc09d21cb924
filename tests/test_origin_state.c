/* Which origins are up: ejection, health checks, a reload. Time is the
 * test's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/origin_set.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ejection),
		cmocka_unit_test(test_ejection_settings),
		cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_rise_and_fall),
		cmocka_unit_test(test_check_is_shown),
		cmocka_unit_test(test_inherit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
