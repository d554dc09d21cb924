/*
 * The live sockets of this host by netlink sock_diag(7), and who owns them by
 * /proc: what a busy port's error message is made of.
 */
#ifndef NET_PORTSCAN_H
#define NET_PORTSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "net/addr.h"
#include "net/sock.h"

struct portscan_socket {
	enum sock_proto proto;
	struct addr local;
	unsigned int uid;
	unsigned long inode;
	bool listening; /* TCP: LISTEN. UDP: unconnected */
	bool v6only; /* IPv6: leaves IPv4 to others */
	pid_t pid; /* 0: owner not visible to us */
	int fd; /* the owner's descriptor number, -1 unknown */
	char command[64]; /* comm, "" unknown */
};

/*
 * Sockets bound to `port` (UDP: all; TCP: in LISTEN), owners resolved where
 * /proc lets us. Fills at most `cap`, returns the number found (may be more
 * than cap), or -1 with errno.
 */
int portscan_port(enum sock_proto proto, uint16_t port,
    struct portscan_socket *out, size_t cap);

/*
 * One line of plain words for a failed bind: "udp 0.0.0.0:2002 is in use:
 * held by pid 812 (roughtimed), uid 998, on 0.0.0.0:2002". It names the
 * socket whose address overlaps (wildcards do), or says that none is seen, or
 * that its owner is not visible without root. Returns buf.
 */
char *portscan_explain(
    char *buf, size_t len, enum sock_proto proto, const struct addr *wanted);

#endif
