/*
 * UNIX sockets with a path (unix(7)): one that answers a daemon's operators,
 * one where two daemons meet, and the ways to them.
 */
#ifndef NET_UNIXSOCK_H
#define NET_UNIXSOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#define UNIXSOCK_WHY_LEN 256

/* The file that a listener made, to be told from one that came later. */
struct unixsock_file {
	dev_t device;
	ino_t inode;
};

/* Where to listen, and whose the file is to be. */
#define UNIXSOCK_OURS ((uid_t)-1) /* also of gid_t */
struct unixsock_place {
	const char *path;
	int type; /* SOCK_STREAM or SOCK_SEQPACKET */
	mode_t mode;
	uid_t owner;
	gid_t group;
};

/* Makes the directory of `path` for that user where it is missing; a failure
 * shows at once when one listens there. */
void
unixsock_make_directory(const struct unixsock_place *p, uid_t uid, gid_t gid);

/*
 * Listens there, non-blocking. The file of a daemon that is dead is replaced;
 * one that somebody still listens on is not, nor anything that is no socket.
 * Two that do this at once do not harm each other. Returns the descriptor, or
 * -1 with a sentence in `why`.
 */
int unixsock_listen(const struct unixsock_place *p, struct unixsock_file *file,
    char why[static UNIXSOCK_WHY_LEN]);

/* Removes the file if it is still that one. 0, or -1 with errno. */
int unixsock_remove(const char *path, const struct unixsock_file *file);

/* A connection that came, non-blocking; -1 with errno. */
int unixsock_accept(int listener);

/* A blocking stream whose reads and writes give up after `timeout_s`;
 * -1 with errno. */
int unixsock_connect(const char *path, int timeout_s);

/* A SOCK_SEQPACKET connection, non-blocking; -1 with errno. */
int unixsock_meet(const char *path);

/* A message with `count` descriptors, never waiting: 0, or -1 with errno; and
 * its counterpart: bytes (those that do not fit are lost), 0 at the end, or -1
 * with errno. The descriptors received are the caller's. */
#define UNIXSOCK_FDS_MAX 253 /* SCM_MAX_FD of the kernel */
int unixsock_send(
    int fd, const void *bytes, size_t len, const int *fds, size_t count);
ssize_t unixsock_receive(int fd, void *bytes, size_t len,
    int fds[static UNIXSOCK_FDS_MAX], size_t *count);

/* Who is at the other end, as of connect(2). 0, or -1 with errno. */
struct unixsock_peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
};
int unixsock_peer(int fd, struct unixsock_peer *peer);

#endif
