/* Tables for people. */
#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct table_column columns[] = {
	{ "NAME", false },
	{ "COUNT", true },
	{ "STATE", false },
};

static char *text;
static size_t text_len;

static void
begin(struct table *t)
{
	FILE *out = open_memstream(&text, &text_len);

	assert_non_null(out);
	assert_int_equal(table_begin(t, out, columns, 3), 0);
}

static void
end(struct table *t)
{
	table_end(t);
	fclose(t->out);
}

static void
columns_are_aligned(void **state)
{
	struct table t;

	(void)state;
	begin(&t);
	table_row(&t, (const char *[]){ "a", "1", "up" });
	table_row(&t, (const char *[]){ "longer", "1234567", "" });
	table_row(&t, (const char *[]){ "\xc3\xa9t\xc3\xa9", "12", "down" });
	end(&t);
	assert_string_equal(text,
	    "NAME      COUNT  STATE\n"
	    "a             1  up\n"
	    "longer  1234567  \n"
	    "\xc3\xa9t\xc3\xa9          12  down\n");
	free(text);
}

static void
no_row_no_table(void **state)
{
	struct table t;

	(void)state;
	begin(&t);
	end(&t);
	assert_int_equal(text_len, 0);
	free(text);
}

/* A name must not play with the terminal, nor cut a character in two. */
static void
cells_are_printable_and_bounded(void **state)
{
	char longer[2 * TABLE_CELL], *line;
	struct table t;

	(void)state;
	begin(&t);
	table_row(&t, (const char *[]){ "\033[2J\n", "\x7f", "x\ty" });
	memset(longer, 'x', sizeof longer);
	/* é over the place where it is cut */
	memcpy(longer + TABLE_CELL - 2, "\xc3\xa9", 2);
	longer[sizeof longer - 1] = '\0';
	table_row(&t, (const char *[]){ "b", "2", longer });
	end(&t);
	assert_non_null(strstr(text, "?[2J?      ?  x?y\n"));
	line = strstr(text, "\nb ");
	assert_non_null(line);
	assert_int_equal(strlen(strchr(line, 'x')), TABLE_CELL - 2 + 1);
	free(text);
}

/* Ten thousand rows take no more memory than those that are looked ahead. */
static void
a_long_table_grows_wider_when_it_must(void **state)
{
	struct table t;
	char number[16];
	size_t lines = 0;

	(void)state;
	begin(&t);
	for (int i = 1; i <= 10000; i++) {
		snprintf(number, sizeof number, "%d", i * 1000);
		table_row(&t, (const char *[]){ "n", number, "s" });
	}
	end(&t);
	for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	assert_int_equal(lines, 10001);
	assert_non_null(strstr(text, "n       1000  s\n"));
	assert_non_null(strstr(text, "n     10000000  s\n"));
	free(text);
}

static void
bytes_for_people(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} rows[] = {
		{ 0, "0 B" },
		{ 1, "1 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 1536, "1.5 KiB" },
		{ 10200, "10 KiB" },
		{ 1048575, "1.0 MiB" },
		{ 12345678, "12 MiB" },
		{ 5368709120, "5.0 GiB" },
		{ UINT64_MAX, "16 EiB" },
	};
	char buf[TABLE_BYTES_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(
		    table_bytes(buf, rows[i].bytes), rows[i].want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_aligned),
		cmocka_unit_test(no_row_no_table),
		cmocka_unit_test(cells_are_printable_and_bounded),
		cmocka_unit_test(a_long_table_grows_wider_when_it_must),
		cmocka_unit_test(bytes_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
