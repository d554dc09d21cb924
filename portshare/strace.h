/* The calls of one daemon on its internet sockets, as strace(1) sees them. */
#ifndef PORTSHARE_STRACE_H
#define PORTSHARE_STRACE_H

#include <limits.h>
#include <stdio.h>
#include <sys/types.h>

#include "portshare/call.h"

#define STRACE_FDS 1024
#define STRACE_ARGS 9
#define STRACE_CALLS 128 /* that are kept */

struct strace {
	char path[PATH_MAX]; /* "": nothing is watched */
	FILE *in; /* NULL: not there yet */
	int pid; /* of the daemon's main thread */
	bool internet[STRACE_FDS]; /* by number; not UNIX and netlink */
	struct call_halves halves;
	size_t n;
	struct call calls[STRACE_CALLS]; /* the first ones, in order */
};

/* The words before the daemon's own, which write to `path`; ends with NULL. */
void strace_arguments(
    const char *argv[static STRACE_ARGS], const char *strace, const char *path);

void strace_begin(struct strace *s, const char *path, int pid);
/* The next call; false: there is none yet. */
bool strace_next(struct strace *s, struct call *c);
void strace_end(struct strace *s);

#endif
