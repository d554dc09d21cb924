/* What the program of net/tracer and its user share; no header of libc's. */
#ifndef NET_TRACER_INNER_H
#define NET_TRACER_INNER_H

#include <linux/types.h>

/* Packets that count: both addresses (IPv4 as ::ffff:a.b.c.d), the port asked
 * and the protocol; the bytes as in the packet. */
struct tracer_rule {
	__u8 from[16], to[16];
	__u16 port;
	__u16 protocol; /* IPPROTO_UDP, IPPROTO_TCP; 0: none counts */
};

struct tracer_key {
	__u64 cookie; /* the socket that took it in */
	__u32 port; /* the sender's, in host order */
	__u32 unused;
};

#endif
