/*
 * How a daemon shares its ports with others (sharing.mode): which flags its
 * sockets carry when they are bound. What Linux makes of them: net/portrules.
 */
#ifndef NET_SHARING_H
#define NET_SHARING_H

#include <stdbool.h>

#include "net/sock.h"

enum sharing_mode {
	SHARING_OFF = 0, /* no flag: the port is held alone */
	SHARING_GUARDED,
	SHARING_OPEN, /* UDP: SO_REUSEADDR, for any local user */
	SHARING_REUSEPORT, /* SO_REUSEPORT, for sockets of the same user */
	SHARING_ACTIVATION,
	SHARING_DISPATCH,
	SHARING_DEMUX,
};

/* Where the daemons meet, when nothing else is said. */
#define SHARING_SOCKET "/run/timeshare/roughtimed.sock"

/* Their words in the configuration, by number; NULL ends them. */
extern const char *const sharing_words[];

/* Adds to `o` the flags with which a server's socket is bound. */
void sharing_options(
    enum sharing_mode mode, enum sock_proto proto, struct sock_opts *o);

/* What the operator should know at start, `tcp` and `udp` telling which kinds
 * of sockets there are; NULL: nothing. */
const char *sharing_caution(enum sharing_mode mode, bool udp, bool tcp);

#endif
