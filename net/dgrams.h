/*
 * Datagrams passed on without a copy: received into slots by recvmmsg(2), sent
 * out of the same slots through another socket by sendmmsg(2). A slot holds
 * any UDP datagram whole, with room before it for a header. One a worker, all
 * memory made at start.
 *
 * A slot may hold a run of equal datagrams (UDP_GRO), and neighbours of equal
 * length go out as one message (UDP_SEGMENT); where the kernel or the device
 * refuses that, they go one by one.
 */
#ifndef NET_DGRAMS_H
#define NET_DGRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

#define DGRAMS_SLOTS 64u
#define DGRAMS_HEADROOM 64u
#define DGRAMS_CAP 65536u /* no datagram and no run of them is longer */
#define DGRAMS_NONE UINT32_MAX

/* What is wanted of each datagram that is received. */
enum dgrams_from {
	DGRAMS_PLAIN = 0, /* bytes: a connected socket without UDP_GRO */
	DGRAMS_RUNS, /* and how long each of a run is */
	DGRAMS_NAMED, /* and peer and local: an unconnected socket */
};

struct dgram {
	uint8_t *data; /* DGRAMS_HEADROOM bytes before it are free */
	uint32_t len;
	uint32_t segment; /* of a run: bytes of each but the last; else 0 */
	/* The caller's: whose it is; DGRAMS_NONE: not to be sent. Neighbours
	 * of one owner may travel together. */
	uint32_t owner;
	struct addr
	    peer; /* DGRAMS_NAMED: the sender; where a named send goes */
	/* The address that was asked (PKTINFO), with its port where the socket
	 * asks for it (sock_udp_asked). Family 0: the socket is bound to it. A named send leaves from here. */
	struct addr local;
	bool group; /* came to a broadcast or multicast address */
	bool raw; /* a UDP header is in front (net/rawudp): sent alone */
};

struct dgrams {
	unsigned int count; /* slots filled */
	struct dgram at[DGRAMS_SLOTS];
	bool segment; /* UDP_SEGMENT works as far as we know */
	uint64_t refused; /* by the kernel, since it was made */
	struct dgrams_inner *inner;
};

struct dgrams *dgrams_new(void); /* NULL with errno */
void dgrams_free(struct dgrams *d);

/* How many datagrams a slot holds. */
unsigned int dgrams_held(const struct dgram *g);

/*
 * Receives behind what is there, without waiting, at most `most` slots and the
 * free ones. Returns how many, 0 when nothing waits, or -1 with errno, pending
 * ICMP errors included.
 */
int dgrams_receive(
    struct dgrams *d, int fd, unsigned int most, enum dgrams_from from);

/*
 * Sends the `n` slots of `which`, in this order. `named`: each to its peer
 * from its local address; else to where `fd` is connected. One that the kernel
 * refuses is skipped. Returns how many datagrams were refused, and the last
 * errno in *error (0: none).
 */
unsigned int dgrams_send(struct dgrams *d, int fd, const uint8_t *which,
    unsigned int n, bool named, int *error);

#endif
