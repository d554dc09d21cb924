/*
 * What a backend of roughtime/hash.h must do. Only hash.c and the backends
 * include this.
 */
#ifndef ROUGHTIME_HASH_BACKEND_H
#define ROUGHTIME_HASH_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "roughtime/hash.h"

struct hash_ops {
	const char *name;
	bool (*available)(void);
	/* As hash_many and hash_nodes, with n > 0. */
	void (*many)(uint8_t prefix, const uint8_t *const messages[],
	    size_t len, size_t n, uint8_t (*out)[HASH_LEN]);
	void (*nodes)(
	    const uint8_t (*in)[HASH_LEN], size_t n, uint8_t (*out)[HASH_LEN]);
};

extern const struct hash_ops hash_avx2_ops;

#endif
