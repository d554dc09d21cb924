/*
 * Several datagrams of one length as one message (udp(7), UDP_SEGMENT): the
 * kernel cuts them apart behind most of what a send costs.
 */
#ifndef NET_SEGMENT_H
#define NET_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* What may be joined: one frame each, one datagram's worth in all (the
 * kernel's limit), UDP_MAX_SEGMENTS of Linux before 6.9. */
#define SEGMENT_LEN_MAX 1452u
#define SEGMENT_TOTAL_MAX 65000u
#define SEGMENT_COUNT_MAX 64u

/* Room that it takes among the control messages. */
#define SEGMENT_CONTROL CMSG_SPACE(sizeof(uint16_t))

/* Appends a control message of `len` bytes, for which there must be room;
 * returns where they go. */
void *segment_control(struct msghdr *h, int level, int type, size_t len);

/* Says that `h` is datagrams of `segment` bytes, the last may be shorter. It
 * must be the last control message. */
void segment_put(struct msghdr *h, uint32_t segment);

/* Whether a message may go without it, or never: a route, a device or a socket
 * that does not segment. */
bool segment_is_refusal(int error);

/* Sends what segment_put() joined one by one. Returns how many datagrams were
 * refused, and the last errno in *error when there were any. */
unsigned int
segment_singly(const struct msghdr *h, uint32_t segment, int fd, int *error);

#endif
