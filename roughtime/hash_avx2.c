/*
 * Messages to blocks for the five lanes of hash_lanes.h. Three facts make it
 * faster than a library:
 *
 * - All messages of a call have one length, so no lane ever waits.
 * - A request is mostly zero padding, and the schedule of a zero block is
 *   zero: W + K is K, and a third of the work falls away.
 * - The last block of a padded request is zero but for the padding of FIPS
 *   180-4, so its schedule follows from the length, once for a whole call.
 *
 * No byte outside a message is read: block 0 is put together from loads that
 * start at byte 0, and the tail is copied before it is padded.
 */
#include "roughtime/hash_backend.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "roughtime/hash_lanes.h"

#define BLOCK 128
#define NODE_BITS (8 * (1 + 2 * HASH_LEN))
#define PAD_MIN 17 /* the byte 0x80 and a 128-bit length */

#define AVX2 LANES_TARGET
#define AVX2_INLINE static inline LANES_TARGET __attribute__((always_inline))

AVX2_INLINE v4
load(const uint8_t *p)
{
	return (v4)_mm256_loadu_si256((const __m256i *)(const void *)p);
}

AVX2_INLINE v4
swap_bytes(v4 x)
{
	const __m256i reverse = _mm256_set_epi64x(0x08090a0b0c0d0e0f,
	    0x0001020304050607, 0x08090a0b0c0d0e0f, 0x0001020304050607);

	return (v4)_mm256_shuffle_epi8((__m256i)x, reverse);
}

static inline uint64_t
get_be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return __builtin_bswap64(v);
}

static inline void
put_be64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof v);
}

/* Four rows become four columns. */
AVX2_INLINE void
transpose(v4 out[static 4], v4 r0, v4 r1, v4 r2, v4 r3)
{
	const __m256i a = _mm256_unpacklo_epi64((__m256i)r0, (__m256i)r1);
	const __m256i b = _mm256_unpackhi_epi64((__m256i)r0, (__m256i)r1);
	const __m256i c = _mm256_unpacklo_epi64((__m256i)r2, (__m256i)r3);
	const __m256i d = _mm256_unpackhi_epi64((__m256i)r2, (__m256i)r3);

	out[0] = (v4)_mm256_permute2x128_si256(a, c, 0x20);
	out[1] = (v4)_mm256_permute2x128_si256(b, d, 0x20);
	out[2] = (v4)_mm256_permute2x128_si256(a, c, 0x31);
	out[3] = (v4)_mm256_permute2x128_si256(b, d, 0x31);
}

/* Only the first half of each digest: that is H(x) of RFC 10049. */
AVX2_INLINE void
state_store(const struct lanes_state *st, uint8_t (*out)[HASH_LEN])
{
	v4 rows[VECTOR_LANES];

	transpose(rows, st->v[0], st->v[1], st->v[2], st->v[3]);
	for (int i = 0; i < VECTOR_LANES; i++)
		_mm256_storeu_si256(
		    (__m256i *)(void *)out[i], (__m256i)swap_bytes(rows[i]));
	for (int i = 0; i < 4; i++)
		put_be64(out[LAST_LANE] + 8 * i, st->s[i]);
}

/* Four words of each lane, from byte `at` of its message, into words i…i+3. */
AVX2_INLINE void
load_words(struct lanes_words *w, size_t i,
    const uint8_t *const m[static LANES], size_t at)
{
	transpose(w->v + i, swap_bytes(load(m[0] + at)),
	    swap_bytes(load(m[1] + at)), swap_bytes(load(m[2] + at)),
	    swap_bytes(load(m[3] + at)));
	for (size_t j = 0; j < 4; j++)
		w->s[i + j] = get_be64(m[LAST_LANE] + at + 8 * j);
}

/* The prefix and the first 31 bytes of a message; reads 32. */
AVX2_INLINE v4
load_prefixed(const uint8_t *m, uint8_t prefix)
{
	const __m256i v = (__m256i)load(m);
	const __m256i low_up = _mm256_permute2x128_si256(v, v, 0x08);
	const v4 first = { prefix, 0, 0, 0 };

	return swap_bytes((v4)_mm256_alignr_epi8(v, low_up, 15) | first);
}

