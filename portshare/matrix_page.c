/* The matrix as one page that needs nothing else. */
#include <jansson.h>
#include <string.h>

#include "portshare/matrix.h"

#define MARK "/*DATA*/null"

/* The page as it stands in matrix_page.html. */
__asm__(".section .rodata\n"
	"page_begin: .incbin \"portshare/matrix_page.html\"\n"
	"page_end: .byte 0\n"
	".previous\n");
extern const char page_begin[], page_end[];

/* Texts are said once, and named by number. */
struct book {
	json_t *words;
	json_t *numbers; /* text -> number */
};

static json_t *
number(struct book *b, const char *text)
{
	json_t *known = json_object_get(b->numbers, text);

	if (known != NULL)
		return json_incref(known);
	known = json_integer((json_int_t)json_array_size(b->words));
	json_array_append_new(b->words, json_string(text));
	json_object_set(b->numbers, text, known);
	return known;
}

static void
say_receivers(char *buf, size_t len, unsigned int mask)
{
	size_t n = 0;

	snprintf(buf, len, "nobody");
	for (int i = 0; i < CELL_SOCKETS; i++)
		if ((mask >> i & 1) != 0 && n + 4 < len)
			n += (size_t)snprintf(buf + n, len - n, "%s%c",
			    n > 0 ? ", " : "", 'a' + i);
}

static void
say_result(char *buf, size_t len, const struct matrix_row *r, int i)
{
	const struct cell_outcome *k = &r->run.steps[i];
	enum cell_act act = r->cell.steps[i].act;

	buf[0] = '\0';
	if (k->skipped)
		snprintf(buf, len, "not done");
	else if (act == CELL_SEND)
		say_receivers(buf, len, k->receivers);
	else if (act == CELL_BIND || act == CELL_LISTEN)
		snprintf(buf, len, "%s",
		    k->error == 0 ? "ok" : strerrorname_np(k->error));
	if (r->differs == i)
		snprintf(buf, len, "DIFFERS: %.140s", r->why);
}

static void
say_rule(char *buf, size_t len, const struct matrix_row *r, int i)
{
	const struct cell_reason *why = &r->model.reasons[i];
	enum cell_act act = r->cell.steps[i].act;

	buf[0] = '\0';
	if (r->run.steps[i].skipped)
		return;
	if (act == CELL_BIND || act == CELL_LISTEN)
		snprintf(buf, len, "%s", portrules_rule_say(why->verdict.rule));
	if (act != CELL_SEND)
		return;
	if (why->delivery.tie == PORTRULES_ONLY)
		snprintf(
		    buf, len, "%s", portrules_level_say(why->delivery.level));
	else
		snprintf(buf, len, "%s; %s",
		    portrules_level_say(why->delivery.level),
		    portrules_tie_say(why->delivery.tie));
}

static json_t *
make_steps(struct book *b, const struct matrix_row *r)
{
	json_t *steps = json_array();
	char line[256];

	for (int i = 0; i < CELL_STEPS && r->cell.steps[i].act != CELL_END;
	     i++) {
		json_t *step = json_array();

		cell_say_step(line, sizeof line, &r->cell.steps[i]);
		json_array_append_new(step, number(b, line));
		say_result(line, sizeof line, r, i);
		json_array_append_new(step, number(b, line));
		say_rule(line, sizeof line, r, i);
		json_array_append_new(step, number(b, line));
		json_array_append_new(steps, step);
	}
	return steps;
}

static bool
of_other_user(const struct cell *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->sockets[i].other_uid)
			return true;
	return false;
}

/* The row of the grid, for pairs; made when it is not there yet. */
static json_int_t
find_pair(json_t *pairs, const struct cell *c)
{
	char name[64];
	size_t i;
	json_t *known;

	if (c->theme != CELL_PAIR)
		return -1;
	snprintf(name, sizeof name, "%s, %s",
	    cell_place_str(c->sockets[0].place),
	    cell_place_str(c->sockets[1].place));
	json_array_foreach(
	    pairs, i, known) if (strcmp(json_string_value(known), name) ==
	    0) return (json_int_t)i;
	json_array_append_new(pairs, json_string(name));
	return (json_int_t)i;
}

static json_t *
make_cell(struct book *b, json_t *pairs, const struct matrix_row *r)
{
	const struct cell *c = &r->cell;
	const struct cell_socket *s = c->sockets;
	int flags = s[0].reuseaddr | s[0].reuseport << 1 | s[1].reuseaddr << 2 |
	    s[1].reuseport << 3;
	char line[256];

	return json_pack("[i, i, i, i, i, I, i, o, o]", c->proto == SOCK_TCP,
	    (int)c->theme, (int)r->outcome, r->differs >= 0, of_other_user(c),
	    find_pair(pairs, c), flags,
	    number(b, cell_say(line, sizeof line, c)), make_steps(b, r));
}

static json_t *
make_data(const struct matrix *m)
{
	struct book b = { json_array(), json_object() };
	json_t *cells = json_array(), *pairs = json_array();
	json_t *outcomes = json_array(), *themes = json_array();

	for (int i = 0; i < MATRIX_OUTCOMES; i++)
		json_array_append_new(outcomes,
		    json_string(matrix_outcome_str((enum matrix_outcome)i)));
	for (int i = 0; i < CELL_THEMES; i++)
		json_array_append_new(
		    themes, json_string(cell_theme_str((enum cell_theme)i)));
	for (size_t i = 0; i < m->n; i++)
		json_array_append_new(cells, make_cell(&b, pairs, &m->rows[i]));
	json_decref(b.numbers);
	return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "kernel",
	    m->release, "differ", (int)m->differ, "outcomes", outcomes,
	    "themes", themes, "pairs", pairs, "words", b.words, "cells", cells);
}

void
matrix_page(const struct matrix *m, FILE *to)
{
	const char *mark = strstr(page_begin, MARK);
	json_t *data = make_data(m);

	fwrite(page_begin, 1, (size_t)(mark - page_begin), to);
	json_dumpf(data, to, JSON_COMPACT);
	fwrite(mark + strlen(MARK), 1, (size_t)(page_end - mark) - strlen(MARK),
	    to);
	json_decref(data);
}
