/* The queue of lines: files, rotation, readers that stand still or leave. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "proxy/eventlog.h"
#include "tests/capture.h"
#include "tests/sockets.h"
#include "tests/support.h"

#define MS 1000000ull

struct counted {
	uint64_t lines, broken;
};

static void
count_line(struct counted *c, const char *line, size_t len)
{
	json_t *o = json_loadb(line, len, 0, NULL);

	c->lines++;
	c->broken += o == NULL;
	json_decref(o);
}

static struct counted
count_file(const char *path)
{
	struct view file = support_file(path);
	const char *at = (const char *)file.data, *end = at + file.len, *nl;
	struct counted c = { 0 };

	for (; (nl = memchr(at, '\n', (size_t)(end - at))) != NULL; at = nl + 1)
		count_line(&c, at, (size_t)(nl - at));
	assert_ptr_equal(at, end);
	support_free(file);
	return c;
}

static void
write_events(struct eventlog *log, size_t n)
{
	const struct app a = { .name = "a", .proto = SOCK_TCP };
	struct event e = { .app = &a, .client = sockets_addr("192.0.2.7:1") };

	for (size_t i = 0; i < n; i++)
		eventlog_write(log, &e);
}

static void
make_directory(char dir[static 32])
{
	snprintf(dir, 32, "/tmp/eventlog.XXXXXX");
	assert_non_null(mkdtemp(dir));
}

static void
test_file(void **state)
{
	char dir[32], path[64];
	struct eventlog *log;
	struct stat st;
	mode_t mask = umask(0);

	(void)state;
	make_directory(dir);
	snprintf(path, sizeof path, "%s/log", dir);
	for (uint64_t round = 1; round <= 2; round++) { /* appends */
		log = eventlog_open(path);
		assert_non_null(log);
		write_events(log, 3000);
		eventlog_close(log);
		assert_int_equal(count_file(path).lines, 3000 * round);
	}
	assert_int_equal(count_file(path).broken, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	umask(mask);
	unlink(path);
	rmdir(dir);
	errno = 0;
	assert_null(eventlog_open(path)); /* the directory is gone */
	assert_int_equal(errno, ENOENT);
}

static void
test_none(void **state)
{
	(void)state;
	write_events(NULL, 1);
	assert_int_equal(eventlog_lost(NULL), 0);
	assert_int_equal(eventlog_reopen(NULL), 0);
	eventlog_close(NULL);
}

/* logrotate: the old name moves away, then SIGUSR1. */
static void
test_reopen(void **state)
{
	char dir[32], path[64], old[64];
	struct eventlog *log;

	(void)state;
	make_directory(dir);
	snprintf(path, sizeof path, "%s/log", dir);
	snprintf(old, sizeof old, "%s/log.1", dir);
	log = eventlog_open(path);
	assert_non_null(log);
	write_events(log, 5);
	for (int i = 0; i < 2000 && count_file(path).lines < 5; i++)
		usleep(1000);
	assert_int_equal(rename(path, old), 0);
	write_events(log, 7); /* still the old file's */
	for (int i = 0; i < 2000 && count_file(old).lines < 12; i++)
		usleep(1000);
	assert_int_equal(count_file(old).lines, 12);
	assert_int_equal(eventlog_reopen(log), 0);
	write_events(log, 9);
	eventlog_close(log);
	assert_int_equal(count_file(path).lines, 9);
	assert_int_equal(count_file(old).lines, 12);

	/* where it cannot, the old one stays */
	log = eventlog_open(path);
	assert_non_null(log);
	assert_int_equal(rename(path, old), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(eventlog_reopen(log), -1);
	assert_int_equal(errno, EISDIR);
	write_events(log, 4);
	eventlog_close(log);
	assert_int_equal(count_file(old).lines, 13);
	rmdir(path);
	unlink(old);
	rmdir(dir);
}

/* stdout is a pipe of one page while `log` is opened on it. */
static struct eventlog *
open_on_pipe(int ends[2])
{
	int saved = dup(STDOUT_FILENO);
	struct eventlog *log;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) > 0);
	fflush(stdout);
	assert_true(dup2(ends[1], STDOUT_FILENO) >= 0);
	log = eventlog_open("-");
	assert_true(dup2(saved, STDOUT_FILENO) >= 0);
	close(saved);
	close(ends[1]);
	assert_non_null(log);
	return log;
}

