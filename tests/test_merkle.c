/* roughtime/merkle.h: trees, paths, and what must not verify. */
#include "roughtime/merkle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support.h"

#define LEAVES_MAX 70

static const struct version *const rfc = &version_table[VERSION_RFC];

/* A tree over `n` leaves whose bytes are their number, against a guard page. */
static struct merkle
tree_of(size_t n)
{
	size_t bytes = merkle_capacity(n) * HASH_LEN;
	uint8_t(*nodes)[HASH_LEN] = (uint8_t(*)[HASH_LEN])guard_alloc(bytes);
	struct merkle t;

	for (size_t i = 0; i < n; i++)
		memset(nodes[i], (int)(i + 1), HASH_LEN);
	merkle_build(&t, nodes, n);
	return t;
}

static void
tree_free(struct merkle *t)
{
	guard_free(t->nodes[0], merkle_capacity(t->leaves) * HASH_LEN);
}

static bool
proves(const struct merkle *t, size_t leaf, uint32_t index, size_t path_of)
{
	uint8_t path[HASH_LEN * MERKLE_DEPTH_MAX];
	size_t len = merkle_path(t, path_of, path);

	return merkle_verify(rfc, MERKLE_NATURAL, t->nodes[leaf],
	    (struct view){ path, len }, index,
	    (struct view){ t->root, HASH_LEN });
}

static void
capacity(void **state)
{
	(void)state;
	assert_int_equal(merkle_capacity(1), 1);
	assert_int_equal(merkle_capacity(2), 2 + 1);
	assert_int_equal(merkle_capacity(3), 4 + 2 + 1);
	assert_int_equal(merkle_capacity(5), 6 + 4 + 2 + 1);
	assert_int_equal(merkle_capacity(64), 127);
	for (size_t n = 1; n < 1024; n++)
		assert_true(merkle_capacity(n) <= merkle_capacity(n + 1));
}

static void
every_leaf_has_a_path(void **state)
{
	(void)state;
	for (size_t n = 1; n <= LEAVES_MAX; n++) {
		struct merkle t = tree_of(n);
		unsigned int depth = 0;

		while (1u << depth < n)
			depth++;
		assert_int_equal(t.depth, depth);
		assert_int_equal(t.leaves, n);
		for (size_t i = 0; i < n; i++)
			assert_true(proves(&t, i, (uint32_t)i, i));
		tree_free(&t);
	}
}

/* No path proves a leaf at the index of another, or beyond the tree. */
static void
one_index_a_leaf(void **state)
{
	(void)state;
	for (size_t n = 2; n <= 9; n++) {
		struct merkle t = tree_of(n);
		uint32_t beyond = 2u << t.depth;

		for (size_t leaf = 0; leaf < n; leaf++) {
			for (uint32_t index = 0; index < beyond; index++) {
				for (size_t path = 0; path < n; path++)
					assert_int_equal(
					    proves(&t, leaf, index, path),
					    leaf == index && leaf == path);
			}
		}
		tree_free(&t);
	}
}

/* The root of three, by hand: the fourth node is zero bytes. */
static void
odd_level_gets_a_zero_node(void **state)
{
	struct merkle t = tree_of(3);
	uint8_t pair[2 * HASH_LEN] = { 0 }, top[2 * HASH_FULL_LEN];
	uint8_t path[2 * HASH_LEN], zero[HASH_LEN] = { 0 };
	const uint8_t one = 1;

	(void)state;
	memset(pair, 1, HASH_LEN);
	memset(pair + HASH_LEN, 2, HASH_LEN);
	hash_one(top, &one, 1, pair, sizeof pair);
	memset(pair, 3, HASH_LEN);
	memset(pair + HASH_LEN, 0, HASH_LEN);
	hash_one(top + HASH_LEN, &one, 1, pair, sizeof pair);
	memcpy(pair, top, sizeof pair);
	hash_one(top, &one, 1, pair, sizeof pair);
	assert_memory_equal(t.root, top, HASH_LEN);
	assert_int_equal(merkle_path(&t, 2, path), sizeof path);
	assert_memory_equal(path, zero, HASH_LEN);
	tree_free(&t);
}

static void
refuses_bent_paths(void **state)
{
	struct merkle t = tree_of(5);
	uint8_t path[HASH_LEN * 40] = { 0 };
	size_t len = merkle_path(&t, 3, path);
	struct view root = { t.root, HASH_LEN }, shorter = { t.root, 28 };
	const uint8_t *leaf = t.nodes[3];

	(void)state;
	assert_true(merkle_verify(
	    rfc, MERKLE_NATURAL, leaf, (struct view){ path, len }, 3, root));
	/* cut in a node, a node short, a node more */
	assert_false(merkle_verify(rfc, MERKLE_NATURAL, leaf,
	    (struct view){ path, len - 4 }, 3, root));
	assert_false(merkle_verify(rfc, MERKLE_NATURAL, leaf,
	    (struct view){ path, len - HASH_LEN }, 3, root));
	assert_false(merkle_verify(rfc, MERKLE_NATURAL, leaf,
	    (struct view){ path, len + HASH_LEN }, 3, root));
	assert_false(merkle_verify(
	    rfc, MERKLE_NATURAL, leaf, (struct view){ path, len }, 3, shorter));
	assert_false(merkle_verify(
	    rfc, MERKLE_MIRRORED, leaf, (struct view){ path, len }, 3, root));
	/* bits of INDX left over */
	assert_false(merkle_verify(rfc, MERKLE_NATURAL, leaf,
	    (struct view){ path, len }, 3 + 8, root));
	assert_false(merkle_verify(rfc, MERKLE_NATURAL, leaf,
	    (struct view){ path, len }, 0x80000003, root));
	path[0] ^= 1;
	assert_false(merkle_verify(
	    rfc, MERKLE_NATURAL, leaf, (struct view){ path, len }, 3, root));
	tree_free(&t);
}

