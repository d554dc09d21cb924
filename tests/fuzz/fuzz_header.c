/* PROXY v1, v2 and Simple Proxy Protocol from any bytes; what was read is
 * written and read again. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

typedef enum header_fault reader(struct view, struct header_ends *, size_t *);

static void
same(reader *read, const uint8_t *bytes, size_t len,
    const struct header_ends *want)
{
	struct header_ends e;
	size_t used;

	if (read((struct view){ bytes, len }, &e, &used) != HEADER_OK ||
	    used != len || e.local != want->local)
		abort();
	if (!e.local &&
	    (!addr_equal(&e.client, &want->client) ||
		!addr_equal(&e.proxy, &want->proxy)))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct view bytes = { data, len };
	uint8_t out[HEADER_V2_MAX];
	struct header_ends e;
	size_t used;

	if (header_read(bytes, &e, &used) == HEADER_OK) {
		if (used == 0 || used > len || used > HEADER_READ_MAX)
			abort();
		same(header_v1_read, out, header_v1(out, &e), &e);
		same(header_v2_read, out, header_v2(out, SOCK_TCP, &e), &e);
	}
	if (header_spp_read(bytes, &e, &used) == HEADER_OK)
		same(header_spp_read, out, header_spp(out, &e), &e);
	return 0;
}
