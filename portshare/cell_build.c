#include "portshare/cell_build.h"

#include <string.h>

void
cell_build_add(struct cell *c, enum cell_act act, unsigned int who,
    unsigned int what, enum cell_way way)
{
	size_t i = 0;

	while (i + 1 < CELL_STEPS && c->steps[i].act != CELL_END)
		i++;
	c->steps[i] = (struct cell_step){
		.act = act,
		.who = (uint8_t)who,
		.what = (uint8_t)what,
		.way = way,
	};
}

void
cell_build_step(struct cell *c, enum cell_act act, unsigned int who)
{
	cell_build_add(c, act, who, 0, CELL_LOCAL);
}

void
cell_build_send(struct cell *c, enum cell_place place, enum cell_way way)
{
	cell_build_add(c, CELL_SEND, 0, place, way);
}

void
cell_build_open(struct cell *c, unsigned int who)
{
	cell_build_step(c, CELL_BIND, who);
	if ((c->proto == SOCK_TCP) != c->sockets[who].other_proto)
		cell_build_step(c, CELL_LISTEN, who);
}

struct cell
cell_build_new(enum cell_theme theme, enum sock_proto proto, uint8_t n)
{
	struct cell c;

	memset(&c, 0, sizeof c);
	c.theme = theme;
	c.proto = proto;
	c.n = n;
	return c;
}

void
cell_build_flags(struct cell_socket *s, unsigned int flags)
{
	s->reuseaddr = (flags & 1) != 0;
	s->reuseport = (flags & 2) != 0;
}

void
cell_build_ask(struct cell *c)
{
	bool four = false, six = false;

	for (size_t i = 0; i < c->n; i++) {
		enum cell_place p = c->sockets[i].place;

		four |= p != CELL_S && p != CELL_T && p != CELL_ONLY6;
		six |= p == CELL_S || p == CELL_T || p == CELL_ANY6 ||
		    p == CELL_ONLY6;
	}
	if (four) {
		cell_build_send(c, CELL_A, CELL_LOCAL);
		cell_build_send(c, CELL_B, CELL_LOCAL);
	}
	if (six) {
		cell_build_send(c, CELL_S, CELL_LOCAL);
		cell_build_send(c, CELL_T, CELL_LOCAL);
	}
}
