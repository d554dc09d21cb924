/* Pairs of virtual Ethernet (veth(4)), as containers have them. */
#ifndef NET_VETH_H
#define NET_VETH_H

#include <stdbool.h>

/*
 * Whether an interface is one end of a pair whose other end is in another
 * network namespace, and nothing is between the two: no queueing discipline, no
 * filter on leaving (tc(8)) but net/fastpath's, no bridge or the like that it
 * is a port of. By a socket of route_open(); takes no right.
 */
bool veth_is_bare(int fd, unsigned int device);

#endif
