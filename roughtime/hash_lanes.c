#include "roughtime/hash_lanes.h"

#if defined(__x86_64__)

#include <immintrin.h>

/* clang-format off */
/* FIPS 180-4 section 5.3.5 */
static const uint64_t iv[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
	0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
	0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* FIPS 180-4 section 4.2.3 */
static const uint64_t round_k[LANES_ROUNDS] = {
	0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f,
	0xe9b5dba58189dbbc, 0x3956c25bf348b538, 0x59f111f1b605d019,
	0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242,
	0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
	0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
	0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3,
	0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65, 0x2de92c6f592b0275,
	0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
	0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f,
	0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
	0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc,
	0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
	0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6,
	0x92722c851482353b, 0xa2bfe8a14cf10364, 0xa81a664bbc423001,
	0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
	0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
	0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99,
	0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb,
	0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc,
	0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
	0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915,
	0xc67178f2e372532b, 0xca273eceea26619c, 0xd186b8c721c0c207,
	0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba,
	0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
	0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
	0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a,
	0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};
/* clang-format on */

static inline LANES_TARGET v4
splat(uint64_t x)
{
	return (v4)_mm256_set1_epi64x((long long)x);
}

/* A shuffle is one instruction, shifts and xor are three. */
static inline LANES_TARGET v4
ror8(v4 x)
{
	const __m256i by_byte = _mm256_set_epi64x(0x080f0e0d0c0b0a09,
	    0x0007060504030201, 0x080f0e0d0c0b0a09, 0x0007060504030201);

	return (v4)_mm256_shuffle_epi8((__m256i)x, by_byte);
}

/*
 * FIPS 180-4 section 4.1.3, for a vector and for a word: the compiler makes a
 * rotation of a word out of it, and AVX2 has none.
 */
#define ROR(x, n) ((x) >> (n) ^ (x) << (64 - (n)))
#define BIG_SIGMA0(x) (ROR(x, 28) ^ ROR(x, 34) ^ ROR(x, 39))
#define BIG_SIGMA1(x) (ROR(x, 14) ^ ROR(x, 18) ^ ROR(x, 41))
#define ROR8(x) ROR(x, 8)
#define SMALL_SIGMA0(x, ROR8) (ROR(x, 1) ^ ROR8(x) ^ (x) >> 7)
#define SMALL_SIGMA1(x) (ROR(x, 19) ^ ROR(x, 61) ^ (x) >> 6)

/*
 * Sums of vectors are kept in the order in which they are written: what is
 * ready early first, so that only Sigma1 stands between e and the next e.
 */
#define KEEP_v(x) __asm__("" : "+x"(x))
#define KEEP_s(x) (void)0

/*
 * One round. The names rotate instead of the values. Maj(a, b, c) is written
 * as b ^ ((a ^ b) & (b ^ c)), whose b ^ c is the a ^ b of the round before:
 * it comes in as `bc` and leaves as `ab`.
 */
#define ROUND(KEEP, a, b, c, d, e, f, g, h, ab, bc, wk) \
	do {                                            \
		h += (wk);                              \
		KEEP(h);                                \
		h += (g ^ (e & (f ^ g)));               \
		KEEP(h);                                \
		h += BIG_SIGMA1(e);                     \
		KEEP(h);                                \
		d += h;                                 \
		ab = a ^ b;                             \
		h += (b ^ (ab & bc));                   \
		KEEP(h);                                \
		h += BIG_SIGMA0(a);                     \
	} while (0)

/* A round of the vectors (va, vb …), then the same one of the words. */
#define BOTH(a, b, c, d, e, f, g, h, ab, bc, t)                              \
	ROUND(KEEP_v, v##a, v##b, v##c, v##d, v##e, v##f, v##g, v##h, v##ab, \
	    v##bc, w->by8[i].v[t]);                                          \
	ROUND(KEEP_s, s##a, s##b, s##c, s##d, s##e, s##f, s##g, s##h, s##ab, \
	    s##bc, w->by8[i].s[t])

#define STATE_IN(k, type, from)                                    \
	type k##a = (from)[0], k##b = (from)[1], k##c = (from)[2], \
	     k##d = (from)[3], k##e = (from)[4], k##f = (from)[5], \
	     k##g = (from)[6], k##h = (from)[7], k##x = k##b ^ k##c, k##y

#define STATE_OUT(k, to)                                           \
	do {                                                       \
		(to)[0] += k##a, (to)[1] += k##b, (to)[2] += k##c; \
		(to)[3] += k##d, (to)[4] += k##e, (to)[5] += k##f; \
		(to)[6] += k##g, (to)[7] += k##h;                  \
	} while (0)

/* One block: eighty rounds; after eight every name is back in its place. */
LANES_TARGET void
lanes_compress(struct lanes_state *st, const struct lanes_schedule *w)
{
	STATE_IN(v, v4, st->v);
	STATE_IN(s, uint64_t, st->s);

	for (int i = 0; i < LANES_ROUNDS / 8; i++) {
		BOTH(a, b, c, d, e, f, g, h, y, x, 0);
		BOTH(h, a, b, c, d, e, f, g, x, y, 1);
		BOTH(g, h, a, b, c, d, e, f, y, x, 2);
		BOTH(f, g, h, a, b, c, d, e, x, y, 3);
		BOTH(e, f, g, h, a, b, c, d, y, x, 4);
		BOTH(d, e, f, g, h, a, b, c, x, y, 5);
		BOTH(c, d, e, f, g, h, a, b, y, x, 6);
		BOTH(b, c, d, e, f, g, h, a, x, y, 7);
	}
	STATE_OUT(v, st->v);
	STATE_OUT(s, st->s);
}

/* W[t] in `out` and in w[t]: w points at W[t]. The sums are ordered as above. */
#define EXPAND(KEEP, out, w, ROR8)                   \
	do {                                         \
		out = (w)[-16] + (w)[-7];            \
		KEEP(out);                           \
		out += SMALL_SIGMA0((w)[-15], ROR8); \
		KEEP(out);                           \
		out += SMALL_SIGMA1((w)[-2]);        \
		(w)[0] = out;                        \
	} while (0)

/* FIPS 180-4 section 6.4.2 step 1, for the block in the first 16 words. */
LANES_TARGET void
lanes_schedule(struct lanes_schedule *out, struct lanes_words *w)
{
	for (int i = 0; i < LANES_ROUNDS / 8; i++) {
		const uint64_t *k = &round_k[8 * i];
		v4 *v = &w->v[8 * i];
		uint64_t *s = &w->s[8 * i];

#pragma GCC unroll 8
		for (int j = 0; j < 8; j++) {
			if (i >= LANES_WORDS / 8) {
				EXPAND(KEEP_v, v[j], v + j, ror8);
				EXPAND(KEEP_s, s[j], s + j, ROR8);
			}
			out->by8[i].v[j] = v[j] + splat(k[j]);
			out->by8[i].s[j] = s[j] + k[j];
		}
	}
}

LANES_TARGET void
lanes_schedule_zero(struct lanes_schedule *out)
{
	for (int t = 0; t < LANES_ROUNDS; t++) {
		out->by8[t / 8].v[t % 8] = splat(round_k[t]);
		out->by8[t / 8].s[t % 8] = round_k[t];
	}
}

LANES_TARGET void
lanes_init(struct lanes_state *st)
{
	for (int i = 0; i < 8; i++) {
		st->v[i] = splat(iv[i]);
		st->s[i] = iv[i];
	}
}

#endif
