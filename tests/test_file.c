/* base/file.h: whole files, secret files, and what is refused. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/timeshare-file-XXXXXX";
static char why[FILE_WHY_LEN];

/* A name in the directory of this test; four are good at a time. */
static const char *
in_dir(const char *name)
{
	static char path[4][PATH_MAX];
	static unsigned int turn;
	char *p = path[turn++ % 4];

	snprintf(p, PATH_MAX, "%s/%s", dir, name);
	return p;
}

static size_t
entries(void)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2; /* . and .. */
}

static void
put(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int
make_dir(void **state)
{
	static const char model[] = "/tmp/timeshare-file-XXXXXX";

	(void)state;
	memcpy(dir, model, sizeof model);
	why[0] = '\0';
	umask(022);
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
drop_dir(void **state)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	(void)state;
	while (d != NULL && (e = readdir(d)) != NULL) {
		unlinkat(dirfd(d), e->d_name, 0);
		unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
	}
	closedir(d);
	return rmdir(dir);
}

static mode_t
mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_nlink, 1);
	return st.st_mode & 07777;
}

static void
reads_up_to_the_bound(void **state)
{
	static const size_t lengths[] = { 0, 1, 4095, 4096, 4097, 10000 };

	(void)state;
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		size_t n = lengths[i], len = 1;
		char *text = calloc(1, n + 1);
		uint8_t *data;

		memset(text, 'x', n);
		put(in_dir("f"), text, 0644);
		assert_int_equal(
		    file_read(in_dir("f"), n, &data, &len, why), 0);
		assert_int_equal(len, n);
		assert_memory_equal(data, text, n + 1);
		free(data);
		if (n > 0) {
			assert_int_equal(
			    file_read(in_dir("f"), n - 1, &data, &len, why),
			    -1);
			assert_int_equal(errno, EFBIG);
			assert_non_null(strstr(why, "longer than"));
		}
		free(text);
	}
}

static void
read_refuses(void **state)
{
	uint8_t *data;
	size_t len;

	(void)state;
	assert_int_equal(file_read(in_dir("none"), 10, &data, &len, why), -1);
	assert_int_equal(errno, ENOENT);
	assert_non_null(strstr(why, "/none: No such file"));
	assert_int_equal(file_read(dir, 10, &data, &len, why), -1);
	assert_int_equal(errno, EINVAL);
	assert_non_null(strstr(why, "not a regular file"));
	/* nobody writes into this FIFO: it must not hold us up */
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	assert_int_equal(file_read(in_dir("fifo"), 10, &data, &len, why), -1);
	assert_int_equal(errno, EINVAL);
	/* a file without a length of its own is read to its end */
	assert_int_equal(
	    file_read("/proc/self/status", 65536, &data, &len, why), 0);
	assert_true(len > 0);
	free(data);
	assert_int_equal(
	    file_read("/proc/self/mem", 65536, &data, &len, why), -1);
	assert_int_equal(errno, EIO);
}

static void
secret_is_read(void **state)
{
	uint8_t buf[8];
	size_t len;

	(void)state;
	put(in_dir("s"), "12345678", 0600);
	assert_int_equal(
	    file_read_secret(in_dir("s"), buf, sizeof buf, &len, why), 0);
	assert_int_equal(len, 8);
	assert_memory_equal(buf, "12345678", 8);
	put(in_dir("s"), "", 0400);
	assert_int_equal(
	    file_read_secret(in_dir("s"), buf, sizeof buf, &len, why), 0);
	assert_int_equal(len, 0);
}

static void
secret_of_others_is_refused(void **state)
{
	static const struct {
		mode_t mode;
		const char *words;
	} bad[] = {
		{ 0644, "mode 0644 lets others read it; chmod 600 " },
		{ 0640, "mode 0640 lets others read it; chmod 600 " },
		{ 0604, "mode 0604 lets others read it; chmod 600 " },
		{ 0620, "mode 0620 lets others reach it; chmod 600 " },
		{ 0601, "mode 0601 lets others reach it; chmod 600 " },
	};
	uint8_t buf[8];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		put(in_dir("s"), "1", bad[i].mode);
		assert_int_equal(
		    file_read_secret(in_dir("s"), buf, sizeof buf, &len, why),
		    -1);
		assert_int_equal(errno, EACCES);
		assert_non_null(strstr(why, bad[i].words));
	}
}

