/*
 * The suite under test: each condition of the model is forced, true and
 * false, and the matrix must notice. The kernel's answers are taken once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/portrules_inner.h"
#include "portshare/matrix.h"

#define NAME(name) #name,
static const char *const names[] = { PORTRULES_CONDITIONS(NAME) };

/*
 * Before 6.13 a connected UDP socket has no table of its own and is found by
 * its score. A newer kernel does not come to that condition: the model of an
 * old one must.
 */
static bool
old_kernel_notices(struct matrix *m)
{
	struct cell_model spoiled;
	struct cell_kernel old = { .version = 6001 };
	int forced = portrules_spoiled;
	bool same = true;

	for (size_t i = 0; same && i < m->n; i++) {
		struct matrix_row *r = &m->rows[i];

		if (r->cell.theme != CELL_PEER)
			continue;
		cell_run_model(&old, &r->cell, &spoiled);
		portrules_spoiled = 0;
		cell_run_model(&old, &r->cell, &r->model);
		portrules_spoiled = forced;
		same = memcmp(&spoiled.run, &r->model.run,
			   sizeof spoiled.run) == 0;
	}
	return !same;
}

static bool
is_noticed(struct matrix *m)
{
	if (matrix_compare(m) > 0)
		return true;
	return m->kernel.version >= 6013 &&
	    portrules_spoiled == 1 + 2 * PORTRULES_COND_PEER_MATCHES &&
	    old_kernel_notices(m);
}

static int
spoil_each(struct matrix *m)
{
	int missed = 0;

	for (int i = 0; i < 2 * PORTRULES_CONDITION_COUNT; i++) {
		portrules_spoiled = 1 + i;
		if (is_noticed(m))
			continue;
		missed++;
		printf("NOT NOTICED: %s forced %s\n", names[i / 2],
		    i % 2 == 1 ? "true" : "false");
	}
	portrules_spoiled = 0;
	printf("mutants: %d of %d noticed\n",
	    2 * PORTRULES_CONDITION_COUNT - missed,
	    2 * PORTRULES_CONDITION_COUNT);
	return missed;
}

/* `mutants CONDITION true|false`: what the matrix says to that. */
static int
show_one(struct matrix *m, const char *name, const char *value)
{
	for (int i = 0; i < PORTRULES_CONDITION_COUNT; i++)
		if (strcmp(name, names[i]) == 0)
			portrules_spoiled =
			    1 + 2 * i + (strcmp(value, "true") == 0);
	printf("%zu cells differ\n", matrix_compare(m));
	matrix_differences(m, 1, stdout);
	return m->differ > 0 ? 2 : 0;
}

int
main(int argc, char **argv)
{
	struct matrix m;
	int result = 1;

	if (matrix_run(&m) < 0) {
		perror("matrix");
	} else if (argc == 3) {
		result = show_one(&m, argv[1], argv[2]);
	} else if (m.differ > 0) {
		printf(
		    "%zu cells differ before anything is spoiled\n", m.differ);
	} else if (m.lab.kind != LAB_ROOT) {
		printf("mutants: DID NOT RUN: some rules need root to be "
		       "seen\n");
		result = 0;
	} else {
		result = spoil_each(&m) > 0;
	}
	matrix_free(&m);
	return result;
}
