/* The interfaces of this host (netdevice(7)), as far as addresses tell. */
#ifndef NET_DEVICE_H
#define NET_DEVICE_H

#include <stddef.h>

#include "net/addr.h"

/* The ifindex of lo, in every network namespace. */
#define DEVICE_LOOPBACK 1

/* That of Ethernet which has this address; 0: none has, or loopback. */
unsigned int device_of(const struct addr *a);

/* Those of Ethernet that are up and have an address, loopback left out: how
 * many, `most` at most. */
size_t device_list(unsigned int *devices, size_t most);

/* That of Ethernet, as veth and bridges are, which has this name; 0: none. */
unsigned int device_named(const char *name);

#endif
