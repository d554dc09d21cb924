/*
 * What net/fastpath shares with its program in the kernel: included by that
 * too, so no header of ours or of libc is wanted here.
 *
 * A flow has two sides, one for each way: `2n` what its client sends, `2n + 1`
 * what its origin answers. A hash leads from the addresses that a datagram
 * carries to its side; the side says what they become, and counts.
 *
 * A hash entry may be deleted, and even become another's, under a run of the
 * program that has just found it. So a run passes the gate of its side first:
 * it counts itself in, in the same word as the number that tells whose entries
 * are meant and the bit that closes the side. Once closed, nothing is counted
 * that was not counted in before; when `ended` has reached the gate's count,
 * no run is inside and the counters are final.
 */
#ifndef NET_FASTPATH_SIDE_H
#define NET_FASTPATH_SIDE_H

#include <stdbool.h>
#include <stdint.h>

struct fastpath_tuple {
	uint32_t from[4], to[4]; /* network order; IPv4: the first, then 0 */
	uint16_t from_port, to_port; /* network order */
	uint32_t version; /* 4 or 6 */
};

struct fastpath_entry {
	uint32_t side;
	uint32_t turn; /* of the gate */
};

#define FASTPATH_CLOSED ((uint64_t)1 << 63)
#define FASTPATH_TURN_SHIFT 48 /* 15 bits, below the closing one */
#define FASTPATH_TURN_MASK 0x7fffu
#define FASTPATH_COUNT_MASK (((uint64_t)1 << FASTPATH_TURN_SHIFT) - 1)

/* No path carries less (RFC 791; RFC 8200, section 5). */
#define FASTPATH_MTU_LEAST4 576
#define FASTPATH_MTU_LEAST6 1280

/* What was seen of the datagrams of a side while they went by the sockets:
 * one that came in, and one that left, with the addresses that are rewritten.
 * Both, and they are carried. */
#define FASTPATH_CAME 1u
#define FASTPATH_LEFT 2u
#define FASTPATH_CARRIED (FASTPATH_CAME | FASTPATH_LEFT)

/* Two cache lines; the second is not needed to count. */
struct fastpath_side {
	uint64_t gate;
	uint32_t ended; /* runs that have been counted below */
	uint16_t mtu; /* of the path, for the whole IP packet */
	uint16_t hop; /* the next one, if it is remembered; 0: it is not */
	uint64_t datagrams, bytes; /* of payload */
	uint64_t seen_ns; /* CLOCK_MONOTONIC */
	uint32_t device; /* by which it leaves (ifindex) */
	uint32_t ip_change; /* of the IPv4 header's sum, one hop included */
	uint32_t address_change; /* of the UDP sum, by the addresses */
	uint16_t epoch; /* the control's, when this was found out */
	uint8_t state; /* of FASTPATH_CARRIED */
	uint8_t version;
	uint32_t new_ports, old_ports; /* source, destination */
	uint32_t new_addr[8], old_addr[8]; /* source, destination */
};

/*
 * The other end of a pair (veth), in another network namespace, where an
 * address is, or the gateway to it. As long as frames come from there it is
 * there, and they tell both MAC addresses; then what is sent to it needs no
 * neighbour entry. From a gateway they must have the address that it has as a
 * neighbour. A side compares before it uses one: it may be another's by now.
 */
#define FASTPATH_HEARD_NS 4000000000u
struct fastpath_hop {
	uint64_t heard_ns; /* CLOCK_MONOTONIC; 0: never */
	uint8_t frame[16]; /* begins with: to it, from us */
	uint32_t device; /* our end */
	uint32_t addr[4]; /* as in a tuple: whose datagrams go there */
	uint32_t fixed; /* it is a gateway, and known who sends */
	uint32_t unused[4]; /* a cache line */
};

/* One for all; the program forwards nothing unless this is kept up. */
#define FASTPATH_DEAD_NS 3000000000u
#define FASTPATH_MAGIC 0x74736632u /* "tsf2": this layout */
struct fastpath_control {
	uint32_t magic;
	uint32_t pid; /* whose it is */
	uint64_t alive_ns; /* CLOCK_MONOTONIC; 0: closed */
	uint32_t epoch; /* sides of another one are closed: routes changed */
	uint32_t unused;
};

#endif
