#include "net/unixsock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"

#define BACKLOG 64

static int
close_failed(int fd)
{
	int saved = errno;

	close(fd);
	errno = saved;
	return -1;
}

static int
set_path(struct sockaddr_un *a, const char *path)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (path[0] == '\0' || strlen(path) >= sizeof a->sun_path) {
		errno = path[0] == '\0' ? ENOENT : ENAMETOOLONG;
		return -1;
	}
	memcpy(a->sun_path, path, strlen(path) + 1);
	return 0;
}

static int
open_socket(int type, int flags)
{
	return socket(AF_UNIX, type | SOCK_CLOEXEC | flags, 0);
}

/* 0, or the errno of a connect(2) there. */
static int
try_connect(const struct sockaddr_un *a, int type)
{
	int fd = open_socket(type, SOCK_NONBLOCK), error = 0;

	if (fd < 0)
		return errno;
	if (connect(fd, (const struct sockaddr *)a, sizeof *a) < 0)
		error = errno;
	close(fd);
	return error;
}

/* What the file of a dead daemon is: a socket that refuses. */
static int
clear_way(const struct sockaddr_un *a, int type, char *why)
{
	struct stat st;
	int error;

	if (lstat(a->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -1;
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(why, UNIXSOCK_WHY_LEN,
		    "there is a file that is no socket, which stays");
		errno = EEXIST;
		return -1;
	}
	error = try_connect(a, type);
	if (error == ECONNREFUSED)
		return unlink(a->sun_path);
	/* EAGAIN: it listens, and is busy */
	if (error == 0 || error == EAGAIN) {
		snprintf(
		    why, UNIXSOCK_WHY_LEN, "a running daemon answers there");
		error = EADDRINUSE;
	}
	errno = error;
	return -1;
}

static int
set_rights(const struct unixsock_place *p)
{
	if ((p->owner != UNIXSOCK_OURS || p->group != UNIXSOCK_OURS) &&
	    chown(p->path, p->owner, p->group) < 0)
		return -1;
	return chmod(p->path, p->mode);
}

/* The file is its owner's alone until it has the rights that it is to have. */
static int
bind_and_listen(int fd, const struct sockaddr_un *a,
    const struct unixsock_place *p, struct unixsock_file *file)
{
	struct stat st;

	if (fchmod(fd, S_IRUSR | S_IWUSR) < 0 ||
	    bind(fd, (const struct sockaddr *)a, sizeof *a) < 0)
		return -1;
	if (listen(fd, BACKLOG) < 0 || lstat(a->sun_path, &st) < 0 ||
	    set_rights(p) < 0) {
		int saved = errno;

		unlink(a->sun_path);
		errno = saved;
		return -1;
	}
	*file = (struct unixsock_file){ st.st_dev, st.st_ino };
	return 0;
}

static int
listen_at(const struct sockaddr_un *a, const struct unixsock_place *p,
    struct unixsock_file *file, char *why)
{
	int fd;

	if (clear_way(a, p->type, why) < 0)
		return -1;
	fd = open_socket(p->type, SOCK_NONBLOCK);
	if (fd < 0)
		return -1;
	if (bind_and_listen(fd, a, p, file) < 0)
		return close_failed(fd);
	return fd;
}

/* /run is empty after a boot. */
void
unixsock_make_directory(const struct unixsock_place *p, uid_t uid, gid_t gid)
{
	char directory[PATH_MAX];

	file_directory(directory, p->path);
	if (mkdir(directory, 0755) == 0 && geteuid() == 0 &&
	    chown(directory, uid, gid) != 0)
		rmdir(directory);
}

int
unixsock_listen(const struct unixsock_place *p, struct unixsock_file *file,
    char why[static UNIXSOCK_WHY_LEN])
{
	char directory[PATH_MAX];
	struct sockaddr_un a;
	int lock = -1, fd = -1;

	why[0] = '\0';
	if (set_path(&a, p->path) == 0)
		lock = open(file_directory(directory, p->path),
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* between the look at the old file and its end nobody may come */
	if (lock >= 0 && flock(lock, LOCK_EX) == 0)
		fd = listen_at(&a, p, file, why);
	if (fd < 0 && why[0] == '\0')
		snprintf(why, UNIXSOCK_WHY_LEN, "%s", strerror(errno));
	if (lock >= 0)
		close(lock);
	return fd;
}

int
unixsock_remove(const char *path, const struct unixsock_file *file)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -1;
	if (st.st_dev != file->device || st.st_ino != file->inode) {
		errno = ESTALE;
		return -1;
	}
	return unlink(path);
}

int
unixsock_accept(int listener)
{
	return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int
unixsock_connect(const char *path, int timeout_s)
{
	const struct timeval patience = { .tv_sec = timeout_s };
	struct sockaddr_un a;
	int fd;

	if (set_path(&a, path) < 0)
		return -1;
	fd = open_socket(SOCK_STREAM, 0);
	if (fd < 0)
		return -1;
	if (setsockopt(
		fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
	    setsockopt(
		fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
	    connect(fd, (const struct sockaddr *)&a, sizeof a) < 0)
		return close_failed(fd);
	return fd;
}

int
unixsock_meet(const char *path)
{
	struct sockaddr_un a;
	int fd;

	if (set_path(&a, path) < 0)
		return -1;
	fd = open_socket(SOCK_SEQPACKET, SOCK_NONBLOCK);
	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&a, sizeof a) < 0)
		return close_failed(fd);
	return fd;
}

/* ---- datagrams with descriptors ---- */

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(UNIXSOCK_FDS_MAX * sizeof(int))];
};

int
unixsock_send(
    int fd, const void *bytes, size_t len, const int *fds, size_t count)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control = { 0 };
	struct cmsghdr *c;

	if (count > UNIXSOCK_FDS_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (count > 0) {
		h.msg_control = control.bytes;
		h.msg_controllen = CMSG_SPACE(count * sizeof *fds);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof *fds);
		memcpy(CMSG_DATA(c), fds, count * sizeof *fds);
	}
	return sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len
	    ? 0
	    : -1;
}

ssize_t
unixsock_receive(int fd, void *bytes, size_t len,
    int fds[static UNIXSOCK_FDS_MAX], size_t *count)
{
	struct iovec iov = { bytes, len };
	union control control;
	struct msghdr h = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof control };
	ssize_t n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	*count = 0;
	if (n < 0)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c != NULL;
	     c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		*count = (c->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
		memcpy(fds, CMSG_DATA(c), *count * sizeof *fds);
	}
	return n;
}

int
unixsock_peer(int fd, struct unixsock_peer *peer)
{
	struct ucred cred;
	socklen_t len = sizeof cred;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -1;
	*peer = (struct unixsock_peer){ cred.uid, cred.gid, cred.pid };
	return 0;
}
