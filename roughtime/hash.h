/*
 * SHA-512 of many equal-length messages at once (FIPS 180-4, RFC 6234). Two
 * backends with one result: libsodium, and AVX2 lanes of our own that skip
 * the message schedule of all-zero blocks. The CPU decides at start.
 */
#ifndef ROUGHTIME_HASH_H
#define ROUGHTIME_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_LEN 32 /* truncated: the H(x) of RFC 10049 section 5.3 */
#define HASH_FULL_LEN 64
#define HASH_LEAF_PREFIX 0x00 /* section 5.3: no leaf is taken for a node */
#define HASH_NODE_PREFIX 0x01

enum hash_backend { HASH_AUTO = 0, HASH_SODIUM, HASH_AVX2 };

/* True when this CPU can run it. HASH_AUTO and HASH_SODIUM always. */
bool hash_available(enum hash_backend backend);
/* Chooses for the whole process, once, before threads; -1 not available. */
int hash_select(enum hash_backend backend);
const char *hash_name(void);

/*
 * out[i] = first 32 bytes of SHA-512(prefix || messages[i]), for n messages of
 * `len` bytes each. `out` may not overlap the messages.
 */
void hash_many(uint8_t prefix, const uint8_t *const messages[], size_t len,
    size_t n, uint8_t (*out)[HASH_LEN]);

/*
 * The nodes of one tree level: out[i] = H(0x01 || in[2i] || in[2i+1]) for
 * n pairs, contiguous in memory. `out` may be the memory right behind `in`.
 */
void
hash_nodes(const uint8_t (*in)[HASH_LEN], size_t n, uint8_t (*out)[HASH_LEN]);

/* One message in two pieces (prefix, data): SHA-512, and SHA-512/256 of FIPS
 * 180-4 section 5.3.6.2 (other initial values, not a truncation). */
void hash_one(uint8_t out[static HASH_FULL_LEN], const uint8_t *prefix,
    size_t prefix_len, const uint8_t *data, size_t len);
void hash_one_512_256(uint8_t out[static HASH_LEN], const uint8_t *prefix,
    size_t prefix_len, const uint8_t *data, size_t len);

#endif
