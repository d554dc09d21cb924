/*
 * Linux's rules for sharing a port, as a pure model: who may bind beside whom,
 * and who gets a packet (socket(7), ip(7), ipv6(7), udp(7)). It does no I/O;
 * the sockets are an array of the caller. What the rules are was found by
 * experiment on 6.18 and in the kernel's sources; `portshare matrix` compares
 * the model with the kernel at hand, cell by cell.
 *
 * Not modelled: VRF (l3mdev), multicast, IP_TRANSPARENT, what a program that
 * chooses sockets decides (its choice is given), members of a group that were
 * shut down.
 */
#ifndef NET_PORTRULES_H
#define NET_PORTRULES_H

#include <stdbool.h>
#include <stddef.h>

#include "net/addr.h"
#include "net/sock.h"

#define PORTRULES_NOBODY ((size_t)-1)
/* The kernel whose rules are asked for, as 1000 * major + minor. */
#define PORTRULES_KERNEL_NEWEST 6018

enum portrules_state {
	PORTRULES_IDLE = 0, /* UDP: unconnected. TCP: bound only */
	PORTRULES_LISTEN,
	PORTRULES_CONNECTED,
	PORTRULES_TIME_WAIT,
};
const char *portrules_state_str(enum portrules_state state);

/*
 * What TCP remembers about the sharing flags of a port from the moment of
 * somebody's bind or listen, and trusts more than the flags as they are now.
 * Every socket of a port has the same copy.
 */
enum portrules_trust {
	PORTRULES_TRUST_NONE = 0,
	PORTRULES_TRUST_ADDRESS, /* who binds what this address covers */
	PORTRULES_TRUST_ANY, /* whoever has the flag and the uid */
};
struct portrules_cache {
	bool reuseaddr;
	enum portrules_trust reuseport;
	unsigned int uid;
	struct addr local;
	bool v6only;
};

struct portrules_socket {
	/* The caller's. Flags are read live: change them at any time. */
	enum sock_proto proto;
	struct addr local; /* with the port */
	unsigned int netns; /* any number, equal for the same network */
	unsigned int device; /* SO_BINDTODEVICE's index, 0: any */
	unsigned int uid; /* the creator's, also after a change of user */
	unsigned int cpu; /* SO_INCOMING_CPU + 1, 0: none */
	bool reuseaddr;
	bool reuseport;
	bool v6only;
	/* The model's: zero before portrules_bind(). */
	bool bound;
	enum portrules_state state;
	struct addr peer; /* of a connected one */
	long place; /* in the kernel's chains: the greatest is met first */
	unsigned int group; /* of SO_REUSEPORT, 0: none */
	unsigned int member; /* which of the group, from 0 */
	bool group_connected; /* one of the group was connected once */
	unsigned int steered; /* the group's program: 1 + member, 0: none */
	struct portrules_cache cache;
};

struct portrules {
	struct portrules_socket *sockets;
	size_t n;
	unsigned int kernel;
	/*
	 * With more than ten sockets on a UDP port some kernels do not see
	 * that a wildcard overlaps the addresses of the others.
	 */
	bool crowd_blinds;
	long clock; /* the model's: places given so far */
	unsigned int groups;
};

/* The rule that decided about a bind or listen. */
enum portrules_rule {
	PORTRULES_FREE = 0,
	PORTRULES_OTHER_PORT,
	PORTRULES_OTHER_NETNS,
	PORTRULES_OTHER_DEVICE,
	PORTRULES_OTHER_ADDRESS,
	PORTRULES_V6ONLY_APART,
	PORTRULES_BOTH_REUSEADDR, /* UDP: no look at the owner */
	PORTRULES_BOTH_REUSEPORT,
	PORTRULES_NOT_LISTENING, /* TCP: both SO_REUSEADDR */
	PORTRULES_REMEMBERED, /* TCP: the port's memory, not the flags */
	PORTRULES_CROWD, /* UDP: more than ten, the wildcard not seen */
	/* From here on: refused. */
	PORTRULES_NO_FLAG,
	PORTRULES_OLDER_LACKS_FLAG,
	PORTRULES_NEWER_LACKS_FLAG,
	PORTRULES_FLAGS_DIFFER, /* one REUSEADDR, the other REUSEPORT */
	PORTRULES_OTHER_UID,
	PORTRULES_LISTENING, /* TCP: SO_REUSEADDR does not help */
	PORTRULES_MAPPED_V6ONLY, /* ::ffff:a.b.c.d is not IPv6 */
	PORTRULES_ALREADY_BOUND,
};
#define PORTRULES_RULES (PORTRULES_ALREADY_BOUND + 1)
const char *portrules_rule_str(enum portrules_rule rule); /* a word */
const char *portrules_rule_say(enum portrules_rule rule); /* a sentence */

