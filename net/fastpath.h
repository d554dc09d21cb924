/*
 * Established UDP flows carried by the kernel (docs/adr/0020-fast-path.md): a
 * program where frames come in (tc ingress) gives a datagram its new addresses
 * and sends it on, without a socket, a copy or a wake-up of ours. Who loads and
 * attaches it needs CAP_BPF and CAP_NET_ADMIN; flows are added and taken away
 * without.
 *
 * All flows are here at the caller's word: an entry is made, changed and
 * removed by one thread, the one that owns the index. A datagram that the
 * program does not take comes to the sockets, as if there were no program.
 */
#ifndef NET_FASTPATH_H
#define NET_FASTPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/addr.h"

struct fastpath; /* opaque: maps, links and the memory that they share */

#define FASTPATH_WHY_LEN 200
#define FASTPATH_DEVICES 64

/* Where the program hangs on an interface. */
enum fastpath_hook {
	FASTPATH_HOOK_AUTO = 0, /* tcx, or else clsact */
	FASTPATH_HOOK_TCX, /* Linux 6.6: gone with the process */
	FASTPATH_HOOK_CLSACT, /* a filter: dead without us, but there */
};

/* The program loaded for `flows` flows, attached to nothing yet; it remembers
 * `hops` next hops. NULL, and in `why` a sentence, when the build, the kernel or
 * rights lack. */
struct fastpath *
fastpath_open(uint32_t flows, uint32_t hops, char why[static FASTPATH_WHY_LEN]);
/* From now on nothing is carried. NULL is fine. */
void fastpath_close(struct fastpath *f);

/* Asks the program for each frame that comes in by `device` (an ifindex, of
 * Ethernet). 0, or -1 and why. */
int fastpath_attach(struct fastpath *f, unsigned int device,
    enum fastpath_hook hook, char why[static FASTPATH_WHY_LEN]);
/* Once all are attached and before the first thread: sees to it that what a
 * kernel without links leaves behind is gone when this process is. 0, or -1
 * with errno. The child that does it becomes `user`. */
int fastpath_leave_heir(struct fastpath *f, const char *user);
/* Whether frames of this interface were ever asked for. */
bool fastpath_serves(const struct fastpath *f, unsigned int device);
size_t fastpath_devices(const struct fastpath *f);
/* The name that the n-th had then, and whether the program is still there:
 * somebody may have taken it away, or the interface may be gone. */
const char *fastpath_device(const struct fastpath *f, size_t n);
bool fastpath_attached(const struct fastpath *f, size_t n);
/* Whether the interface of this name is not the one that it was. */
bool fastpath_is_gone(const struct fastpath *f, size_t n);
/* Puts the program on one that is gone and has come back by its name; to be
 * asked every second, for a filter is put there by the heir. True: it is there.
 * Its flows are the caller's to move (fastpath_next_epoch()). */
bool fastpath_return(struct fastpath *f, size_t n);
/* Whether another's program looked at what leaves by this interface (tcx) when
 * ours was attached. */
bool fastpath_is_shared(const struct fastpath *f, unsigned int device);

/* To be called every second: three seconds without it, and nothing is carried
 * until it is called again. */
void fastpath_beat(struct fastpath *f);

/*
 * All flows go to their sockets at once, each until it is carried anew: what
 * was found out about routes does not hold any more. Any thread may read the
 * epoch, which a flow's routes must not be older than.
 */
void fastpath_next_epoch(struct fastpath *f);
uint32_t fastpath_epoch(const struct fastpath *f);

struct fastpath_way {
	unsigned int device; /* by which datagrams leave */
	uint16_t mtu; /* of the path; the interface's own is known */
	uint16_t hop; /* of fastpath_beside(); 0: none */
};

/*
 * `to`, or the gateway to it that has this MAC address, is at the other end of
 * this interface, a pair with nothing between (net/veth): what goes there may
 * be put straight into that end (bpf_redirect_peer(), bpf-helpers(7)) while
 * frames come from it. NULL: no gateway. The place is the caller's choice, and
 * its thread's, and was another's before; which to put in a way, 0 when there
 * is no such place.
 */
uint16_t fastpath_beside(struct fastpath *f, uint32_t place,
    unsigned int device, const struct addr *to, const uint8_t gateway[6]);

struct fastpath_flow {
	struct addr client, edge; /* what the client's datagrams carry */
	struct addr near, origin; /* what they are to carry */
	struct fastpath_way to_client, to_origin;
	uint32_t epoch; /* read before the two were found out */
};

/*
 * Has the kernel carry the flow, once a datagram each way has shown that these
 * are the addresses on the wire. All four are of one family. 0, or -1 with
 * errno: E2BIG, the table is full; EEXIST, these addresses are another flow's;
 * EBUSY, soon; EPERM, this kernel wants rights for every entry.
 */
int fastpath_carry(
    struct fastpath *f, uint32_t index, const struct fastpath_flow *flow);
/* Back to the sockets, at once; counts do not change any more after it. */
void fastpath_recall(struct fastpath *f, uint32_t index);
/* Takes no system call. */
bool fastpath_is_carried(const struct fastpath *f, uint32_t index);

/* Of a datagram from `from` to `to`: whose program in this network namespace
 * takes it, and where it sends it to. Root's to ask; false: nobody's. */
struct fastpath_taker {
	pid_t pid;
	struct addr to;
};
bool fastpath_find(const struct addr *from, const struct addr *to,
    struct fastpath_taker *taker);

enum fastpath_direction { FASTPATH_FROM_CLIENT = 0, FASTPATH_FROM_ORIGIN };
/* What was carried in the life of this index, all its flows together. */
struct fastpath_count {
	uint64_t datagrams, bytes; /* of payload */
	uint64_t seen_ns; /* the last one, CLOCK_MONOTONIC; 0: none */
};
struct fastpath_count fastpath_count(const struct fastpath *f, uint32_t index,
    enum fastpath_direction direction);

#endif
