#include "net/admission.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

/*
 * Open addressing with linear probes: at least twice as many slots as
 * connections, so a probe always ends at a free one.
 */
struct entry {
	uint8_t prefix[ADDR_KEY_LEN];
	size_t count; /* 0: free */
};

struct admission {
	pthread_mutex_t mutex;
	struct admission_config config;
	size_t open;
	size_t mask;
	uint8_t hash_key[crypto_shorthash_KEYBYTES]; /* no chosen collisions */
	struct entry *entries;
};

struct admission *
admission_new(const struct admission_config *c)
{
	struct admission *a = calloc(1, sizeof *a);
	size_t slots = 2;

	if (a == NULL)
		return NULL;
	while (slots < 2 * c->max_total)
		slots *= 2;
	a->entries = calloc(slots, sizeof *a->entries);
	if (a->entries == NULL) {
		free(a);
		return NULL;
	}
	a->mask = slots - 1;
	a->config = *c;
	randombytes_buf(a->hash_key, sizeof a->hash_key);
	pthread_mutex_init(&a->mutex, NULL);
	return a;
}

void
admission_free(struct admission *a)
{
	if (a == NULL)
		return;
	pthread_mutex_destroy(&a->mutex);
	free(a->entries);
	free(a);
}

static size_t
home(const struct admission *a, const uint8_t prefix[static ADDR_KEY_LEN])
{
	uint64_t h;

	crypto_shorthash((uint8_t *)&h, prefix, ADDR_KEY_LEN, a->hash_key);
	return h & a->mask;
}

/* The slot of this prefix, or the free one where it would go. */
static size_t
find(const struct admission *a, const uint8_t prefix[static ADDR_KEY_LEN])
{
	size_t i = home(a, prefix);

	while (a->entries[i].count > 0 &&
	    memcmp(a->entries[i].prefix, prefix, ADDR_KEY_LEN) != 0)
		i = (i + 1) & a->mask;
	return i;
}

/* Closes the gap at `hole`, so that no probe ends before its entry. */
static void
close_gap(struct admission *a, size_t hole)
{
	for (size_t i = (hole + 1) & a->mask; a->entries[i].count > 0;
	     i = (i + 1) & a->mask) {
		size_t from = home(a, a->entries[i].prefix);

		/* movable when its home is not within (hole, i] */
		if (((i - from) & a->mask) >= ((i - hole) & a->mask)) {
			a->entries[hole] = a->entries[i];
			a->entries[i].count = 0;
			hole = i;
		}
	}
}

static enum admission_result
enter(struct admission *a, const uint8_t prefix[static ADDR_KEY_LEN])
{
	struct entry *e;

	if (a->open >= a->config.max_total)
		return ADMISSION_FULL;
	e = &a->entries[find(a, prefix)];
	if (e->count >= a->config.max_per_client)
		return ADMISSION_CLIENT;
	memcpy(e->prefix, prefix, ADDR_KEY_LEN);
	e->count++;
	a->open++;
	return ADMISSION_OK;
}

enum admission_result
admission_enter(struct admission *a, const struct addr *client)
{
	uint8_t prefix[ADDR_KEY_LEN];
	enum admission_result result;

	addr_prefix_key(prefix, client, a->config.prefix4, a->config.prefix6);
	pthread_mutex_lock(&a->mutex);
	result = enter(a, prefix);
	pthread_mutex_unlock(&a->mutex);
	return result;
}

void
admission_leave(struct admission *a, const struct addr *client)
{
	uint8_t prefix[ADDR_KEY_LEN];
	size_t i;

	addr_prefix_key(prefix, client, a->config.prefix4, a->config.prefix6);
	pthread_mutex_lock(&a->mutex);
	i = find(a, prefix);
	if (a->entries[i].count > 0) {
		a->open--;
		if (--a->entries[i].count == 0)
			close_gap(a, i);
	}
	pthread_mutex_unlock(&a->mutex);
}

size_t
admission_open(struct admission *a)
{
	size_t open;

	pthread_mutex_lock(&a->mutex);
	open = a->open;
	pthread_mutex_unlock(&a->mutex);
	return open;
}
