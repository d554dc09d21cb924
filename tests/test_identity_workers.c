/* Snapshots of online keys, published while workers use them. */
#include "roughtime/identity.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "keys/secret.h"
#include "tests/testkeys.h"

#define HOUR 3600u
#define DAY 86400u
#define WORKERS 3u

static char dir[PATH_MAX];
static struct testkey offline;

static uint64_t
generation(struct identities *ids)
{
	uint64_t g = identity_acquire(ids, 0)->generation;

	identity_release(ids, 0);
	return g;
}

struct hammer {
	struct identities *ids;
	size_t worker;
	atomic_bool *stop;
	uint64_t turns, odd, generations;
};

/* A snapshot in use is whole: never freed (the sanitizers and the guard pages
 * watch), its parts belong together, generations only grow. */
static void *
use_snapshots(void *arg)
{
	struct hammer *h = arg;
	uint64_t last = 0;

	do {
		const struct identity_snapshot *s =
		    identity_acquire(h->ids, h->worker);
		const struct response_key *k = &s->keys[0];

		h->turns++;
		h->generations += s->generation != last;
		h->odd += s->generation < last || s->count != 1 ||
		    s->policy.srv != (const uint8_t(*)[CERT_SRV_LEN])s->srv ||
		    memcmp(k->online_secret + 32, k->delegation.online_public,
			CERT_PUBLIC_LEN) != 0;
		last = s->generation;
		identity_release(h->ids, h->worker);
	} while (!atomic_load(h->stop));
	return NULL;
}

#define PUBLISHED 500 /* ten thousand are in test_hazard.c */

static void
workers_and_publisher_do_not_meet(void **state)
{
	const struct identity_config away = {
		.name = "away", .public_key = offline.base64, .delegations = dir
	};
	const struct identity_settings s = { .list = &away,
		.count = 1,
		.versions = VERSION_ALL,
		.delegation_s = DAY,
		.overlap_s = HOUR,
		.backdate_s = HOUR,
		.warn_s = 3 * DAY };
	struct identities *ids;
	atomic_bool stop = false;
	struct hammer h[WORKERS];
	pthread_t threads[WORKERS];
	uint64_t now = clock_unix_s(), first, last;
	int published = 0;

	(void)state;
	/* two bundles, and a clock that steps from one to the other */
	testbundle_put(&offline, 1, now - HOUR, now + HOUR, dir, "1.bundle");
	testbundle_put(&offline, 2, now + DAY, now + 2 * DAY, dir, "2.bundle");
	ids = identities_new(&s, NULL, WORKERS, true);
	assert_non_null(ids);
	first = generation(ids);
	log_init("test_identity_workers", LOG_LEVEL_ERROR);
	for (size_t w = 0; w < WORKERS; w++) {
		h[w] = (struct hammer){ ids, w, &stop, 0, 0, 0 };
		assert_int_equal(
		    pthread_create(&threads[w], NULL, use_snapshots, &h[w]), 0);
	}
	for (int i = 0; i < PUBLISHED; i++)
		published +=
		    identities_tick(ids, i % 2 == 0 ? now + DAY + HOUR : now);
	atomic_store(&stop, true);
	for (size_t w = 0; w < WORKERS; w++)
		pthread_join(threads[w], NULL);
	log_init("test_identity_workers", LOG_LEVEL_INFO);
	assert_int_equal(published, PUBLISHED);
	last = generation(ids);
	assert_true(last == first + PUBLISHED);
	for (size_t w = 0; w < WORKERS; w++) {
		assert_int_equal(h[w].odd, 0);
		assert_true(h[w].turns > 0 && h[w].generations > 0);
	}
	identities_free(ids);
}

static int
begin(void **state)
{
	(void)state;
	if (secret_init() != 0)
		return -1;
	testdir_make(dir);
	testkey_make(&offline, 3);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	testdir_remove(dir);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(workers_and_publisher_do_not_meet),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
