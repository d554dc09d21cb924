/* roughtime/keyholder.h: the process that alone has the long-term keys. */
#include "roughtime/keyholder.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "keys/secret.h"
#include "tests/testkeys.h"

#define DAY 86400u

static const uint8_t online[CERT_PUBLIC_LEN] = { 1, 2, 3 };
static char dir[PATH_MAX];
static struct testkey key;

/* The value of one line of /proc/PID/status. */
static void
status_of(pid_t pid, const char *name, char out[static 64])
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	out[0] = '\0';
	while (fgets(line, sizeof line, f) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			sscanf(line + strlen(name), ": %63s", out);
	fclose(f);
}

static struct keyholder *
start(const char *passphrase_file)
{
	const char *paths[] = { dir };
	struct keyholder_config c = { .max_delegation_s = DAY,
		.paths = paths,
		.npaths = 1,
		.passphrase_file = passphrase_file };
	struct keyholder *h;

	if (geteuid() == 0)
		c.user = "nobody";
	h = keyholder_start(&c);
	assert_non_null(h);
	return h;
}

static struct keyholder *
start_loaded(void)
{
	struct keyholder *h = start(NULL);
	uint8_t public[CERT_PUBLIC_LEN];
	char path[PATH_MAX], why[FILE_WHY_LEN];

	if (keyholder_load(h, 0, test_path(path, dir, "good.key"), public, why,
		sizeof why) != 0)
		fail_msg("%s", why);
	assert_memory_equal(public, key.public, sizeof public);
	return h;
}

static int
delegate_now(
    struct keyholder *h, unsigned int slot, struct delegation *d, char *why)
{
	return keyholder_delegate(h, slot, online, clock_unix_s() - 3600,
	    clock_unix_s() + 3600, d, why, FILE_WHY_LEN);
}

