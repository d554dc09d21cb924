#include "roughtime/hazard.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#define CACHE_LINE 64u

/* One line of cache a reader: what it uses now, or NULL. */
struct place {
	_Alignas(CACHE_LINE) _Atomic(const void *) uses;
};

struct held {
	void *object;
	struct held *next;
};

struct hazard {
	_Atomic(const void *) published;
	struct place *places;
	size_t readers;

	/* the publisher's */
	void (*release)(void *object);
	struct held *current;
	struct held *retired;
};

struct hazard *
hazard_new(size_t readers, void (*release)(void *object))
{
	struct hazard *h = calloc(1, sizeof *h);
	size_t len = (readers > 0 ? readers : 1) * sizeof *h->places;

	if (h == NULL)
		return NULL;
	h->places = aligned_alloc(CACHE_LINE, len);
	if (h->places == NULL) {
		free(h);
		return NULL;
	}
	h->readers = readers;
	h->release = release;
	for (size_t i = 0; i < readers; i++)
		atomic_init(&h->places[i].uses, NULL);
	return h;
}

static void
drop(struct hazard *h, struct held *held)
{
	h->release(held->object);
	free(held);
}

void
hazard_free(struct hazard *h)
{
	if (h == NULL)
		return;
	while (h->retired != NULL) {
		struct held *held = h->retired;

		h->retired = held->next;
		drop(h, held);
	}
	if (h->current != NULL)
		drop(h, h->current);
	free(h->places);
	free(h);
}

static bool
in_use(const struct hazard *h, const void *object)
{
	for (size_t i = 0; i < h->readers; i++)
		if (atomic_load(&h->places[i].uses) == object)
			return true;
	return false;
}

/* A reader that names an object after this look finds that it is no longer
 * the published one, and lets go of it before it uses it. */
size_t
hazard_reclaim(struct hazard *h)
{
	struct held **at = &h->retired;
	size_t kept = 0;

	while (*at != NULL) {
		struct held *held = *at;

		if (in_use(h, held->object)) {
			at = &held->next;
			kept++;
			continue;
		}
		*at = held->next;
		drop(h, held);
	}
	return kept;
}

int
hazard_publish(struct hazard *h, void *object)
{
	struct held *held = calloc(1, sizeof *held);

	if (held == NULL)
		return -1;
	held->object = object;
	atomic_store(&h->published, object);
	if (h->current != NULL) {
		h->current->next = h->retired;
		h->retired = h->current;
	}
	h->current = held;
	hazard_reclaim(h);
	return 0;
}

const void *
hazard_acquire(struct hazard *h, size_t reader)
{
	const void *object = atomic_load(&h->published);

	for (;;) {
		const void *again;

		/* all readers and the publisher see the store before the
		 * second load: sequentially consistent, both */
		atomic_store(&h->places[reader].uses, object);
		again = atomic_load(&h->published);
		if (again == object)
			return object;
		object = again;
	}
}

void
hazard_release(struct hazard *h, size_t reader)
{
	atomic_store_explicit(
	    &h->places[reader].uses, NULL, memory_order_release);
}
