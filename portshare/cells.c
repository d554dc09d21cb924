/* The generator: every combination that says something of its own. */

#include "portshare/cell.h"
#include "portshare/cell_build.h"

struct generator {
	int (*each)(const struct cell *c, void *arg);
	void *arg;
	size_t n;
	bool over;
};

static void
emit(struct generator *g, const struct cell *c)
{
	if (g->over)
		return;
	g->n++;
	g->over = g->each(c, g->arg) != 0;
}

static const enum cell_place pairs[][2] = {
	{ CELL_A, CELL_A },
	{ CELL_A, CELL_B },
	{ CELL_ANY4, CELL_A },
	{ CELL_A, CELL_ANY4 },
	{ CELL_ANY4, CELL_ANY4 },
	{ CELL_S, CELL_S },
	{ CELL_S, CELL_T },
	{ CELL_ANY6, CELL_S },
	{ CELL_S, CELL_ANY6 },
	{ CELL_ANY6, CELL_ANY6 },
	{ CELL_ANY6, CELL_A },
	{ CELL_A, CELL_ANY6 },
	{ CELL_ANY6, CELL_ANY4 },
	{ CELL_ANY4, CELL_ANY6 },
	{ CELL_ONLY6, CELL_A },
	{ CELL_ANY4, CELL_ONLY6 },
	{ CELL_ONLY6, CELL_ONLY6 },
	{ CELL_ONLY6, CELL_ANY6 },
	{ CELL_ANY6, CELL_ONLY6 },
	{ CELL_ONLY6, CELL_S },
	{ CELL_A, CELL_MAPPED_A },
	{ CELL_MAPPED_A, CELL_ANY4 },
	{ CELL_MAPPED_ANY, CELL_A },
	{ CELL_ANY4, CELL_MAPPED_ANY },
	{ CELL_MAPPED_A, CELL_ANY6 },
	{ CELL_ONLY6, CELL_MAPPED_A },
	{ CELL_A, CELL_MAPPED_ONLY6 },
	{ CELL_S, CELL_A },
};
#define PAIRS (sizeof pairs / sizeof *pairs)

/* protocol × addresses in both orders × flags of each × user */
static void
all_pairs(struct generator *g, enum sock_proto proto)
{
	for (size_t i = 0; i < PAIRS; i++)
		for (unsigned int k = 0; k < 32; k++) {
			struct cell c = cell_build_new(CELL_PAIR, proto, 2);

			c.sockets[0].place = pairs[i][0];
			c.sockets[1].place = pairs[i][1];
			cell_build_flags(&c.sockets[0], k & 3);
			cell_build_flags(&c.sockets[1], k >> 2 & 3);
			c.sockets[1].other_uid = (k & 16) != 0;
			cell_build_open(&c, 0);
			cell_build_open(&c, 1);
			cell_build_ask(&c);
			emit(g, &c);
		}
}

/* Bound, not listening: in which order the two come to listen. */
static void
listen_orders(struct generator *g)
{
	static const enum cell_place at[][2] = {
		{ CELL_A, CELL_A },
		{ CELL_ANY4, CELL_A },
		{ CELL_A, CELL_ANY4 },
		{ CELL_ANY6, CELL_A },
		{ CELL_S, CELL_ANY6 },
	};

	for (size_t i = 0; i < sizeof at / sizeof *at; i++)
		for (unsigned int k = 0; k < 96; k++) {
			struct cell c = cell_build_new(CELL_STATE, SOCK_TCP, 2);
			unsigned int order = k / 32;

			c.sockets[0].place = at[i][0];
			c.sockets[1].place = at[i][1];
			cell_build_flags(&c.sockets[0], k & 3);
			cell_build_flags(&c.sockets[1], k >> 2 & 3);
			c.sockets[1].other_uid = (k & 16) != 0;
			cell_build_step(&c, CELL_BIND, 0);
			cell_build_step(&c, CELL_BIND, 1);
			if (order != 2)
				cell_build_step(&c, CELL_LISTEN, order);
			if (order != 2)
				cell_build_step(&c, CELL_LISTEN, 1 - order);
			cell_build_ask(&c);
			emit(g, &c);
		}
}

