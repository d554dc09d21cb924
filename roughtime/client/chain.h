/*
 * A chain of replies (RFC 10049 section 8.2): is each valid, does each nonce
 * depend on the reply before it, do the times fit the order, and if not, who
 * stands against the majority. Pure.
 */
#ifndef ROUGHTIME_CLIENT_CHAIN_H
#define ROUGHTIME_CLIENT_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "roughtime/verify.h"

#define CHAIN_MAX 128 /* replies */

struct chain_link {
	uint8_t public_key[CERT_PUBLIC_LEN];
	bool has_rand;
	uint8_t rand[32];
	struct view request, response; /* whole packets */
	/* filled by chain_judge */
	size_t server; /* number of its key, by first appearance */
	enum verify_fault fault;
	struct verify_result result;
	bool linked; /* to the one before it; the first always is */
};

struct chain_verdict {
	size_t servers; /* different keys */
	size_t invalid; /* replies that do not verify */
	size_t unlinked;
	size_t conflicts; /* pairs that break causality */
	size_t first_i, first_j; /* one of them */
	size_t suspects; /* servers against the majority, see below */
	bool suspect[CHAIN_MAX];
	bool clash[CHAIN_MAX][CHAIN_MAX]; /* of two servers, in some pair */
};

/*
 * Judges n (<= CHAIN_MAX) links; only valid ones take part in causality.
 *
 * A server is a suspect when it conflicts with itself, or when it is
 * consistent with at most half of all servers (itself counted) while some
 * other is consistent with more than half: a majority to stand against.
 * Without one nobody is named.
 */
void chain_judge(struct chain_verdict *v, struct chain_link *links, size_t n,
    const struct verify_options *options);

/* True when reply i, made before j, cannot be reconciled with it. */
bool chain_conflict(const struct chain_link *links, size_t i, size_t j);

/*
 * The middle one of n offsets, never an average of liars and honest ones: of
 * the two middle ones that with the smaller uncertainty. Sorts `list`.
 */
struct chain_offset {
	int64_t us;
	uint64_t uncertainty_us;
};
struct chain_offset chain_median(struct chain_offset *list, size_t n);

/* What all of them allow; false when nothing is common. */
bool chain_agreement(const struct chain_offset *list, size_t n, int64_t *low_us,
    int64_t *high_us);

#endif
