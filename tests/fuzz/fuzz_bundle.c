/* bundle_parse on any bytes; a bundle that parses comes back from its print. */
#include <assert.h>
#include <string.h>

#include "keys/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct view text = { data, len }, again = { 0 };
	char out[BUNDLE_TEXT_MAX];
	struct bundle b, back;

	if (bundle_parse(&b, text) != BUNDLE_OK)
		return 0;
	again.data = (const uint8_t *)out;
	again.len = bundle_format(out, sizeof out, &b);
	assert(bundle_parse(&back, again) == BUNDLE_OK);
	assert(memcmp(&b, &back, sizeof b) == 0);
	return 0;
}