/* A restart: the listener is gone, one of its connections is not. */
static void
restarts(struct generator *g)
{
	for (unsigned int k = 0; k < 128; k++) {
		struct cell c = cell_build_new(CELL_STATE, SOCK_TCP, 3);

		c.sockets[0].place = (k & 16) != 0 ? CELL_ANY4 : CELL_A;
		c.sockets[1].place = CELL_A; /* the connection */
		c.sockets[2].place = c.sockets[0].place;
		cell_build_flags(&c.sockets[0], k & 3);
		cell_build_flags(&c.sockets[1], k & 3);
		cell_build_flags(&c.sockets[2], k >> 2 & 3);
		c.sockets[2].other_uid = (k & 64) != 0;
		cell_build_open(&c, 0);
		cell_build_add(&c, CELL_ACCEPT, 0, 1, CELL_LOCAL);
		if ((k & 32) != 0)
			cell_build_step(&c, CELL_RETIRE, 1);
		cell_build_step(&c, CELL_CLOSE, 0);
		cell_build_open(&c, 2);
		cell_build_ask(&c);
		emit(g, &c);
	}
}

/* The older socket's flags change between its bind and the newcomer's. */
static void
late_flags(struct generator *g, enum sock_proto proto)
{
	static const enum cell_act acts[] = { CELL_SET_REUSEADDR,
		CELL_CLEAR_REUSEADDR, CELL_SET_REUSEPORT,
		CELL_CLEAR_REUSEPORT };
	static const enum cell_place at[][2] = {
		{ CELL_A, CELL_A },
		{ CELL_ANY4, CELL_A },
		{ CELL_A, CELL_ANY4 },
		{ CELL_ANY6, CELL_A },
		{ CELL_S, CELL_S },
		{ CELL_ANY4, CELL_ANY6 },
	};

	for (size_t i = 0; i < sizeof at / sizeof *at; i++)
		for (unsigned int k = 0; k < 128; k++) {
			struct cell c = cell_build_new(CELL_LATE, proto, 2);
			unsigned int act = k >> 4 & 3;
			bool early = (k & 64) != 0; /* before listen */

			if (early && proto == SOCK_UDP)
				continue;
			c.sockets[0].place = at[i][0];
			c.sockets[1].place = at[i][1];
			cell_build_flags(&c.sockets[0], k & 3);
			cell_build_flags(&c.sockets[1], k >> 2 & 3);
			cell_build_step(&c, CELL_BIND, 0);
			if (early)
				cell_build_step(&c, acts[act], 0);
			if (proto == SOCK_TCP)
				cell_build_step(&c, CELL_LISTEN, 0);
			if (!early)
				cell_build_step(&c, acts[act], 0);
			cell_build_open(&c, 1);
			cell_build_ask(&c);
			emit(g, &c);
		}
}

/* Both share, then a flag goes: who receives, and may a third join? */
static void
late_guard(struct generator *g, enum sock_proto proto)
{
	for (unsigned int k = 0; k < 96; k++) {
		struct cell c = cell_build_new(CELL_LATE, proto, 3);
		unsigned int flag = k & 1, gone = k >> 1 & 3,
			     third = k >> 3 & 3;
		enum cell_act clear =
		    flag == 0 ? CELL_CLEAR_REUSEADDR : CELL_CLEAR_REUSEPORT;

		for (size_t i = 0; i < 3; i++)
			c.sockets[i].place = k / 32 == 0 ? CELL_A
			    : k / 32 == 1		 ? CELL_ANY4
							 : CELL_S;
		cell_build_flags(&c.sockets[0], 1u << flag);
		cell_build_flags(&c.sockets[1], 1u << flag);
		cell_build_flags(&c.sockets[2], third);
		cell_build_open(&c, 0);
		cell_build_open(&c, 1);
		if ((gone & 1) != 0)
			cell_build_step(&c, clear, 0);
		if ((gone & 2) != 0)
			cell_build_step(&c, clear, 1);
		cell_build_ask(&c);
		cell_build_open(&c, 2);
		cell_build_ask(&c);
		emit(g, &c);
	}
}

