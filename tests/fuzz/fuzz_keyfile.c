/* keyfile_parse on any bytes; a plain key that parses prints the same again. */
#include <assert.h>
#include <string.h>

#include "keys/keyfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct view text = { data, len }, again = { 0 };
	char out[KEYFILE_TEXT_MAX];
	struct keyfile k, back;

	if (keyfile_parse(&k, text) != KEYFILE_OK || k.encrypted)
		return 0;
	again.data = (const uint8_t *)out;
	again.len = keyfile_format(out, sizeof out, k.seed, NULL, 0);
	assert(keyfile_parse(&back, again) == KEYFILE_OK);
	assert(memcmp(&k, &back, sizeof k) == 0);
	return 0;
}
