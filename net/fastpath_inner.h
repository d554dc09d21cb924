/* What net/fastpath.c and net/fastpath_flow.c share. */
#ifndef NET_FASTPATH_INNER_H
#define NET_FASTPATH_INNER_H

#include <net/if.h>
#include <sys/types.h>

#include "net/fastpath.h"
#include "net/fastpath_side.h"

struct bpf_object;

/* Of the first of our filters, and daemons of ours on one interface. */
#define FASTPATH_PRIORITY 0x7473u
#define FASTPATH_PRIORITIES 8u

struct fastpath_place {
	unsigned int device;
	char name[IF_NAMESIZE];
	bool shared; /* another's program looks at what leaves */
	struct fastpath_hold {
		int link; /* tcx: -1 none */
		uint32_t priority; /* of the filter */
		uint32_t program; /* its program's id */
	} hold[2]; /* by enum fastpath_gate */
};

/* Where frames come in, and where they leave. */
enum fastpath_gate { FASTPATH_IN = 0, FASTPATH_OUT };

struct fastpath {
	struct bpf_object *object;
	int program[2], flows; /* descriptors of the object's */
	struct fastpath_side *sides; /* shared with the program */
	struct fastpath_control *control; /* the same */
	struct fastpath_hop *hops; /* the same */
	uint32_t count; /* of flows: two sides each */
	uint32_t hop_count; /* the first is none */
	struct fastpath_place places[FASTPATH_DEVICES];
	size_t used;
	pid_t heir; /* 0: none, there are no filters */
	int alive; /* the pipe that it waits on */
};

struct fastpath_tuple
fastpath_tuple_of(const struct addr *from, const struct addr *to);
/* Where datagrams of this side are sent to. */
struct addr fastpath_new_to(const struct fastpath_side *s);

/* In the first priority that is free, or that a daemon which has ended has
 * left taken. 0, or -1 with errno. */
int fastpath_add_filter(
    struct fastpath *f, struct fastpath_place *at, enum fastpath_gate gate);
/* The id of the program in this place; 0: none. */
uint32_t
fastpath_filter_in(const struct fastpath_place *at, enum fastpath_gate gate);
/* Those that are still ours. */
void fastpath_remove_filters(const struct fastpath_place *at);
/* Has the heir put the filters on an interface that is back; true: they are
 * there. */
bool fastpath_filter_again(
    struct fastpath *f, struct fastpath_place *at, unsigned int device);
/* When we are about to end: until the heir has done its work. */
void fastpath_await_heir(struct fastpath *f);

#endif
