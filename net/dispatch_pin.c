/* Rules that outlive their process, in a bpffs. */
#include "net/dispatch.h"

#ifndef HAVE_DISPATCH

struct dispatch *
dispatch_open_pinned(const char *path, char why[static DISPATCH_WHY_LEN])
{
	(void)path;
	return dispatch_open(why);
}

#else

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/dispatch_inner.h"

#define PIN_RULES "rules"
#define PIN_SOCKETS "sockets"
#define PIN_LINK "link"

static const char *
pin_path(char buf[static PATH_MAX], const char *path, const char *name)
{
	snprintf(buf, PATH_MAX, "%s/%s", path, name);
	return buf;
}

static void
unpin(const char *path)
{
	static const char *const names[] = { PIN_LINK, PIN_RULES, PIN_SOCKETS };
	char buf[PATH_MAX];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		(void)unlink(pin_path(buf, path, names[i]));
}

static int
pin(struct dispatch *d, const char *path, char why[static DISPATCH_WHY_LEN])
{
	char buf[PATH_MAX];
	int result = 0;

	if ((mkdir(path, 0700) != 0 && errno != EEXIST) ||
	    bpf_obj_pin(d->rules, pin_path(buf, path, PIN_RULES)) != 0 ||
	    bpf_obj_pin(d->sockets, pin_path(buf, path, PIN_SOCKETS)) != 0)
		result = -errno;
	else
		result = bpf_link__pin(d->link, pin_path(buf, path, PIN_LINK));
	if (result == 0)
		return 0;
	snprintf(why, DISPATCH_WHY_LEN, "pinning at %s: %s%s", path,
	    strerror(-result),
	    result == -EPERM || result == -EINVAL || result == -ENOENT
		? " (it takes a bpffs: mount -t bpf bpf /sys/fs/bpf)"
		: "");
	unpin(path);
	return -1;
}

/* A socket leaves the map when its process has closed it. */
static bool
has_owner(const struct dispatch *d)
{
	const struct dispatch_bank *b = &d->table->bank[d->table->active & 1];
	uint64_t cookie;

	for (uint32_t i = 0; i < b->entries && i < DISPATCH_ENTRIES; i++) {
		uint32_t slot = b->entry[i].slot;

		if (b->entry[i].sockets > 0 &&
		    bpf_map_lookup_elem(d->sockets, &slot, &cookie) == 0)
			return true;
	}
	return false;
}

/* The network namespace that a pinned program is attached to: 1 ours, 0 one
 * that is gone, -1 another. */
static int
is_here(const struct dispatch *d, int link)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof info;
	struct stat here;

	if (bpf_obj_get_info_by_fd(link, &info, &len) != 0 ||
	    fstat(d->netns, &here) != 0)
		return -1;
	if (info.netns.netns_ino == 0)
		return 0;
	return info.netns.netns_ino == (uint32_t)here.st_ino ? 1 : -1;
}

/* What stands there is of an earlier process: it becomes ours. */
static int
take_over(
    struct dispatch *d, const char *path, char why[static DISPATCH_WHY_LEN])
{
	char buf[PATH_MAX];

	d->rules = bpf_obj_get(pin_path(buf, path, PIN_RULES));
	d->sockets = bpf_obj_get(pin_path(buf, path, PIN_SOCKETS));
	if (d->rules < 0 || d->sockets < 0)
		return dispatch_fault(why, "what is pinned there", errno);
	if (!dispatch_is_table(d->rules) || dispatch_share_table(d, why) != 0 ||
	    d->table->magic != DISPATCH_MAGIC) {
		snprintf(why, DISPATCH_WHY_LEN,
		    "%s is another version's: rm -r it", path);
		return -1;
	}
	if (has_owner(d)) {
		snprintf(why, DISPATCH_WHY_LEN,
		    "%s belongs to pid %u, which "
		    "runs",
		    path, d->table->pid);
		return -1;
	}
	d->table->pid = (uint32_t)getpid();
	return 0;
}

static int
begin_pinned(
    struct dispatch *d, const char *path, char why[static DISPATCH_WHY_LEN])
{
	char buf[PATH_MAX];
	int link = bpf_obj_get(pin_path(buf, path, PIN_LINK)), here = 0;

	if (link >= 0) {
		here = is_here(d, link);
		close(link);
	}
	if (here < 0) {
		snprintf(why, DISPATCH_WHY_LEN,
		    "%s is of another network namespace", path);
		return -1;
	}
	if (here > 0)
		return take_over(d, path, why);
	unpin(path);
	return dispatch_begin(d, why) == 0 ? pin(d, path, why) : -1;
}

struct dispatch *
dispatch_open_pinned(const char *path, char why[static DISPATCH_WHY_LEN])
{
	struct dispatch *d = dispatch_new(why);

	if (d != NULL && begin_pinned(d, path, why) == 0) {
		dispatch_fail_closed(d);
		return d;
	}
	dispatch_close(d);
	return NULL;
}

#endif
