/* Bytes that a receiver can check wherever it looks. Pure, header only. */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* A prime: no buffer size divides it, so what is lost or doubled shows. */
#define PATTERN_PERIOD 65521u

/* Byte i of the endless pattern is byte i % PATTERN_PERIOD of it. */
static inline void
pattern_fill(uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint32_t x = (uint32_t)(i % PATTERN_PERIOD) * 2654435761u;

		out[i] = (uint8_t)(x >> 24);
	}
}

#endif
