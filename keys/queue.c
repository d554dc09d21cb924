#include "keys/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static bool
is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool
ends_in_slash(const char *path)
{
	size_t len = strlen(path);

	return len > 0 && path[len - 1] == '/';
}

bool
queue_is_free(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		log_error("%s: exists already and is never overwritten", path);
	else if (errno != ENOENT)
		log_error("%s: %s", path, strerror(errno));
	else
		return true;
	return false;
}

uint64_t
queue_not_before(const struct queue *q, uint64_t n)
{
	return q->o->from_s + n * q->o->for_s - q->o->overlap_s;
}

uint64_t
queue_not_after(const struct queue *q, uint64_t n)
{
	return q->o->from_s + (n + 1) * q->o->for_s;
}

/* 20261123T020000Z: no colons, they are trouble in paths. */
static void
compact_time(char time[static CLOCK_RFC3339_LEN], uint64_t unix_s)
{
	char *to = time;

	clock_rfc3339(time, unix_s);
	for (const char *from = time; *from != '\0'; from++) {
		if (*from != '-' && *from != ':')
			*to++ = *from;
	}
	*to = '\0';
}

bool
queue_path(const struct queue *q, uint64_t n, char path[static PATH_MAX])
{
	const char *output = q->o->output;
	char time[CLOCK_RFC3339_LEN];
	int len;

	compact_time(time, queue_not_before(q, n));
	if (q->in_dir)
		len = snprintf(path, PATH_MAX, "%s%sdelegation-%s.bundle",
		    output, ends_in_slash(output) ? "" : "/", time);
	else
		len = snprintf(path, PATH_MAX, "%s", output);
	if (len >= 0 && len < PATH_MAX)
		return true;
	log_error("%s: %s", output, strerror(ENAMETOOLONG));
	return false;
}

bool
queue_prepare(struct queue *q, const struct options *o)
{
	char path[PATH_MAX];

	q->o = o;
	q->in_dir =
	    o->count > 1 || ends_in_slash(o->output) || is_dir(o->output);
	if (q->in_dir && mkdir(o->output, 0700) != 0 && !is_dir(o->output)) {
		log_error("%s: %s", o->output,
		    errno == EEXIST ? "not a directory" : strerror(errno));
		return false;
	}
	for (uint64_t n = 0; n < o->count; n++) {
		if (!queue_path(q, n, path) || !queue_is_free(path))
			return false;
	}
	return true;
}

void
queue_take_back(const struct queue *q, uint64_t n)
{
	char path[PATH_MAX];

	while (n-- > 0) {
		if (queue_path(q, n, path))
			unlink(path);
	}
}