static void
secret_in_a_wrong_place_is_refused(void **state)
{
	static const uint8_t zeros[8];
	uint8_t buf[8];
	size_t len;

	(void)state;
	put(in_dir("s"), "123456789", 0600);
	assert_int_equal(symlink(in_dir("s"), in_dir("link")), 0);
	assert_int_equal(
	    file_read_secret(in_dir("link"), buf, sizeof buf, &len, why), -1);
	assert_int_equal(errno, ELOOP);
	assert_non_null(strstr(why, "a symbolic link"));
	assert_int_equal(
	    file_read_secret(in_dir("s"), buf, sizeof buf, &len, why), -1);
	assert_int_equal(errno, EFBIG);
	assert_memory_equal(buf, zeros, sizeof buf); /* wiped */
	assert_int_equal(
	    file_read_secret(in_dir("no"), buf, sizeof buf, &len, why), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(mkdir(in_dir("d"), 0700), 0);
	assert_int_equal(
	    file_read_secret(in_dir("d"), buf, sizeof buf, &len, why), -1);
	assert_non_null(strstr(why, "not a regular file"));
}

static void
secret_is_created_once(void **state)
{
	uint8_t buf[8];
	size_t len;

	(void)state;
	umask(0777); /* must not matter */
	assert_int_equal(file_create_secret(in_dir("s"), "first", 5, why), 0);
	umask(022);
	assert_int_equal(mode_of(in_dir("s")), 0600);
	assert_int_equal(file_create_secret(in_dir("s"), "other", 5, why), -1);
	assert_int_equal(errno, EEXIST);
	assert_non_null(strstr(why, "never overwritten"));
	assert_int_equal(
	    file_read_secret(in_dir("s"), buf, sizeof buf, &len, why), 0);
	assert_memory_equal(buf, "first", 5);
	assert_int_equal(entries(), 1); /* nothing temporary is left */
}

static void
create_does_not_follow(void **state)
{
	(void)state;
	assert_int_equal(symlink(in_dir("nowhere"), in_dir("link")), 0);
	assert_int_equal(file_create_secret(in_dir("link"), "x", 1, why), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(access(in_dir("nowhere"), F_OK), -1);
	assert_int_equal(
	    file_create_secret(in_dir("no/such"), "x", 1, why), -1);
	assert_int_equal(errno, ENOENT);
	assert_non_null(strstr(why, "/no/such: No such file"));
	assert_int_equal(entries(), 1);
}

static void
bare_names_and_long_names(void **state)
{
	char name[PATH_MAX];
	char *cwd = getcwd(NULL, 0);

	(void)state;
	assert_non_null(cwd);
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(file_create_secret("bare", "x", 1, why), 0);
	assert_int_equal(mode_of("bare"), 0600);
	assert_int_equal(chdir(cwd), 0);
	free(cwd);
	memset(name, 'n', sizeof name);
	memcpy(name, dir, strlen(dir));
	name[strlen(dir)] = '/';
	name[strlen(dir) + 1 + NAME_MAX] = '\0';
	assert_int_equal(file_create_secret(name, "x", 1, why), 0);
	assert_int_equal(file_replace(name, 0644, "y", 1, why), 0);
	name[strlen(dir) + 1 + NAME_MAX] = 'n';
	name[strlen(dir) + 2 + NAME_MAX] = '\0';
	assert_int_equal(file_create_secret(name, "x", 1, why), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	memset(name, '/', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	assert_int_equal(file_create_secret(name, "x", 1, why), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	assert_int_equal(entries(), 2);
}

static void
replaces(void **state)
{
	uint8_t *data;
	size_t len;

	(void)state;
	assert_int_equal(file_replace(in_dir("p"), 0644, "one", 3, why), 0);
	assert_int_equal(file_replace(in_dir("p"), 0640, "two!", 4, why), 0);
	assert_int_equal(mode_of(in_dir("p")), 0640);
	assert_int_equal(file_read(in_dir("p"), 10, &data, &len, why), 0);
	assert_int_equal(len, 4);
	assert_string_equal((char *)data, "two!");
	free(data);
	assert_int_equal(mkdir(in_dir("d"), 0700), 0);
	assert_int_equal(file_replace(in_dir("d"), 0644, "x", 1, why), -1);
	assert_int_equal(errno, EISDIR);
	assert_int_equal(file_replace(in_dir("no/p"), 0644, "x", 1, why), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(entries(), 2);
}

/* A write that fails (RLIMIT_FSIZE here) leaves no name behind. */
static void
failed_write_leaves_nothing(void **state)
{
	struct rlimit old, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	none = old;
	none.rlim_cur = 1;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(file_create_secret(in_dir("s"), "two", 3, why), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(file_replace(in_dir("p"), 0600, "two", 3, why), -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(entries(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, drop_dir)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_up_to_the_bound),
		TEST(read_refuses),
		TEST(secret_is_read),
		TEST(secret_of_others_is_refused),
		TEST(secret_in_a_wrong_place_is_refused),
		TEST(secret_is_created_once),
		TEST(create_does_not_follow),
		TEST(bare_names_and_long_names),
		TEST(replaces),
		TEST(failed_write_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
