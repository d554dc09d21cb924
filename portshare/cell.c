/* Names of what a cell is made of. */
#include "portshare/cell.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *word; /* as people write it */
	const char *lab, *host; /* NULL: as the word */
} places[] = {
	[CELL_A] = { "A", "192.0.2.1", "127.0.0.1" },
	[CELL_B] = { "B", "192.0.2.2", "127.0.0.2" },
	[CELL_ANY4] = { "0.0.0.0", "0.0.0.0", "0.0.0.0" },
	[CELL_S] = { "S", "2001:db8::1", "::1" },
	[CELL_T] = { "T", "2001:db8::2", "::2" },
	[CELL_ANY6] = { "::", "::", "::" },
	[CELL_ONLY6] = { ":: v6only", "::", "::" },
	[CELL_MAPPED_A] = { "::ffff:A", "::ffff:192.0.2.1",
	    "::ffff:127.0.0.1" },
	[CELL_MAPPED_ANY] = { "::ffff:0.0.0.0", "::ffff:0.0.0.0",
	    "::ffff:0.0.0.0" },
	[CELL_MAPPED_ONLY6] = { "::ffff:A v6only", "::ffff:192.0.2.1",
	    "::ffff:127.0.0.1" },
};

static const char *const themes[] = {
	[CELL_PAIR] = "pairs",
	[CELL_STATE] = "tcp states",
	[CELL_LATE] = "late flags",
	[CELL_DEVICE] = "devices",
	[CELL_APART] = "apart",
	[CELL_PEER] = "connected",
	[CELL_TRIO] = "three sockets",
	[CELL_GROUP] = "group grows",
	[CELL_STEERED] = "group program",
	[CELL_QUEUE] = "queue at close",
	[CELL_CPU] = "incoming cpu",
	[CELL_FULL] = "crowded port",
	[CELL_PROGRAM] = "sk_lookup",
};

const char *
cell_place_str(enum cell_place place)
{
	return places[place].word;
}

const char *
cell_theme_str(enum cell_theme theme)
{
	return themes[theme];
}

void
cell_address(const struct lab *l, enum cell_place place, struct addr *address)
{
	const char *text =
	    l->kind == LAB_HOST ? places[place].host : places[place].lab;
	const char *why;

	if (addr_parse(address, text, 0, &why) < 0)
		abort(); /* a table of ours */
}

bool
cell_place_is_v6(enum cell_place place)
{
	return place >= CELL_S;
}

bool
cell_needs_socket(enum cell_act act)
{
	return act != CELL_END && act != CELL_BIND && act != CELL_SEND &&
	    act != CELL_QUEUED && act != CELL_DRAIN;
}

enum sock_proto
cell_proto(const struct cell *c, size_t who)
{
	bool tcp = c->proto == SOCK_TCP;

	return tcp != c->sockets[who].other_proto ? SOCK_TCP : SOCK_UDP;
}
