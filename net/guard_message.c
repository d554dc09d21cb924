#include "net/guard_message.h"

#include <ctype.h>
#include <string.h>

#include "base/wire.h"
#include "net/steer.h"

#define VERSION 1

/* What a type carries. */
enum {
	NUMBER = 1,
	PLACE = 2,
	COUNT = 4,
	NAME = 8,
	USER = 16,
};

static const struct {
	const char *word;
	unsigned int parts;
	uint8_t detail_min, detail_max;
} types[GUARD_TYPES] = {
	[GUARD_NONE] = { "none", 0, 0, 0 },
	[GUARD_HELLO] = { "hello", NAME, 0, 1 },
	[GUARD_ASK] = { "ask", NUMBER | PLACE | USER, 0, 1 },
	[GUARD_OPEN] = { "open", NUMBER, 1, GUARD_WAYS - 1 },
	[GUARD_NO] = { "no", NUMBER, 1, GUARD_WHYS - 1 },
	[GUARD_DONE] = { "done", NUMBER, 0, 0 },
	[GUARD_HAVE] = { "have", PLACE | COUNT, 0, 0 },
	[GUARD_LEFT] = { "left", PLACE, 0, 0 },
	[GUARD_KEPT] = { "kept", PLACE | COUNT, 0, 0 },
	[GUARD_WANT] = { "want", PLACE | COUNT, 0, 0 },
	[GUARD_NONE_THERE] = { "none there", PLACE, 0, 0 },
	[GUARD_GIVE] = { "give", NUMBER | PLACE | COUNT, 0, STEER_KINDS - 1 },
	[GUARD_CLIENT] = { "client", PLACE, 0, 0 },
};

const char *
guard_type_str(enum guard_type type)
{
	return type < GUARD_TYPES ? types[type].word : "?";
}

const char *
guard_why_str(enum guard_why why)
{
	static const char *const words[GUARD_WHYS] = {
		[GUARD_WHY_NONE] = "no reason",
		[GUARD_NOT_MINE] = "it holds nothing there",
		[GUARD_SAME_PLACE] =
		    "it has this very address: one of the two would take all "
		    "of its packets",
		[GUARD_OTHER_USER] =
		    "its sockets are another user's, and TCP listeners share a "
		    "port only within one user: give both daemons the same "
		    "`user`",
		[GUARD_FAULT] = "it could not set the flag",
	};

	return why < GUARD_WHYS ? words[why] : "?";
}

/* ---- reading ---- */

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static bool
is_zero(const uint8_t *p, size_t n)
{
	while (n > 0 && p[n - 1] == 0)
		n--;
	return n == 0;
}

static int
parse_place(struct guard_place *place, const uint8_t *p)
{
	struct addr *a = &place->address;

	if (p[5] > SOCK_TCP || p[7] > 1 || get16(p + 16) == 0)
		return -1;
	place->proto = (enum sock_proto)p[5];
	place->v6only = p[7];
	if (p[6] == 4) {
		a->in.sin_family = AF_INET;
		memcpy(&a->in.sin_addr, p + 24, sizeof a->in.sin_addr);
		if (p[7] != 0 || !is_zero(p + 28, 16))
			return -1;
	} else if (p[6] == 6) {
		a->in6.sin6_family = AF_INET6;
		memcpy(&a->in6.sin6_addr, p + 24, sizeof a->in6.sin6_addr);
		a->in6.sin6_scope_id = wire_get32(p + 40);
	} else {
		return -1;
	}
	addr_set_port(a, get16(p + 16));
	return 0;
}

static int
parse_name(char name[static GUARD_NAME_LEN], const uint8_t *p)
{
	size_t n = strnlen((const char *)p, GUARD_NAME_LEN);

	if (n == 0 || n == GUARD_NAME_LEN ||
	    !is_zero(p + n, GUARD_NAME_LEN - n))
		return -1;
	for (size_t i = 0; i < n; i++)
		if (!isgraph(p[i]))
			return -1;
	memcpy(name, p, GUARD_NAME_LEN);
	return 0;
}

int
guard_message_parse(struct guard_message *m, struct view bytes)
{
	const uint8_t *p = bytes.data;
	unsigned int parts;

	memset(m, 0, sizeof *m);
	if (bytes.len != GUARD_MESSAGE_LEN || memcmp(p, "TSG", 3) != 0 ||
	    p[3] != VERSION || p[4] == GUARD_NONE || p[4] >= GUARD_TYPES)
		return -1;
	m->type = (enum guard_type)p[4];
	parts = types[m->type].parts;
	m->number = wire_get32(p + 8);
	m->uid = wire_get32(p + 12);
	m->count = get16(p + 18);
	m->detail = p[20];
	if (m->detail < types[m->type].detail_min ||
	    m->detail > types[m->type].detail_max || !is_zero(p + 21, 3) ||
	    ((parts & NUMBER) == 0 && m->number != 0) ||
	    ((parts & USER) == 0 && m->uid != 0) ||
	    ((parts & COUNT) != 0) != (m->count != 0))
		return -1;
	if ((parts & PLACE) != 0 ? parse_place(&m->place, p) != 0
				 : !is_zero(p + 5, 3) || !is_zero(p + 16, 2) ||
		    !is_zero(p + 24, 20))
		return -1;
	if ((parts & NAME) != 0)
		return parse_name(m->name, p + 44);
	return is_zero(p + 44, GUARD_NAME_LEN) ? 0 : -1;
}

/* ---- writing ---- */

static void
put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void
format_place(uint8_t *p, const struct guard_place *place)
{
	const struct addr *a = &place->address;

	p[5] = (uint8_t)place->proto;
	put16(p + 16, addr_port(a));
	if (a->sa.sa_family == AF_INET) {
		p[6] = 4;
		memcpy(p + 24, &a->in.sin_addr, sizeof a->in.sin_addr);
		return;
	}
	p[6] = 6;
	p[7] = place->v6only;
	memcpy(p + 24, &a->in6.sin6_addr, sizeof a->in6.sin6_addr);
	wire_put32(p + 40, a->in6.sin6_scope_id);
}

void
guard_message_format(
    uint8_t out[static GUARD_MESSAGE_LEN], const struct guard_message *m)
{
	unsigned int parts = types[m->type].parts;

	memset(out, 0, GUARD_MESSAGE_LEN);
	memcpy(out, "TSG", 3);
	out[3] = VERSION;
	out[4] = (uint8_t)m->type;
	out[20] = m->detail;
	if ((parts & NUMBER) != 0)
		wire_put32(out + 8, m->number);
	if ((parts & COUNT) != 0)
		put16(out + 18, m->count);
	if ((parts & PLACE) != 0)
		format_place(out, &m->place);
	if ((parts & USER) != 0)
		wire_put32(out + 12, m->uid);
	if ((parts & NAME) != 0)
		memcpy(out + 44, m->name, strnlen(m->name, GUARD_NAME_LEN - 1));
}
