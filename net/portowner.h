/*
 * Whose descriptor a socket is, and what it carries: /proc/PID/fd, and a copy
 * of the descriptor by pidfd_getfd(2), which needs the rights of a debugger.
 */
#ifndef NET_PORTOWNER_H
#define NET_PORTOWNER_H

#include "net/portscan.h"

/* Fills pid, fd, command, unit and the flags of sockets that have an inode. */
void portowner_find(struct portscan_socket *sockets, size_t n);

/* A copy of the socket's descriptor, or -1 with errno. */
int portowner_copy(const struct portscan_socket *s);

#endif
