/* roughtime/identity.h: snapshots of online keys, and who may still use one. */
#include "roughtime/identity.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"
#include "keys/secret.h"
#include "roughtime/keyholder.h"
#include "tests/capture.h"
#include "tests/testkeys.h"

#define HOUR 3600u
#define DAY 86400u
#define WORKERS 3u

static char dir[PATH_MAX], key_path[PATH_MAX], second_path[PATH_MAX];
static struct testkey key, second, offline;
static struct keyholder *holder;

static struct identity_settings
settings(const struct identity_config *list, size_t count)
{
	return (struct identity_settings){ .list = list,
		.count = count,
		.versions = VERSION_ALL,
		.delegation_s = DAY,
		.overlap_s = HOUR,
		.backdate_s = HOUR,
		.warn_s = 3 * DAY };
}

static const struct identity_config one_key[] = {
	{ .name = "main", .key = key_path },
};
static const struct identity_config two_keys[] = {
	{ .name = "main", .key = key_path },
	{ .name = "second", .key = second_path },
};
static const struct identity_config bundles[] = {
	{ .name = "away", .public_key = offline.base64, .delegations = dir },
};
static const struct identity_config mixed[] = {
	{ .name = "main", .key = key_path },
	{ .name = "away", .public_key = offline.base64, .delegations = dir },
};

static struct identities *
make(const struct identity_config *list, size_t count)
{
	struct identity_settings s = settings(list, count);
	struct identities *ids = identities_new(&s, holder, WORKERS, true);

	assert_non_null(ids);
	return ids;
}

/* A copy of identity `i` as worker 0 sees it. */
static struct response_key
look(struct identities *ids, size_t i, uint64_t *generation)
{
	const struct identity_snapshot *s = identity_acquire(ids, 0);
	struct response_key k = s->keys[i];

	assert_true(i < s->count);
	if (generation != NULL)
		*generation = s->generation;
	identity_release(ids, 0);
	return k;
}

/* The delegation is signed by that long-term key, for that online key. */
static void
delegation_holds(const struct response_key *k, const struct testkey *by)
{
	struct delegation d;
	struct bundle b;

	assert_true(k->usable);
	delegation_to_bundle(&b, &k->delegation, by->public, k->online_secret);
	assert_int_equal(delegation_from_bundle(&d, &b), DELEGATION_OK);
}

static void
makes_a_snapshot(void **state)
{
	struct identities *ids;
	const struct identity_snapshot *s;
	uint8_t srv[CERT_SRV_LEN];
	uint64_t now = clock_unix_s();

	(void)state;
	testbundle_put(&offline, 9, now - HOUR, now + DAY, dir, "1.bundle");
	ids = make(mixed, 2);
	s = identity_acquire(ids, WORKERS - 1);
	assert_int_equal(s->count, 2);
	assert_int_equal(s->policy.identities, 2);
	assert_int_equal(s->policy.versions, VERSION_ALL);
	assert_false(s->policy.prefer_draft14);
	assert_true(s->versions.len > 0 && s->versions.len % 4 == 0);
	delegation_holds(&s->keys[0], &key);
	delegation_holds(&s->keys[1], &offline);
	assert_in_range(s->keys[0].delegation.mint_s, now - HOUR, now);
	assert_in_range(
	    s->keys[0].delegation.maxt_s, now + DAY, now + DAY + 60);
	cert_srv(srv, key.public);
	assert_memory_equal(s->policy.srv[0], srv, sizeof srv);
	cert_srv(srv, offline.public);
	assert_memory_equal(s->policy.srv[1], srv, sizeof srv);
	identity_release(ids, WORKERS - 1);
	assert_false(identities_tick(ids, now + 1));
	identities_free(ids);
}

static const struct identity_config both_ways[] = {
	{ .name = "both", .key = key_path, .delegations = dir },
};
static const struct identity_config neither[] = { { .name = "none" } };
static const struct identity_config short_public[] = {
	{ .name = "short", .public_key = "AAAA", .delegations = dir },
};
static const struct identity_config no_public[] = {
	{ .name = "no-public", .delegations = dir },
};
static const struct identity_config absent_key[] = {
	{ .name = "fine", .key = key_path },
	{ .name = "lost", .key = "/nonexistent/key" },
};
static const struct identity_config twice[] = {
	{ .name = "a", .key = key_path },
	{ .name = "b", .key = second_path },
	{ .name = "c", .key = key_path },
};
static const struct identity_config absent_directory[] = {
	{ .name = "away",
	    .public_key = offline.base64,
	    .delegations = "/nonexistent/dir" },
};

