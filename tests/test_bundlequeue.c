/* roughtime/bundlequeue.h: a directory of delegations, one after the other. */
#include "roughtime/bundlequeue.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "keys/secret.h"
#include "tests/capture.h"
#include "tests/testkeys.h"

#define T0 1800000000ull
#define HOUR 3600u

static char dir[PATH_MAX];
static char why[FILE_WHY_LEN];
static struct testkey key, other;

static int
fresh_directory(void **state)
{
	(void)state;
	testdir_make(dir);
	return 0;
}

static int
drop_directory(void **state)
{
	(void)state;
	testdir_remove(dir);
	return 0;
}

static struct bundlequeue *
queue(void)
{
	struct bundlequeue *q = bundlequeue_new("test", dir, key.public);

	assert_non_null(q);
	return q;
}

static int
scan(struct bundlequeue *q)
{
	return bundlequeue_scan(q, why, sizeof why);
}

static void
chosen_is(const struct bundlequeue *q, uint64_t now, const char *name)
{
	const struct bundlequeue_entry *e = bundlequeue_choose(q, now);

	if (name == NULL)
		assert_null(e);
	else if (e == NULL)
		fail_msg("%s: none at T0%+lld", name, (long long)(now - T0));
	else
		assert_string_equal(e->name, name);
}

/* a: hours 0-10, b: 9-20, c: 30-40 (a gap before it), d within b */
static void
put_queue(void)
{
	testbundle_put(&key, 1, T0, T0 + 10 * HOUR, dir, "a.bundle");
	testbundle_put(&key, 2, T0 + 9 * HOUR, T0 + 20 * HOUR, dir, "b.bundle");
	testbundle_put(
	    &key, 3, T0 + 30 * HOUR, T0 + 40 * HOUR, dir, "c.bundle");
	testbundle_put(
	    &key, 4, T0 + 12 * HOUR, T0 + 14 * HOUR, dir, "d.bundle");
}

static const struct {
	uint64_t at;
	const char *name;
} choices[] = {
	{ 0, NULL },
	{ T0 - 1, NULL },
	{ T0, "a.bundle" }, /* nothing better than its first second */
	{ T0 + 5 * HOUR, "a.bundle" },
	{ T0 + 9 * HOUR, "a.bundle" }, /* b may still move out of now */
	{ T0 + 9 * HOUR + 59, "a.bundle" },
	{ T0 + 9 * HOUR + 60, "b.bundle" },
	{ T0 + 10 * HOUR, "b.bundle" },
	{ T0 + 12 * HOUR + 60, "d.bundle" },
	{ T0 + 14 * HOUR - 60, "d.bundle" },
	{ T0 + 14 * HOUR - 59, "b.bundle" }, /* d is about to end */
	{ T0 + 20 * HOUR, "b.bundle" },
	{ T0 + 20 * HOUR + 1, NULL },
	{ T0 + 30 * HOUR - 1, NULL },
	{ T0 + 30 * HOUR, "c.bundle" },
	{ T0 + 40 * HOUR, "c.bundle" },
	{ T0 + 40 * HOUR + 1, NULL },
	{ UINT64_MAX, NULL },
};

static void
chooses_by_time(void **state)
{
	struct bundlequeue *q = queue();

	(void)state;
	chosen_is(q, T0, NULL); /* before any scan */
	put_queue();
	assert_int_equal(scan(q), 4);
	for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++)
		chosen_is(q, choices[i].at, choices[i].name);
	bundlequeue_free(q);
}

static const struct {
	uint64_t at, end, next;
} ends[] = {
	{ T0 - 1, T0 - 1, T0 },
	{ T0, T0 + 20 * HOUR, T0 + 30 * HOUR },
	{ T0 + 13 * HOUR, T0 + 20 * HOUR, T0 + 30 * HOUR },
	{ T0 + 25 * HOUR, T0 + 25 * HOUR, T0 + 30 * HOUR },
	{ T0 + 31 * HOUR, T0 + 40 * HOUR, 0 },
	{ T0 + 50 * HOUR, T0 + 50 * HOUR, 0 },
};

static void
knows_where_it_ends(void **state)
{
	struct bundlequeue *q = queue();
	uint64_t next;

	(void)state;
	put_queue();
	assert_int_equal(scan(q), 4);
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		assert_true(
		    bundlequeue_end(q, ends[i].at, &next) == ends[i].end);
		assert_true(next == ends[i].next);
	}
	bundlequeue_free(q);
}

static void
takes_the_online_key(void **state)
{
	struct response_key *k = secret_alloc(sizeof *k);
	struct bundlequeue *q = queue();
	struct testkey online;

	(void)state;
	put_queue();
	assert_int_equal(scan(q), 4);
	testkey_make(&online, 2);
	assert_int_equal(
	    bundlequeue_take(
		q, bundlequeue_choose(q, T0 + 11 * HOUR), k, why, sizeof why),
	    0);
	assert_true(k->usable);
	assert_memory_equal(k->online_secret, online.secret, CERT_SECRET_LEN);
	assert_memory_equal(
	    k->delegation.online_public, online.public, CERT_PUBLIC_LEN);
	assert_true(k->delegation.mint_s == T0 + 9 * HOUR);
	assert_true(k->delegation.maxt_s == T0 + 20 * HOUR);
	bundlequeue_free(q);
	secret_free(k);
}

