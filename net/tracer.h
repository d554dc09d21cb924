/*
 * Which socket takes a packet in: a BPF program at the cgroup of all sockets
 * (cgroups(7), Linux 5.7) sees each with its socket, whoever that belongs to
 * and however fast it is read. It takes CAP_BPF and CAP_NET_ADMIN, and for the
 * cgroups CAP_SYS_ADMIN; it changes nothing, and ends with us.
 */
#ifndef NET_TRACER_H
#define NET_TRACER_H

#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/sock.h"

struct tracer; /* opaque: the program and its maps */

#define TRACER_WHY_LEN 160

/* Datagrams, or connections that begin, from the one address to the other and
 * its port are counted from here on; the sender's port is not looked at. NULL
 * and a sentence in `why` when the build, the kernel or rights lack. */
struct tracer *tracer_open(enum sock_proto proto, const struct addr *from,
    const struct addr *to, char why[static TRACER_WHY_LEN]);
void tracer_close(struct tracer *t); /* NULL is fine */

struct tracer_sight {
	uint64_t cookie; /* SO_COOKIE of the socket */
	uint16_t port; /* the sender's */
	uint32_t count;
};

/* What was seen so far: how many rows, `cap` at most. */
size_t
tracer_sights(const struct tracer *t, struct tracer_sight *out, size_t cap);

#endif