/* As load_words at byte -1 into words 0–3, with the prefix in that byte. */
AVX2_INLINE void
load_first_words(
    struct lanes_words *w, const uint8_t *const m[static LANES], uint8_t prefix)
{
	transpose(w->v, load_prefixed(m[0], prefix),
	    load_prefixed(m[1], prefix), load_prefixed(m[2], prefix),
	    load_prefixed(m[3], prefix));
	w->s[0] = get_be64(m[LAST_LANE]) >> 8 | (uint64_t)prefix << 56;
	for (size_t j = 1; j < 4; j++)
		w->s[j] = get_be64(m[LAST_LANE] + 8 * j - 1);
}

/* Whether bytes [at, at + len) are zero in all lanes; len a multiple of 32. */
AVX2_INLINE bool
all_zero(const uint8_t *const m[static LANES], size_t at, size_t len)
{
	v4 any = { 0 };

	for (size_t i = at; i < at + len; i += 32)
		for (size_t j = 0; j < LANES; j++)
			any |= load(m[j] + i);
	return _mm256_testz_si256((__m256i)any, (__m256i)any) != 0;
}

/* What the messages of one call have in common. */
struct plan {
	struct lanes_schedule zero; /* of a zero block */
	struct lanes_schedule
	    tail[2]; /* of a tail without a message byte but 0 */
	bool have_tail;
	uint8_t prefix;
	size_t len; /* bytes of a message, without the prefix */
	size_t full; /* blocks of 128 bytes before the tail */
	size_t rest; /* bytes of prefix and message in the tail, 0–127 */
	size_t tails; /* blocks in the tail: 1, or 2 when padding needs it */
};

static void
plan_make(struct plan *p, uint8_t prefix, size_t len)
{
	p->prefix = prefix;
	p->len = len;
	p->full = (1 + len) / BLOCK;
	p->rest = (1 + len) % BLOCK;
	p->tails = p->rest + PAD_MIN > BLOCK ? 2 : 1;
	p->have_tail = false;
	if (p->full > 1)
		lanes_schedule_zero(&p->zero);
}

/* FIPS 180-4 section 5.1.2: what stands behind the `rest` bytes. */
static void
tail_pad(const struct plan *p, uint8_t tail[static 2 * BLOCK])
{
	memset(tail + p->rest, 0, 2 * BLOCK - p->rest);
	tail[p->rest] = 0x80;
	put_be64(tail + p->tails * BLOCK - 8, 8 * (uint64_t)(1 + p->len));
}

AVX2 static void
tail_schedule(const struct plan *p, struct lanes_schedule out[static 2],
    const uint8_t *const tail[static LANES])
{
	struct lanes_words w;

	for (size_t i = 0; i < p->tails; i++) {
		for (size_t q = 0; q < LANES_WORDS; q += 4)
			load_words(&w, q, tail, i * BLOCK + 8 * q);
		lanes_schedule(&out[i], &w);
	}
}

/* Messages of more than a block that end in zeros share one schedule. */
AVX2 static const struct lanes_schedule *
tail_constant(struct plan *p, const uint8_t *const m[static LANES])
{
	/* Rounded up it looks at bytes of the block before: only stricter. */
	const size_t span = (p->rest + 31) / 32 * 32;

	if (p->full == 0 || !all_zero(m, p->len - span, span))
		return NULL;
	if (!p->have_tail) {
		uint8_t pad[2 * BLOCK] = { 0 };
		const uint8_t *const lanes[LANES] = { pad, pad, pad, pad, pad };

		tail_pad(p, pad);
		tail_schedule(p, p->tail, lanes);
		p->have_tail = true;
	}
	return p->tail;
}

AVX2 static const struct lanes_schedule *
tail_general(const struct plan *p, struct lanes_schedule made[static 2],
    const uint8_t *const m[static LANES])
{
	uint8_t tail[LANES][2 * BLOCK];
	const uint8_t *lanes[LANES];

	for (size_t i = 0; i < LANES; i++) {
		if (p->full > 0) {
			memcpy(tail[i], m[i] + p->len - p->rest, p->rest);
		} else {
			tail[i][0] = p->prefix;
			memcpy(tail[i] + 1, m[i], p->len);
		}
		tail_pad(p, tail[i]);
		lanes[i] = tail[i];
	}
	tail_schedule(p, made, lanes);
	return made;
}

