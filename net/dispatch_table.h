/*
 * Rules of dispatch made into a bank that can be searched (net/dispatch_find).
 * Pure.
 */
#ifndef NET_DISPATCH_TABLE_H
#define NET_DISPATCH_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/dispatch_find.h"
#include "net/sock.h"

#define DISPATCH_RULES_MAX 1024

/*
 * Packets of `proto` to an address in `prefix`/`bits` and a port of the range
 * go to one of `sockets` slots from `slot` on; 0 sockets: they are refused, or
 * with DISPATCH_PASS for a slot left to the sockets that are bound there.
 * Of the rules that match, the longest prefix wins, then the shortest range
 * (a port over a range), then the one that stands first.
 */
struct dispatch_rule {
	enum sock_proto proto;
	struct addr prefix; /* its port is not looked at */
	unsigned int bits; /* of the family: 0 to 32 or 128 */
	uint16_t port_first, port_last;
	uint16_t slot, sockets;
	bool last; /* only where no other rule matches: of before a reload */
};

/* A rule for the addresses that a socket bound to `a` would serve: all of its
 * family when it is a wildcard. */
struct dispatch_rule dispatch_rule_for(enum sock_proto proto,
    const struct addr *a, uint16_t port_first, uint16_t port_last);

/* Returns 0, or -1 with errno: ENOSPC (too many rules, or they cut each other
 * into too many pieces), ENOMEM. */
int dispatch_compile(
    struct dispatch_bank *b, const struct dispatch_rule *rules, size_t n);

/* Whether some packet matches both `r` and the bank. */
bool
dispatch_meets(const struct dispatch_bank *b, const struct dispatch_rule *r);

/* The key of an address, as the program makes it from a packet. */
struct dispatch_key dispatch_key(enum sock_proto proto, const struct addr *a);

#endif
