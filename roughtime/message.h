/*
 * Roughtime messages: a map of tags to values, little endian (RFC 10049
 * section 4), and the packet frame around it (section 5). Pure.
 *
 *   count N | N-1 offsets | N tags, ascending | values
 *   "ROUGHTIM" | length of the message | message
 */
#ifndef ROUGHTIME_MESSAGE_H
#define ROUGHTIME_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"

#define TAG(a, b, c, d)                                         \
	((uint32_t)(uint8_t)(a) | (uint32_t)(uint8_t)(b) << 8 | \
	    (uint32_t)(uint8_t)(c) << 16 | (uint32_t)(uint8_t)(d) << 24)
#define TAG_SIG TAG('S', 'I', 'G', 0)
#define TAG_VER TAG('V', 'E', 'R', 0)
#define TAG_SRV TAG('S', 'R', 'V', 0)
#define TAG_NONC TAG('N', 'O', 'N', 'C')
#define TAG_DELE TAG('D', 'E', 'L', 'E')
#define TAG_TYPE TAG('T', 'Y', 'P', 'E')
#define TAG_PATH TAG('P', 'A', 'T', 'H')
#define TAG_RADI TAG('R', 'A', 'D', 'I')
#define TAG_PUBK TAG('P', 'U', 'B', 'K')
#define TAG_MIDP TAG('M', 'I', 'D', 'P')
#define TAG_SREP TAG('S', 'R', 'E', 'P')
#define TAG_VERS TAG('V', 'E', 'R', 'S')
#define TAG_MINT TAG('M', 'I', 'N', 'T')
#define TAG_ROOT TAG('R', 'O', 'O', 'T')
#define TAG_CERT TAG('C', 'E', 'R', 'T')
#define TAG_MAXT TAG('M', 'A', 'X', 'T')
#define TAG_INDX TAG('I', 'N', 'D', 'X')
#define TAG_ZZZZ TAG('Z', 'Z', 'Z', 'Z')
#define TAG_PAD TAG('P', 'A', 'D', 0)
#define TAG_PAD_FF TAG('P', 'A', 'D', 0xff)

#define MESSAGE_TAGS_MAX 32
#define FRAME_LEN 12

enum message_fault {
	MESSAGE_OK = 0,
	MESSAGE_SHORT, /* no room for the count */
	MESSAGE_UNALIGNED, /* length is not a multiple of four */
	MESSAGE_EMPTY, /* N = 0 */
	MESSAGE_TAGS_TOO_MANY, /* N > MESSAGE_TAGS_MAX */
	MESSAGE_HEADER_SHORT, /* header goes past the end */
	MESSAGE_OFFSET_UNALIGNED,
	MESSAGE_OFFSET_ORDER, /* offsets go backwards */
	MESSAGE_OFFSET_BEYOND, /* past the end of the values */
	MESSAGE_TAG_ORDER, /* tags not ascending as uint32 */
	MESSAGE_TAG_REPEATED,
	MESSAGE_FAULTS
};
const char *message_fault_str(enum message_fault fault);

enum frame_fault {
	FRAME_OK = 0,
	FRAME_ABSENT, /* does not begin with ROUGHTIM: maybe a bare message */
	FRAME_SHORT, /* begins so, but ends inside the header */
	FRAME_TRUNCATED, /* says more bytes than there are */
	FRAME_TRAILING, /* says fewer bytes than there are */
	FRAME_FAULTS
};
const char *frame_fault_str(enum frame_fault fault);

struct message {
	uint32_t count;
	const uint8_t *header; /* the offsets start 4 bytes in */
	struct view values;
};

/* Checks the whole header; on MESSAGE_OK `m` holds views into `bytes`. */
enum message_fault message_decode(struct message *m, struct view bytes);

/* Finds `tag`; false when absent (value is then {NULL, 0}). A present tag of
 * zero length gives a non-NULL data pointer. */
bool message_get(const struct message *m, uint32_t tag, struct view *value);

/* Tag and value number i (0 <= i < count). */
uint32_t message_tag(const struct message *m, uint32_t i);
struct view message_value(const struct message *m, uint32_t i);

/* Takes the frame off: *message is what follows it. */
enum frame_fault frame_decode(struct view packet, struct view *message);

/* What the bytes at the start of a stream of frames are. */
enum frame_scan {
	FRAME_SCAN_PART = 0, /* wait for more */
	FRAME_SCAN_WHOLE,
	FRAME_SCAN_ALIEN, /* does not begin with ROUGHTIM */
	FRAME_SCAN_TOO_LONG, /* over `max` bytes, the 12 of the frame counted */
};
/* *total: bytes of the first frame, 0 while its length is not known. */
enum frame_scan
frame_scan(const uint8_t *bytes, size_t len, size_t max, size_t *total);

struct message_field {
	uint32_t tag;
	struct view value; /* data NULL: `len` zero bytes */
};

/* Bytes that message_encode will write. */
size_t message_size(const struct message_field *fields, size_t n);

/*
 * Writes a message; fields ascending by tag, lengths multiples of four (our
 * own bug otherwise: assert). Returns bytes, or 0 when `cap` is too small.
 */
size_t message_encode(
    uint8_t *out, size_t cap, const struct message_field *fields, size_t n);

/* Writes the 12-byte frame for a message of `len` bytes. */
void frame_encode(uint8_t out[static FRAME_LEN], uint32_t len);

#endif
