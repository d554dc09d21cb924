/*
 * The flags that share a port, one at a time, on a socket that is there
 * already: they are read live, so they may change at any time (socket(7)).
 */
#ifndef NET_SOCKFLAG_H
#define NET_SOCKFLAG_H

#include <stdbool.h>

#include "net/sock.h"

enum sockflag {
	SOCKFLAG_REUSEADDR = 0,
	SOCKFLAG_REUSEPORT,
	SOCKFLAG_V6ONLY, /* only before the bind */
};
const char *sockflag_str(enum sockflag flag); /* "SO_REUSEADDR" */

/* A plain socket, non-blocking, close-on-exec, without any of them. */
int sockflag_new(enum sock_proto proto, sa_family_t family);
int sockflag_get(int fd, enum sockflag flag); /* 1, 0, or -1 with errno */
int sockflag_set(int fd, enum sockflag flag, bool on);

int sockflag_set_device(int fd, const char *device); /* SO_BINDTODEVICE */
int sockflag_set_ifindex(int fd, int index); /* SO_BINDTOIFINDEX */
int sockflag_set_cpu(int fd, int cpu); /* SO_INCOMING_CPU */
int sockflag_cpu(int fd); /* -1: none */

#endif
