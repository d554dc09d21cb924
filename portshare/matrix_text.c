/* The matrix for terminals and documents. */
#include <string.h>

#include "portshare/matrix.h"

static const char *
place_of_run(const struct matrix *m)
{
	switch (m->lab.kind) {
	case LAB_ROOT:
		return "in network namespaces of its own";
	case LAB_USER:
		return "in network namespaces of its own, as one user only: "
		       "cells with another user and with sk_lookup are left "
		       "out";
	case LAB_HOST:
		break;
	}
	return "on the host's loopback, for no right to a namespace: cells "
	       "with another user, device, namespace, a second IPv6 address "
	       "and sk_lookup are left out";
}

static void
count_theme(const struct matrix *m, enum cell_theme theme, size_t *cells,
    size_t *left, size_t *differ)
{
	*cells = *left = *differ = 0;
	for (size_t i = 0; i < m->n; i++) {
		if (m->rows[i].cell.theme != theme)
			continue;
		++*cells;
		*left += m->rows[i].outcome == MATRIX_LEFT_OUT;
		*differ += m->rows[i].differs >= 0;
	}
}

void
matrix_text(const struct matrix *m, FILE *to)
{
	size_t cells, left, differ;

	fprintf(to, "kernel %s, %s\n", m->release, place_of_run(m));
	fprintf(to, "%-16s %6s %8s %8s\n", "", "cells", "left out", "differ");
	for (int t = 0; t < CELL_THEMES; t++) {
		count_theme(m, (enum cell_theme)t, &cells, &left, &differ);
		fprintf(to, "%-16s %6zu %8zu %8zu\n",
		    cell_theme_str((enum cell_theme)t), cells, left, differ);
	}
	fprintf(
	    to, "%-16s %6zu %8zu %8zu\n", "all", m->n, m->left_out, m->differ);
	if (m->kernel.crowd_blinds)
		fprintf(to,
		    "this kernel lets a UDP wildcard in beside more than ten "
		    "sockets at other addresses\n");
	matrix_differences(m, 10, to);
}

/* Both with the same flags: nothing, reuseaddr, reuseport, both. */
static const struct matrix_row *
find_pair(const struct matrix *m, enum sock_proto proto, enum cell_place a,
    enum cell_place b, unsigned int flags, bool other_uid)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct matrix_row *r = &m->rows[i];
		const struct cell_socket *s = r->cell.sockets;

		if (r->cell.theme != CELL_PAIR || r->cell.proto != proto ||
		    s[0].place != a || s[1].place != b ||
		    s[1].other_uid != other_uid)
			continue;
		if ((s[0].reuseaddr | s[0].reuseport << 1) == (int)flags &&
		    (s[1].reuseaddr | s[1].reuseport << 1) == (int)flags)
			return r;
	}
	return NULL;
}

static void
print_cell(const struct matrix_row *r, FILE *to)
{
	if (r == NULL)
		fprintf(to, " |");
	else if (r->differs >= 0)
		fprintf(to, " **differs from the model** |");
	else
		fprintf(to, " %s |", matrix_outcome_str(r->outcome));
}

static void
print_pairs(const struct matrix *m, enum sock_proto proto, FILE *to)
{
	bool seen[CELL_PLACES][CELL_PLACES] = { { false } };

	fprintf(to,
	    "\n## %s\n\n| a, then b | no flag | both SO_REUSEADDR | both "
	    "SO_REUSEPORT | REUSEADDR, other user | REUSEPORT, other user "
	    "|\n|---|---|---|---|---|---|\n",
	    proto == SOCK_UDP ? "UDP" : "TCP");
	for (size_t i = 0; i < m->n; i++) {
		const struct cell *c = &m->rows[i].cell;
		enum cell_place a = c->sockets[0].place;
		enum cell_place b = c->sockets[1].place;

		if (c->theme != CELL_PAIR || c->proto != proto || seen[a][b])
			continue;
		seen[a][b] = true;
		fprintf(to, "| %s, %s |", cell_place_str(a), cell_place_str(b));
		for (unsigned int k = 0; k < 5; k++)
			print_cell(find_pair(m, proto, a, b, k < 3 ? k : k - 2,
				       k >= 3),
			    to);
		fprintf(to, "\n");
	}
}

void
matrix_markdown(const struct matrix *m, FILE *to)
{
	size_t cells, left, differ;

	fprintf(to,
	    "# Two sockets, one port: Linux %s\n\n%zu cells, %s. %zu differ "
	    "from the model, %zu are left out.\nA and B are two IPv4 "
	    "addresses, S and T two of IPv6.\n\n| theme | cells | left out | "
	    "differ |\n|---|---|---|---|\n",
	    m->release, m->n, place_of_run(m), m->differ, m->left_out);
	for (int t = 0; t < CELL_THEMES; t++) {
		count_theme(m, (enum cell_theme)t, &cells, &left, &differ);
		fprintf(to, "| %s | %zu | %zu | %zu |\n",
		    cell_theme_str((enum cell_theme)t), cells, left, differ);
	}
	print_pairs(m, SOCK_UDP, to);
	print_pairs(m, SOCK_TCP, to);
}
