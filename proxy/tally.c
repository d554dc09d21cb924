#include "proxy/tally.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64

const struct histogram_scale tally_scale = { 4, TALLY_BUCKETS };

/* Workers must not share a cache line. */
struct sheet {
	alignas(CACHE_LINE) struct tally tally;
};

struct tally_book {
	atomic_size_t holders;
	size_t workers;
	struct sheet *sheets;
};

#define TALLY_TEXT(constant, name) name,
static const char *const names[] = { TALLY_NAMED(TALLY_TEXT) };

const char *
tally_key_str(enum tally_key key)
{
	return key < TALLY_KEYS ? names[key] : "unknown";
}

struct tally_book *
tally_book_new(size_t workers)
{
	struct tally_book *b = calloc(1, sizeof *b);

	if (b == NULL)
		return NULL;
	b->sheets = aligned_alloc(CACHE_LINE, workers * sizeof *b->sheets);
	if (b->sheets == NULL) {
		free(b);
		return NULL;
	}
	memset(b->sheets, 0, workers * sizeof *b->sheets);
	b->workers = workers;
	atomic_store(&b->holders, 1);
	return b;
}

struct tally_book *
tally_book_hold(struct tally_book *b)
{
	atomic_fetch_add(&b->holders, 1);
	return b;
}

void
tally_book_release(struct tally_book *b)
{
	if (b == NULL || atomic_fetch_sub(&b->holders, 1) != 1)
		return;
	free(b->sheets);
	free(b);
}

struct tally *
tally_book_sheet(struct tally_book *b, size_t worker)
{
	return &b->sheets[worker].tally;
}

void
tally_end(struct tally *t, enum status status)
{
	tally_add(t, TALLY_ENDED, 1);
	tally_raise(&t->ended_by[status_index(status)], 1);
}

void
tally_duration(struct tally *t, uint64_t duration_us)
{
	tally_raise(
	    &t->duration[histogram_bucket(&tally_scale, duration_us)], 1);
	tally_raise(&t->duration_sum_us, duration_us);
	if (duration_us >
	    atomic_load_explicit(&t->duration_max_us, memory_order_relaxed))
		atomic_store_explicit(
		    &t->duration_max_us, duration_us, memory_order_relaxed);
}

void
tally_connect_failed(struct tally *t, enum status status)
{
	tally_raise(&t->connect_failed[status_index(status)], 1);
}

static void
add_up(uint64_t *to, const _Atomic uint64_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] += atomic_load_explicit(&from[i], memory_order_relaxed);
}

void
tally_sum(struct tally_sums *out, struct tally_book *b)
{
	memset(out, 0, sizeof *out);
	for (size_t i = 0; i < b->workers; i++) {
		struct tally *t = &b->sheets[i].tally;
		uint64_t max;

		add_up(out->count, t->count, TALLY_KEYS);
		add_up(out->ended_by, t->ended_by, STATUS_KINDS);
		add_up(out->connect_failed, t->connect_failed, STATUS_KINDS);
		add_up(out->duration, t->duration, TALLY_BUCKETS);
		add_up(&out->duration_sum_us, &t->duration_sum_us, 1);
		max = atomic_load_explicit(
		    &t->duration_max_us, memory_order_relaxed);
		if (max > out->duration_max_us)
			out->duration_max_us = max;
	}
	for (size_t i = 0; i < TALLY_BUCKETS; i++)
		out->durations += out->duration[i];
}
