#include "roughtime/bundlequeue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "keys/bundle.h"
#include "keys/secret.h"

#define MARGIN_S 60u

struct bundlequeue {
	char *identity; /* for log lines */
	char *directory;
	uint8_t public_key[CERT_PUBLIC_LEN];
	struct bundle *scratch; /* locked; zero between uses */
	struct bundlequeue_entry *entries; /* by name */
	size_t count;
	bool told_many;
};

struct bundlequeue *
bundlequeue_new(const char *identity, const char *directory,
    const uint8_t public_key[static CERT_PUBLIC_LEN])
{
	struct bundlequeue *q = calloc(1, sizeof *q);

	if (q == NULL)
		return NULL;
	memcpy(q->public_key, public_key, sizeof q->public_key);
	q->identity = strdup(identity);
	q->directory = strdup(directory);
	q->scratch = secret_alloc(sizeof *q->scratch);
	if (q->identity == NULL || q->directory == NULL || q->scratch == NULL) {
		bundlequeue_free(q);
		return NULL;
	}
	return q;
}

void
bundlequeue_free(struct bundlequeue *q)
{
	if (q == NULL)
		return;
	secret_free(q->scratch);
	free(q->entries);
	free(q->directory);
	free(q->identity);
	free(q);
}

/* Leaves the bundle in q->scratch for the caller to use and wipe. */
static int
load(struct bundlequeue *q, const char *name, struct delegation *d, char *why,
    size_t len)
{
	enum delegation_fault fault;
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/%s", q->directory, name);

	if (n < 0 || (size_t)n >= sizeof path) {
		snprintf(why, len, "%s: the path is too long", name);
		return -1;
	}
	if (bundle_load(q->scratch, path, why, len) != 0)
		return -1;
	if (memcmp(q->scratch->public_key, q->public_key, CERT_PUBLIC_LEN) !=
	    0) {
		snprintf(why, len,
		    "%s: is for another long-term key than the identity's",
		    path);
		return -1;
	}
	fault = delegation_from_bundle(d, q->scratch);
	if (fault != DELEGATION_OK) {
		snprintf(why, len, "%s: %s", path, delegation_fault_str(fault));
		return -1;
	}
	return 0;
}

static void
wipe(struct bundlequeue *q)
{
	sodium_memzero(q->scratch, sizeof *q->scratch);
}

static void
read_entry(struct bundlequeue *q, struct bundlequeue_entry *e)
{
	char why[FILE_WHY_LEN];
	struct delegation d;

	e->good = load(q, e->name, &d, why, sizeof why) == 0;
	wipe(q);
	if (e->good) {
		e->mint_s = d.mint_s;
		e->maxt_s = d.maxt_s;
	} else {
		log_warning(
		    "identity %s: bundle left out: %s", q->identity, why);
	}
}

bool
bundlequeue_same(
    const struct bundlequeue_entry *a, const struct bundlequeue_entry *b)
{
	return strcmp(a->name, b->name) == 0 && a->device == b->device &&
	    a->inode == b->inode && a->size == b->size &&
	    a->changed.tv_sec == b->changed.tv_sec &&
	    a->changed.tv_nsec == b->changed.tv_nsec;
}

static int
by_name(const void *a, const void *b)
{
	const struct bundlequeue_entry *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* Name and stamp of one file; false: a directory, or gone in the meantime. */
static bool
stamp(int dir, const char *name, struct bundlequeue_entry *e)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    S_ISDIR(st.st_mode))
		return false;
	memset(e, 0, sizeof *e);
	snprintf(e->name, sizeof e->name, "%s", name);
	e->device = st.st_dev;
	e->inode = st.st_ino;
	e->size = st.st_size;
	e->changed = st.st_ctim; /* moves with contents, mode and owner */
	return true;
}

/* Fills list[0…BUNDLEQUEUE_MAX); returns how many, sorted by name. */
static size_t
gather(struct bundlequeue *q, DIR *dir, struct bundlequeue_entry *list)
{
	const struct dirent *d;
	size_t n = 0, left_out = 0;

	while ((d = readdir(dir)) != NULL) {
		if (d->d_name[0] == '.') /* also what is being written */
			continue;
		if (n == BUNDLEQUEUE_MAX)
			left_out++;
		else if (stamp(dirfd(dir), d->d_name, &list[n]))
			n++;
	}
	if (left_out > 0 && !q->told_many)
		log_warning("identity %s: %s holds over %d bundles; %zu are "
			    "not looked at",
		    q->identity, q->directory, BUNDLEQUEUE_MAX, left_out);
	q->told_many = left_out > 0;
	qsort(list, n, sizeof *list, by_name);
	return n;
}

