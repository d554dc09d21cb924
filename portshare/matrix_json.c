/* The matrix for programs. */
#include <jansson.h>
#include <string.h>

#include "portshare/matrix.h"

static json_t *
json_socket(const struct cell *c, size_t i)
{
	const struct cell_socket *s = &c->sockets[i];

	return json_pack("{s:s, s:s, s:b, s:b, s:b, s:i, s:b, s:b, s:i}",
	    "address", cell_place_str(s->place), "protocol",
	    cell_proto(c, i) == SOCK_UDP ? "udp" : "tcp", "reuseaddr",
	    s->reuseaddr, "reuseport", s->reuseport, "other_user", s->other_uid,
	    "device", s->device, "other_netns", s->other_net, "other_port",
	    s->other_port, "incoming_cpu", s->cpu);
}

static json_t *
json_receivers(unsigned int mask)
{
	json_t *list = json_array();

	for (int i = 0; i < CELL_SOCKETS; i++)
		if ((mask >> i & 1) != 0) {
			const char name[] = { (char)('a' + i), '\0' };

			json_array_append_new(list, json_string(name));
		}
	return list;
}

static void
add_reason(json_t *step, enum cell_act act, const struct cell_reason *r)
{
	const struct portrules_delivery *d = &r->delivery;

	if (act == CELL_SEND) {
		json_object_set_new(
		    step, "level", json_string(portrules_level_str(d->level)));
		json_object_set_new(
		    step, "tie", json_string(portrules_tie_str(d->tie)));
	} else if (act == CELL_BIND || act == CELL_LISTEN) {
		json_object_set_new(step, "rule",
		    json_string(portrules_rule_str(r->verdict.rule)));
	}
}

static json_t *
json_step(const struct matrix_row *r, int i)
{
	const struct cell_step *s = &r->cell.steps[i];
	const struct cell_outcome *k = &r->run.steps[i];
	json_t *step;
	char line[80];

	step = json_pack("{s:s}", "do", cell_say_step(line, sizeof line, s));
	if (r->outcome == MATRIX_LEFT_OUT || k->skipped) {
		json_object_set_new(step, "skipped", json_true());
	} else if (s->act == CELL_SEND) {
		json_object_set_new(
		    step, "received_by", json_receivers(k->receivers));
	} else if (s->act == CELL_BIND || s->act == CELL_LISTEN) {
		json_object_set_new(step, "error",
		    k->error == 0 ? json_null()
				  : json_string(strerrorname_np(k->error)));
	}
	add_reason(step, s->act, &r->model.reasons[i]);
	return step;
}

static json_t *
json_row(const struct matrix_row *r)
{
	json_t *sockets = json_array(), *steps = json_array(), *row;

	for (size_t i = 0; i < r->cell.n; i++)
		json_array_append_new(sockets, json_socket(&r->cell, i));
	for (int i = 0; i < CELL_STEPS && r->cell.steps[i].act != CELL_END; i++)
		json_array_append_new(steps, json_step(r, i));
	row = json_pack("{s:s, s:s, s:s, s:b, s:o, s:o}", "theme",
	    cell_theme_str(r->cell.theme), "protocol",
	    r->cell.proto == SOCK_UDP ? "udp" : "tcp", "outcome",
	    matrix_outcome_str(r->outcome), "differs", r->differs >= 0,
	    "sockets", sockets, "steps", steps);
	if (r->differs >= 0)
		json_object_set_new(row, "why", json_string(r->why));
	return row;
}

void
matrix_json(const struct matrix *m, FILE *to)
{
	json_t *cells = json_array(), *all;

	for (size_t i = 0; i < m->n; i++)
		json_array_append_new(cells, json_row(&m->rows[i]));
	all = json_pack("{s:s, s:i, s:i, s:i, s:b, s:o}", "kernel", m->release,
	    "count", (int)m->n, "left_out", (int)m->left_out, "differ",
	    (int)m->differ, "crowd_blinds", m->kernel.crowd_blinds, "cells",
	    cells);
	json_dumpf(all, to, JSON_COMPACT);
	fputc('\n', to);
	json_decref(all);
}
