/* Socket addresses as values: parse, print, compare, mask. IPv4 and IPv6. */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
};

#define ADDR_STR_LEN 64 /* "[" INET6_ADDRSTRLEN "%" zone "]:65535" */

/*
 * Parses `192.0.2.1:2002`, `[2001:db8::1]:2002`, `[::]`, `192.0.2.1`,
 * `2001:db8::1`; numeric only. Without a port `default_port` is taken; a
 * negative default means that the port is required.
 * Returns 0, or -1 and a sentence in *why (static text).
 */
int addr_parse(
    struct addr *a, const char *text, int default_port, const char **why);
char *addr_format(char buf[static ADDR_STR_LEN], const struct addr *a);

socklen_t addr_len(const struct addr *a);
uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);
bool addr_is_wildcard(const struct addr *a);
bool addr_is_loopback(const struct addr *a); /* 127.0.0.0/8, ::1 */
/* Not multicast or broadcast, from which no reply can come, and not IPv4 in
 * IPv6's clothes (::ffff:192.0.2.1). */
bool addr_is_listenable(const struct addr *a);
bool addr_equal(const struct addr *a, const struct addr *b);

/*
 * The bytes of the address masked to `prefix4` or `prefix6` bits, v4-mapped
 * IPv6 taken as IPv4: the key of a per-client-prefix table. 17 bytes: family
 * (4 or 6), then 16 bytes of address, zero-filled.
 */
#define ADDR_KEY_LEN 17
void addr_prefix_key(uint8_t key[static ADDR_KEY_LEN], const struct addr *a,
    unsigned int prefix4, unsigned int prefix6);

/* Whether the first `bits` of both are the same, family and all. */
bool addr_in_prefix(
    const struct addr *a, const struct addr *prefix, unsigned int bits);

#endif