/* Section 5.2.4: 32 nodes verify, 33 do not, whatever they hash to. */
static void
at_most_32_nodes(void **state)
{
	uint8_t leaf[HASH_FULL_LEN], h[HASH_FULL_LEN];
	uint8_t path[33 * HASH_LEN], pair[2 * HASH_LEN];
	const uint8_t one = 1;

	(void)state;
	memset(leaf, 7, sizeof leaf);
	memset(path, 9, sizeof path);
	memcpy(h, leaf, sizeof h);
	for (unsigned int i = 1; i <= 33; i++) {
		bool right = i % 3 == 0; /* index bits 0, 0, 1, 0, 0, 1 … */

		memcpy(pair + (right ? HASH_LEN : 0), h, HASH_LEN);
		memset(pair + (right ? 0 : HASH_LEN), 9, HASH_LEN);
		hash_one(h, &one, 1, pair, sizeof pair);
		if (i == 32)
			assert_true(merkle_verify(rfc, MERKLE_NATURAL, leaf,
			    (struct view){ path, 32 * HASH_LEN }, 0x24924924,
			    (struct view){ h, HASH_LEN }));
	}
	assert_false(merkle_verify(rfc, MERKLE_NATURAL, leaf,
	    (struct view){ path, 33 * HASH_LEN }, 0x24924924,
	    (struct view){ h, HASH_LEN }));
}

/* A tree of two in every format and both orders. */
static void
each_format_and_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSION_ROWS; i++) {
		const struct version *v = &version_table[i];
		size_t len = v->node_len;
		uint8_t pair[1 + 2 * HASH_FULL_LEN], root[HASH_FULL_LEN];
		struct view node = { pair + 1 + len, len };

		pair[0] = 1;
		memset(pair + 1, 0x11, len);
		memset(pair + 1 + len, 0x22, len);
		if (v->hash == VERSION_SHA512_256)
			hash_one_512_256(root, NULL, 0, pair, 1 + 2 * len);
		else
			hash_one(root, NULL, 0, pair, 1 + 2 * len);
		assert_true(merkle_verify(v, MERKLE_NATURAL, pair + 1, node, 0,
		    (struct view){ root, len }));
		assert_true(merkle_verify(v, MERKLE_MIRRORED, pair + 1, node, 1,
		    (struct view){ root, len }));
		assert_false(merkle_verify(v, MERKLE_NATURAL, pair + 1, node, 1,
		    (struct view){ root, len }));
		assert_false(merkle_verify(v, MERKLE_MIRRORED, pair + 1, node,
		    0, (struct view){ root, len }));
	}
}

/* H(0x00 || …) over the nonce or the packet; 512/256 is not a truncation. */
static void
leaves_of_each_format(void **state)
{
	uint8_t packet[40], nonce[8], leaf[HASH_FULL_LEN];
	uint8_t text[1 + sizeof packet] = { 0 };
	uint8_t of_packet[HASH_FULL_LEN], of_nonce[HASH_FULL_LEN];
	uint8_t other[HASH_LEN];

	(void)state;
	memset(packet, 5, sizeof packet);
	memset(nonce, 6, sizeof nonce);
	memcpy(text + 1, packet, sizeof packet);
	hash_one(of_packet, NULL, 0, text, sizeof text);
	memcpy(text + 1, nonce, sizeof nonce);
	hash_one(of_nonce, NULL, 0, text, 1 + sizeof nonce);
	hash_one_512_256(other, NULL, 0, text, 1 + sizeof nonce);
	assert_memory_not_equal(of_nonce, other, HASH_LEN);
	for (size_t i = 0; i < VERSION_ROWS; i++) {
		const struct version *v = &version_table[i];
		const uint8_t *want = of_nonce;

		if (i == VERSION_DRAFT02 || i == VERSION_DRAFT07)
			want = other;
		if (i >= VERSION_DRAFT12)
			want = of_packet;
		merkle_leaf(v, leaf, (struct view){ packet, sizeof packet },
		    (struct view){ nonce, sizeof nonce });
		assert_memory_equal(leaf, want, v->node_len);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capacity),
		cmocka_unit_test(every_leaf_has_a_path),
		cmocka_unit_test(one_index_a_leaf),
		cmocka_unit_test(odd_level_gets_a_zero_node),
		cmocka_unit_test(refuses_bent_paths),
		cmocka_unit_test(at_most_32_nodes),
		cmocka_unit_test(each_format_and_order),
		cmocka_unit_test(leaves_of_each_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
