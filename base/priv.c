#include "base/priv.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

/* Says what failed; errno survives the line. */
static int
fail(const char *what)
{
	int saved = errno;

	log_error("cannot drop rights: %s: %s", what, strerror(saved));
	errno = saved;
	return -1;
}

/* Dropping to root would drop nothing, so that is refused too. */
static int
find_user(const char *user, uid_t *uid, gid_t *gid)
{
	const struct passwd *pw;

	errno = 0;
	pw = getpwnam(user);
	if (pw == NULL) {
		log_error("cannot drop rights: there is no user \"%s\"%s%s",
		    user, errno != 0 ? ": " : "",
		    errno != 0 ? strerror(errno) : "");
		errno = ENOENT;
		return -1;
	}
	if (pw->pw_uid == 0) {
		log_error(
		    "cannot drop rights: user \"%s\" is root itself", user);
		errno = EINVAL;
		return -1;
	}
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

int
priv_becomes(const char *user, uid_t *uid, gid_t *gid)
{
	*uid = geteuid();
	*gid = getegid();
	return *uid == 0 && user != NULL ? find_user(user, uid, gid) : 0;
}

/* All three ids, and the proof that there is no way back. */
static int
change_user(const char *user, bool keep_caps)
{
	uid_t uid, r, e, s;
	gid_t gid;

	if (find_user(user, &uid, &gid) < 0)
		return -1;
	if (setgroups(0, NULL) < 0)
		return fail("setgroups");
	if (setresgid(gid, gid, gid) < 0)
		return fail("setresgid");
	if (keep_caps && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return fail("PR_SET_KEEPCAPS");
	if (setresuid(uid, uid, uid) < 0)
		return fail("setresuid");
	if (getresuid(&r, &e, &s) < 0 || r != uid || e != uid || s != uid) {
		errno = EPERM;
		return fail("the user did not change");
	}
	return 0;
}

/* Needs CAP_SETPCAP; without it no_new_privs alone must do. */
static void
empty_bounding_set(void)
{
	for (cap_value_t c = 0; c < cap_max_bits(); c++)
		if (cap_drop_bound(c) < 0)
			break;
}

/* The wanted ones among those that the process may have. */
static int
choose_caps(cap_t all, const int *caps, size_t n, cap_t result)
{
	cap_flag_value_t has;

	for (size_t i = 0; i < n; i++) {
		cap_value_t c = caps[i];

		if (cap_get_flag(all, c, CAP_PERMITTED, &has) < 0)
			return -1;
		if (has != CAP_SET)
			continue;
		if (cap_set_flag(result, CAP_PERMITTED, 1, &c, CAP_SET) < 0 ||
		    cap_set_flag(result, CAP_EFFECTIVE, 1, &c, CAP_SET) < 0)
			return -1;
	}
	return 0;
}

static int
set_caps(const int *caps, size_t n)
{
	cap_t now = cap_get_proc(), then = cap_init();
	int result = -1;

	if (now != NULL && then != NULL && choose_caps(now, caps, n, then) == 0)
		result = cap_set_proc(then);
	if (now != NULL)
		cap_free(now);
	if (then != NULL)
		cap_free(then);
	return result;
}

int
priv_drop_keep(const char *user, const int *caps, size_t n)
{
	bool root = geteuid() == 0;

	if (root && user == NULL)
		log_warning("no user to drop to: stays root, without "
			    "capabilities");
	if (root)
		empty_bounding_set();
	if (root && user != NULL && change_user(user, n > 0) < 0)
		return -1;
	if (cap_reset_ambient() < 0)
		return fail("ambient capabilities");
	if (set_caps(caps, n) < 0)
		return fail("capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail("PR_SET_NO_NEW_PRIVS");
	/* Last: every change of credentials sets it anew. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return fail("PR_SET_DUMPABLE");
	return 0;
}

int
priv_drop(const char *user)
{
	return priv_drop_keep(user, NULL, 0);
}

int
priv_child(void)
{
	const struct rlimit none = { 0, 0 };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -1;
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -1;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