/* Reads whole lines until `lines` or for ten seconds. */
static struct counted
drain(int fd, struct eventlog *log, uint64_t total)
{
	static char bytes[1 << 16];
	struct counted c = { 0 };
	uint64_t by = clock_monotonic_ns() + 10000 * MS;
	size_t used = 0;

	while (
	    c.lines + eventlog_lost(log) < total && clock_monotonic_ns() < by) {
		struct pollfd ready = { fd, POLLIN, 0 };
		ssize_t n;
		char *nl;

		if (poll(&ready, 1, 100) <= 0)
			continue;
		n = read(fd, bytes + used, sizeof bytes - used);
		assert_true(n > 0);
		used += (size_t)n;
		while ((nl = memchr(bytes, '\n', used)) != NULL) {
			size_t len = (size_t)(nl - bytes);

			count_line(&c, bytes, len);
			used -= len + 1;
			memmove(bytes, nl + 1, used);
		}
	}
	return c;
}

#define FLOOD 20000

/* Nobody reads: the queue fills, the rest is counted, and no write waits. */
static void
test_blocked(void **state)
{
	struct eventlog *log;
	struct counted c;
	uint64_t before, lost;
	struct capture said;
	int ends[2];

	(void)state;
	capture_begin(&said);
	log = open_on_pipe(ends);
	before = clock_monotonic_ns();
	write_events(log, FLOOD);
	assert_true(clock_monotonic_ns() - before < 5000 * MS);
	lost = eventlog_lost(log);
	assert_in_range(lost, FLOOD - 4096 - 64, FLOOD - 4096);
	c = drain(ends[0], log, FLOOD);
	assert_int_equal(c.broken, 0);
	assert_int_equal(c.lines + eventlog_lost(log), FLOOD);
	/* and it goes on */
	write_events(log, 10);
	c = drain(ends[0], log, lost + 10);
	assert_int_equal(c.lines, 10);
	assert_int_equal(c.broken, 0);
	assert_int_equal(eventlog_lost(log), lost);
	eventlog_close(log);
	capture_end(&said);
	assert_in_range(capture_count(&said, "lines come faster"), 1, 2);
	close(ends[0]);
}

static void
test_close_bounded(void **state)
{
	struct eventlog *log;
	uint64_t before;
	int ends[2];

	(void)state;
	log = open_on_pipe(ends);
	write_events(log, 3000);
	before = clock_monotonic_ns();
	eventlog_close(log);
	assert_in_range(clock_monotonic_ns() - before, 900 * MS, 8000 * MS);
	close(ends[0]);
}

/* The reader is gone: every line is counted, and no signal kills us. */
static void
test_no_reader(void **state)
{
	struct eventlog *log;
	int ends[2];

	(void)state;
	log = open_on_pipe(ends);
	close(ends[0]);
	write_events(log, 500);
	for (int i = 0; i < 5000 && eventlog_lost(log) < 500; i++)
		usleep(1000);
	assert_int_equal(eventlog_lost(log), 500);
	eventlog_close(log);
}

#define THREADS 4
#define EACH 900

static void *
worker(void *log)
{
	for (int i = 0; i < 9; i++) {
		write_events(log, EACH / 9);
		usleep(1000);
	}
	return NULL;
}

static void
test_workers(void **state)
{
	char dir[32], path[64];
	pthread_t threads[THREADS];
	struct eventlog *log;
	struct counted c;

	(void)state;
	make_directory(dir);
	snprintf(path, sizeof path, "%s/log", dir);
	log = eventlog_open(path);
	assert_non_null(log);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, worker, log), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(eventlog_lost(log), 0);
	eventlog_close(log);
	c = count_file(path);
	assert_int_equal(c.lines, THREADS * EACH);
	assert_int_equal(c.broken, 0);
	unlink(path);
	rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_reopen),
		cmocka_unit_test(test_blocked),
		cmocka_unit_test(test_close_bounded),
		cmocka_unit_test(test_no_reader),
		cmocka_unit_test(test_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
