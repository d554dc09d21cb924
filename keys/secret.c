#include "keys/secret.h"

#include <sodium.h>

int
secret_init(void)
{
	return sodium_init() < 0 ? -1 : 0;
}

void *
secret_alloc(size_t len)
{
	return sodium_malloc(len);
}

void
secret_free(void *p)
{
	sodium_free(p);
}