static void
devices(struct generator *g, enum sock_proto proto)
{
	static const enum cell_place at[][2] = {
		{ CELL_A, CELL_A },
		{ CELL_ANY4, CELL_A },
		{ CELL_A, CELL_ANY4 },
		{ CELL_ANY4, CELL_ANY4 },
		{ CELL_ANY4, CELL_ANY6 },
		{ CELL_S, CELL_S },
		{ CELL_ANY6, CELL_ANY6 },
	};

	for (size_t i = 0; i < sizeof at / sizeof *at; i++)
		for (unsigned int k = 0; k < 9 * 16; k++) {
			struct cell c = cell_build_new(CELL_DEVICE, proto, 2);

			c.sockets[0].place = at[i][0];
			c.sockets[1].place = at[i][1];
			cell_build_flags(&c.sockets[0], k & 3);
			cell_build_flags(&c.sockets[1], k >> 2 & 3);
			c.sockets[0].device = (uint8_t)(k / 16 % 3);
			c.sockets[1].device = (uint8_t)(k / 48);
			cell_build_open(&c, 0);
			cell_build_open(&c, 1);
			cell_build_ask(&c);
			if (at[i][0] == CELL_S || at[i][0] == CELL_ANY6) {
				cell_build_send(&c, CELL_S, CELL_WIRE1);
			} else {
				cell_build_send(&c, CELL_A, CELL_WIRE1);
				cell_build_send(&c, CELL_A, CELL_WIRE2);
			}
			emit(g, &c);
		}
}

static void
networks(struct generator *g, enum sock_proto proto)
{
	static const enum cell_place at[] = { CELL_A, CELL_ANY4, CELL_ANY6 };

	for (unsigned int k = 0; k < 3 * 32; k++) {
		struct cell c = cell_build_new(CELL_APART, proto, 2);

		c.sockets[0].place = at[k / 32];
		c.sockets[1].place = CELL_A;
		cell_build_flags(&c.sockets[0], k & 3);
		cell_build_flags(&c.sockets[1], k >> 2 & 3);
		c.sockets[(k & 16) != 0].other_net = true;
		cell_build_open(&c, 0);
		cell_build_open(&c, 1);
		cell_build_send(&c, CELL_A, CELL_LOCAL);
		cell_build_send(&c, CELL_A, CELL_ELSEWHERE);
		emit(g, &c);
	}
}

/* The same address, but not the same port or protocol. */
static void
strangers(struct generator *g, enum sock_proto proto)
{
	for (unsigned int k = 0; k < 32; k++) {
		struct cell c = cell_build_new(CELL_APART, proto, 2);
		struct cell_socket *other = &c.sockets[k >> 3 & 1];

		cell_build_flags(&c.sockets[0], k & 1 ? 3 : 0);
		cell_build_flags(&c.sockets[1], k & 2 ? 3 : 0);
		other->place = k & 4 ? CELL_ANY4 : CELL_A;
		other->other_port = (k & 16) == 0;
		other->other_proto = (k & 16) != 0;
		cell_build_open(&c, 0);
		cell_build_open(&c, 1);
		cell_build_ask(&c);
		emit(g, &c);
	}
}

/*
 * A group beside an older socket whose device scores higher: the group is met
 * first and takes all, until one of it was connected.
 */
static void
group_peers(struct generator *g)
{
	static const enum cell_place at[] = { CELL_A, CELL_ANY4, CELL_S };

	for (unsigned int k = 0; k < 12; k++) {
		struct cell c = cell_build_new(CELL_PEER, SOCK_UDP, 3);
		enum cell_place to = k / 4 == 2 ? CELL_S : CELL_A;

		for (size_t i = 0; i < 3; i++) {
			c.sockets[i].place = at[k / 4];
			cell_build_flags(&c.sockets[i], i > 0 ? 3 : 1);
		}
		c.sockets[0].device = k & 1;
		cell_build_step(&c, CELL_BIND, 0);
		cell_build_step(&c, CELL_BIND, 1);
		cell_build_step(&c, CELL_BIND, 2);
		cell_build_send(&c, to, CELL_LOCAL);
		cell_build_step(&c, CELL_CONNECT, k & 2 ? 2 : 1);
		cell_build_send(&c, to, CELL_LOCAL);
		cell_build_add(
		    &c, CELL_SEND, k & 2 ? 2 : 1, to, CELL_FROM_PEER);
		cell_build_ask(&c);
		emit(g, &c);
	}
}

