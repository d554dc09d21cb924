/* roughtime/hazard.h: readers, a publisher, and who frees when. */
#include "roughtime/hazard.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define READERS 4u
#define PUBLISHED 10000u
#define WORDS 16u
#define GONE UINT64_MAX

struct thing {
	uint64_t words[WORDS]; /* all the same */
};

static uint64_t freed;

static struct thing *
make(uint64_t number)
{
	struct thing *t = malloc(sizeof *t);

	assert_non_null(t);
	for (size_t i = 0; i < WORDS; i++)
		t->words[i] = number;
	return t;
}

static void
release(void *object)
{
	struct thing *t = object;

	for (size_t i = 0; i < WORDS; i++)
		t->words[i] = GONE;
	free(t);
	freed++;
}

static void
frees_when_nobody_uses(void **state)
{
	struct hazard *h = hazard_new(2, release);
	const struct thing *first, *second;

	(void)state;
	freed = 0;
	assert_null(hazard_acquire(h, 0));
	hazard_release(h, 0);
	assert_int_equal(hazard_publish(h, make(1)), 0);
	first = hazard_acquire(h, 0);
	assert_int_equal(first->words[0], 1);
	assert_int_equal(hazard_publish(h, make(2)), 0);
	second = hazard_acquire(h, 1);
	assert_int_equal(second->words[0], 2);
	assert_int_equal(freed, 0);
	assert_int_equal(hazard_publish(h, make(3)), 0);
	assert_int_equal(hazard_reclaim(h), 2);
	assert_int_equal(first->words[WORDS - 1], 1);
	hazard_release(h, 0);
	assert_int_equal(hazard_reclaim(h), 1);
	assert_int_equal(freed, 1);
	assert_int_equal(second->words[WORDS - 1], 2);
	assert_int_equal(
	    ((const struct thing *)hazard_acquire(h, 0))->words[0], 3);
	hazard_release(h, 1);
	assert_int_equal(hazard_publish(h, make(4)), 0);
	assert_int_equal(freed, 2); /* 3 is in use */
	hazard_free(h);
	assert_int_equal(freed, 4);
	hazard_free(NULL);
}

struct reader {
	struct hazard *h;
	size_t number;
	atomic_bool *stop;
	uint64_t turns, changes, odd;
};

static void *
read_along(void *arg)
{
	struct reader *r = arg;
	uint64_t last = 0;

	do {
		const struct thing *t = hazard_acquire(r->h, r->number);
		uint64_t n = t->words[0];

		for (size_t i = 1; i < WORDS; i++)
			r->odd += t->words[i] != n;
		r->odd += n < last || n == GONE;
		r->changes += n != last;
		r->turns++;
		last = n;
		hazard_release(r->h, r->number);
	} while (!atomic_load(r->stop));
	return NULL;
}

/* Also the test to run by hand with SAN=thread and SAN=address. */
static void
readers_never_see_a_freed_object(void **state)
{
	struct hazard *h = hazard_new(READERS, release);
	struct reader r[READERS];
	pthread_t threads[READERS];
	atomic_bool stop = false;

	(void)state;
	freed = 0;
	assert_int_equal(hazard_publish(h, make(1)), 0);
	for (size_t i = 0; i < READERS; i++) {
		r[i] = (struct reader){ h, i, &stop, 0, 0, 0 };
		assert_int_equal(
		    pthread_create(&threads[i], NULL, read_along, &r[i]), 0);
	}
	for (uint64_t n = 2; n <= PUBLISHED; n++) {
		assert_int_equal(hazard_publish(h, make(n)), 0);
		assert_in_range(hazard_reclaim(h), 0, READERS);
		if (n % 100 == 0) /* let them run on two cores */
			sched_yield();
	}
	atomic_store(&stop, true);
	for (size_t i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(r[i].odd, 0);
		assert_true(r[i].turns > 0 && r[i].changes > 0);
	}
	assert_int_equal(hazard_reclaim(h), 0);
	assert_int_equal(freed, PUBLISHED - 1);
	hazard_free(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frees_when_nobody_uses),
		cmocka_unit_test(readers_never_see_a_freed_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
