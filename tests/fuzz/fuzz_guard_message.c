/* What a peer says about a shared port, from any bytes: what was read is
 * written as the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/guard_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t again[GUARD_MESSAGE_LEN];
	struct guard_message m;

	if (guard_message_parse(&m, (struct view){ data, len }) != 0)
		return 0;
	guard_message_format(again, &m);
	if (len != sizeof again || memcmp(again, data, len) != 0)
		abort();
	return 0;
}
