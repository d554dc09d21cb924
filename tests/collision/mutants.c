/*
 * The suite under test: each condition of the model is forced, true and
 * false, and the matrix must notice. The kernel's answers are taken once.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "net/portrules_inner.h"
#include "portshare/matrix.h"

#define NAME(name) #name,
static const char *const names[] = { PORTRULES_CONDITIONS(NAME) };

/* What kernels of one age only come to: the model of such a one must notice. */
static const struct {
	enum portrules_condition condition;
	bool forced;
	unsigned int from, upto; /* kernels that do not come to it */
	unsigned int other;
} by_age[] = {
	/* a connected UDP socket was found by its score, and is by a table */
	{ PORTRULES_COND_PEER_MATCHES, false, 6013, UINT_MAX, 6001 },
	{ PORTRULES_COND_CONNECTED_FIRST, false, 0, 6012,
	    PORTRULES_KERNEL_NEWEST },
	/* TCP remembered flags for any address */
	{ PORTRULES_COND_REMEMBERED_COVERS, true, 0, 6007,
	    PORTRULES_KERNEL_NEWEST },
};

static bool
other_kernel_notices(struct matrix *m, unsigned int version)
{
	struct cell_model spoiled;
	struct cell_kernel other = { .version = version };
	int forced = portrules_spoiled;
	bool same = true;

	for (size_t i = 0; same && i < m->n; i++) {
		struct matrix_row *r = &m->rows[i];

		cell_run_model(&other, &r->cell, &spoiled);
		portrules_spoiled = 0;
		cell_run_model(&other, &r->cell, &r->model);
		portrules_spoiled = forced;
		same = memcmp(&spoiled.run, &r->model.run,
			   sizeof spoiled.run) == 0;
	}
	return !same;
}

static bool
is_noticed(struct matrix *m)
{
	unsigned int here = m->kernel.version;

	if (matrix_compare(m) > 0)
		return true;
	for (size_t i = 0; i < sizeof by_age / sizeof *by_age; i++)
		if (portrules_spoiled ==
			1 + 2 * (int)by_age[i].condition + by_age[i].forced &&
		    here >= by_age[i].from && here <= by_age[i].upto)
			return other_kernel_notices(m, by_age[i].other);
	return false;
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
