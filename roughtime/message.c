#include "roughtime/message.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

static const uint8_t magic[8] = { 'R', 'O', 'U', 'G', 'H', 'T', 'I', 'M' };

const char *
message_fault_str(enum message_fault fault)
{
	static const char *const words[MESSAGE_FAULTS] = {
		[MESSAGE_OK] = "ok",
		[MESSAGE_SHORT] = "message-short",
		[MESSAGE_UNALIGNED] = "message-unaligned",
		[MESSAGE_EMPTY] = "message-empty",
		[MESSAGE_TAGS_TOO_MANY] = "tags-too-many",
		[MESSAGE_HEADER_SHORT] = "header-short",
		[MESSAGE_OFFSET_UNALIGNED] = "offset-unaligned",
		[MESSAGE_OFFSET_ORDER] = "offset-order",
		[MESSAGE_OFFSET_BEYOND] = "offset-beyond",
		[MESSAGE_TAG_ORDER] = "tag-order",
		[MESSAGE_TAG_REPEATED] = "tag-repeated",
	};

	return (unsigned int)fault < MESSAGE_FAULTS ? words[fault] : "unknown";
}

const char *
frame_fault_str(enum frame_fault fault)
{
	static const char *const words[FRAME_FAULTS] = {
		[FRAME_OK] = "ok",
		[FRAME_ABSENT] = "frame-absent",
		[FRAME_SHORT] = "frame-short",
		[FRAME_TRUNCATED] = "frame-truncated",
		[FRAME_TRAILING] = "frame-trailing",
	};

	return (unsigned int)fault < FRAME_FAULTS ? words[fault] : "unknown";
}

/* Where value i starts; the first offset is not on the wire: it is 0. */
static uint32_t
value_start(const struct message *m, uint32_t i)
{
	return i == 0 ? 0 : wire_get32(m->header + 4 * (size_t)i);
}

static size_t
value_end(const struct message *m, uint32_t i)
{
	return i + 1 < m->count ? value_start(m, i + 1) : m->values.len;
}

uint32_t
message_tag(const struct message *m, uint32_t i)
{
	return wire_get32(m->header + 4 * (size_t)m->count + 4 * (size_t)i);
}

struct view
message_value(const struct message *m, uint32_t i)
{
	uint32_t start = value_start(m, i);

	return (struct view){ m->values.data + start, value_end(m, i) - start };
}

static enum message_fault
check_offsets(const struct message *m)
{
	uint32_t last = 0;

	for (uint32_t i = 1; i < m->count; i++) {
		uint32_t offset = value_start(m, i);

		if (offset % 4 != 0)
			return MESSAGE_OFFSET_UNALIGNED;
		if (offset < last)
			return MESSAGE_OFFSET_ORDER;
		if (offset > m->values.len)
			return MESSAGE_OFFSET_BEYOND;
		last = offset;
	}
	return MESSAGE_OK;
}

static enum message_fault
check_tags(const struct message *m)
{
	uint32_t last = message_tag(m, 0);

	for (uint32_t i = 1; i < m->count; i++) {
		uint32_t tag = message_tag(m, i);

		if (tag == last)
			return MESSAGE_TAG_REPEATED;
		if (tag < last)
			return MESSAGE_TAG_ORDER;
		last = tag;
	}
	return MESSAGE_OK;
}

enum message_fault
message_decode(struct message *m, struct view bytes)
{
	enum message_fault fault;
	size_t header;

	memset(m, 0, sizeof *m);
	if (bytes.len < 4)
		return MESSAGE_SHORT;
	if (bytes.len % 4 != 0)
		return MESSAGE_UNALIGNED;
	m->count = wire_get32(bytes.data);
	m->header = bytes.data;
	if (m->count == 0)
		return MESSAGE_EMPTY;
	if (m->count > MESSAGE_TAGS_MAX)
		return MESSAGE_TAGS_TOO_MANY;
	header = 8 * (size_t)m->count; /* 4 + 4 (N - 1) + 4 N */
	if (bytes.len < header)
		return MESSAGE_HEADER_SHORT;
	m->values = (struct view){ bytes.data + header, bytes.len - header };
	fault = check_offsets(m);
	return fault != MESSAGE_OK ? fault : check_tags(m);
}

