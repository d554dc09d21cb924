/*
 * The live sockets of a port put through the rules (net/portrules): would
 * another bind work, who is in the way, what is the smallest change; and who
 * gets a packet.
 */
#ifndef NET_PORTLOOK_H
#define NET_PORTLOOK_H

#include "net/portrules.h"
#include "net/portscan.h"

struct portlook {
	size_t n; /* sockets in both arrays, with the same index */
	size_t total; /* on the port; more than n: not all were looked at */
	size_t blind; /* of n: whose flags we may not see; taken as none */
	struct portscan_socket *found;
	struct portrules_socket *sockets;
	struct portrules rules;
};

/*
 * Scans the port. 0, or -1 with errno; portlook_free() in both cases.
 */
int portlook_scan(struct portlook *l, enum sock_proto proto, uint16_t port);
/* The same of those sockets that are wanted. */
typedef bool
portlook_wanted(const void *context, const struct portscan_socket *s);
int portlook_scan_some(struct portlook *l, enum sock_proto proto, uint16_t port,
    portlook_wanted *wanted, const void *context);
void portlook_free(struct portlook *l);

/* A newcomer of this process's user, as sock_open() would make it. */
void portlook_newcomer(struct portrules_socket *s, enum sock_proto proto,
    const struct addr *a, const struct sock_opts *o);

/*
 * Binds the newcomer in the model, beside the live ones; and TCP listens. Its
 * index, or PORTRULES_NOBODY when that does not work.
 */
size_t
portlook_add(struct portlook *l, const struct portrules_socket *newcomer);

/* "pid 812 (roughtimed), uid 998, on 0.0.0.0:2002": returns buf. */
char *
portlook_owner(char *buf, size_t len, const struct portscan_socket *holder);

/*
 * One line about a bind that failed with EADDRINUSE, or would: "udp
 * 192.0.2.1:2002 is in use: held by pid 812 (roughtimed), uid 998, on
 * 0.0.0.0:2002: the addresses overlap and …; smallest change: …". Says so
 * when nobody is in sight, or when the owner or the flags are not visible
 * without root. Returns buf.
 */
char *portlook_explain(char *buf, size_t len, enum sock_proto proto,
    const struct addr *wanted, const struct sock_opts *o);
/* The same of those sockets that are to blame. */
char *portlook_explain_some(char *buf, size_t len, enum sock_proto proto,
    const struct addr *wanted, const struct sock_opts *o,
    portlook_wanted *to_blame, const void *context);

#endif
