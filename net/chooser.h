/*
 * The smallest programs that choose a socket: sk_lookup (bpf(2), Documentation/bpf/prog_sk_lookup):
 * every packet to one port goes to one socket; and of a group. For trying what such a program
 * does to the kernel's choice; needs CAP_BPF and CAP_NET_ADMIN.
 */
#ifndef NET_CHOOSER_H
#define NET_CHOOSER_H

#include <stdint.h>

/*
 * In the network `netns` (a descriptor), for IPv4, IPv6, UDP and TCP. Returns
 * a descriptor with whose close it ends, or -1 with errno.
 */
int chooser_attach(int netns, int socket, uint16_t port);

/*
 * Every packet to the SO_REUSEPORT group of this socket goes to its member
 * `member`, from 0 in the order of joining (SO_ATTACH_REUSEPORT_CBPF).
 */
int chooser_steer(int socket, unsigned int member);

#endif