/* Takes over what the last scan knew of an unchanged file. */
static bool
known(const struct bundlequeue *q, struct bundlequeue_entry *e)
{
	const struct bundlequeue_entry *old = q->count == 0
	    ? NULL
	    : bsearch(e, q->entries, q->count, sizeof *e, by_name);

	if (old == NULL || !bundlequeue_same(old, e))
		return false;
	*e = *old;
	return true;
}

int
bundlequeue_scan(struct bundlequeue *q, char *why, size_t len)
{
	struct bundlequeue_entry *list;
	DIR *dir = opendir(q->directory);
	size_t n;
	int good = 0;

	list = dir == NULL ? NULL : calloc(BUNDLEQUEUE_MAX, sizeof *list);
	if (list == NULL) {
		snprintf(why, len, "%s: %s", q->directory, strerror(errno));
		if (dir != NULL)
			closedir(dir);
		return -1;
	}
	n = gather(q, dir, list);
	closedir(dir);
	for (size_t i = 0; i < n; i++) {
		if (!known(q, &list[i]))
			read_entry(q, &list[i]);
		good += list[i].good;
	}
	free(q->entries);
	q->entries = list;
	q->count = n;
	return good;
}

/* Does the window hold now, `margin` seconds from both ends? */
static bool
holds(const struct bundlequeue_entry *e, uint64_t now_s, uint64_t margin)
{
	return e->good && now_s >= margin && e->mint_s <= now_s - margin &&
	    now_s <= UINT64_MAX - margin && now_s + margin <= e->maxt_s;
}

static const struct bundlequeue_entry *
latest(const struct bundlequeue *q, uint64_t now_s, uint64_t margin)
{
	const struct bundlequeue_entry *best = NULL;

	for (size_t i = 0; i < q->count; i++) {
		const struct bundlequeue_entry *e = &q->entries[i];

		if (!holds(e, now_s, margin))
			continue;
		if (best == NULL || e->mint_s > best->mint_s ||
		    (e->mint_s == best->mint_s && e->maxt_s > best->maxt_s))
			best = e;
	}
	return best;
}

const struct bundlequeue_entry *
bundlequeue_choose(const struct bundlequeue *q, uint64_t now_s)
{
	const struct bundlequeue_entry *e = latest(q, now_s, MARGIN_S);

	return e != NULL ? e : latest(q, now_s, 0);
}

/* Windows are few: each pass lengthens the run or is the last. */
uint64_t
bundlequeue_end(const struct bundlequeue *q, uint64_t now_s, uint64_t *next_s)
{
	uint64_t end = now_s;
	bool longer = true;

	while (longer) {
		longer = false;
		*next_s = 0;
		for (size_t i = 0; i < q->count; i++) {
			const struct bundlequeue_entry *e = &q->entries[i];

			if (!e->good || e->maxt_s <= end)
				continue;
			if (e->mint_s <= end) {
				end = e->maxt_s;
				longer = true;
			} else if (*next_s == 0 || e->mint_s < *next_s) {
				*next_s = e->mint_s;
			}
		}
	}
	return end;
}

int
bundlequeue_take(struct bundlequeue *q, const struct bundlequeue_entry *e,
    struct response_key *key, char *why, size_t len)
{
	uint8_t public[CERT_PUBLIC_LEN];
	size_t at = (size_t)(e - q->entries);
	struct delegation d;
	int r = load(q, e->name, &d, why, len);

	if (r == 0 && (d.mint_s != e->mint_s || d.maxt_s != e->maxt_s)) {
		snprintf(
		    why, len, "%s/%s: has just changed", q->directory, e->name);
		r = -1;
	}
	if (r == 0) {
		crypto_sign_seed_keypair(
		    public, key->online_secret, q->scratch->online_seed);
		key->delegation = d;
		key->usable = true;
	} else {
		q->entries[at].good = false;
		q->entries[at].inode = 0; /* the next scan reads it anew */
	}
	wipe(q);
	return r;
}
