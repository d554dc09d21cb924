/*
 * The Merkle tree of a batch (RFC 10049 section 5.3). An odd level is padded
 * with one zero node, so that no two INDX values prove the same request. Pure:
 * the caller gives the memory.
 */
#ifndef ROUGHTIME_MERKLE_H
#define ROUGHTIME_MERKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "roughtime/hash.h"
#include "roughtime/version.h"

#define MERKLE_DEPTH_MAX 32 /* PATH entries, RFC 10049 section 5.2.4 */

struct merkle {
	uint8_t (
	    *nodes)[HASH_LEN]; /* level 0 first; merkle_capacity() of them */
	size_t leaves;
	unsigned int depth; /* PATH entries of every leaf */
	const uint8_t *root;
};

/* Nodes of memory that a tree of `leaves` leaves needs, padding included. */
size_t merkle_capacity(size_t leaves);

/*
 * Builds the tree over `leaves` (>= 1) leaf hashes already at nodes[0…],
 * node hash = truncated SHA-512 (the versions that we batch).
 */
void merkle_build(struct merkle *t, uint8_t (*nodes)[HASH_LEN], size_t leaves);

/* Writes the path of leaf `index`: 32 * depth bytes; returns bytes. */
size_t merkle_path(const struct merkle *t, size_t index, uint8_t *out);

/* The leaf hash of one request in the format of `v` (node_len bytes):
 * H(0x00 || nonce) or H(0x00 || whole packet). */
void merkle_leaf(const struct version *v, uint8_t out[static HASH_FULL_LEN],
    struct view packet, struct view nonce);

enum merkle_order { MERKLE_NATURAL = 0, MERKLE_MIRRORED };

/*
 * Section 5.3.1 for every version: climbs from `leaf` by PATH and INDX to
 * `root`. Natural: bit 1 of INDX means that the path's node is on the left.
 * False when a node is cut short, PATH is longer than 32 nodes, index bits
 * are left over, or the roots differ.
 */
bool merkle_verify(const struct version *v, enum merkle_order order,
    const uint8_t *leaf, struct view path, uint32_t index, struct view root);

#endif
