/*
 * Networks to try things in (network_namespaces(7), veth(4)): a server, a
 * stranger beside it, and a client on two wires. They are gone with the
 * process.
 *
 *   server  d1 192.0.2.1, 192.0.2.2, 2001:db8::1, 2001:db8::2
 *           d2 192.0.2.202
 *   client  d1 192.0.2.101, 2001:db8::101; d2 192.0.2.102
 *   other   192.0.2.1, 2001:db8::1 on loopback; no wire
 */
#ifndef NET_LAB_H
#define NET_LAB_H

#include <stdbool.h>

enum lab_kind {
	LAB_HOST = 0, /* no right to one: the host's own loopback */
	LAB_USER, /* networks, but one user only (user_namespaces(7)) */
	LAB_ROOT,
};
enum lab_net { LAB_SERVER = 0, LAB_OTHER, LAB_CLIENT };
#define LAB_NETS 3

struct lab {
	enum lab_kind kind;
	int net[LAB_NETS]; /* their descriptors; not with LAB_HOST */
	unsigned int device[2]; /* the server's d1 and d2 */
};

/*
 * Moves the calling process, which must have one thread, into the server's
 * network; without the rights the lab is LAB_HOST. -1 with errno when a
 * network was to be had but could not be set up.
 */
int lab_open(struct lab *l);
/* From now on new sockets are of this network. */
int lab_enter(const struct lab *l, enum lab_net net);

#endif
