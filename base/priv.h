/*
 * Giving up rights. Order in a daemon: bind, read keys, priv_drop,
 * priv_landlock, priv_seccomp, then the first packet.
 */
#ifndef BASE_PRIV_H
#define BASE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Whom priv_drop() makes of us: the ids of `user`, or those that we have and
 * keep. 0, or -1 with errno after a log_error line.
 */
int priv_becomes(const char *user, uid_t *uid, gid_t *gid);

/*
 * Leaves root for `user` (supplementary groups cleared, all capabilities
 * dropped), sets no_new_privs and PR_SET_DUMPABLE 0. Not root, or user NULL:
 * keeps the uid and does the rest. Before the first thread: capabilities and
 * no_new_privs belong to a thread. Returns 0, or -1 with errno after a
 * log_error line.
 */
int priv_drop(const char *user);

/*
 * As priv_drop, but those of the `n` capabilities (CAP_… of
 * <linux/capability.h>) that the process has now stay in force: the
 * keyholder reads root's key files again by CAP_DAC_READ_SEARCH.
 */
int priv_drop_keep(const char *user, const int *caps, size_t n);

/*
 * PR_SET_PDEATHSIG for helper processes, and no core dumps. After priv_drop:
 * a change of user clears the signal.
 */
int priv_child(void);

struct priv_path {
	const char *path;
	bool write; /* false: read only */
};

/* Whether TCP connections may be made: a proxy's business, nobody else's. */
enum priv_net { PRIV_NO_CONNECT = 0, PRIV_MAY_CONNECT };

/*
 * Landlock (landlock(7)): after it only `paths` and what lies beneath them can
 * be opened (a path that does not exist is left out), and no TCP connection
 * made (ABI >= 4) unless `net` allows it; a reload may still bind. Before the
 * first thread. Returns 1 when the kernel has no Landlock (not an error), 0
 * when in force, -1 with errno.
 */
int priv_landlock(const struct priv_path *paths, size_t n, enum priv_net net);

enum priv_profile {
	PRIV_SERVER, /* sockets, threads, clocks, reload: no exec, no fork */
	PRIV_PROXY, /* as a server, and connect(2), splice(2), unlink(2) */
	PRIV_KEYHOLDER, /* descriptors that are open, files to read: no more */
};

/*
 * seccomp allow-list (seccomp(2)) for all threads; anything else kills the
 * process. No memory becomes executable, so nothing can be loaded late: no
 * dlopen, and no pthread_exit or pthread_cancel, whose unwinder libc loads
 * at its first use. Sets no_new_privs. Returns 0, or -1 with errno.
 */
int priv_seccomp(enum priv_profile profile);

#endif
