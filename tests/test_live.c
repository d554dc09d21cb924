/* Messages about live sessions: order, filter, many threads at once. */
#include "proxy/live.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 4
#define EACH 2000

static void
a_box_keeps_the_order(void **state)
{
	struct live_box box = { 0 };
	struct live_ask *asks = calloc(3, sizeof *asks);

	(void)state;
	assert_non_null(asks);
	assert_null(live_box_take(&box));
	for (int i = 0; i < 3; i++)
		live_box_put(&box, &asks[i]);
	assert_ptr_equal(live_box_take(&box), &asks[0]);
	assert_ptr_equal(asks[0].next, &asks[1]);
	assert_ptr_equal(asks[1].next, &asks[2]);
	assert_null(asks[2].next);
	assert_null(live_box_take(&box));
	free(asks);
}

static struct live_box shared;

static void *
put_many(void *arg)
{
	struct live_ask **asks = arg;

	for (int i = 0; i < EACH; i++)
		live_box_put(&shared, asks[i]);
	return NULL;
}

static void
many_may_put_at_once(void **state)
{
	static struct live_ask *asks[THREADS][EACH];
	pthread_t threads[THREADS];
	size_t taken = 0;

	(void)state;
	for (int t = 0; t < THREADS; t++) {
		for (int i = 0; i < EACH; i++)
			asks[t][i] = calloc(1, offsetof(struct live_ask, rows));
		assert_int_equal(
		    pthread_create(&threads[t], NULL, put_many, asks[t]), 0);
	}
	while (taken < THREADS * EACH) {
		struct live_ask *a = live_box_take(&shared);

		while (a != NULL) {
			struct live_ask *next = a->next;

			free(a);
			taken++;
			a = next;
		}
	}
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	assert_null(live_box_take(&shared));
}

static void
rows_begin_clean(void **state)
{
	struct live_ask *a = calloc(1, sizeof *a);
	struct app app = { .name = "web", .proto = SOCK_TCP };
	struct live_row *row;

	(void)state;
	assert_non_null(a);
	assert_true(live_wants(a, "web"));
	strcpy(a->application, "dns");
	assert_false(live_wants(a, "web"));
	strcpy(a->application, "web");
	assert_true(live_wants(a, "web"));
	memset(a->rows, 0xff, sizeof a->rows);
	row = live_row_next(a, &app);
	assert_ptr_equal(row, &a->rows[0]);
	assert_int_equal(a->count, 1);
	assert_string_equal(row->application, "web");
	assert_int_equal(row->origin.sa.sa_family, AF_UNSPEC);
	assert_int_equal(row->client_bytes, 0);
	free(a);
}

static void
states_have_names(void **state)
{
	(void)state;
	for (int i = 0; i < LIVE_STATES; i++) {
		const char *name = live_state_str((enum live_state)i);

		assert_string_not_equal(name, "unknown");
		for (int k = 0; k < i; k++)
			assert_string_not_equal(
			    name, live_state_str((enum live_state)k));
	}
	assert_string_equal(live_state_str(LIVE_STATES), "unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_box_keeps_the_order),
		cmocka_unit_test(many_may_put_at_once),
		cmocka_unit_test(rows_begin_clean),
		cmocka_unit_test(states_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
