/* Whose an address is, among many. */
#include "net/guard_places.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sockets.h"

static const struct {
	enum sock_proto proto;
	const char *there;
} theirs[] = {
	{ SOCK_UDP, "192.0.2.9:2002" },
	{ SOCK_UDP, "192.0.2.8:2002" },
	{ SOCK_TCP, "192.0.2.9:2003" },
	{ SOCK_UDP, "[2001:db8::9]:2002" },
	{ SOCK_TCP, "[2001:db8::9]:5319" },
};

#define THEIRS (sizeof theirs / sizeof *theirs)

static struct guard_places *
list(void)
{
	struct guard_places *p = guard_places_new(THEIRS);

	assert_non_null(p);
	for (size_t i = 0; i < THEIRS; i++) {
		const struct guard_place place = { theirs[i].proto,
			sockets_addr(theirs[i].there), false };

		guard_places_add(p, &place);
	}
	guard_places_sort(p);
	return p;
}

static bool
has(const struct guard_places *p, enum sock_proto proto, const char *text)
{
	const struct addr a = sockets_addr(text);

	return guard_places_has(p, proto, &a);
}

static void
each_is_found_and_nothing_near_it(void **state)
{
	struct guard_places *p = list();

	(void)state;
	for (size_t i = 0; i < THEIRS; i++) {
		assert_true(has(p, theirs[i].proto, theirs[i].there));
		assert_false(has(p, !theirs[i].proto, theirs[i].there));
	}
	assert_false(has(p, SOCK_UDP, "192.0.2.9:2003"));
	assert_false(has(p, SOCK_UDP, "192.0.2.7:2002"));
	assert_false(has(p, SOCK_UDP, "192.0.2.10:2002"));
	assert_false(has(p, SOCK_UDP, "[2001:db8::8]:2002"));
	assert_false(has(p, SOCK_UDP, "[2001:db8::9]:2003"));
	free(p);
}

/* As a socket for both families hears it. */
static void
mapped_is_the_same(void **state)
{
	struct guard_places *p = list();

	(void)state;
	assert_true(has(p, SOCK_UDP, "[::ffff:192.0.2.9]:2002"));
	assert_false(has(p, SOCK_UDP, "[::ffff:192.0.2.7]:2002"));
	free(p);
}

static void
an_empty_list_has_nothing(void **state)
{
	struct guard_places *p = guard_places_new(0);

	(void)state;
	guard_places_sort(p);
	assert_false(has(p, SOCK_UDP, "192.0.2.9:2002"));
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_found_and_nothing_near_it),
		cmocka_unit_test(mapped_is_the_same),
		cmocka_unit_test(an_empty_list_has_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
