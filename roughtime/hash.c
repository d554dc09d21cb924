#include "roughtime/hash.h"

#include <sodium/crypto_hash_sha512.h>
#include <string.h>

#include "roughtime/hash_backend.h"

/* FIPS 180-4 section 5.3.6.2; libsodium has no SHA-512/256 of its own. */
static const uint64_t iv_512_256[8] = {
	0x22312194fc2bf72cull,
	0x9f555fa3c84c64c2ull,
	0x2393b86b6f53b151ull,
	0x963877195940eabdull,
	0x96283ee2a88effe3ull,
	0xbe5e1e2553863992ull,
	0x2b0199fc2c85b8aaull,
	0x0eb72ddc81c52ca2ull,
};

static bool
sodium_available(void)
{
	return true;
}

static void
sodium_one(uint8_t out[static HASH_FULL_LEN], const uint8_t *prefix,
    size_t prefix_len, const uint8_t *data, size_t len)
{
	crypto_hash_sha512_state st;

	crypto_hash_sha512_init(&st);
	crypto_hash_sha512_update(&st, prefix, prefix_len);
	crypto_hash_sha512_update(&st, data, len);
	crypto_hash_sha512_final(&st, out);
}

static void
sodium_many(uint8_t prefix, const uint8_t *const messages[], size_t len,
    size_t n, uint8_t (*out)[HASH_LEN])
{
	uint8_t full[HASH_FULL_LEN];

	for (size_t i = 0; i < n; i++) {
		sodium_one(full, &prefix, 1, messages[i], len);
		memcpy(out[i], full, HASH_LEN);
	}
}

static void
sodium_nodes(const uint8_t (*in)[HASH_LEN], size_t n, uint8_t (*out)[HASH_LEN])
{
	const uint8_t prefix = HASH_NODE_PREFIX;
	uint8_t full[HASH_FULL_LEN];

	for (size_t i = 0; i < n; i++) {
		sodium_one(full, &prefix, 1, in[2 * i], 2 * HASH_LEN);
		memcpy(out[i], full, HASH_LEN);
	}
}

static const struct hash_ops sodium_ops = {
	.name = "libsodium",
	.available = sodium_available,
	.many = sodium_many,
	.nodes = sodium_nodes,
};

/* Set once by hash_select before there are threads, then only read. */
static const struct hash_ops *chosen = &sodium_ops;

static const struct hash_ops *
backend_ops(enum hash_backend backend)
{
	switch (backend) {
	case HASH_AUTO:
		return hash_avx2_ops.available() ? &hash_avx2_ops : &sodium_ops;
	case HASH_SODIUM:
		return &sodium_ops;
	case HASH_AVX2:
		return &hash_avx2_ops;
	}
	return NULL;
}

bool
hash_available(enum hash_backend backend)
{
	const struct hash_ops *ops = backend_ops(backend);

	return ops != NULL && ops->available();
}

int
hash_select(enum hash_backend backend)
{
	if (!hash_available(backend))
		return -1;
	chosen = backend_ops(backend);
	return 0;
}

const char *
hash_name(void)
{
	return chosen->name;
}

void
hash_many(uint8_t prefix, const uint8_t *const messages[], size_t len, size_t n,
    uint8_t (*out)[HASH_LEN])
{
	if (n > 0)
		chosen->many(prefix, messages, len, n, out);
}

void
hash_nodes(const uint8_t (*in)[HASH_LEN], size_t n, uint8_t (*out)[HASH_LEN])
{
	if (n > 0)
		chosen->nodes(in, n, out);
}

void
hash_one(uint8_t out[static HASH_FULL_LEN], const uint8_t *prefix,
    size_t prefix_len, const uint8_t *data, size_t len)
{
	sodium_one(out, prefix, prefix_len, data, len);
}

void
hash_one_512_256(uint8_t out[static HASH_LEN], const uint8_t *prefix,
    size_t prefix_len, const uint8_t *data, size_t len)
{
	crypto_hash_sha512_state st;
	uint8_t full[HASH_FULL_LEN];

	crypto_hash_sha512_init(&st);
	memcpy(st.state, iv_512_256, sizeof iv_512_256);
	crypto_hash_sha512_update(&st, prefix, prefix_len);
	crypto_hash_sha512_update(&st, data, len);
	crypto_hash_sha512_final(&st, full);
	memcpy(out, full, HASH_LEN);
}
