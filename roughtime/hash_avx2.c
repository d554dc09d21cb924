#include "roughtime/hash_backend.h"

static bool
avx2_available(void)
{
	return false;
}

const struct hash_ops hash_avx2_ops = {
	.name = "avx2",
	.available = avx2_available,
	.many = NULL,
	.nodes = NULL,
};