static const struct {
	const struct identity_config *list;
	size_t count;
	const char *said;
} bad[] = {
	{ both_ways, 1, "identity both: expected either" },
	{ neither, 1, "identity none: expected either" },
	{ short_public, 1, "identity short: public_key" },
	{ no_public, 1, "identity no-public: public_key" },
	{ absent_key, 2, "identity lost: /nonexistent/key" },
	{ twice, 3, "identity c: has the same long-term key as a" },
	{ absent_directory, 1, "/nonexistent/dir: No such file" },
	{ bundles, 1, "identity away: no delegation is valid now" },
	{ one_key, 0, "expected 1 to 64, got 0" },
	{ one_key, IDENTITY_MAX + 1, "expected 1 to 64, got 65" },
};

static void
refuses_bad_settings(void **state)
{
	struct capture said;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct identity_settings s =
		    settings(bad[i].list, bad[i].count);
		struct identities *ids;

		capture_begin(&said);
		ids = identities_new(&s, holder, WORKERS, true);
		capture_end(&said);
		assert_null(ids);
		assert_int_equal(capture_count(&said, bad[i].said), 1);
	}
}

static void
a_key_file_needs_the_keyholder(void **state)
{
	struct identity_settings s = settings(one_key, 1);

	(void)state;
	assert_null(identities_new(&s, NULL, WORKERS, true));
}

/* Without `must` an identity may lack a delegation, and gets it later. */
static void
may_start_without_delegation(void **state)
{
	struct identity_settings s = settings(bundles, 1);
	struct identities *ids = identities_new(&s, NULL, WORKERS, false);
	uint64_t now = clock_unix_s();

	(void)state;
	assert_non_null(ids);
	assert_false(look(ids, 0, NULL).usable);
	testbundle_put(&offline, 9, now - HOUR, now + DAY, dir, "1.bundle");
	assert_int_equal(identities_reload(ids, &s), 0);
	assert_true(look(ids, 0, NULL).usable);
	identities_free(ids);
}

/* A worker that holds the old snapshot over a rotation can still sign. */
static void
rotates_before_the_end(void **state)
{
	struct identities *ids = make(one_key, 1);
	uint64_t now = clock_unix_s(), first, generation;
	const struct identity_snapshot *held = identity_acquire(ids, 1);
	struct response_key before = held->keys[0], after;
	uint64_t maxt = before.delegation.maxt_s;

	(void)state;
	look(ids, 0, &first);
	assert_false(identities_tick(ids, now));
	assert_false(identities_tick(ids, maxt - HOUR - 1));
	assert_true(identities_tick(ids, maxt - HOUR));
	assert_false(identities_tick(ids, maxt - HOUR));
	after = look(ids, 0, &generation);
	assert_true(generation == first + 1);
	assert_memory_not_equal(
	    after.online_secret, before.online_secret, CERT_SECRET_LEN);
	delegation_holds(&after, &key);
	assert_true(after.delegation.mint_s == maxt - 2 * HOUR);
	assert_true(after.delegation.maxt_s == maxt - HOUR + DAY);
	/* what worker 1 holds is whole, and in its window for an hour yet */
	assert_memory_equal(&held->keys[0], &before, sizeof before);
	delegation_holds(&held->keys[0], &key);
	identity_release(ids, 1);
	assert_false(identities_tick(ids, maxt - HOUR));
	identities_free(ids);
}

/* The clock was stepped out of the window, to either side. */
static void
follows_clock_steps(void **state)
{
	struct identities *ids = make(one_key, 1);
	uint64_t now = clock_unix_s();
	struct response_key k;

	(void)state;
	assert_false(identities_tick(ids, now - HOUR + 60));
	assert_true(identities_tick(ids, now - 2 * HOUR));
	k = look(ids, 0, NULL);
	assert_true(k.delegation.mint_s == now - 3 * HOUR);
	assert_true(identities_tick(ids, now + 5 * DAY));
	k = look(ids, 0, NULL);
	delegation_holds(&k, &key);
	assert_true(k.delegation.mint_s == now + 5 * DAY - HOUR);
	identities_free(ids);
}

static void
long_overlap_does_not_renew_for_ever(void **state)
{
	struct identity_settings s = settings(one_key, 1);
	struct identities *ids;
	uint64_t now = clock_unix_s();

	(void)state;
	s.overlap_s = 2 * DAY;
	ids = identities_new(&s, holder, WORKERS, true);
	assert_non_null(ids);
	assert_false(identities_tick(ids, now + DAY / 2 - 60));
	assert_true(identities_tick(ids, now + DAY / 2 + 60));
	identities_free(ids);
}

