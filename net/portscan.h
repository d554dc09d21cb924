/*
 * The live sockets of this host's port by netlink sock_diag(7), who owns them
 * by /proc, and which flags they carry by pidfd_getfd(2).
 */
#ifndef NET_PORTSCAN_H
#define NET_PORTSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/addr.h"
#include "net/portrules.h"
#include "net/sock.h"

struct portscan_socket {
	enum sock_proto proto;
	enum portrules_state state;
	struct addr local;
	struct addr peer; /* of a connected one; family 0: none */
	unsigned int uid; /* the creator's */
	unsigned int device; /* SO_BINDTODEVICE's index, 0: any */
	unsigned long inode;
	uint64_t cookie; /* SO_COOKIE: never given twice */
	uint32_t queued; /* UDP: bytes not read. LISTEN: not accepted */
	bool listening; /* TCP: LISTEN. UDP: unconnected */
	bool v6only; /* IPv6: leaves IPv4 to others */
	pid_t pid; /* 0: owner not visible to us */
	int fd; /* the owner's descriptor number, -1 unknown */
	char command[64]; /* comm, "" unknown */
	char unit[64]; /* of systemd, "" none or unknown */
	bool flags_seen; /* false: the next three are not known */
	bool reuseaddr, reuseport;
	unsigned int cpu; /* SO_INCOMING_CPU + 1, 0: none */
};

/*
 * Sockets bound to `port`, oldest first as far as the kernel's order tells,
 * owners and flags resolved where our rights let us. UDP: all. TCP: those in
 * LISTEN; with `all` also bound, connected and TIME_WAIT ones, before them.
 * Fills at most `cap`, returns the number found (may be more than cap), or -1
 * with errno.
 */
int portscan_port(enum sock_proto proto, uint16_t port, bool all,
    struct portscan_socket *out, size_t cap);

/* The same without owners and flags: for who asks again and again. */
int portscan_bare(enum sock_proto proto, uint16_t port, bool all,
    struct portscan_socket *out, size_t cap);

/*
 * The sockets that have these cookies, on whatever port; TCP: listeners.
 * Returns how many of `n` were found, filled as by portscan_port(), or -1.
 */
int portscan_cookies(enum sock_proto proto, const uint64_t *cookies, size_t n,
    struct portscan_socket *out);

/*
 * Marks each port that some socket has in one bit of `ports`, all addresses
 * together (before Linux 6.8 without TCP sockets that are bound and idle).
 * 0, or -1 with errno.
 */
#define PORTSCAN_PORTS_LEN 8192
int
portscan_ports(enum sock_proto proto, uint8_t ports[static PORTSCAN_PORTS_LEN]);

#endif
