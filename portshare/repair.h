/* What the files of `portshare repair` share. */
#ifndef PORTSHARE_REPAIR_H
#define PORTSHARE_REPAIR_H

#include <stdint.h>
#include <stdio.h>

#include "portshare/opening.h"
#include "portshare/repair_plan.h"

#define REPAIR_LOOK 256 /* sockets of the port that are told apart */

enum repair_end {
	REPAIR_OPEN = 0, /* not over */
	REPAIR_BOUND, /* the newcomer was seen */
	REPAIR_EXPIRED, /* the window is over */
	REPAIR_STOPPED, /* by a signal */
	REPAIR_GONE, /* the newcomer's process ended without a bind */
};
const char *repair_end_str(enum repair_end end);

/* What was asked for. */
struct repair_wish {
	bool udp, tcp;
	struct addr address;
	bool v6only;
	unsigned int uid; /* REPAIR_PLAN_ANY_UID: whoever the holder is */
	int64_t window_ms;
	bool dry_run, both, json, help;
	char **command; /* NULL: the newcomer is started by somebody else */
};

/* One protocol's part. */
struct repair {
	struct repair_plan plan;
	bool bound;
	struct portscan_socket newcomer; /* once bound */
	bool mended; /* --both: the newcomer's flag was cleared too */
	double open_ms; /* how long the flag was set, once bound */
};

/*
 * Opens for all of `r`, waits for the newcomers, closes. `ready` is called once
 * it is open. `peer` is the process whose end ends it too (a descriptor of
 * pidfd_open(2)), -1: none. Returns how it ended, or REPAIR_OPEN when it could
 * not be opened, with errno. `left`: sockets that still carry the flag.
 */
enum repair_end repair_run(const struct repair_wish *w, struct repair *r,
    size_t n, int peer, void (*ready)(void *), void *context, size_t *left);

/* For people, as it happens; the whole for programs. `done`: the flags of the
 * plan are set, else they would be. */
void repair_tell_plan(
    FILE *to, const struct repair_wish *w, const struct repair *r, bool done);
void repair_tell_undone(FILE *to, const struct repair_wish *w);
void repair_tell_end(FILE *to, const struct repair_wish *w,
    const struct repair *r, enum repair_end end);
void repair_tell_json(FILE *to, const struct repair_wish *w,
    const struct repair *r, size_t n, enum repair_end end);

#endif
