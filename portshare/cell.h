/*
 * One cell of the matrix: a few sockets on one port, what happens to them
 * step by step, and what came of each step, on the kernel or in the model.
 */
#ifndef PORTSHARE_CELL_H
#define PORTSHARE_CELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/lab.h"
#include "net/portrules.h"

#define CELL_SOCKETS 3
#define CELL_STEPS 20
#define CELL_FLOWS 48 /* source ports that a split is tried with */
#define CELL_CROWD 12 /* sockets of a crowded port */

/* Where a socket binds, or a packet goes. */
enum cell_place {
	CELL_A = 0, /* one IPv4 address */
	CELL_B, /* another */
	CELL_ANY4, /* 0.0.0.0 */
	CELL_S, /* one IPv6 address */
	CELL_T, /* another */
	CELL_ANY6, /* ::, IPv4 with it */
	CELL_ONLY6, /* :: with IPV6_V6ONLY */
	CELL_MAPPED_A, /* ::ffff: A */
	CELL_MAPPED_ANY, /* ::ffff:0.0.0.0 */
	CELL_MAPPED_ONLY6, /* ::ffff: A with IPV6_V6ONLY */
};
#define CELL_PLACES (CELL_MAPPED_ONLY6 + 1)

/* What sets a cell apart from the others; the filters of the page. */
enum cell_theme {
	CELL_PAIR = 0, /* addresses, flags, order, user */
	CELL_STATE, /* TCP: bound, listening, established, TIME_WAIT */
	CELL_LATE, /* a flag changed after the bind */
	CELL_DEVICE,
	CELL_APART, /* namespace, port, protocol */
	CELL_PEER, /* connected sockets */
	CELL_TRIO, /* three sockets */
	CELL_GROUP, /* a group grows and shrinks */
	CELL_STEERED, /* a program of the group chooses */
	CELL_QUEUE, /* what is queued when a socket closes */
	CELL_CPU, /* SO_INCOMING_CPU */
	CELL_FULL, /* a crowded port */
	CELL_PROGRAM, /* sk_lookup */
};
#define CELL_THEMES (CELL_PROGRAM + 1)

struct cell_socket {
	enum cell_place place;
	bool reuseaddr, reuseport;
	bool other_uid;
	bool other_net;
	bool other_port;
	bool other_proto;
	uint8_t device; /* 1: d1, 2: d2 */
	uint8_t cpu; /* 1: the one we run on, 2: another */
};

enum cell_act {
	CELL_END = 0,
	CELL_BIND,
	CELL_LISTEN,
	CELL_SET_REUSEADDR,
	CELL_CLEAR_REUSEADDR,
	CELL_SET_REUSEPORT,
	CELL_CLEAR_REUSEPORT,
	CELL_CONNECT, /* UDP: to one sender at the same family's A or S */
	CELL_ACCEPT, /* TCP: a connection of `who` becomes socket `what` */
	CELL_RETIRE, /* TCP: it ends, our side first: TIME_WAIT */
	CELL_CLOSE,
	CELL_SEND, /* to place `what`, along `way` */
	CELL_QUEUED, /* the same, but left in the queues */
	CELL_DRAIN, /* what is in the queues now */
	CELL_STEER, /* the group of `who` gets a program: member `what` */
	CELL_CHOOSE, /* an sk_lookup program takes `who` for the port */
};
#define CELL_ACTS (CELL_CHOOSE + 1)

enum cell_way {
	CELL_LOCAL = 0, /* from within the server's network */
	CELL_FROM_PEER, /* the sender that `who` is connected to */
	CELL_WIRE1, /* from the client, over d1 */
	CELL_WIRE2,
	CELL_ELSEWHERE, /* from within the other network */
};

struct cell_step {
	enum cell_act act;
	uint8_t who; /* a socket */
	uint8_t what; /* place, or another socket */
	enum cell_way way;
};

struct cell {
	enum cell_theme theme;
	enum sock_proto proto;
	uint8_t n;
	bool crowded; /* CELL_CROWD other addresses are bound first */
	struct cell_socket sockets[CELL_SOCKETS];
	struct cell_step steps[CELL_STEPS]; /* to CELL_END */
};

/* What came of a step. */
struct cell_outcome {
	bool skipped; /* its socket never came to be */
	int error;
	uint8_t receivers; /* bit i: socket i got some of it */
	uint8_t counts[CELL_SOCKETS]; /* SEND, QUEUED, DRAIN: flows */
	int8_t flows[CELL_FLOWS]; /* SEND: who got it, -1 nobody */
	uint8_t sent;
};

struct cell_run {
	struct cell_outcome steps[CELL_STEPS];
};

const char *cell_place_str(enum cell_place place); /* "0.0.0.0" */
const char *cell_theme_str(enum cell_theme theme);
/* The place as an address in this lab, port 0. */
void
cell_address(const struct lab *l, enum cell_place place, struct addr *address);
bool cell_place_is_v6(enum cell_place place); /* of the socket */
enum sock_proto cell_proto(const struct cell *c, size_t who);

/* A step is made with a socket that must exist. */
bool cell_needs_socket(enum cell_act act);

/*
 * On the kernel, on `port` (nobody else's). 0, or -1 with errno when the lab
 * itself failed. Without the rights for a step: use cell_possible() before.
 */
int cell_run_kernel(const struct lab *l, const struct cell *c, uint16_t port,
    struct cell_run *run);
bool cell_possible(const struct lab *l, const struct cell *c);

/* What the model says of a step, beside the outcome. */
struct cell_reason {
	struct portrules_verdict verdict; /* BIND, LISTEN */
	struct portrules_delivery delivery; /* SEND */
};
struct cell_model {
	struct cell_run run; /* `flows` stays empty: hashes are the kernel's */
	struct cell_reason reasons[CELL_STEPS];
	uint8_t members[CELL_STEPS][CELL_SOCKETS]; /* of the group at SEND */
	uint8_t size[CELL_STEPS]; /* of that group, 0: no split */
};
/* The kernel's peculiarities that the model cannot know by its version. */
struct cell_kernel {
	unsigned int version; /* as in struct portrules */
	bool crowd_blinds;
};
void cell_run_model(
    const struct cell_kernel *k, const struct cell *c, struct cell_model *m);

/*
 * The first step where the two differ, -1: none. `why` gets a line about it.
 */
int cell_compare(const struct cell *c, const struct cell_run *kernel,
    const struct cell_model *model, char *why, size_t len);

/* "udp, a 0.0.0.0 +reuseaddr, b A": returns buf. */
char *cell_say(char *buf, size_t len, const struct cell *c);
char *cell_say_step(char *buf, size_t len, const struct cell_step *s);
/* The cell as a C program of a few lines; CELL_RECIPE_LEN holds any. */
#define CELL_RECIPE_LEN 8192
char *
cell_recipe(char *buf, size_t len, const struct lab *l, const struct cell *c);

/*
 * All cells, in a fixed order; calls `each` for every one and returns how many
 * there were. `each` non-zero ends it early.
 */
size_t cells_generate(int (*each)(const struct cell *c, void *arg), void *arg);

#endif