/* UDP: one of the two is connected to a sender. */
static void
peers(struct generator *g)
{
	static const enum cell_place at[][2] = {
		{ CELL_A, CELL_A },
		{ CELL_ANY4, CELL_A },
		{ CELL_A, CELL_ANY4 },
		{ CELL_ANY4, CELL_ANY4 },
		{ CELL_S, CELL_S },
		{ CELL_S, CELL_ANY6 },
		{ CELL_ANY6, CELL_ANY6 },
	};

	for (size_t i = 0; i < sizeof at / sizeof *at; i++)
		for (unsigned int k = 0; k < 64; k++) {
			struct cell c = cell_build_new(CELL_PEER, SOCK_UDP, 2);
			unsigned int who = k >> 4 & 1;
			enum cell_place to =
			    cell_place_is_v6(at[i][0]) ? CELL_S : CELL_A;

			c.sockets[0].place = at[i][0];
			c.sockets[1].place = at[i][1];
			cell_build_flags(&c.sockets[0], k & 3);
			cell_build_flags(&c.sockets[1], k >> 2 & 3);
			cell_build_step(&c, CELL_BIND, 0);
			/* connected before or after the other's bind */
			if (who == 0 && (k & 32) != 0)
				cell_build_step(&c, CELL_CONNECT, 0);
			cell_build_step(&c, CELL_BIND, 1);
			if (who == 1 || (k & 32) == 0)
				cell_build_step(&c, CELL_CONNECT, who);
			cell_build_send(&c, to, CELL_LOCAL);
			cell_build_add(&c, CELL_SEND, who, to, CELL_FROM_PEER);
			cell_build_ask(&c);
			emit(g, &c);
		}
}

/* Three sockets, each with its own flags: which pair decides? */
static void
trios(struct generator *g, enum sock_proto proto)
{
	static const enum cell_place at[][3] = {
		{ CELL_A, CELL_A, CELL_A },
		{ CELL_ANY4, CELL_A, CELL_A },
		{ CELL_A, CELL_ANY4, CELL_ANY4 },
		{ CELL_S, CELL_S, CELL_S },
		{ CELL_ANY6, CELL_ANY4, CELL_A },
	};

	for (size_t i = 0; i < sizeof at / sizeof *at; i++)
		for (unsigned int k = 0; k < 128; k++) {
			struct cell c = cell_build_new(CELL_TRIO, proto, 3);

			for (unsigned int s = 0; s < 3; s++) {
				c.sockets[s].place = at[i][s];
				cell_build_flags(&c.sockets[s], k >> 2 * s & 3);
			}
			c.sockets[2].other_uid = (k & 64) != 0;
			cell_build_open(&c, 0);
			cell_build_open(&c, 1);
			cell_build_open(&c, 2);
			cell_build_ask(&c);
			emit(g, &c);
		}
}

/* A group grows, then one leaves: which flows move to whom. */
static void
groups(struct generator *g, enum sock_proto proto)
{
	static const enum cell_place at[] = { CELL_A, CELL_ANY4, CELL_S,
		CELL_ANY6 };

	for (unsigned int k = 0; k < 12; k++) {
		struct cell c = cell_build_new(CELL_GROUP, proto, 3);
		enum cell_place place = at[k / 3];
		enum cell_place to = k / 3 < 2 ? CELL_A : CELL_S;

		for (size_t i = 0; i < 3; i++) {
			c.sockets[i].place = place;
			cell_build_flags(&c.sockets[i], 2);
		}
		cell_build_open(&c, 0);
		cell_build_open(&c, 1);
		cell_build_send(&c, to, CELL_LOCAL);
		cell_build_open(&c, 2);
		cell_build_send(&c, to, CELL_LOCAL);
		cell_build_step(&c, CELL_CLOSE, k % 3);
		cell_build_send(&c, to, CELL_LOCAL);
		emit(g, &c);
	}
}

/* A program names a member, one that leaves, or one that there is not. */
static void
steered_groups(struct generator *g, enum sock_proto proto)
{
	static const enum cell_place at[] = { CELL_A, CELL_ANY4, CELL_S,
		CELL_ANY6 };

	for (unsigned int k = 0; k < 4 * 16; k++) {
		struct cell c = cell_build_new(CELL_STEERED, proto, 3);
		enum cell_place to = k / 16 < 2 ? CELL_A : CELL_S;

		for (size_t i = 0; i < 3; i++) {
			c.sockets[i].place = at[k / 16];
			cell_build_flags(&c.sockets[i], 2);
		}
		cell_build_open(&c, 0);
		cell_build_open(&c, 1);
		cell_build_add(&c, CELL_STEER, k & 1, k >> 1 & 3, CELL_LOCAL);
		cell_build_send(&c, to, CELL_LOCAL);
		cell_build_open(&c, 2);
		cell_build_send(&c, to, CELL_LOCAL);
		cell_build_step(&c, CELL_CLOSE, k & 8 ? 1 : 0);
		cell_build_send(&c, to, CELL_LOCAL);
		emit(g, &c);
	}
}

