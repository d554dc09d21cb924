/*
 * UDP from a port that another socket has: the datagram gets its header here
 * and leaves by a raw socket (raw(7)), which the kernel still gives its IP
 * header, routes and cuts into fragments. Pure.
 */
#ifndef NET_RAWUDP_H
#define NET_RAWUDP_H

#include "net/dgrams.h"

#define RAWUDP_HEADER 8u

/*
 * Puts the header, from g->local to g->peer (addresses and ports of one
 * family), in front of the payload; RAWUDP_HEADER bytes there are free. The
 * slot must not hold a run. The peer has no port then: raw sockets take none.
 */
void rawudp_wrap(struct dgram *g);

#endif
