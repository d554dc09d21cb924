/*
 * Many datagrams a system call: recvmmsg(2) in, sendmmsg(2) out, replies
 * leaving from the address that was asked (IP_PKTINFO, IPV6_PKTINFO).
 * Neighbours of one length to one client go as one message (net/segment.h).
 * All memory is one block made at start.
 */
#ifndef NET_BATCH_H
#define NET_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"

struct batch; /* opaque: mmsghdr, iovec and control arrays that must agree */

/*
 * A batch of up to `slots` datagrams with `in_cap` bytes of buffer each to
 * receive and `out_cap` each to send. NULL with errno when out of memory.
 */
struct batch *batch_new(unsigned int slots, size_t in_cap, size_t out_cap);
void batch_free(struct batch *b);

/*
 * Receives what is queued, without waiting, up to the number of slots.
 * Returns how many (0: nothing there), or -1 with errno for a real fault
 * (EAGAIN, EINTR and pending ICMP errors are not faults).
 */
int batch_receive(struct batch *b, int fd);

const uint8_t *batch_in(const struct batch *b, unsigned int i, size_t *len);
/* A datagram that was longer than in_cap (MSG_TRUNC). */
bool batch_truncated(const struct batch *b, unsigned int i);
const struct addr *batch_peer(const struct batch *b, unsigned int i);

/* The address that datagram i was sent to, without its port; false: the socket
 * was not told to say so (sock_opts.pktinfo). */
bool batch_asked(const struct batch *b, unsigned int i, struct addr *a);

/* The buffer for the reply to datagram i (out_cap bytes). */
uint8_t *batch_out(struct batch *b, unsigned int i);
/* Says that the reply to i has `len` bytes; 0 (the state after receive): none. */
void batch_reply(struct batch *b, unsigned int i, size_t len);

/*
 * Sends all replies of the batch; one that the kernel refuses (EPERM,
 * ENETUNREACH, EAGAIN…) is skipped, the rest go on. Returns how many went
 * out and puts the number refused into *refused.
 */
unsigned int batch_send(struct batch *b, int fd, unsigned int *refused);

#endif
