#include "base/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

/*
 * The kernel's interface as numbers, because headers are older than kernels:
 * landlock(7) and its versions (ABI).
 */
#define FS_ABI1 ((1ull << 13) - 1)
#define FS_REFER (1ull << 13) /* ABI 2 */
#define FS_TRUNCATE (1ull << 14) /* ABI 3 */
#define FS_IOCTL_DEV (1ull << 15) /* ABI 5 */
#define NET_CONNECT_TCP (1ull << 1) /* ABI 4 */

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE                                                          \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |  \
	    FS_TRUNCATE)
/* What makes sense for a path that is no directory; else EINVAL. */
#define FS_OF_FILE                                                      \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
	    FS_TRUNCATE)

struct ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
};

static int
get_abi(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
}

static struct ruleset_attr
handled_by(int abi, enum priv_net net)
{
	struct ruleset_attr attr = { .handled_access_fs = FS_ABI1 };

	if (abi >= 2)
		attr.handled_access_fs |= FS_REFER;
	if (abi >= 3)
		attr.handled_access_fs |= FS_TRUNCATE;
	if (abi >= 4 && net == PRIV_NO_CONNECT)
		attr.handled_access_net = NET_CONNECT_TCP;
	if (abi >= 5)
		attr.handled_access_fs |= FS_IOCTL_DEV;
	return attr;
}

static int
allow_fd(int ruleset, int fd, const struct priv_path *p, uint64_t handled)
{
	struct landlock_path_beneath_attr rule = { .parent_fd = fd };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	rule.allowed_access = FS_READ | (p->write ? FS_WRITE : 0);
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= FS_OF_FILE;
	rule.allowed_access &= handled;
	return (int)syscall(SYS_landlock_add_rule, ruleset,
	    LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

/* A path that is not there, or out of our reach anyhow, needs no rule. */
static int
allow(int ruleset, const struct priv_path *p, uint64_t handled)
{
	int fd = open(p->path, O_PATH | O_CLOEXEC), saved = errno, result;

	if (fd < 0) {
		log_debug(
		    "landlock: %s left out: %s", p->path, strerror(saved));
		errno = saved;
		return saved == ENOENT || saved == ENOTDIR || saved == EACCES
		    ? 0
		    : -1;
	}
	result = allow_fd(ruleset, fd, p, handled);
	saved = errno;
	close(fd);
	errno = saved;
	return result;
}

static int
fill_and_enforce(
    int ruleset, const struct priv_path *paths, size_t n, uint64_t handled)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	/* The leak checker reads /proc/self at exit. */
	const struct priv_path proc = { "/proc", false };

	if (allow(ruleset, &proc, handled) < 0)
		return -1;
#endif
	for (size_t i = 0; i < n; i++)
		if (allow(ruleset, &paths[i], handled) < 0)
			return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}

int
priv_landlock(const struct priv_path *paths, size_t n, enum priv_net net)
{
	int abi = get_abi(), ruleset, result, saved;
	struct ruleset_attr attr;

	if (abi < 1)
		return 1; /* ENOSYS: not built in; EOPNOTSUPP: not enabled */
	attr = handled_by(abi, net);
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr,
	    abi >= 4 ? sizeof attr : sizeof attr.handled_access_fs, 0);
	if (ruleset < 0)
		return -1;
	result = fill_and_enforce(ruleset, paths, n, attr.handled_access_fs);
	saved = errno;
	close(ruleset);
	errno = saved;
	return result < 0 ? -1 : 0;
}
