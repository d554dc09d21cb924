/* The logger: what goes to a tap, and that the line itself does not change. */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/capture.h"

struct heard {
	size_t n;
	enum log_level level;
	char text[128];
};

static void
hear(void *context, enum log_level level, const char *text)
{
	struct heard *h = context;

	h->n++;
	h->level = level;
	snprintf(h->text, sizeof h->text, "%s", text);
	errno = EILSEQ;
	log_error("the tap's own");
}

static void
a_tap_hears_what_is_logged(void **state)
{
	struct heard h = { 0 };
	struct capture c;

	(void)state;
	log_init("test", LOG_LEVEL_ERROR);
	capture_begin(&c);
	log_tap(hear, &h);
	errno = ENOENT;
	log_error("no %s: %m", "file");
	log_tap(NULL, NULL);
	log_error("not for it");
	capture_end(&c);
	assert_int_equal(h.n, 1);
	assert_int_equal(h.level, LOG_LEVEL_ERROR);
	assert_string_equal(h.text, "no file: No such file or directory");
	/* after the tap, which has set errno to something else */
	assert_non_null(
	    strstr(c.text, "test: error: no file: No such file or directory"));
	assert_int_equal(capture_count(&c, "\n"), 3);
}

static void
a_tap_hears_what_is_not_printed(void **state)
{
	struct heard h = { 0 };
	struct capture c;

	(void)state;
	log_init("test", LOG_LEVEL_ERROR);
	capture_begin(&c);
	log_tap(hear, &h);
	log_warning("quiet");
	log_tap(NULL, NULL);
	capture_end(&c);
	assert_int_equal(h.n, 1);
	assert_string_equal(h.text, "quiet");
	assert_null(strstr(c.text, "quiet"));
}

static void *
log_elsewhere(void *arg)
{
	log_error("of another thread");
	return arg;
}

static void
a_tap_is_of_one_thread(void **state)
{
	struct heard h = { 0 };
	struct capture c;
	pthread_t t;

	(void)state;
	capture_begin(&c);
	log_tap(hear, &h);
	assert_int_equal(pthread_create(&t, NULL, log_elsewhere, NULL), 0);
	pthread_join(t, NULL);
	log_tap(NULL, NULL);
	capture_end(&c);
	assert_int_equal(h.n, 0);
	assert_int_equal(capture_count(&c, "of another thread"), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tap_hears_what_is_logged),
		cmocka_unit_test(a_tap_hears_what_is_not_printed),
		cmocka_unit_test(a_tap_is_of_one_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
