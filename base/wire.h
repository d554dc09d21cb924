/*
 * Bounded little-endian cursors with a sticky error: read, read, read, check
 * `bad` once. After an error every read gives zero and every write does
 * nothing, so the caller needs no check in between.
 */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/view.h"

struct wire_in {
	const uint8_t *at;
	const uint8_t *end;
	bool bad;
};

struct wire_out {
	uint8_t *at;
	uint8_t *end;
	bool bad;
};

static inline uint32_t
wire_get32(const uint8_t p[static 4])
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	    (uint32_t)p[3] << 24;
}

static inline uint64_t
wire_get64(const uint8_t p[static 8])
{
	return (uint64_t)wire_get32(p) | (uint64_t)wire_get32(p + 4) << 32;
}

static inline void
wire_put32(uint8_t p[static 4], uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static inline void
wire_put64(uint8_t p[static 8], uint64_t v)
{
	wire_put32(p, (uint32_t)v);
	wire_put32(p + 4, (uint32_t)(v >> 32));
}

static inline size_t
wire_in_left(const struct wire_in *w)
{
	return (size_t)(w->end - w->at);
}

/* Takes `len` bytes as a view; a short input gives {NULL, 0} and sets bad. */
static inline struct view
wire_in_view(struct wire_in *w, size_t len)
{
	struct view v = { 0 };

	if (w->bad || wire_in_left(w) < len) {
		w->bad = true;
		return v;
	}
	v.data = w->at;
	v.len = len;
	w->at += len;
	return v;
}

static inline uint32_t
wire_in_u32(struct wire_in *w)
{
	struct view v = wire_in_view(w, 4);

	return v.data != NULL ? wire_get32(v.data) : 0;
}

static inline uint64_t
wire_in_u64(struct wire_in *w)
{
	struct view v = wire_in_view(w, 8);

	return v.data != NULL ? wire_get64(v.data) : 0;
}

/* Reserves `len` bytes to be written by the caller; NULL when out of room. */
static inline uint8_t *
wire_out_reserve(struct wire_out *w, size_t len)
{
	uint8_t *p = w->at;

	if (w->bad || (size_t)(w->end - w->at) < len) {
		w->bad = true;
		return NULL;
	}
	w->at += len;
	return p;
}

static inline void
wire_out_bytes(struct wire_out *w, const void *src, size_t len)
{
	uint8_t *p = wire_out_reserve(w, len);

	if (p != NULL && len > 0)
		memcpy(p, src, len);
}

static inline void
wire_out_u32(struct wire_out *w, uint32_t v)
{
	uint8_t *p = wire_out_reserve(w, 4);

	if (p != NULL)
		wire_put32(p, v);
}

static inline void
wire_out_u64(struct wire_out *w, uint64_t v)
{
	uint8_t *p = wire_out_reserve(w, 8);

	if (p != NULL)
		wire_put64(p, v);
}

#endif
