/*
 * What the kernel's routing (rtnetlink(7)) says of an address, and word when
 * it may say something else. Takes no right, and no file.
 */
#ifndef NET_ROUTE_H
#define NET_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

struct route {
	unsigned int device; /* by which it leaves (ifindex); lo: it stays */
	uint16_t mtu; /* of the path where it is known, else UINT16_MAX */
	bool direct; /* the next hop is who is sent to, and no gateway */
};

/* For route_find(); its reads give up after a second. -1 with errno. */
int route_open(void);

/*
 * Where a datagram from `from`, an address of this host (NULL: any), to `to`
 * goes. 0, or -1 with errno: EADDRNOTAVAIL when that is no host, or by several
 * interfaces.
 */
int route_find(
    int fd, const struct addr *from, const struct addr *to, struct route *r);

/* Readable when routes, rules, addresses, interfaces or what hangs on them
 * (tc(8)) have changed; -1 with errno. route_changed() takes what is there to read: whether there was. */
int route_watch(void);
bool route_changed(int fd);

#endif
