/* A map decodes to itself again; frames and nested maps stay inside. */
#include <stdlib.h>
#include <string.h>

#include "roughtime/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
decode(struct view in, unsigned int depth)
{
	static uint8_t out[4][1 << 17];
	struct message_field f[MESSAGE_TAGS_MAX];
	struct message m;

	if (message_decode(&m, in) != MESSAGE_OK || in.len > sizeof out[0])
		return;
	for (uint32_t i = 0; i < m.count; i++) {
		f[i].tag = message_tag(&m, i);
		if (!message_get(&m, f[i].tag, &f[i].value))
			abort();
		if (depth < 3)
			decode(f[i].value, depth + 1);
	}
	if (message_encode(out[depth], sizeof out[0], f, m.count) != in.len ||
	    memcmp(out[depth], in.data, in.len) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct view packet = { data, len }, body;

	if (frame_decode(packet, &body) == FRAME_OK)
		decode(body, 0);
	decode(packet, 0);
	return 0;
}