/* What it signs is a delegation of that key, of every kind. */
static void
signs(void **state)
{
	struct keyholder *h = start_loaded();
	uint64_t mint = clock_unix_s() - 3600,
		 maxt = clock_unix_s() + DAY - 3700;
	struct delegation d, again;
	struct testkey k;
	struct bundle b;
	char why[FILE_WHY_LEN];

	(void)state;
	testkey_make(&k, 77);
	assert_int_equal(
	    keyholder_delegate(h, 0, k.public, mint, maxt, &d, why, sizeof why),
	    0);
	assert_true(d.mint_s == mint && d.maxt_s == maxt);
	assert_memory_equal(d.online_public, k.public, sizeof k.public);
	delegation_to_bundle(&b, &d, key.public, k.seed);
	assert_int_equal(b.count, CERT_KINDS);
	assert_int_equal(delegation_from_bundle(&again, &b), DELEGATION_OK);
	keyholder_stop(h);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static const struct {
	int64_t mint, maxt; /* from now */
	const char *why; /* NULL: signed */
} windows[] = {
	{ -3600, 3600, NULL },
	{ 0, DAY, NULL },
	{ -(int64_t)DAY + 60, 60, NULL },
	{ -1, (int64_t)DAY, "at most 86400 s" },
	{ 3600, 3600, "ends before it begins" },
	{ 3600, -3600, "ends before it begins" },
	{ -7200, -3600, "in the past" },
	{ -7200, 0, "in the past" },
	{ 3600, DAY + 100, "too far in the future" },
	{ 365 * (int64_t)DAY, 366 * (int64_t)DAY, "too far in the future" },
	{ -3600, 365 * (int64_t)DAY, "at most 86400 s" },
};

static void
refuses_windows(void **state)
{
	struct keyholder *h = start_loaded();
	struct delegation d;
	char why[FILE_WHY_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
		uint64_t now = clock_unix_s();
		int r = keyholder_delegate(h, 0, online,
		    now + (uint64_t)windows[i].mint,
		    now + (uint64_t)windows[i].maxt, &d, why, sizeof why);

		assert_int_equal(r, windows[i].why == NULL ? 0 : -1);
		if (r != 0 && strstr(why, windows[i].why) == NULL)
			fail_msg("%zu: %s", i, why);
	}
	assert_int_equal(keyholder_delegate(
			     h, 0, online, 0, UINT64_MAX, &d, why, sizeof why),
	    -1);
	keyholder_stop(h);
}

static void
refuses_slots(void **state)
{
	struct keyholder *h = start_loaded();
	uint8_t public[CERT_PUBLIC_LEN];
	char path[PATH_MAX], why[FILE_WHY_LEN];
	struct delegation d;

	(void)state;
	assert_int_equal(delegate_now(h, 1, &d, why), -1);
	assert_non_null(strstr(why, "slot 1 holds no key"));
	assert_int_equal(delegate_now(h, KEYHOLDER_SLOTS, &d, why), -1);
	assert_non_null(strstr(why, "does not exist"));
	test_path(path, dir, "good.key");
	assert_int_equal(
	    keyholder_load(h, UINT32_MAX, path, public, why, sizeof why), -1);
	assert_int_equal(keyholder_load(h, KEYHOLDER_SLOTS - 1, path, public,
			     why, sizeof why),
	    0);
	assert_int_equal(delegate_now(h, KEYHOLDER_SLOTS - 1, &d, why), 0);
	assert_int_equal(
	    keyholder_forget(h, KEYHOLDER_SLOTS - 1, why, sizeof why), 0);
	assert_int_equal(delegate_now(h, KEYHOLDER_SLOTS - 1, &d, why), -1);
	assert_int_equal(keyholder_forget(h, 5, why, sizeof why), 0);
	keyholder_stop(h);
}

static const struct {
	const char *path; /* NAME in the directory, or absolute */
	const char *why;
} bad_files[] = {
	{ "absent.key", "absent.key" }, { "open.key", "open.key" },
	{ "link.key", "link.key" }, { "garbage.key", "garbage.key" },
	{ "locked.key", "passphrase" },
	{ "/etc/passwd", "directories that held keys" },
	{ "/proc/self/../self/environ", "directories that held keys" },
	{ "good.key", "directories that held keys" }, /* relative */
};

/* A load that fails leaves what the slot held. */
static void
refuses_files(void **state)
{
	struct keyholder *h = start_loaded();
	uint8_t public[CERT_PUBLIC_LEN];
	char path[PATH_MAX], why[FILE_WHY_LEN], longest[PATH_MAX + 10];
	struct delegation d;

	(void)state;
	for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
		const char *p = bad_files[i].path;

		if (p[0] != '/' && i != 7)
			p = test_path(path, dir, p);
		assert_int_equal(
		    keyholder_load(h, 0, p, public, why, sizeof why), -1);
		if (strstr(why, bad_files[i].why) == NULL)
			fail_msg("%s: %s", p, why);
		assert_int_equal(delegate_now(h, 0, &d, why), 0);
	}
	memset(longest, 'a', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(
	    keyholder_load(h, 0, longest, public, why, sizeof why), -1);
	assert_non_null(strstr(why, "path of more than"));
	keyholder_stop(h);
}

static void
opens_encrypted_keys(void **state)
{
	char path[PATH_MAX], file[PATH_MAX], why[FILE_WHY_LEN];
	uint8_t public[CERT_PUBLIC_LEN];
	struct delegation d;
	struct keyholder *h;

	(void)state;
	test_path(path, dir, "locked.key");
	h = start(test_path(file, dir, "passphrase"));
	if (keyholder_load(h, 0, path, public, why, sizeof why) != 0)
		fail_msg("%s", why);
	assert_memory_equal(public, key.public, sizeof public);
	assert_int_equal(delegate_now(h, 0, &d, why), 0);
	keyholder_stop(h);

	h = start(test_path(file, dir, "wrong-passphrase"));
	assert_int_equal(
	    keyholder_load(h, 0, path, public, why, sizeof why), -1);
	assert_non_null(strstr(why, "locked.key"));
	keyholder_stop(h);
}

/* What is wrong at the start is told there: no process is left behind. */
static void
refuses_to_start(void **state)
{
	char file[PATH_MAX];
	struct keyholder_config c = { .max_delegation_s = DAY };

	(void)state;
	c.passphrase_file = test_path(file, dir, "absent");
	assert_null(keyholder_start(&c));
	c.passphrase_file = test_path(file, dir, "open.key");
	assert_null(keyholder_start(&c));
	c.passphrase_file = test_path(file, dir, "empty");
	assert_null(keyholder_start(&c));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void
is_confined(void **state)
{
	struct keyholder *h = start_loaded();
	pid_t pid = test_last_child();
	char value[64];

	(void)state;
	status_of(pid, "Name", value);
	assert_string_equal(value, "rt-keyholder");
	status_of(pid, "NoNewPrivs", value);
	assert_string_equal(value, "1");
	status_of(pid, "Seccomp", value);
	assert_string_equal(value, "2");
	status_of(pid, "CapPrm", value); /* CAP_DAC_READ_SEARCH is bit 2 */
	assert_string_equal(
	    value, geteuid() == 0 ? "0000000000000004" : "0000000000000000");
	status_of(pid, "Uid", value);
	if (geteuid() == 0)
		assert_string_not_equal(value, "0");
	else
		assert_int_equal(atoi(value), (int)geteuid());
	keyholder_stop(h);
}

/* Nothing that the server had open is open there. */
static void
holds_no_other_descriptor(void **state)
{
	int mine = open("/dev/null", O_RDONLY);
	struct keyholder *h = start_loaded();
	char path[64];
	int n = 0;
	DIR *d;

	(void)state;
	assert_true(mine >= 0);
	snprintf(path, sizeof path, "/proc/%d/fd", test_last_child());
	d = opendir(path);
	if (geteuid() == 0) {
		assert_non_null(d);
		while (readdir(d) != NULL)
			n++;
		assert_int_equal(n, 2 + 4); /* . .. 0 1 2 3 */
		closedir(d);
	} else {
		assert_null(d); /* not dumpable: procfs is root's */
		assert_int_equal(errno, EACCES);
	}
	close(mine);
	keyholder_stop(h);
}

/* A directory, one with a slash at its end, or a key that stands for it. */
static void
knows_its_directories(void **state)
{
	static const char *const forms[] = { "", "/", "///", "/good.key",
		"/not-there-yet.key" };
	char path[PATH_MAX], given[PATH_MAX + 32], why[FILE_WHY_LEN];
	const char *const paths[] = { "/nonexistent", given };
	struct keyholder_config c = {
		.max_delegation_s = DAY, .paths = paths, .npaths = 2
	};
	uint8_t public[CERT_PUBLIC_LEN];

	(void)state;
	test_path(path, dir, "good.key");
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		struct keyholder *h;

		snprintf(given, sizeof given, "%s%s", dir, forms[i]);
		h = keyholder_start(&c);
		assert_non_null(h);
		if (keyholder_load(h, 0, path, public, why, sizeof why) != 0)
			fail_msg("%s: %s", given, why);
		assert_int_equal(keyholder_load(h, 1, "/etc/hostname", public,
				     why, sizeof why),
		    -1);
		keyholder_stop(h);
	}
}

static void
outlives_signals(void **state)
{
	static const int sent[] = { SIGINT, SIGHUP, SIGUSR1, SIGTERM, SIGQUIT };
	struct keyholder *h = start_loaded();
	struct delegation d;
	char why[FILE_WHY_LEN];
	pid_t pid = test_last_child();

	(void)state;
	for (size_t i = 0; i < sizeof sent / sizeof sent[0]; i++)
		assert_int_equal(kill(pid, sent[i]), 0);
	assert_int_equal(delegate_now(h, 0, &d, why), 0);
	keyholder_stop(h);
}

static void
death_is_told(void **state)
{
	struct keyholder *h = start_loaded();
	struct pollfd p = { .fd = keyholder_fd(h), .events = POLLIN };
	struct delegation d;
	char why[FILE_WHY_LEN];
	pid_t pid = test_last_child();
	uint64_t before = clock_monotonic_ns();

	(void)state;
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_true(keyholder_ended(h));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(delegate_now(h, 0, &d, why), -1);
		assert_non_null(strstr(why, "has ended"));
	}
	assert_in_range(clock_monotonic_ns() - before, 0, 4000000000u);
	keyholder_stop(h);
}

