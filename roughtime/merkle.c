#include "roughtime/merkle.h"

#include <assert.h>
#include <string.h>

/* Nodes of a level in memory: an odd one gets its zero node, the root none. */
static size_t
padded(size_t n)
{
	return n == 1 ? 1 : n + n % 2;
}

size_t
merkle_capacity(size_t leaves)
{
	size_t n = padded(leaves);
	size_t total = n;

	while (n > 1) {
		n = padded(n / 2);
		total += n;
	}
	return total;
}

void
merkle_build(struct merkle *t, uint8_t (*nodes)[HASH_LEN], size_t leaves)
{
	uint8_t(*level)[HASH_LEN] = nodes;
	size_t n = leaves;

	assert(leaves > 0);
	t->nodes = nodes;
	t->leaves = leaves;
	t->depth = 0;
	while (n > 1) {
		if (n % 2 != 0)
			memset(level[n++], 0, HASH_LEN);
		hash_nodes((const uint8_t(*)[HASH_LEN])level, n / 2, level + n);
		level += n;
		n /= 2;
		t->depth++;
	}
	t->root = *level;
}

size_t
merkle_path(const struct merkle *t, size_t index, uint8_t *out)
{
	const uint8_t(*level)[HASH_LEN] = (const uint8_t(*)[HASH_LEN])t->nodes;
	size_t n = padded(t->leaves);

	assert(index < t->leaves);
	for (unsigned int i = 0; i < t->depth; i++) {
		memcpy(out, level[index ^ 1], HASH_LEN);
		out += HASH_LEN;
		index /= 2;
		level += n;
		n = padded(n / 2);
	}
	return HASH_LEN * (size_t)t->depth;
}

static void
hash_as(const struct version *v, uint8_t out[static HASH_FULL_LEN],
    uint8_t prefix, struct view data)
{
	if (v->hash == VERSION_SHA512_256)
		hash_one_512_256(out, &prefix, 1, data.data, data.len);
	else
		hash_one(out, &prefix, 1, data.data, data.len);
}

void
merkle_leaf(const struct version *v, uint8_t out[static HASH_FULL_LEN],
    struct view packet, struct view nonce)
{
	hash_as(v, out, HASH_LEAF_PREFIX,
	    v->leaf == VERSION_LEAF_PACKET ? packet : nonce);
}

bool
merkle_verify(const struct version *v, enum merkle_order order,
    const uint8_t *leaf, struct view path, uint32_t index, struct view root)
{
	uint8_t pair[2 * HASH_FULL_LEN];
	uint8_t h[HASH_FULL_LEN];
	size_t len = v->node_len;

	if (root.len != len || path.len % len != 0 ||
	    path.len / len > MERKLE_DEPTH_MAX)
		return false;
	memcpy(h, leaf, len);
	for (size_t at = 0; at < path.len; at += len) {
		bool node_left = (index & 1) != (order == MERKLE_MIRRORED);

		memcpy(pair + (node_left ? len : 0), h, len);
		memcpy(pair + (node_left ? 0 : len), path.data + at, len);
		hash_as(v, h, HASH_NODE_PREFIX, (struct view){ pair, 2 * len });
		index >>= 1;
	}
	return index == 0 && memcmp(h, root.data, len) == 0;
}
