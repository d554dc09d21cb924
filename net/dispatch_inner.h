/* What the files of net/dispatch share; for net/dispatch*.c only. */
#ifndef NET_DISPATCH_INNER_H
#define NET_DISPATCH_INNER_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "net/dispatch.h"

struct dispatch {
	struct bpf_object *object; /* until all is opened */
	struct bpf_link *link; /* NULL: pinned, and taken over */
	struct dispatch_table *table; /* shared with the program */
	int rules, sockets; /* the maps' descriptors */
	int netns;
	uint32_t cursor; /* where free slots are looked for */
};

/* Without maps, link and table; NULL and why. */
struct dispatch *dispatch_new(char why[static DISPATCH_WHY_LEN]);
/* A program of its own, attached here. 0, or -1 and why. */
int dispatch_begin(struct dispatch *d, char why[static DISPATCH_WHY_LEN]);
int dispatch_share_table(struct dispatch *d, char why[static DISPATCH_WHY_LEN]);
/* -1, and in `why` what has failed with this errno. */
int
dispatch_fault(char why[static DISPATCH_WHY_LEN], const char *what, int error);
/* Whether a map holds a table of this layout. */
bool dispatch_is_table(int map);

#endif
