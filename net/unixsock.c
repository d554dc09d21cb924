#include "net/unixsock.h"

#include <errno.h>
#include <fcntl.h>
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
open_socket(int flags)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

/* 0, or the errno of a connect(2) there. */
static int
try_connect(const struct sockaddr_un *a)
{
	int fd = open_socket(SOCK_NONBLOCK), error = 0;

	if (fd < 0)
		return errno;
	if (connect(fd, (const struct sockaddr *)a, sizeof *a) < 0)
		error = errno;
	close(fd);
	return error;
}

/* What the file of a dead daemon is: a socket that refuses. */
static int
clear_way(const struct sockaddr_un *a, char *why)
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
	error = try_connect(a);
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
set_rights(const char *path, mode_t mode, gid_t group)
{
	if (group != (gid_t)-1 && chown(path, (uid_t)-1, group) < 0)
		return -1;
	return chmod(path, mode);
}

/* The file is its owner's alone until it has the rights that it is to have. */
static int
bind_and_listen(int fd, const struct sockaddr_un *a, mode_t mode, gid_t group,
    struct unixsock_file *file)
{
	struct stat st;

	if (fchmod(fd, S_IRUSR | S_IWUSR) < 0 ||
	    bind(fd, (const struct sockaddr *)a, sizeof *a) < 0)
		return -1;
	if (listen(fd, BACKLOG) < 0 || lstat(a->sun_path, &st) < 0 ||
	    set_rights(a->sun_path, mode, group) < 0) {
		int saved = errno;

		unlink(a->sun_path);
		errno = saved;
		return -1;
	}
	*file = (struct unixsock_file){ st.st_dev, st.st_ino };
	return 0;
}

static int
listen_at(const struct sockaddr_un *a, mode_t mode, gid_t group,
    struct unixsock_file *file, char *why)
{
	int fd;

	if (clear_way(a, why) < 0)
		return -1;
	fd = open_socket(SOCK_NONBLOCK);
	if (fd < 0)
		return -1;
	if (bind_and_listen(fd, a, mode, group, file) < 0)
		return close_failed(fd);
	return fd;
}

int
unixsock_listen(const char *path, mode_t mode, gid_t group,
    struct unixsock_file *file, char why[static UNIXSOCK_WHY_LEN])
{
	char directory[PATH_MAX];
	struct sockaddr_un a;
	int lock = -1, fd = -1;

	why[0] = '\0';
	if (set_path(&a, path) == 0)
		lock = open(file_directory(directory, path),
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* between the look at the old file and its end nobody may come */
	if (lock >= 0 && flock(lock, LOCK_EX) == 0)
		fd = listen_at(&a, mode, group, file, why);
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
	fd = open_socket(0);
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
unixsock_peer(int fd, struct unixsock_peer *peer)
{
	struct ucred cred;
	socklen_t len = sizeof cred;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -1;
	*peer = (struct unixsock_peer){ cred.uid, cred.gid, cred.pid };
	return 0;
}
