/*
 * Where `roughtime-keys delegate` puts its bundles and which windows they
 * have: one file, or a directory of files named by their not-before times.
 */
#ifndef KEYS_QUEUE_H
#define KEYS_QUEUE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "keys/options.h"

struct queue {
	const struct options *o;
	bool in_dir; /* files in a directory, also when it is one file */
};

/* False after a log_error: no directory, or a name that is taken. */
bool queue_prepare(struct queue *q, const struct options *o);

/*
 * The n-th bundle (from 0) is the server's choice from `from + n * for` on,
 * for `for` seconds, and valid `overlap` before that.
 */
uint64_t queue_not_before(const struct queue *q, uint64_t n);
uint64_t queue_not_after(const struct queue *q, uint64_t n);

/* False after a log_error: the path is too long. */
bool queue_path(const struct queue *q, uint64_t n, char path[static PATH_MAX]);

/* Half a queue would look like a whole one: removes the first `n` files. */
void queue_take_back(const struct queue *q, uint64_t n);

/* Says so when anything is at `path` (a dangling symbolic link, too). */
bool queue_is_free(const char *path);

#endif
