/*
 * The host's count of UDP datagrams that found a full receive queue
 * (RcvbufErrors of /proc/net/snmp and snmp6): with it the drops of a socket,
 * which the kernel counts in one number, can be told apart roughly. The files
 * are opened once, before Landlock closes /proc.
 */
#ifndef NET_UDPSTAT_H
#define NET_UDPSTAT_H

#include <stdint.h>

struct udpstat {
	int fd4, fd6; /* -1: not there */
	uint64_t at_start;
};

void udpstat_open(struct udpstat *u);
void udpstat_close(struct udpstat *u);

/* Full queues in this network namespace since udpstat_open, all programs. */
uint64_t udpstat_queue_full(const struct udpstat *u);

/* Pure: the sum of RcvbufErrors in the text of either file. */
uint64_t udpstat_parse(const char *text);

#endif
