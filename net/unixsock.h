/*
 * UNIX stream sockets with a path (unix(7)): one that answers a daemon's
 * operators, and the way to it.
 */
#ifndef NET_UNIXSOCK_H
#define NET_UNIXSOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define UNIXSOCK_WHY_LEN 256

/* The file that a listener made, to be told from one that came later. */
struct unixsock_file {
	dev_t device;
	ino_t inode;
};

/*
 * Listens at `path`, non-blocking, with a file of ours and `mode`, of `group`
 * unless that is (gid_t)-1. The file of a daemon that is dead is replaced; one
 * that somebody still listens on is not, nor anything that is no socket. Two
 * that do this at once do not harm each other. Returns the descriptor, or -1
 * with a sentence in `why`.
 */
int unixsock_listen(const char *path, mode_t mode, gid_t group,
    struct unixsock_file *file, char why[static UNIXSOCK_WHY_LEN]);

/* Removes the file if it is still that one. 0, or -1 with errno. */
int unixsock_remove(const char *path, const struct unixsock_file *file);

/* A connection that came, non-blocking; -1 with errno. */
int unixsock_accept(int listener);

/* A blocking connection whose reads and writes give up after `timeout_s`;
 * -1 with errno. */
int unixsock_connect(const char *path, int timeout_s);

/* Who is at the other end, as of connect(2). 0, or -1 with errno. */
struct unixsock_peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
};
int unixsock_peer(int fd, struct unixsock_peer *peer);

#endif
