/* Locked memory for secrets (sodium_malloc: guard pages, mlock, no dump). */
#ifndef KEYS_SECRET_H
#define KEYS_SECRET_H

#include <stddef.h>

/* sodium_init() once; -1 when it fails. Every program calls it first. */
int secret_init(void);

/* Memory that is locked, guarded and wiped by secret_free; NULL with errno.
 * What cannot be locked is told in the log, and used. Main thread only. */
void *secret_alloc(size_t len);
void secret_free(void *p);

#endif