/* Every file that cannot be used is named once, and the others are used. */
static void
names_broken_files_once(void **state)
{
	struct bundlequeue *q = queue();
	char path[PATH_MAX], link[PATH_MAX];
	struct capture said;
	struct bundle b;

	(void)state;
	testbundle_put(&key, 1, T0, T0 + HOUR, dir, "good.bundle");
	testbundle_put(&key, 1, T0, T0 + HOUR, dir, "open.bundle");
	assert_int_equal(chmod(test_path(path, dir, "open.bundle"), 0644), 0);
	testbundle_put(&other, 1, T0, T0 + HOUR, dir, "other.bundle");
	testbundle_make(&b, &key, 1, T0, T0 + HOUR);
	b.certs[0].bytes[20] ^= 1;
	testbundle_write(&b, dir, "forged.bundle");
	test_write(dir, "garbage.bundle", "garbage\n", 8);
	test_write(dir, "empty.bundle", "", 0);
	assert_int_equal(symlink(test_path(path, dir, "good.bundle"),
			     test_path(link, dir, "link.bundle")),
	    0);
	test_write(dir, "notes.txt", "x", 1); /* any name may be a bundle */
	/* hidden files and directories are not looked at */
	assert_int_equal(mkdir(test_path(path, dir, "old"), 0700), 0);
	test_write(dir, ".bundle", "x", 1);
	test_write(dir, ".hidden.bundle", "x", 1);

	capture_begin(&said);
	assert_int_equal(scan(q), 1);
	assert_int_equal(scan(q), 1);
	capture_end(&said);
	assert_int_equal(capture_count(&said, "left out"), 7);
	assert_int_equal(capture_count(&said, "open.bundle: mode"), 1);
	assert_int_equal(capture_count(&said, "forged.bundle"), 1);
	assert_int_equal(capture_count(&said, "another long-term key"), 1);
	chosen_is(q, T0 + 100, "good.bundle");

	assert_int_equal(rmdir(test_path(path, dir, "old")), 0);

	/* put right, it is read again */
	unlink(test_path(path, dir, "good.bundle"));
	assert_int_equal(chmod(test_path(path, dir, "open.bundle"), 0600), 0);
	assert_int_equal(scan(q), 1);
	chosen_is(q, T0 + 100, "open.bundle");
	bundlequeue_free(q);
}

static void
follows_the_directory(void **state)
{
	struct response_key *k = secret_alloc(sizeof *k);
	struct bundlequeue *q = queue();
	const struct bundlequeue_entry *e;
	char path[PATH_MAX];

	(void)state;
	assert_int_equal(scan(q), 0);
	testbundle_put(&key, 1, T0, T0 + HOUR, dir, "1.bundle");
	chosen_is(q, T0 + 100, NULL);
	assert_int_equal(scan(q), 1);
	chosen_is(q, T0 + 100, "1.bundle");

	/* gone or replaced between scan and use */
	e = bundlequeue_choose(q, T0 + 100);
	unlink(test_path(path, dir, "1.bundle"));
	assert_int_equal(bundlequeue_take(q, e, k, why, sizeof why), -1);
	chosen_is(q, T0 + 100, NULL);
	testbundle_put(&key, 1, T0, T0 + HOUR, dir, "1.bundle");
	assert_int_equal(scan(q), 1);
	testbundle_put(&key, 1, T0, T0 + 2 * HOUR, dir, "1.bundle");
	e = bundlequeue_choose(q, T0 + 100);
	assert_int_equal(bundlequeue_take(q, e, k, why, sizeof why), -1);
	assert_non_null(strstr(why, "has just changed"));
	assert_int_equal(scan(q), 1);
	chosen_is(q, T0 + 100 + HOUR, "1.bundle");
	unlink(path);
	assert_int_equal(scan(q), 0);
	chosen_is(q, T0 + 100, NULL);
	bundlequeue_free(q);
	secret_free(k);
}

/* A directory that cannot be read leaves what was known. */
static void
survives_a_missing_directory(void **state)
{
	struct bundlequeue *q = queue();
	char moved[PATH_MAX + 8];

	(void)state;
	testbundle_put(&key, 1, T0, T0 + HOUR, dir, "1.bundle");
	assert_int_equal(scan(q), 1);
	snprintf(moved, sizeof moved, "%s-moved", dir);
	assert_int_equal(rename(dir, moved), 0);
	assert_int_equal(scan(q), -1);
	assert_non_null(strstr(why, "No such file"));
	chosen_is(q, T0 + 100, "1.bundle");
	assert_int_equal(rename(moved, dir), 0);
	bundlequeue_free(q);
}

static void
bounds_the_number(void **state)
{
	struct bundlequeue *q = queue();
	struct capture said;
	char name[32];
	int good;

	(void)state;
	for (int i = 0; i < BUNDLEQUEUE_MAX + 5; i++) {
		char path[PATH_MAX];
		int fd;

		snprintf(name, sizeof name, "%04d.bundle", i);
		fd = open(test_path(path, dir, name), O_CREAT | O_WRONLY, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	capture_begin(&said);
	good = scan(q);
	good += scan(q);
	capture_end(&said);
	assert_int_equal(good, 0);
	assert_int_equal(capture_count(&said, "5 are not looked at"), 1);
	bundlequeue_free(q);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define IN_DIRECTORY(t) \
	cmocka_unit_test_setup_teardown(t, fresh_directory, drop_directory)
		IN_DIRECTORY(chooses_by_time),
		IN_DIRECTORY(knows_where_it_ends),
		IN_DIRECTORY(takes_the_online_key),
		IN_DIRECTORY(names_broken_files_once),
		IN_DIRECTORY(follows_the_directory),
		IN_DIRECTORY(survives_a_missing_directory),
		IN_DIRECTORY(bounds_the_number),
	};

	if (secret_init() != 0)
		return 1;
	testkey_make(&key, 100);
	testkey_make(&other, 101);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
