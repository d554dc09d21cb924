#include "portshare/matrix.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FIRST_PORT 2000 /* below where the kernel takes ports for clients */
#define LAST_PORT 29000 /* and so that PORT_APART above is one too */
#define HOST_TRIES 50

static const char *const outcomes[] = {
	[MATRIX_LEFT_OUT] = "left out",
	[MATRIX_APART] = "each its own",
	[MATRIX_NEWEST] = "newest takes all",
	[MATRIX_OLDEST] = "oldest takes all",
	[MATRIX_SPLIT] = "hash split",
	[MATRIX_BIND_FAILS] = "bind fails",
	[MATRIX_LISTEN_FAILS] = "listen fails",
};

const char *
matrix_outcome_str(enum matrix_outcome outcome)
{
	return outcomes[outcome];
}

/*
 * Of the packets to where two sockets are: a split says more than the newest,
 * a refusal more than both.
 */
static enum matrix_outcome
outcome_of(const struct matrix_row *r, int *at)
{
	enum matrix_outcome o = MATRIX_APART;

	*at = -1;
	for (int i = 0; i < CELL_STEPS; i++) {
		const struct cell_step *s = &r->cell.steps[i];
		const struct portrules_delivery *d =
		    &r->model.reasons[i].delivery;

		if (s->act == CELL_END)
			break;
		if (r->run.steps[i].error != 0) {
			*at = i;
			return s->act == CELL_BIND ? MATRIX_BIND_FAILS
						   : MATRIX_LISTEN_FAILS;
		}
		if (s->act != CELL_SEND || r->run.steps[i].receivers == 0)
			continue;
		if (*at < 0)
			*at = i;
		if (o != MATRIX_SPLIT &&
		    (d->tie == PORTRULES_NEWEST ||
			d->tie == PORTRULES_OLDEST)) {
			o = d->tie == PORTRULES_NEWEST ? MATRIX_NEWEST
						       : MATRIX_OLDEST;
			*at = i;
		}
		if (o != MATRIX_SPLIT && d->split) {
			o = MATRIX_SPLIT;
			*at = i;
		}
	}
	return o;
}

int
matrix_telling_step(const struct matrix_row *r)
{
	int at;

	(void)outcome_of(r, &at);
	return at;
}

static int
collect(const struct cell *c, void *arg)
{
	struct matrix *m = arg;

	m->rows[m->n++].cell = *c;
	return 0;
}

static int
count(const struct cell *c, void *arg)
{
	(void)c;
	(void)arg;
	return 0;
}

/* One that nobody has, at any address, as far as one can see. */
static bool
is_free(uint16_t port)
{
	static const struct sock_opts plain;
	enum sock_step step;
	struct addr a;
	const char *why;
	bool free = addr_parse(&a, "::", port, &why) == 0;

	for (enum sock_proto p = SOCK_UDP; free && p <= SOCK_TCP; p++) {
		int fd = sock_open(p, &a, &plain, &step);

		free = fd >= 0;
		if (fd >= 0)
			close(fd);
	}
	return free;
}

static uint16_t
next_port(const struct matrix *m, uint16_t port)
{
	for (int i = 0; i < HOST_TRIES; i++) {
		port = port < LAST_PORT ? port + 1 : FIRST_PORT;
		if (m->lab.kind != LAB_HOST || is_free(port))
			break;
	}
	return port;
}

/* Twelve sockets at other addresses: is the wildcard let in all the same? */
static int
look_at_crowd(struct matrix *m)
{
	const struct cell crowd = {
		.theme = CELL_FULL,
		.proto = SOCK_UDP,
		.n = 1,
		.crowded = true,
		.sockets = { { .place = CELL_ANY4 } },
		.steps = { { .act = CELL_BIND } },
	};
	struct cell_run run;

	if (cell_run_kernel(&m->lab, &crowd, next_port(m, 0), &run) < 0)
		return -1;
	m->kernel.crowd_blinds = run.steps[0].error == 0;
	return 0;
}

static void
look_at_version(struct matrix *m)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	uname(&u);
	snprintf(m->release, sizeof m->release, "%s", u.release);
	if (sscanf(u.release, "%u.%u", &major, &minor) == 2)
		m->kernel.version = 1000 * major + minor;
}

/* SO_INCOMING_CPU asks which CPU a packet is taken in on: always this one. */
static void
stay_on_cpu(void)
{
	int cpu = sched_getcpu();
	cpu_set_t set;

	CPU_ZERO(&set);
	if (cpu < 0)
		return;
	CPU_SET((size_t)cpu, &set);
	(void)sched_setaffinity(0, sizeof set, &set);
}

size_t
matrix_compare(struct matrix *m)
{
	m->differ = 0;
	for (size_t i = 0; i < m->n; i++) {
		struct matrix_row *r = &m->rows[i];

		r->differs = -1;
		cell_run_model(&m->kernel, &r->cell, &r->model);
		if (!cell_possible(&m->lab, &r->cell))
			continue;
		r->differs = cell_compare(
		    &r->cell, &r->run, &r->model, r->why, sizeof r->why);
		m->differ += r->differs >= 0;
	}
	return m->differ;
}

static int
run_all(struct matrix *m)
{
	uint16_t port = FIRST_PORT;

	for (size_t i = 0; i < m->n; i++) {
		struct matrix_row *r = &m->rows[i];

		if (!cell_possible(&m->lab, &r->cell)) {
			m->left_out++;
			continue;
		}
		port = next_port(m, port);
		if (cell_run_kernel(&m->lab, &r->cell, port, &r->run) < 0)
			return -1;
	}
	return 0;
}

static void
judge_all(struct matrix *m)
{
	int at;

	matrix_compare(m);
	for (size_t i = 0; i < m->n; i++)
		if (cell_possible(&m->lab, &m->rows[i].cell))
			m->rows[i].outcome = outcome_of(&m->rows[i], &at);
}

int
matrix_run(struct matrix *m)
{
	memset(m, 0, sizeof *m);
	m->rows = calloc(cells_generate(count, NULL), sizeof *m->rows);
	if (m->rows == NULL)
		return -1;
	cells_generate(collect, m);
	look_at_version(m);
	stay_on_cpu();
	if (lab_open(&m->lab) < 0 || look_at_crowd(m) < 0 || run_all(m) < 0)
		return -1;
	judge_all(m);
	return 0;
}

void
matrix_free(struct matrix *m)
{
	free(m->rows);
	m->rows = NULL;
}

void
matrix_differences(const struct matrix *m, size_t most, FILE *to)
{
	char line[256], step[80], *recipe = malloc(CELL_RECIPE_LEN);

	for (size_t i = 0; recipe != NULL && most > 0 && i < m->n; i++) {
		const struct matrix_row *r = &m->rows[i];

		if (r->differs < 0)
			continue;
		most--;
		fprintf(to, "DIFFERS: cell %zu: %s\n", i,
		    cell_say(line, sizeof line, &r->cell));
		fprintf(to, "  step %d, %s: %s\n%s", r->differs,
		    cell_say_step(
			step, sizeof step, &r->cell.steps[r->differs]),
		    r->why,
		    cell_recipe(recipe, CELL_RECIPE_LEN, &m->lab, &r->cell));
	}
	free(recipe);
}
