/* Classic and extended BPF on sockets: the only place that knows BPF. */
#ifndef NET_STEER_H
#define NET_STEER_H

#include <stdint.h>

/*
 * SO_ATTACH_FILTER: a classic-BPF program that lets through only what can be
 * a Roughtime request of at least `min_len` bytes (UDP payload) and drops the
 * rest before it wakes anyone:
 *   `ROUGHTIM` + length field == payload length - 12, or
 *   an unframed map: 2..16 tags, with a plausible header.
 * Loads are guarded by length tests (a load past the end returns 0).
 * Returns 0, or -1 with errno.
 */
int steer_roughtime_filter(int fd, uint32_t min_len);

/*
 * Datagrams that the filter (and a full queue) dropped on this socket so far:
 * SO_MEMINFO's SK_MEMINFO_DROPS. Returns 0 and *drops, or -1 with errno.
 */
int steer_drops(int fd, uint32_t *drops);

#endif
