/*
 * Giving up rights. Order in a daemon: bind, read keys, priv_drop,
 * priv_landlock, priv_seccomp, then the first packet.
 */
#ifndef BASE_PRIV_H
#define BASE_PRIV_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Leaves root for `user` (supplementary groups cleared, all capabilities
 * dropped), sets no_new_privs and PR_SET_DUMPABLE 0. Not root: keeps the uid
 * and does the rest. Returns 0, or -1 with errno after a log_error line.
 */
int priv_drop(const char *user);

/* PR_SET_PDEATHSIG for helper processes, and no core dumps. */
int priv_child(void);

struct priv_path {
	const char *path;
	bool write; /* false: read only */
};

/*
 * Landlock (landlock(7)): after it only `paths` can be opened, and no TCP
 * bind or connect (ABI >= 4) beyond what is open. Returns 1 when the kernel
 * has no Landlock (not an error), 0 when in force, -1 with errno.
 */
int priv_landlock(const struct priv_path *paths, size_t n);

enum priv_profile {
	PRIV_SERVER, /* sockets that are already open, threads, clocks, reload */
	PRIV_KEYHOLDER, /* read, write, exit: nothing else */
};

/* seccomp allow-list (seccomp(2)); anything else kills the process. */
int priv_seccomp(enum priv_profile profile);

#endif
