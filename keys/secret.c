#include "keys/secret.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"

int
secret_init(void)
{
	return sodium_init() < 0 ? -1 : 0;
}

void *
secret_alloc(size_t len)
{
	static struct log_gate gate;
	void *p = sodium_malloc(len);

	/* libsodium goes on without a word when its own mlock(2) fails */
	if (p != NULL && mlock(p, len) != 0)
		log_limited(&gate, LOG_LEVEL_WARNING,
		    "keys may be written to swap, they cannot be locked: %s "
		    "(ulimit -l, LimitMEMLOCK=)",
		    strerror(errno));
	return p;
}

void
secret_free(void *p)
{
	sodium_free(p);
}
