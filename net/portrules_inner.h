/* What the files of the model share, and where a test build spoils a rule. */
#ifndef NET_PORTRULES_INNER_H
#define NET_PORTRULES_INNER_H

#include "net/portrules.h"

/*
 * Each condition of the model has a name. In a test build one of them at a
 * time is forced, true or false, and the suite must notice: a condition that
 * no cell needs is either wrong or not tested.
 */
#define PORTRULES_CONDITIONS(X) \
	X(SAME_PROTO)           \
	X(SAME_NETNS)           \
	X(SAME_PORT)            \
	X(DEVICES_MEET)         \
	X(ADDRESSES_MEET)       \
	X(WILDCARD_MEETS)       \
	X(DUAL_MEETS)           \
	X(MAPPED_IS_FOUR)       \
	X(MAPPED_REFUSED)       \
	X(BOTH_REUSEADDR)       \
	X(BOTH_REUSEPORT)       \
	X(SAME_UID)             \
	X(ANY_UID_WAITS)        \
	X(NOT_LISTENING)        \
	X(REMEMBERED)           \
	X(REMEMBERED_UID)       \
	X(REMEMBERED_COVERS)    \
	X(KEEPS_MEMORY)         \
	X(JOINS_GROUP)          \
	X(GROUP_FAMILY)         \
	X(GROUP_V6ONLY)         \
	X(GROUP_DEVICE)         \
	X(GROUP_UID)            \
	X(GROUP_ADDRESS)        \
	X(LEAVES_GROUP)         \
	X(AT_TAIL)              \
	X(IS_LISTENER)          \
	X(PEER_MATCHES)         \
	X(DEVICE_HEARS)         \
	X(BETTER_SCORE)         \
	X(FAMILY_SCORES)        \
	X(DEVICE_SCORES)        \
	X(CPU_SCORES)           \
	X(GROUP_SPLITS)         \
	X(GROUP_STEERED)        \
	X(GROUP_ENDS_SEARCH)    \
	X(CONNECTED_FIRST)      \
	X(CHOICE_UNCONNECTED)   \
	X(CHOICE_FAMILY)        \
	X(CHOSEN_BEFORE_EXACT)  \
	X(EXACT_BEFORE_WILDCARD)

#ifdef PORTRULES_MUTATE
#define PORTRULES_NAME_(name) PORTRULES_COND_##name,
enum portrules_condition {
	PORTRULES_CONDITIONS(PORTRULES_NAME_) PORTRULES_CONDITION_COUNT
};
extern int portrules_spoiled; /* 1 + 2 * condition + forced value; 0: none */
#define RULE(name, value)                                        \
	((portrules_spoiled - 1) / 2 == PORTRULES_COND_##name && \
		    portrules_spoiled > 0                        \
		? (portrules_spoiled - 1) % 2 == 1               \
		: (value))
#else
#define RULE(name, value) (value)
#endif

/* An address as binds see it: IPv4 in whatever clothes, or IPv6. */
struct portrules_spot {
	bool four, any, dual; /* dual: any of IPv6, and IPv4 with it */
	sa_family_t family; /* of the socket */
	uint8_t bytes[16];
};
/* v6only: of the socket, when the address is :: */
void
portrules_spot(struct portrules_spot *spot, const struct addr *a, bool v6only);
bool portrules_spots_meet(
    const struct portrules_spot *a, const struct portrules_spot *b);
bool portrules_same_spot(
    const struct portrules_spot *a, const struct portrules_spot *b);
void portrules_spot_of(
    struct portrules_spot *spot, const struct portrules_socket *s);

/* The bound socket whose place is next below `place`: the kernel's order. */
size_t portrules_next(const struct portrules *p, long place);
bool portrules_same_port(
    const struct portrules_socket *a, const struct portrules_socket *b);

/* A supposition about every older socket, for the search of a fix. */
struct portrules_wish {
	bool reuseaddr, reuseport, same_uid;
};
/* One step: `listens`, else bind. `self` is its index, if it has one. */
struct portrules_verdict portrules_decide(const struct portrules *p,
    const struct portrules_socket *newer, size_t self, bool listens,
    const struct portrules_wish *w);

/* TCP: s has the newcomer's port. */
bool portrules_on_tcp_port(
    const struct portrules_socket *s, const struct portrules_socket *newer);
/* What the newcomer's port remembers; NULL: nobody has it. */
const struct portrules_cache *portrules_memory(
    const struct portrules *p, const struct portrules_socket *newer);
bool portrules_remembered(
    const struct portrules_cache *c, const struct portrules_socket *newer);

#endif
