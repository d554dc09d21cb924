#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#define BETWEEN "  "

static bool
continues(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* Characters of UTF-8, each taken as one column wide. */
static unsigned int
width_of(const char *text)
{
	unsigned int n = 0;

	for (; *text != '\0'; text++)
		n += !continues(*text);
	return n;
}

/* Cuts before a character, not inside one. */
static void
copy_cell(char cell[static TABLE_CELL], const char *text)
{
	size_t n = strlen(text);

	if (n >= TABLE_CELL) {
		n = TABLE_CELL - 1;
		while (n > 0 && continues(text[n]))
			n--;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		cell[i] = c < 0x20 || c == 0x7f ? '?' : text[i];
	}
	cell[n] = '\0';
}

static void
widen(struct table *t, size_t column, const char *text)
{
	unsigned int w = width_of(text);

	if (w > t->width[column])
		t->width[column] = w;
}

int
table_begin(struct table *t, FILE *out, const struct table_column *columns,
    size_t count)
{
	*t = (struct table){ .out = out, .columns = columns, .count = count };
	t->cells = calloc(TABLE_AHEAD, sizeof *t->cells);
	if (t->cells == NULL)
		return -1;
	for (size_t i = 0; i < count; i++)
		widen(t, i, columns[i].title);
	return 0;
}

static void
write_cell(const struct table *t, size_t column, const char *text)
{
	unsigned int w = width_of(text);
	unsigned int pad = t->width[column] > w ? t->width[column] - w : 0;

	if (column > 0)
		fputs(BETWEEN, t->out);
	if (t->columns[column].right)
		fprintf(t->out, "%*s%s", (int)pad, "", text);
	else if (column + 1 < t->count)
		fprintf(t->out, "%s%*s", text, (int)pad, "");
	else /* no blanks at the end of a line */
		fputs(text, t->out);
}

static void
write_rows(struct table *t)
{
	for (size_t i = 0; !t->titled && i < t->count; i++)
		write_cell(t, i, t->columns[i].title);
	if (!t->titled)
		fputc('\n', t->out);
	t->titled = true;
	for (size_t r = 0; r < t->rows; r++) {
		for (size_t i = 0; i < t->count; i++)
			write_cell(t, i, t->cells[r][i]);
		fputc('\n', t->out);
	}
	t->rows = 0;
}

void
table_row(struct table *t, const char *const cells[])
{
	if (t->rows == TABLE_AHEAD)
		write_rows(t);
	for (size_t i = 0; i < t->count; i++) {
		copy_cell(t->cells[t->rows][i], cells[i]);
		widen(t, i, t->cells[t->rows][i]);
	}
	t->rows++;
}

void
table_end(struct table *t)
{
	if (t->rows > 0)
		write_rows(t);
	free(t->cells);
	t->cells = NULL;
}

char *
table_bytes(char buf[static TABLE_BYTES_LEN], uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB",
		"PiB", "EiB" };
	double v = (double)bytes;
	size_t i = 0;

	/* what would be written as 1024 is 1.0 of the next */
	while (v >= 1023.5 && i + 1 < sizeof units / sizeof *units) {
		v /= 1024;
		i++;
	}
	snprintf(buf, TABLE_BYTES_LEN,
	    i > 0 && v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[i]);
	return buf;
}
