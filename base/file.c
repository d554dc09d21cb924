#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_READ 4096u

char *
file_directory(char out[static PATH_MAX], const char *path)
{
	char copy[PATH_MAX]; /* dirname() may write into it */

	snprintf(copy, sizeof copy, "%s", path);
	snprintf(out, PATH_MAX, "%s", dirname(copy));
	return out;
}

/* Writes the sentence and sets errno; always -1, for `return fail(…)`. */
__attribute__((format(printf, 3, 4))) static int
fail(char why[static FILE_WHY_LEN], int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, FILE_WHY_LEN, fmt, ap);
	va_end(ap);
	errno = error;
	return -1;
}

static int
fail_errno(char why[static FILE_WHY_LEN], const char *path)
{
	int error = errno;

	return fail(why, error, "%s: %s", path, strerror(error));
}

int
file_hold_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDONLY);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

/* O_NONBLOCK: a FIFO in the place of a file must not hold us up. */
static int
open_regular(
    const char *path, int flags, struct stat *st, char why[static FILE_WHY_LEN])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags);

	if (fd < 0 && errno == ELOOP && (flags & O_NOFOLLOW) != 0)
		return fail(why, ELOOP,
		    "%s: a symbolic link; name the file itself", path);
	if (fd < 0)
		return fail_errno(why, path);
	if (fstat(fd, st) != 0) {
		fail_errno(why, path);
		close(fd);
		return -1;
	}
	if (!S_ISREG(st->st_mode)) {
		close(fd);
		return fail(why, EINVAL, "%s: not a regular file", path);
	}
	return fd;
}

/* Reads up to `cap` bytes, fewer only at the end of the file. */
static ssize_t
read_full(int fd, uint8_t *buf, size_t cap)
{
	size_t have = 0;

	while (have < cap) {
		ssize_t n = read(fd, buf + have, cap - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

/* Doubles *cap up to `most`; false when memory is out. */
static bool
grow(uint8_t **buf, size_t *cap, size_t most)
{
	size_t want = *cap == 0 ? FIRST_READ : *cap * 2;
	uint8_t *bigger;

	if (want > most)
		want = most;
	bigger = realloc(*buf, want + 1); /* the NUL past the end */
	if (bigger == NULL)
		return false;
	*buf = bigger;
	*cap = want;
	return true;
}

int
file_read(const char *path, size_t max, uint8_t **data, size_t *len,
    char why[static FILE_WHY_LEN])
{
	uint8_t *buf = NULL;
	size_t cap = 0, have = 0;
	struct stat st;
	int fd = open_regular(path, 0, &st, why);

	if (fd < 0)
		return -1;
	do { /* one byte over `max` tells a file that is too long */
		ssize_t n;

		if (!grow(&buf, &cap, max + 1) ||
		    (n = read_full(fd, buf + have, cap - have)) < 0) {
			fail_errno(why, path);
			goto fail;
		}
		have += (size_t)n;
	} while (have == cap && have <= max);
	if (have > max) {
		fail(why, EFBIG, "%s: longer than %zu bytes", path, max);
		goto fail;
	}
	close(fd);
	buf[have] = '\0';
	*data = buf;
	*len = have;
	return 0;
fail:
	close(fd);
	free(buf);
	return -1;
}

static int
check_private(
    const char *path, const struct stat *st, char why[static FILE_WHY_LEN])
{
	unsigned int mode = st->st_mode & 07777;

	if ((mode & 077) == 0)
		return 0;
	return fail(why, EACCES,
	    "%s: mode %04o lets others %s it; chmod 600 %s", path, mode,
	    (mode & 044) != 0 ? "read" : "reach", path);
}

int
file_read_secret(const char *path, uint8_t *buf, size_t cap, size_t *len,
    char why[static FILE_WHY_LEN])
{
	struct stat st;
	int fd = open_regular(path, O_NOFOLLOW, &st, why);
	uint8_t over;
	ssize_t n;

	if (fd < 0)
		return -1;
	if (check_private(path, &st, why) != 0) {
		close(fd);
		errno = EACCES;
		return -1;
	}
	n = read_full(fd, buf, cap);
	if (n < 0) {
		fail_errno(why, path);
	} else if (read_full(fd, &over, 1) != 0) {
		fail(why, EFBIG, "%s: longer than %zu bytes", path, cap);
		n = -1;
	}
	explicit_bzero(&over, sizeof over);
	close(fd);
	if (n < 0) {
		int error = errno;

		explicit_bzero(buf, cap);
		errno = error;
		return -1;
	}
	*len = (size_t)n;
	return 0;
}

/* The length of "dir/" in "dir/name"; 0 for a bare name. */
static size_t
dir_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

/*
 * A fresh file beside `path`, its name in `tmp`. The name is hidden and has
 * no suffix, so that nobody who lists the directory takes it for the result.
 */
static int
open_beside(const char *path, char tmp[static PATH_MAX])
{
	uint64_t salt;
	int n;

	if (getrandom(&salt, sizeof salt, 0) != (ssize_t)sizeof salt)
		return -1;
	n = snprintf(tmp, PATH_MAX, "%.*s.tmp-%016llx", (int)dir_len(path),
	    path, (unsigned long long)salt);
	if (n < 0 || n >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(
	    tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int
write_full(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A name is on disk only once its directory is. */
static void
sync_dir(const char *path)
{
	char dir[PATH_MAX];
	int fd;

	snprintf(dir, sizeof dir, "%.*s.", (int)dir_len(path), path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

/* The whole content under a temporary name, on disk. 0, or -1 with errno. */
static int
write_beside(const char *path, unsigned int mode, const void *data, size_t len,
    char tmp[static PATH_MAX])
{
	int fd = open_beside(path, tmp);
	int bad, error;

	if (fd < 0)
		return -1;
	/* fchmod, because the umask had its say in open(2) */
	bad = write_full(fd, data, len) != 0 || fchmod(fd, mode) != 0 ||
	    fsync(fd) != 0;
	error = errno;
	if (close(fd) != 0 && !bad) {
		bad = 1;
		error = errno;
	}
	if (bad) {
		unlink(tmp);
		errno = error;
		return -1;
	}
	return 0;
}

int
file_create_secret(const char *path, const void *data, size_t len,
    char why[static FILE_WHY_LEN])
{
	char tmp[PATH_MAX];
	int linked, error;

	if (write_beside(path, 0600, data, len, tmp) != 0)
		return fail_errno(why, path);
	linked = link(tmp, path);
	error = errno;
	unlink(tmp);
	if (linked != 0 && error == EEXIST)
		return fail(why, EEXIST,
		    "%s: exists already and is never overwritten", path);
	errno = error;
	if (linked != 0)
		return fail_errno(why, path);
	sync_dir(path);
	return 0;
}

int
file_replace(const char *path, unsigned int mode, const void *data, size_t len,
    char why[static FILE_WHY_LEN])
{
	char tmp[PATH_MAX];

	if (write_beside(path, mode, data, len, tmp) != 0)
		return fail_errno(why, path);
	if (rename(tmp, path) != 0) {
		fail_errno(why, path);
		unlink(tmp);
		return -1;
	}
	sync_dir(path);
	return 0;
}
