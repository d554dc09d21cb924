/*
 * The compression function of SHA-512 on five messages at once: one 64-bit
 * word of four of them in a vector register of AVX2, the fifth in a general
 * register, since the integer half of the core has little else to do: on Zen 3
 * a round takes 10.3 cycles without the fifth lane and 10.5 with it.
 * Internal to hash_avx2.c; call only when the CPU has AVX2 and BMI2.
 */
#ifndef ROUGHTIME_HASH_LANES_H
#define ROUGHTIME_HASH_LANES_H

#include <stdint.h>

#define LANES 5
#define VECTOR_LANES 4
#define LAST_LANE 4 /* the one in general registers */
#define LANES_ROUNDS 80
#define LANES_WORDS 16 /* of 64 bits in a block */

#define LANES_TARGET __attribute__((target("avx2,bmi2")))

typedef uint64_t v4 __attribute__((vector_size(32)));

/* The chaining values. */
struct lanes_state {
	v4 v[8];
	uint64_t s[8];
};

/* FIPS 180-4's W[t]: the block in the first 16, the rest is working space. */
struct lanes_words {
	v4 v[LANES_ROUNDS];
	uint64_t s[LANES_ROUNDS];
};

/* W[t] + K[t], eight of both kinds together: one pointer walks through. */
struct lanes_schedule {
	struct {
		v4 v[8];
		uint64_t s[8];
	} by8[LANES_ROUNDS / 8];
};

void lanes_init(struct lanes_state *st);
/* Extends the 16 words in `w` and adds the constants. */
void lanes_schedule(struct lanes_schedule *out, struct lanes_words *w);
/* The same for a block of zeros: the constants alone. */
void lanes_schedule_zero(struct lanes_schedule *out);
void lanes_compress(struct lanes_state *st, const struct lanes_schedule *w);

#endif