/* Block k of `full`: it begins at byte 128k - 1, where block 0 has the prefix. */
AVX2 static const struct lanes_schedule *
block_schedule(const struct plan *p, size_t k, struct lanes_schedule *made,
    const uint8_t *const m[static LANES])
{
	const size_t at = k * BLOCK - 1;
	struct lanes_words w;

	if (k > 0 && all_zero(m, at, BLOCK))
		return &p->zero;
	if (k > 0)
		load_words(&w, 0, m, at);
	else
		load_first_words(&w, m, p->prefix);
	for (size_t q = 4; q < LANES_WORDS; q += 4)
		load_words(&w, q, m, at + 8 * q);
	lanes_schedule(made, &w);
	return made;
}

AVX2 static void
hash_five(struct plan *p, const uint8_t *const m[static LANES],
    uint8_t (*out)[HASH_LEN])
{
	struct lanes_schedule made[2];
	const struct lanes_schedule *tail;
	struct lanes_state st;

	lanes_init(&st);
	for (size_t k = 0; k < p->full; k++)
		lanes_compress(&st, block_schedule(p, k, made, m));
	tail = tail_constant(p, m);
	if (tail == NULL)
		tail = tail_general(p, made, m);
	for (size_t i = 0; i < p->tails; i++)
		lanes_compress(&st, &tail[i]);
	state_store(&st, out);
}

static void
avx2_many(uint8_t prefix, const uint8_t *const messages[], size_t len, size_t n,
    uint8_t (*out)[HASH_LEN])
{
	struct plan p;

	plan_make(&p, prefix, len);
	for (size_t i = 0; i < n; i += LANES) {
		const size_t used = n - i < LANES ? n - i : LANES;
		uint8_t digest[LANES][HASH_LEN];
		const uint8_t *m[LANES];

		/* Lanes that are left over hash the first message again. */
		for (size_t j = 0; j < LANES; j++)
			m[j] = messages[j < used ? i + j : i];
		hash_five(&p, m, digest);
		memcpy(out + i, digest, used * HASH_LEN);
	}
}

/* A node is one block: 0x01, 64 bytes, padding. */
AVX2 static void
node_five(const uint8_t *const m[static LANES], uint8_t (*out)[HASH_LEN])
{
	const uint64_t pad = 0x80ull << 48; /* behind the last byte */
	struct lanes_words w;
	struct lanes_schedule made;
	struct lanes_state st;

	load_first_words(&w, m, HASH_NODE_PREFIX);
	load_words(&w, 4, m, 31);
	w.v[8] = (v4){ m[0][63], m[1][63], m[2][63], m[3][63] } << 56 | pad;
	w.s[8] = (uint64_t)m[LAST_LANE][63] << 56 | pad;
	for (int t = 9; t < LANES_WORDS; t++) {
		w.s[t] = t < LANES_WORDS - 1 ? 0 : NODE_BITS;
		w.v[t] = (v4){ 0 } + w.s[t];
	}
	lanes_schedule(&made, &w);
	lanes_init(&st);
	lanes_compress(&st, &made);
	state_store(&st, out);
}

static void
avx2_nodes(const uint8_t (*in)[HASH_LEN], size_t n, uint8_t (*out)[HASH_LEN])
{
	for (size_t i = 0; i < n; i += LANES) {
		const size_t used = n - i < LANES ? n - i : LANES;
		uint8_t digest[LANES][HASH_LEN];
		const uint8_t *m[LANES];

		for (size_t j = 0; j < LANES; j++)
			m[j] = in[2 * (j < used ? i + j : i)];
		node_five(m, digest);
		memcpy(out + i, digest, used * HASH_LEN);
	}
}

static bool
avx2_available(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

#else

#define avx2_many NULL
#define avx2_nodes NULL

static bool
avx2_available(void)
{
	return false;
}

#endif

const struct hash_ops hash_avx2_ops = {
	.name = "avx2",
	.available = avx2_available,
	.many = avx2_many,
	.nodes = avx2_nodes,
};
