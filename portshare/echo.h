/*
 * Small servers that answer with who they are, UDP and TCP: the customer's
 * own, and strangers who try to take his port; and the client that asks.
 */
#ifndef PORTSHARE_ECHO_H
#define PORTSHARE_ECHO_H

#include <sys/types.h>

#include "net/sock.h"
#include "portshare/stage.h"

#define ECHO_LEN 128

struct echo {
	const char *name; /* its answer to TEXT is "NAME: TEXT" */
	enum lab_net net;
	const char *address;
	uint16_t port;
	bool udp, tcp;
	struct sock_opts opts;
	unsigned int uid; /* of a process that may not have it: ours */
	pid_t pid; /* 0: it does not run */
};

/* Once it is bound: 0, or the errno of the bind. */
int echo_start(struct echo *e, const struct stage *s);
void echo_stop(struct echo *e);

/*
 * From the client's network: one datagram, or one connection. The answer, or
 * a word why there is none, in `reply`; returns whether there is one.
 */
bool echo_ask(const struct stage *s, enum sock_proto proto, const char *address,
    const char *text, char reply[static ECHO_LEN]);

#endif
