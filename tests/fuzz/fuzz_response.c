/* verify_response: key (32 bytes) | length (2) | request | reply. */
#include <stdlib.h>

#include "roughtime/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct verify_options any = { true, true };
	struct verify_result r;
	struct view request, reply;

	if (len < 34)
		return 0;
	request =
	    (struct view){ data + 34, (size_t)(data[32] | data[33] << 8) };
	if (request.len > len - 34)
		request.len = len - 34;
	reply =
	    (struct view){ request.data + request.len, len - 34 - request.len };
	if (verify_response(&r, data, request, reply, NULL) == VERIFY_OK &&
	    (r.earliest_us > r.midpoint_us || r.midpoint_us > r.latest_us ||
		r.radius_us == 0 || r.path_nodes > MERKLE_DEPTH_MAX))
		abort();
	(void)verify_response(&r, data, request, reply, &any);
	return 0;
}