/* The smallest change after which bind and listen would work. */
enum portrules_fix {
	PORTRULES_FIX_NONE = 0, /* nothing to mend */
	PORTRULES_FIX_NEWER_REUSEADDR,
	PORTRULES_FIX_NEWER_REUSEPORT,
	PORTRULES_FIX_NEWER_V6ONLY,
	PORTRULES_FIX_NEWER_NOT_V6ONLY,
	PORTRULES_FIX_OLDER_REUSEADDR,
	PORTRULES_FIX_OLDER_REUSEPORT,
	PORTRULES_FIX_BOTH_REUSEADDR,
	PORTRULES_FIX_BOTH_REUSEPORT,
	PORTRULES_FIX_SAME_UID, /* a group is of one user */
	PORTRULES_FIX_SAME_UID_REUSEPORT,
	PORTRULES_FIX_OTHER_ADDRESS, /* no flag helps */
};
#define PORTRULES_FIXES (PORTRULES_FIX_OTHER_ADDRESS + 1)
const char *portrules_fix_str(enum portrules_fix fix);
const char *portrules_fix_say(enum portrules_fix fix);

struct portrules_verdict {
	enum sock_step step; /* that fails; SOCK_STEP_NONE: all work */
	int error; /* its errno, 0: none */
	enum portrules_rule rule;
	size_t other; /* the older socket it is about, or PORTRULES_NOBODY */
	enum portrules_fix fix;
};

/*
 * What bind and (TCP) listen would say to `newer`, whose bookkeeping fields
 * are not looked at; nothing changes. `fix` is filled in.
 */
struct portrules_verdict portrules_predict(
    const struct portrules *p, const struct portrules_socket *newer);

/* Would socket i alone refuse the newcomer? There may be several. */
bool portrules_in_the_way(
    const struct portrules *p, const struct portrules_socket *newer, size_t i);

/*
 * The life of socket i of the array. Each does what the kernel would; on an
 * error nothing changed. `fix` is not filled in.
 */
struct portrules_verdict portrules_bind(struct portrules *p, size_t i);
struct portrules_verdict portrules_listen(struct portrules *p, size_t i);
/* `local` is the address that the kernel chose for a wildcard's packets. */
void portrules_connect(struct portrules *p, size_t i, const struct addr *local,
    const struct addr *peer);
void portrules_close(struct portrules *p, size_t i);
/* A program of socket i's group (SO_ATTACH_REUSEPORT_CBPF, _EBPF) answers so. */
void portrules_steer(struct portrules *p, size_t i, unsigned int member);
/*
 * Socket i is bound already (and in `state`, `peer`), as a scan of the live
 * sockets found it: taken as it is, oldest first. What happened before the
 * scan (a flag set and cleared again) is not known.
 */
void portrules_adopt(struct portrules *p, size_t i);

struct portrules_packet {
	enum sock_proto proto;
	struct addr from, to;
	unsigned int netns;
	unsigned int device; /* on which it arrives; loopback is one too */
	unsigned int cpu; /* CPU + 1 that takes it in, 0: not known */
	size_t chosen; /* by an sk_lookup program, or PORTRULES_NOBODY */
};

/* How near a socket came to the packet's address. */
enum portrules_level {
	PORTRULES_UNHEARD = 0, /* nobody: ICMP or reset */
	PORTRULES_FOUR_TUPLE,
	PORTRULES_SK_LOOKUP,
	PORTRULES_EXACT,
	PORTRULES_WILDCARD,
};
/* Why one of several at a level. */
enum portrules_tie {
	PORTRULES_ONLY = 0,
	PORTRULES_SCORE, /* family, device, CPU: the better match */
	PORTRULES_NEWEST, /* equal: the newest takes all of it */
	PORTRULES_OLDEST, /* equal, and of IPv6 with SO_REUSEPORT */
	PORTRULES_GROUP, /* equal: split by the flow's hash */
	PORTRULES_STEERED, /* a program of the group chose */
	PORTRULES_GROUP_FIRST, /* a group that is met first beats a score */
};
const char *portrules_level_str(enum portrules_level level);
const char *portrules_level_say(enum portrules_level level);
const char *portrules_tie_str(enum portrules_tie tie);
const char *portrules_tie_say(enum portrules_tie tie);

struct portrules_delivery {
	enum portrules_level level;
	enum portrules_tie tie;
	size_t winner; /* or PORTRULES_NOBODY */
	bool split; /* the winner's whole group shares by hash */
};

/* Who gets a datagram, or accepts a connection. */
struct portrules_delivery portrules_deliver(
    const struct portrules *p, const struct portrules_packet *packet);
/* Socket i may get the packet: the winner, or one of its group. */
bool portrules_receives(const struct portrules *p,
    const struct portrules_packet *packet, const struct portrules_delivery *d,
    size_t i);

/*
 * A flow that went to member `from` of a group of `before` may go to member
 * `to` once the group has `after` members: the flow's hash is cut into equal
 * parts, so most flows move when the number changes.
 */
bool portrules_may_move(unsigned int from, unsigned int before, unsigned int to,
    unsigned int after);

/* Do the two sockets' addresses overlap? Wildcards, ::, v4-mapped. */
bool portrules_overlap(
    const struct portrules_socket *a, const struct portrules_socket *b);

#endif
