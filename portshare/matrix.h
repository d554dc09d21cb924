/*
 * `portshare matrix`: all cells on the kernel at hand, compared with the
 * model; and the ways to show it.
 */
#ifndef PORTSHARE_MATRIX_H
#define PORTSHARE_MATRIX_H

#include <stdio.h>

#include "portshare/cell.h"

/* What a cell comes to. */
enum matrix_outcome {
	MATRIX_LEFT_OUT = 0, /* no rights for it here */
	MATRIX_APART, /* all bound, each has its own packets */
	MATRIX_NEWEST, /* all bound, and the newest takes what both hear */
	MATRIX_OLDEST, /* the same, but the older */
	MATRIX_SPLIT, /* all bound, a group splits by hash */
	MATRIX_BIND_FAILS,
	MATRIX_LISTEN_FAILS, /* TCP: bind worked */
};
#define MATRIX_OUTCOMES (MATRIX_LISTEN_FAILS + 1)
const char *matrix_outcome_str(enum matrix_outcome outcome);

struct matrix_row {
	struct cell cell;
	enum matrix_outcome outcome; /* of the kernel */
	struct cell_run run;
	struct cell_model model;
	int differs; /* the step, -1: none */
	char why[160];
};

struct matrix {
	struct lab lab;
	struct cell_kernel kernel;
	char release[128]; /* uname -r */
	struct matrix_row *rows;
	size_t n, left_out, differ;
};

/*
 * Runs all cells. The process moves into networks of its own for good. 0, or
 * -1 with errno. matrix_free() in both cases.
 */
int matrix_run(struct matrix *m);
void matrix_free(struct matrix *m);

/* Model only, after matrix_run(): how many cells differ now. */
size_t matrix_compare(struct matrix *m);

void matrix_text(const struct matrix *m, FILE *to);
void matrix_markdown(const struct matrix *m, FILE *to);
void matrix_json(const struct matrix *m, FILE *to);
void matrix_page(const struct matrix *m, FILE *to);

/* The differences with their recipes, at most `most` of them. */
void matrix_differences(const struct matrix *m, size_t most, FILE *to);
/* The step that a cell's outcome comes from, -1: none. */
int matrix_telling_step(const struct matrix_row *r);

#endif
