/*
 * One published object, many readers that never lock, and an old object that
 * is freed only when no reader can still use it: a hazard pointer for each
 * reader. One thread publishes.
 */
#ifndef ROUGHTIME_HAZARD_H
#define ROUGHTIME_HAZARD_H

#include <stddef.h>

struct hazard; /* opaque */

/* For readers 0…readers-1; `release` frees an object. NULL with errno. */
struct hazard *hazard_new(size_t readers, void (*release)(void *object));
/* Frees every object too: no reader uses any. */
void hazard_free(struct hazard *h);

/* Publisher: `object` is what readers get from now on; the one before it is
 * freed now or by a later call. -1 with errno ENOMEM: nothing was changed. */
int hazard_publish(struct hazard *h, void *object);
/* Publisher: frees what is no longer in use; returns how many still are. */
size_t hazard_reclaim(struct hazard *h);

/* Reader: the object to use until hazard_release; one at a time. NULL before
 * the first publish. Tries again only when one is published meanwhile. */
const void *hazard_acquire(struct hazard *h, size_t reader);
void hazard_release(struct hazard *h, size_t reader);

#endif
