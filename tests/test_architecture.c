/* ARCHITECTURE.md: every module stands there, and nothing that is gone. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support.h"

static const char *const rooms[] = { "base", "net", "config", "keys",
	"roughtime", "roughtime/client", "proxy", "portshare" };

#define ROOMS (sizeof rooms / sizeof *rooms)

static char *
read_page(void)
{
	struct view v = support_file("ARCHITECTURE.md");
	char *text = (char *)(uintptr_t)v.data;

	text[v.len] = '\0';
	return text;
}

static void
every_module_is_named(void **state)
{
	char *page = read_page(), pattern[64], word[64];
	glob_t found;

	(void)state;
	for (size_t i = 0; i < ROOMS; i++) {
		snprintf(pattern, sizeof pattern, "%s/*.c", rooms[i]);
		assert_int_equal(glob(pattern, 0, NULL, &found), 0);
		for (size_t k = 0; k < found.gl_pathc; k++) {
			const char *name = strrchr(found.gl_pathv[k], '/') + 1;

			snprintf(word, sizeof word, "`%.*s`",
			    (int)(strlen(name) - 2), name);
			if (strstr(page, word) == NULL)
				fail_msg("%s is not in ARCHITECTURE.md",
				    found.gl_pathv[k]);
		}
		globfree(&found);
	}
	free(page);
}

/* A header or a source of this name in one of the rooms. */
static bool
is_module(const char *name, size_t len)
{
	char path[96];
	glob_t found;
	bool there = false;

	for (size_t i = 0; i < ROOMS && !there; i++) {
		snprintf(path, sizeof path, "%s/%.*s.[ch]", rooms[i], (int)len,
		    name);
		there = glob(path, 0, NULL, &found) == 0;
		if (there)
			globfree(&found);
	}
	return there;
}

/* The first column of the tables of files. */
static void
no_module_is_gone(void **state)
{
	char *page = read_page(), *save = NULL;
	bool table = false;

	(void)state;
	for (char *line = strtok_r(page, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		char *end = strchr(line + 1, '|');

		table = line[0] == '|' &&
		    (table || strncmp(line, "| file |", 8) == 0);
		if (!table || end == NULL)
			continue;
		*end = '\0';
		for (char *at = strchr(line, '`'); at != NULL;
		     at = strchr(at, '`')) {
			size_t len = strcspn(at + 1, "`");

			if (!is_module(at + 1, len))
				fail_msg("ARCHITECTURE.md names %.*s, which "
					 "is no module",
				    (int)len, at + 1);
			at += len + 2;
		}
	}
	free(page);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_module_is_named),
		cmocka_unit_test(no_module_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
