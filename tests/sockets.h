/* Sockets of unit tests: a network of their own, addresses from text. */
#ifndef TESTS_SOCKETS_H
#define TESTS_SOCKETS_H

#include "net/sock.h"

/*
 * First in main(): leaves the host's network for an empty one with loopback
 * only, so that no other program holds a port or sends a packet. Without the
 * right to (not root) the test stays where it is.
 */
void sockets_private(void);

struct addr sockets_addr(const char *text);

/*
 * Binds (and listens) at the address in `text`. *port 0: at one that nobody
 * holds, at whatever address; *port gets it.
 */
int sockets_open(enum sock_proto proto, const char *text,
    const struct sock_opts *o, uint16_t *port);

/* A UDP socket connected there: it hears only replies that leave from the
 * address it asked. */
int sockets_client(const char *text, uint16_t port);
void sockets_say(int fd, const char *text); /* one datagram */
void sockets_queued(int fd); /* waits until one is there */
/* Loopback delivers within the sender's call: nothing there means nothing. */
void sockets_silent(int fd);

#endif
