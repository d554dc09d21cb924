/* Classic and extended BPF on sockets: the only place that knows BPF. */
#ifndef NET_STEER_H
#define NET_STEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * SO_ATTACH_FILTER: a classic-BPF program that lets through only what can be
 * a Roughtime request of at least `min_len` bytes (UDP payload) and drops the
 * rest before it wakes anyone. What passes is a whole number of words and
 *   `ROUGHTIM`, a length field == payload length - 12, a message, or
 *   an unframed message (Google's),
 * of 1..32 tags with NONC among them. Nothing that request_parse() takes is
 * dropped; some of what passes it will still refuse.
 * Returns 0, or -1 with errno (EINVAL: min_len over 65535).
 */
int steer_roughtime_filter(int fd, uint32_t min_len);

/*
 * Lets nothing in any more: what is queued can be read to its end, however
 * much is being sent. Returns 0, or -1 with errno.
 */
int steer_stop(int fd);

/*
 * SO_ATTACH_REUSEPORT_CBPF on one socket of a UDP group: what begins with a
 * Roughtime frame (RFC 10049, section 4), or has the shape of a request of
 * Google's protocol (1024 bytes or more, two tags: NONC, PAD), goes to the
 * time's sockets, the rest to the customer's; a client always to the same one.
 * `kinds` has `n` entries, in the order in which the sockets were bound, and
 * at least one of either. Returns 0, or -1 with errno.
 */
#define STEER_GROUP_MAX 128
enum steer_kind {
	STEER_IDLE = 0, /* gets nothing */
	STEER_CUSTOMER,
	STEER_TIME,
	STEER_KINDS
};
int steer_demux(int fd, const enum steer_kind *kinds, size_t n, uint32_t seed);
/* The same question about the first bytes of a TCP stream. */
#define STEER_PEEK_LEN 8
enum steer_kind steer_stream(
    const uint8_t *bytes, size_t len); /* STEER_IDLE: too few to tell */

/* Takes a filter off again; without one it does nothing. */
void steer_go_on(int fd);

/*
 * Datagrams that the filter (and a full queue) dropped on this socket so far:
 * SO_MEMINFO's SK_MEMINFO_DROPS. Returns 0 and *drops, or -1 with errno.
 */
int steer_drops(int fd, uint32_t *drops);

#endif
