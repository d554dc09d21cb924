/*
 * A flag that is set on other processes' sockets for a while, and is off again
 * whatever happens: by whoever opened, or, when that is killed, by a keeper, a
 * child that waits for just this. (Both killed at once: the flags stay.)
 */
#ifndef PORTSHARE_OPENING_H
#define PORTSHARE_OPENING_H

#include <sys/types.h>

#include "net/portscan.h"
#include "net/sockflag.h"

#define OPENING_MAX 512

struct opening {
	size_t n;
	int fds[OPENING_MAX]; /* copies of the owners' descriptors */
	enum sockflag flags[OPENING_MAX];
	pid_t keeper; /* 0: none */
	int word; /* our end of the line to the keeper */
};

void opening_init(struct opening *o);

/* Takes a copy of the socket: the flag is to be set on it. 0, or -1 with errno:
 * EPERM without the right to (pidfd_getfd(2)), ENOENT when it is gone. */
int opening_add(
    struct opening *o, const struct portscan_socket *s, enum sockflag flag);

/* Starts the keeper, then sets all flags. -1 with errno: none is set. */
int opening_begin(struct opening *o);

/* Clears the flags and sends the keeper home. Returns how many sockets still
 * carry theirs: 0. Idempotent; frees the copies. */
size_t opening_end(struct opening *o);

#endif
