/*
 * What two daemons that share a port say to each other (net/guard), as bytes.
 * One SOCK_SEQPACKET message each, always GUARD_MESSAGE_LEN bytes, numbers
 * little endian, what a type does not use is zero:
 *
 *    0 "TSG"   3 version   4 type    5 proto   6 family (0, 4, 6)  7 v6only
 *    8 number       12 uid         16 port     18 count   20 detail  21 zeros
 *   24 address (16)                40 scope    44 name (20, NUL-terminated)
 */
#ifndef NET_GUARD_MESSAGE_H
#define NET_GUARD_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/view.h"
#include "net/sock.h"

#define GUARD_MESSAGE_LEN 64
#define GUARD_NAME_LEN 20 /* with the NUL */

enum guard_type {
	GUARD_NONE = 0,
	GUARD_HELLO, /* name, detail 1: wants what GUARD_HAVE may bring */
	GUARD_ASK, /* number, place, uid; detail 1: only whether it would */
	GUARD_OPEN, /* number, detail: enum guard_way */
	GUARD_NO, /* number, detail: enum guard_why */
	GUARD_DONE, /* number */
	GUARD_HAVE, /* place, count: bound beside you; perhaps descriptors */
	GUARD_LEFT, /* place: not any more */
	GUARD_KEPT, /* place, count: yours, of before; descriptors */
	/* net/demux: */
	GUARD_WANT, /* place, count: so many of your group's sockets are mine */
	GUARD_NONE_THERE, /* place: there is no group */
	GUARD_GIVE, /* place, count: sockets of the group; number: which this
		     * one is, by order of bind; detail: its kind; descriptor */
	GUARD_CLIENT, /* place: a connection that is yours; descriptor */
	GUARD_TYPES
};
const char *guard_type_str(enum guard_type type);

/* The flag that the window is opened with. */
enum guard_way {
	GUARD_WAY_NONE = 0,
	GUARD_BY_PORT, /* SO_REUSEPORT: for sockets of one user */
	GUARD_BY_ADDR, /* SO_REUSEADDR: for those of anybody; UDP only */
	GUARD_WAYS
};

enum guard_why {
	GUARD_WHY_NONE = 0,
	GUARD_NOT_MINE, /* nothing of it is held here */
	GUARD_SAME_PLACE, /* one of the two would take all of it */
	GUARD_OTHER_USER, /* TCP wants sockets of one user */
	GUARD_FAULT, /* the flag could not be set */
	GUARD_WHYS
};
const char *guard_why_str(enum guard_why why); /* "the same address…" */

struct guard_place {
	enum sock_proto proto;
	struct addr address; /* with a port */
	bool v6only;
};

struct guard_message {
	enum guard_type type;
	uint32_t number;
	uid_t uid; /* of the newcomer's socket */
	struct guard_place place;
	uint16_t count; /* of sockets at the place */
	uint8_t detail;
	char name[GUARD_NAME_LEN]; /* printable */
};

/* 0, or -1: it is none of these. */
int guard_message_parse(struct guard_message *m, struct view bytes);

void guard_message_format(
    uint8_t out[static GUARD_MESSAGE_LEN], const struct guard_message *m);

#endif
