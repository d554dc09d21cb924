/* What net/fastpath.c and net/fastpath_flow.c share. */
#ifndef NET_FASTPATH_INNER_H
#define NET_FASTPATH_INNER_H

#include <net/if.h>

#include "net/fastpath.h"
#include "net/fastpath_side.h"

struct bpf_object;

struct fastpath_place {
	unsigned int device;
	char name[IF_NAMESIZE];
	int link; /* tcx: -1 none */
	uint32_t priority; /* of the filter; 0: a link */
};

struct fastpath {
	struct bpf_object *object;
	int program, flows; /* descriptors of the object's */
	struct fastpath_side *sides; /* shared with the program */
	struct fastpath_control *control; /* the same */
	uint32_t count; /* of flows: two sides each */
	struct fastpath_place places[FASTPATH_DEVICES];
	size_t used;
};

#endif
