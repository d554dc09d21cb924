/*
 * What the kernel's routing (rtnetlink(7)) says of an address, and word when
 * it may say something else. Takes no right, and no file.
 */
#ifndef NET_ROUTE_H
#define NET_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

#define ROUTE_MAC_LEN 6

struct route {
	unsigned int device; /* by which it leaves (ifindex); lo: it stays */
	uint16_t mtu; /* of the path where it is known, else UINT16_MAX */
	struct addr hop; /* the next one: a gateway, or who is sent to; family
			    0: none, it stays */
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

/* The MAC address that a neighbour (arp(7)) has at an interface of Ethernet.
 * 0, or -1 with errno: ENOENT when there is none that is known to be good. */
int route_neighbour(int fd, unsigned int device, const struct addr *a,
    uint8_t mac[static ROUTE_MAC_LEN]);

/* Readable when routes, rules, addresses, interfaces or what hangs on them
 * (tc(8)) have changed; -1 with errno. route_changed() takes what is there to read: whether there was. */
int route_watch(void);
bool route_changed(int fd);

#endif