/* What nobody waits for any more is no death. */
static void
late_answer_is_no_death(void **state)
{
	struct keyholder *h = start_loaded();
	struct pollfd p = { .fd = keyholder_fd(h), .events = POLLIN };
	struct delegation d;
	char why[FILE_WHY_LEN];

	(void)state;
	assert_false(keyholder_ended(h));
	/* answered, too: with a refusal that belongs to no question */
	assert_int_equal(write(p.fd, "x", 1), 1);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_false(keyholder_ended(h));
	assert_int_equal(poll(&p, 1, 0), 0);
	/* nor is it taken for the answer to the next one */
	assert_int_equal(write(p.fd, "x", 1), 1);
	assert_int_equal(delegate_now(h, 0, &d, why), 0);
	keyholder_stop(h);
}

/* A keyholder that hangs costs five seconds, once, and is asked again when it
 * has come to. */
static void
hanging_is_bounded(void **state)
{
	struct keyholder *h = start_loaded();
	struct pollfd p = { .fd = keyholder_fd(h), .events = POLLIN };
	struct delegation d;
	char why[FILE_WHY_LEN];
	pid_t pid = test_last_child();
	uint64_t now = clock_unix_s(), before = clock_monotonic_ns();

	(void)state;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(delegate_now(h, 0, &d, why), -1);
	assert_non_null(strstr(why, "no answer"));
	assert_in_range(
	    clock_monotonic_ns() - before, 4000000000u, 9000000000u);
	for (unsigned int slot = 0; slot < 10; slot++) {
		assert_int_equal(delegate_now(h, slot, &d, why), -1);
		assert_int_equal(
		    keyholder_forget(h, slot, why, sizeof why), -1);
	}
	assert_in_range(clock_monotonic_ns() - before, 0, 9000000000u);
	assert_int_equal(kill(pid, SIGCONT), 0);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_false(keyholder_ended(h));
	assert_int_equal(keyholder_delegate(h, 0, online, now - 11, now + 99,
			     &d, why, sizeof why),
	    0);
	assert_true(d.mint_s == now - 11 && d.maxt_s == now + 99);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	keyholder_stop(h); /* kills it after two seconds */
	assert_int_equal(kill(pid, 0), -1);
}

