#include "roughtime/grease.h"

#include <stdbool.h>
#include <string.h>

#include "base/wire.h"
#include "roughtime/message.h"
#include "roughtime/response.h"

#define NOT_FOUND UINT32_MAX

/* A reply taken apart; the views point into `copy`, not into the reply. */
struct parts {
	uint8_t copy[RESPONSE_MAX];
	struct message_field fields[MESSAGE_TAGS_MAX];
	uint32_t count;
	bool framed;
};

const char *
grease_kind_str(enum grease_kind kind)
{
	static const char *const words[GREASE_KINDS] = {
		[GREASE_NONE] = "none",
		[GREASE_MISSING_TAG] = "missing-tag",
		[GREASE_WRONG_VERSION] = "wrong-version",
		[GREASE_UNDEFINED_TAG] = "undefined-tag",
		[GREASE_WRONG_TIME] = "wrong-time",
	};

	return (unsigned int)kind < GREASE_KINDS ? words[kind] : "unknown";
}

static bool
take_apart(struct parts *p, const uint8_t *reply, size_t len)
{
	struct view packet = { p->copy, len }, body;
	struct message m;

	if (len > sizeof p->copy)
		return false;
	memcpy(p->copy, reply, len);
	p->framed = frame_decode(packet, &body) == FRAME_OK;
	if (message_decode(&m, p->framed ? body : packet) != MESSAGE_OK)
		return false;
	p->count = m.count;
	for (uint32_t i = 0; i < m.count; i++) {
		p->fields[i].tag = message_tag(&m, i);
		p->fields[i].value = message_value(&m, i);
	}
	return true;
}

/* Writes the parts as a packet again; false when there is no room. */
static bool
put_together(const struct parts *p, uint8_t *reply, size_t *len, size_t room)
{
	size_t frame = p->framed ? FRAME_LEN : 0;
	size_t size = message_size(p->fields, p->count);

	if (p->count == 0 || p->count > MESSAGE_TAGS_MAX || frame + size > room)
		return false;
	message_encode(reply + frame, size, p->fields, p->count);
	if (p->framed)
		frame_encode(reply, (uint32_t)size);
	*len = frame + size;
	return true;
}

static uint32_t
find(const struct parts *p, uint32_t tag)
{
	for (uint32_t i = 0; i < p->count; i++) {
		if (p->fields[i].tag == tag)
			return i;
	}
	return NOT_FOUND;
}

/* The bytes of a value in the copy, to be changed; NULL when the tag is not
 * there or its length is another. */
static uint8_t *
bytes_of(struct parts *p, uint32_t tag, size_t len)
{
	uint32_t i = find(p, tag);

	if (i == NOT_FOUND || p->fields[i].value.len != len)
		return NULL;
	return p->copy + (p->fields[i].value.data - p->copy);
}

/* The same for a value inside SREP. */
static uint8_t *
srep_bytes_of(struct parts *p, uint32_t tag, size_t len)
{
	uint32_t i = find(p, TAG_SREP);
	struct message srep;
	struct view value;

	if (i == NOT_FOUND ||
	    message_decode(&srep, p->fields[i].value) != MESSAGE_OK ||
	    !message_get(&srep, tag, &value) || value.len != len)
		return NULL;
	return p->copy + (value.data - p->copy);
}

static bool
drop_tag(struct parts *p, uint64_t random)
{
	uint32_t i;

	if (p->count < 2)
		return false;
	i = (uint32_t)(random % p->count); /* every tag of ours is mandatory */
	p->count--;
	memmove(&p->fields[i], &p->fields[i + 1],
	    (p->count - i) * sizeof p->fields[0]);
	return true;
}

/* A number for private use (RFC 10049 section 12.2): nobody offers it. Under
 * SREP's signature this breaks the signature; on top VER is not signed. */
static bool
spoil_version(struct parts *p, uint64_t random)
{
	uint8_t *ver = srep_bytes_of(p, TAG_VER, 4);

	if (ver == NULL)
		ver = bytes_of(p, TAG_VER, 4);
	if (ver == NULL)
		return false;
	wire_put32(ver, 0xc0000000u | (uint32_t)random);
	return true;
}

/*
 * A tag of four capital letters that no text defines: 'G' and 'J' start none.
 * Its value is four random bytes.
 */
static bool
add_tag(struct parts *p, uint64_t random, uint8_t value[static 4])
{
	uint32_t i = 0, tag;

	tag = TAG(random & 1 ? 'G' : 'J', 'A' + (random >> 8) % 26,
	    'A' + (random >> 16) % 26, 'A' + (random >> 24) % 26);
	if (p->count == MESSAGE_TAGS_MAX || find(p, tag) != NOT_FOUND)
		return false;
	while (i < p->count && p->fields[i].tag < tag)
		i++;
	memmove(&p->fields[i + 1], &p->fields[i],
	    (p->count - i) * sizeof p->fields[0]);
	p->count++;
	wire_put32(value, (uint32_t)(random >> 32));
	p->fields[i] = (struct message_field){ tag, { value, 4 } };
	return true;
}

/*
 * MIDP changes, and SIG with it: its scalar gets bits above the group order,
 * which no verifier accepts (RFC 8032 section 5.1.7), so that a wrong time
 * never stands under a valid signature whatever the bytes are.
 */
static bool
spoil_time(struct parts *p, uint64_t random)
{
	uint8_t *midp = srep_bytes_of(p, TAG_MIDP, 8);
	uint8_t *sig = bytes_of(p, TAG_SIG, 64);

	if (midp == NULL || sig == NULL)
		return false;
	wire_put64(midp, wire_get64(midp) ^ (random >> 32 | 0x10000));
	sig[63] |= 0xe0;
	return true;
}

static bool
spoil(struct parts *p, enum grease_kind kind, uint64_t random,
    uint8_t value[static 4])
{
	switch (kind) {
	case GREASE_MISSING_TAG:
		return drop_tag(p, random);
	case GREASE_WRONG_VERSION:
		return spoil_version(p, random);
	case GREASE_UNDEFINED_TAG:
		return add_tag(p, random, value);
	case GREASE_WRONG_TIME:
		return spoil_time(p, random);
	case GREASE_NONE:
	case GREASE_KINDS:
		break;
	}
	return false;
}

enum grease_kind
grease_apply(
    uint8_t *reply, size_t *len, size_t cap, size_t max, uint64_t random)
{
	const unsigned int kinds = GREASE_KINDS - 1;
	size_t room = cap < max ? cap : max;

	for (unsigned int i = 0; i < kinds; i++) {
		enum grease_kind kind = 1 + (random + i) % kinds;
		struct parts p;
		uint8_t value[4];

		/* a kind that this reply cannot take gives way to the next */
		if (!take_apart(&p, reply, *len))
			return GREASE_NONE;
		if (spoil(&p, kind, random / kinds, value) &&
		    put_together(&p, reply, len, room))
			return kind;
	}
	return GREASE_NONE;
}