/* Without its keyholder the server goes on to MAXT, and no further. */
static void
outlives_its_keyholder(void **state)
{
	struct keyholder_config c = { .max_delegation_s = 30 * DAY };
	struct keyholder *doomed = keyholder_start(&c);
	struct identity_settings s = settings(one_key, 1);
	struct identities *ids = identities_new(&s, doomed, WORKERS, true);
	pid_t pid = test_last_child();
	uint64_t maxt;
	struct capture said;

	(void)state;
	assert_non_null(ids);
	assert_true(pid > 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	maxt = look(ids, 0, NULL).delegation.maxt_s;
	capture_begin(&said);
	assert_false(identities_tick(ids, maxt - 60));
	assert_false(identities_tick(ids, maxt));
	capture_end(&said);
	assert_int_equal(capture_count(&said, "the process has ended"), 1);
	assert_int_equal(capture_count(&said, "no new delegation"), 1);
	assert_true(look(ids, 0, NULL).usable);
	assert_true(identities_tick(ids, maxt + 1));
	assert_false(identities_tick(ids, maxt + 1));
	assert_false(look(ids, 0, NULL).usable);
	assert_int_equal(identities_reload(ids, &s), -1);
	identities_free(ids);
	keyholder_stop(doomed);
}

static void
keeps_the_key_when_renewal_fails(void **state)
{
	struct keyholder_config c = { .max_delegation_s = DAY + HOUR };
	struct keyholder *strict = keyholder_start(&c);
	struct identity_settings s = settings(one_key, 1);
	struct identities *ids = identities_new(&s, strict, WORKERS, true);
	struct response_key before, after;

	(void)state;
	assert_non_null(ids);
	before = look(ids, 0, NULL);
	/* due, but that far ahead of its clock the keyholder does not sign */
	assert_false(identities_tick(ids, before.delegation.maxt_s - 60));
	after = look(ids, 0, NULL);
	assert_memory_equal(&before, &after, sizeof before);
	assert_false(identities_tick(ids, before.delegation.maxt_s));
	assert_true(identities_tick(ids, before.delegation.maxt_s + 1));
	assert_false(look(ids, 0, NULL).usable);
	identities_free(ids);
	keyholder_stop(strict);
}

static void
goes_from_bundle_to_bundle(void **state)
{
	struct identities *ids;
	struct capture said;
	uint64_t now = clock_unix_s();
	bool changed;

	(void)state;
	testbundle_put(&offline, 1, now - HOUR, now + DAY, dir, "1.bundle");
	testbundle_put(
	    &offline, 2, now + DAY - HOUR, now + 5 * DAY, dir, "2.bundle");
	ids = make(bundles, 1);
	assert_false(identities_tick(ids, now + DAY - HOUR));
	assert_true(identities_tick(ids, now + DAY - HOUR + 60));
	assert_true(look(ids, 0, NULL).delegation.maxt_s == now + 5 * DAY);
	/* stepped back: the first bundle again */
	assert_true(identities_tick(ids, now));
	assert_true(look(ids, 0, NULL).delegation.maxt_s == now + DAY);

	capture_begin(&said);
	changed = identities_tick(ids, now + 2 * DAY - 60);
	capture_end(&said);
	assert_true(changed);
	assert_int_equal(capture_count(&said, "the last bundle"), 0);
	capture_begin(&said);
	identities_tick(ids, now + 2 * DAY);
	identities_tick(ids, now + 3 * DAY);
	changed = identities_tick(ids, now + 5 * DAY);
	capture_end(&said);
	assert_false(changed);
	assert_int_equal(capture_count(&said, "the last bundle"), 1);

	capture_begin(&said);
	changed = identities_tick(ids, now + 5 * DAY + 1);
	identities_tick(ids, now + 5 * DAY + 2);
	capture_end(&said);
	assert_true(changed);
	assert_int_equal(capture_count(&said, "no delegation is valid"), 1);
	assert_false(look(ids, 0, NULL).usable);
	identities_free(ids);
}

static void
warns_of_a_gap(void **state)
{
	struct identities *ids;
	struct capture said;
	uint64_t now = clock_unix_s();

	(void)state;
	testbundle_put(&offline, 1, now - HOUR, now + DAY, dir, "1.bundle");
	testbundle_put(
	    &offline, 2, now + 2 * DAY, now + 9 * DAY, dir, "2.bundle");
	capture_begin(&said);
	ids = make(bundles, 1);
	capture_end(&said);
	assert_int_equal(capture_count(&said, "leave a gap from"), 1);
	identities_free(ids);
}

static void
reloads(void **state)
{
	struct identities *ids = make(one_key, 1);
	struct identity_settings s = settings(two_keys, 2);
	const struct identity_snapshot *snapshot;
	struct response_key before, after;

	(void)state;
	s.versions = 1u << VERSION_RFC;
	s.prefer_draft14 = true;
	for (int i = 0; i < 5; i++) { /* the keyholder's halves take turns */
		assert_int_equal(identities_reload(ids, &s), 0);
		snapshot = identity_acquire(ids, 0);
		assert_int_equal(snapshot->count, 2);
		assert_int_equal(snapshot->policy.versions, 1u << VERSION_RFC);
		assert_true(snapshot->policy.prefer_draft14);
		assert_int_equal(snapshot->versions.len, 4);
		delegation_holds(&snapshot->keys[0], &key);
		delegation_holds(&snapshot->keys[1], &second);
		identity_release(ids, 0);
	}
	before = look(ids, 1, NULL);
	s.list = twice;
	s.count = 3;
	assert_int_equal(identities_reload(ids, &s), -1);
	s.list = absent_directory;
	s.count = 1;
	assert_int_equal(identities_reload(ids, &s), -1);
	after = look(ids, 1, NULL);
	assert_memory_equal(&before, &after, sizeof before);
	s.list = two_keys;
	s.count = 2;
	assert_int_equal(identities_reload(ids, &s), 0);
	after = look(ids, 1, NULL);
	assert_memory_not_equal(
	    before.online_secret, after.online_secret, CERT_SECRET_LEN);
	identities_free(ids);
}

/* A reload that would lose a delegation is none: all stays, renewal too. */
static void
failed_reload_changes_nothing(void **state)
{
	struct identities *ids;
	struct identity_settings s = settings(mixed, 2);
	uint64_t now = clock_unix_s(), generation, same;
	struct response_key before, after;
	char path[PATH_MAX];

	(void)state;
	testbundle_put(&offline, 9, now - HOUR, now + DAY, dir, "1.bundle");
	ids = make(mixed, 2);
	before = look(ids, 1, &generation);
	unlink(test_path(path, dir, "1.bundle"));
	assert_int_equal(identities_reload(ids, &s), -1);
	s.list = absent_key;
	assert_int_equal(identities_reload(ids, &s), -1);
	after = look(ids, 1, &same);
	assert_true(same == generation);
	assert_memory_equal(&before, &after, sizeof before);
	/* the first identity's key is still in the keyholder */
	assert_true(identities_tick(ids, now + DAY - 60));
	after = look(ids, 0, NULL);
	delegation_holds(&after, &key);
	identities_free(ids);
}

static void
describes(void **state)
{
	struct identities *ids;
	struct capture said;
	uint64_t now = clock_unix_s();

	(void)state;
	testbundle_put(&offline, 9, now - HOUR, now + DAY, dir, "1.bundle");
	ids = make(mixed, 2);
	capture_begin(&said);
	identities_describe(ids);
	capture_end(&said);
	assert_int_equal(capture_count(&said, "identity main: public key "), 1);
	assert_int_equal(capture_count(&said, key.base64), 1);
	assert_int_equal(capture_count(&said, offline.base64), 1);
	assert_int_equal(capture_count(&said, key_path), 1);
	assert_int_equal(capture_count(&said, "\n"), 2);
	identities_free(ids);
}

static int
fresh_directory(void **state)
{
	(void)state;
	testdir_make(dir);
	testkey_write(&key, dir, "main.key", NULL);
	testkey_write(&second, dir, "second.key", NULL);
	test_path(key_path, dir, "main.key");
	test_path(second_path, dir, "second.key");
	return 0;
}

static int
drop_directory(void **state)
{
	(void)state;
	testdir_remove(dir);
	return 0;
}

static int
start_holder(void **state)
{
	struct keyholder_config c = { .max_delegation_s = 30 * DAY };

	(void)state;
	if (secret_init() != 0)
		return -1;
	testkey_make(&key, 1);
	testkey_make(&second, 2);
	testkey_make(&offline, 3);
	holder = keyholder_start(&c);
	return holder != NULL ? 0 : -1;
}

static int
stop_holder(void **state)
{
	(void)state;
	keyholder_stop(holder);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define IN_DIRECTORY(t) \
	cmocka_unit_test_setup_teardown(t, fresh_directory, drop_directory)
		IN_DIRECTORY(makes_a_snapshot),
		IN_DIRECTORY(refuses_bad_settings),
		IN_DIRECTORY(a_key_file_needs_the_keyholder),
		IN_DIRECTORY(may_start_without_delegation),
		IN_DIRECTORY(rotates_before_the_end),
		IN_DIRECTORY(follows_clock_steps),
		IN_DIRECTORY(long_overlap_does_not_renew_for_ever),
		IN_DIRECTORY(outlives_its_keyholder),
		IN_DIRECTORY(keeps_the_key_when_renewal_fails),
		IN_DIRECTORY(goes_from_bundle_to_bundle),
		IN_DIRECTORY(warns_of_a_gap),
		IN_DIRECTORY(reloads),
		IN_DIRECTORY(failed_reload_changes_nothing),
		IN_DIRECTORY(describes),
	};

	return cmocka_run_group_tests(tests, start_holder, stop_holder);
}