/* However the server ends, its keyholder does not stay. */
static void
dies_with_the_server(void **state)
{
	pid_t server, holder = 0;
	int p[2], status;

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(pipe(p), 0);
	server = fork();
	if (server == 0) {
		struct keyholder *h = start_loaded();

		holder = test_last_child();
		status = write(p[1], &holder, sizeof holder) < 0;
		pause();
		keyholder_stop(h);
		_exit(status);
	}
	assert_int_equal(read(p[0], &holder, sizeof holder), sizeof holder);
	assert_int_equal(kill(server, SIGKILL), 0);
	assert_int_equal(waitpid(server, &status, 0), server);
	assert_int_equal(waitpid(holder, &status, 0), holder);
	close(p[0]);
	close(p[1]);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static int
make_files(void **state)
{
	char path[PATH_MAX], link[PATH_MAX];

	(void)state;
	if (secret_init() != 0)
		return -1;
	testdir_make(dir);
	testkey_make(&key, 42);
	testkey_write(&key, dir, "good.key", NULL);
	testkey_write(&key, dir, "open.key", NULL);
	testkey_write(&key, dir, "locked.key", "test passphrase");
	test_write(dir, "passphrase", "test passphrase\n", 16);
	test_write(dir, "wrong-passphrase", "another", 7);
	test_write(dir, "empty", "\n", 1);
	test_write(dir, "garbage.key", "no key\n", 7);
	if (chmod(test_path(path, dir, "open.key"), 0644) != 0)
		return -1;
	return symlink(
	    test_path(path, dir, "good.key"), test_path(link, dir, "link.key"));
}

static int
remove_files(void **state)
{
	(void)state;
	testdir_remove(dir);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signs),
		cmocka_unit_test(refuses_windows),
		cmocka_unit_test(refuses_slots),
		cmocka_unit_test(refuses_files),
		cmocka_unit_test(opens_encrypted_keys),
		cmocka_unit_test(refuses_to_start),
		cmocka_unit_test(is_confined),
		cmocka_unit_test(holds_no_other_descriptor),
		cmocka_unit_test(knows_its_directories),
		cmocka_unit_test(outlives_signals),
		cmocka_unit_test(death_is_told),
		cmocka_unit_test(late_answer_is_no_death),
		cmocka_unit_test(hanging_is_bounded),
		cmocka_unit_test(dies_with_the_server),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