/* What waits in the queue of a socket that closes is lost. */
static void
queues(struct generator *g, enum sock_proto proto)
{
	static const enum cell_place at[] = { CELL_A, CELL_ANY4, CELL_S };

	for (unsigned int k = 0; k < 18; k++) {
		struct cell c = cell_build_new(CELL_QUEUE, proto, 2);
		enum cell_place to = k / 6 == 2 ? CELL_S : CELL_A;

		for (size_t i = 0; i < 2; i++) {
			c.sockets[i].place = at[k / 6];
			cell_build_flags(&c.sockets[i], 1 + k % 3);
		}
		cell_build_open(&c, 0);
		cell_build_open(&c, 1);
		cell_build_send(&c, to, CELL_LOCAL);
		cell_build_add(&c, CELL_QUEUED, 0, to, CELL_LOCAL);
		cell_build_step(&c, CELL_CLOSE, k / 3 % 2);
		cell_build_step(&c, CELL_DRAIN, 0);
		cell_build_send(&c, to, CELL_LOCAL);
		emit(g, &c);
	}
}

static void
cpus(struct generator *g, enum sock_proto proto)
{
	static const enum cell_place at[] = { CELL_A, CELL_S };

	for (unsigned int k = 0; k < 2 * 27; k++) {
		struct cell c = cell_build_new(CELL_CPU, proto, 2);

		for (unsigned int i = 0; i < 2; i++) {
			c.sockets[i].place = at[k / 27];
			cell_build_flags(&c.sockets[i], 1 + k % 3);
		}
		c.sockets[0].cpu = (uint8_t)(k / 3 % 3);
		c.sockets[1].cpu = (uint8_t)(k / 9 % 3);
		cell_build_open(&c, 0);
		cell_build_open(&c, 1);
		cell_build_ask(&c);
		emit(g, &c);
	}
}

/* More than ten addresses on the port; then a wildcard, or one of them. */
static void
crowds(struct generator *g, enum sock_proto proto)
{
	static const enum cell_place at[] = { CELL_ANY4, CELL_ANY6, CELL_ONLY6,
		CELL_A };

	for (unsigned int k = 0; k < 16; k++) {
		struct cell c = cell_build_new(CELL_FULL, proto, 1);

		c.crowded = true;
		c.sockets[0].place = at[k / 4];
		cell_build_flags(&c.sockets[0], k & 3);
		cell_build_open(&c, 0);
		cell_build_ask(&c);
		emit(g, &c);
	}
}

/* sk_lookup: after connected sockets, before the exact address. */
static void
programs(struct generator *g, enum sock_proto proto)
{
	static const enum cell_place at[][2] = {
		{ CELL_A, CELL_ANY4 },
		{ CELL_ANY4, CELL_A },
		{ CELL_A, CELL_B },
		{ CELL_S, CELL_ANY6 },
	};

	for (size_t i = 0; i < sizeof at / sizeof *at; i++)
		for (unsigned int k = 0; k < 12; k++) {
			struct cell c = cell_build_new(CELL_PROGRAM, proto, 2);
			enum cell_place to =
			    cell_place_is_v6(at[i][0]) ? CELL_S : CELL_A;

			if ((k & 2) != 0 && proto == SOCK_TCP)
				continue;
			c.sockets[0].place = at[i][0];
			c.sockets[1].place = at[i][1];
			cell_build_flags(&c.sockets[0], 1 + k / 4);
			cell_build_flags(&c.sockets[1], 1 + k / 4);
			cell_build_open(&c, 0);
			cell_build_open(&c, 1);
			if ((k & 2) != 0)
				cell_build_step(&c, CELL_CONNECT, 0);
			cell_build_step(&c, CELL_CHOOSE, k & 1);
			cell_build_ask(&c);
			if ((k & 2) != 0)
				cell_build_add(
				    &c, CELL_SEND, 0, to, CELL_FROM_PEER);
			emit(g, &c);
		}
}

size_t
cells_generate(int (*each)(const struct cell *c, void *arg), void *arg)
{
	struct generator g = { .each = each, .arg = arg };

	for (enum sock_proto proto = SOCK_UDP; proto <= SOCK_TCP; proto++) {
		all_pairs(&g, proto);
		late_flags(&g, proto);
		late_guard(&g, proto);
		devices(&g, proto);
		networks(&g, proto);
		strangers(&g, proto);
		trios(&g, proto);
		groups(&g, proto);
		steered_groups(&g, proto);
		queues(&g, proto);
		cpus(&g, proto);
		crowds(&g, proto);
		programs(&g, proto);
	}
	listen_orders(&g);
	restarts(&g);
	peers(&g);
	group_peers(&g);
	return g.n;
}
