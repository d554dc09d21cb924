/*
 * Tables for people: columns as wide as what stands in them, written as rows
 * come. Widths follow the first rows and grow when they must, so that a table
 * of any length takes bounded memory.
 */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TABLE_COLUMNS 16
#define TABLE_AHEAD 256 /* rows that are looked at before one is written */
#define TABLE_CELL 96 /* bytes of a cell, its NUL included; more is cut */

struct table_column {
	const char *title;
	bool right; /* numbers */
};

struct table {
	FILE *out;
	const struct table_column *columns;
	size_t count;
	unsigned int width[TABLE_COLUMNS]; /* characters */
	bool titled; /* the line of titles is out */
	size_t rows; /* that wait */
	char (*cells)[TABLE_COLUMNS][TABLE_CELL];
};

/* TABLE_COLUMNS columns at most. 0, or -1 with errno. */
int table_begin(struct table *t, FILE *out, const struct table_column *columns,
    size_t count);
/* One text for each column; what a terminal must not get becomes `?`. */
void table_row(struct table *t, const char *const cells[]);
/* Writes what waits; nothing at all when there was no row. */
void table_end(struct table *t);

/* `0 B`, `999 B`, `1.5 KiB`, `12 MiB`; returns buf. */
#define TABLE_BYTES_LEN 16
char *table_bytes(char buf[static TABLE_BYTES_LEN], uint64_t bytes);

#endif
