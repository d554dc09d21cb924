/*
 * The delegations of one identity whose long-term key is elsewhere: a
 * directory of signed bundles (any name, mode 0600), used one after the other. What the directory holds is what counts: a new file is used when its
 * time comes, one that is taken away is used no more. Only the bundle in use
 * has its online key in memory.
 */
#ifndef ROUGHTIME_BUNDLEQUEUE_H
#define ROUGHTIME_BUNDLEQUEUE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "roughtime/response.h"

#define BUNDLEQUEUE_MAX 1024 /* files looked at */

struct bundlequeue_entry {
	char name[NAME_MAX + 1];
	bool good; /* false: was named in the log, is left alone */
	uint64_t mint_s, maxt_s;
	/* the file as it was read; a change of any means: read it again */
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};

struct bundlequeue; /* opaque */

/* Does not touch the directory yet. NULL: out of memory. */
struct bundlequeue *bundlequeue_new(const char *identity, const char *directory,
    const uint8_t public_key[static CERT_PUBLIC_LEN]);
void bundlequeue_free(struct bundlequeue *q);

/*
 * Looks at the directory; reads files that are new or changed and checks every
 * certificate in them; names a broken one once (log_warning). Returns the
 * number of good ones, or -1 with the reason in `why`: then the queue is as it
 * was.
 */
int bundlequeue_scan(struct bundlequeue *q, char *why, size_t len);

/*
 * The bundle for `now_s`: of those whose window holds it the one that began
 * last, if it can be a minute from either end, so that a small step of the
 * clock leaves it valid. NULL: none.
 */
const struct bundlequeue_entry *
bundlequeue_choose(const struct bundlequeue *q, uint64_t now_s);

/* Where the unbroken run of windows that holds now_s ends (now_s when none
 * does), and when the first one after it begins (0: there is none). */
uint64_t
bundlequeue_end(const struct bundlequeue *q, uint64_t now_s, uint64_t *next_s);

/*
 * Reads the chosen bundle's delegation and online key into `key` (locked
 * memory). -1 with a sentence in why: it changed or went since the scan; it is
 * not chosen again until a scan finds it good.
 */
int bundlequeue_take(struct bundlequeue *q, const struct bundlequeue_entry *e,
    struct response_key *key, char *why, size_t len);

/* Both name the same bytes on disk. */
bool bundlequeue_same(
    const struct bundlequeue_entry *a, const struct bundlequeue_entry *b);

#endif