bool
message_get(const struct message *m, uint32_t tag, struct view *value)
{
	for (uint32_t i = 0; i < m->count; i++) {
		uint32_t here = message_tag(m, i);

		if (here == tag) {
			*value = message_value(m, i);
			return true;
		}
		if (here > tag)
			break;
	}
	*value = (struct view){ NULL, 0 };
	return false;
}

enum frame_fault
frame_decode(struct view packet, struct view *message)
{
	uint32_t len;

	*message = (struct view){ NULL, 0 };
	if (packet.len < sizeof magic ||
	    memcmp(packet.data, magic, sizeof magic) != 0)
		return FRAME_ABSENT;
	if (packet.len < FRAME_LEN)
		return FRAME_SHORT;
	len = wire_get32(packet.data + sizeof magic);
	if (len > packet.len - FRAME_LEN)
		return FRAME_TRUNCATED;
	if (len < packet.len - FRAME_LEN)
		return FRAME_TRAILING;
	*message = (struct view){ packet.data + FRAME_LEN, len };
	return FRAME_OK;
}

enum frame_scan
frame_scan(const uint8_t *bytes, size_t len, size_t max, size_t *total)
{
	size_t seen = len < sizeof magic ? len : sizeof magic;

	*total = 0;
	/* at the first wrong byte, before any length is believed */
	if (seen > 0 && memcmp(bytes, magic, seen) != 0)
		return FRAME_SCAN_ALIEN;
	if (len < FRAME_LEN)
		return FRAME_SCAN_PART;
	if (wire_get32(bytes + sizeof magic) > max - FRAME_LEN)
		return FRAME_SCAN_TOO_LONG; /* before a sum that may wrap */
	*total = (size_t)wire_get32(bytes + sizeof magic) + FRAME_LEN;
	return len < *total ? FRAME_SCAN_PART : FRAME_SCAN_WHOLE;
}

size_t
message_size(const struct message_field *fields, size_t n)
{
	size_t size = 8 * n;

	for (size_t i = 0; i < n; i++)
		size += fields[i].value.len;
	return size;
}

static void
put_value(struct wire_out *w, struct view value)
{
	uint8_t *p;

	if (value.data != NULL) {
		wire_out_bytes(w, value.data, value.len);
		return;
	}
	p = wire_out_reserve(w, value.len);
	if (p != NULL && value.len > 0)
		memset(p, 0, value.len);
}

size_t
message_encode(
    uint8_t *out, size_t cap, const struct message_field *fields, size_t n)
{
	struct wire_out w = { out, out + cap, false };
	size_t offset = 0;

	assert(n > 0 && n <= MESSAGE_TAGS_MAX);
	if (cap < message_size(fields, n))
		return 0;
	wire_out_u32(&w, (uint32_t)n);
	for (size_t i = 0; i + 1 < n; i++) {
		assert(fields[i].tag < fields[i + 1].tag);
		assert(fields[i].value.len % 4 == 0);
		offset += fields[i].value.len;
		wire_out_u32(&w, (uint32_t)offset);
	}
	assert(fields[n - 1].value.len % 4 == 0);
	for (size_t i = 0; i < n; i++)
		wire_out_u32(&w, fields[i].tag);
	for (size_t i = 0; i < n; i++)
		put_value(&w, fields[i].value);
	assert(!w.bad);
	return (size_t)(w.at - out);
}

void
frame_encode(uint8_t out[static FRAME_LEN], uint32_t len)
{
	memcpy(out, magic, sizeof magic);
	wire_put32(out + sizeof magic, len);
}
