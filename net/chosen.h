/*
 * What the sk_lookup programs of this network namespace (bpf(2)) make of a
 * packet. Those of net/dispatch are read like a book: their rules and the
 * sockets behind them. What another's program decides cannot be told from
 * outside; whose it is, and which sockets it holds, can. Needs CAP_BPF and
 * CAP_NET_ADMIN.
 */
#ifndef NET_CHOSEN_H
#define NET_CHOSEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/addr.h"
#include "net/sock.h"

#define CHOSEN_PROGRAMS_MAX 64 /* of one network namespace (the kernel's) */
#define CHOSEN_SOCKETS_MAX 64 /* of one program that are named */

enum chosen_kind {
	CHOSEN_UNKNOWN = 0, /* another's program */
	CHOSEN_PASSES, /* ours, without a rule for the packet */
	CHOSEN_SOCKET, /* ours: one of `cookies` gets it */
	CHOSEN_REFUSES, /* ours: nobody gets it */
};
const char *chosen_kind_str(enum chosen_kind kind);

struct chosen_program {
	uint32_t id;
	char name[16]; /* as it was loaded, "" none */
	enum chosen_kind kind;
	pid_t pid; /* chosen_owners(): who holds it, 0: pinned, or not seen */
	char command[64];
	size_t n; /* sockets: that may get the packet; UNKNOWN: that it holds */
	uint64_t cookies[CHOSEN_SOCKETS_MAX]; /* SO_COOKIE */
};

struct chosen {
	int n; /* programs in the kernel's order; -1: not for us to see */
	struct chosen_program program[CHOSEN_PROGRAMS_MAX];
};

/* Fills `c` in for a packet to `to`, but for the owners. The sockets behind the
 * programs are found by portscan_cookies(). */
void
chosen_look(struct chosen *c, enum sock_proto proto, const struct addr *to);
void chosen_owners(struct chosen *c);

/* The ids of the programs alone: how many, or -1 with errno. */
int chosen_ids(uint32_t ids[static CHOSEN_PROGRAMS_MAX]);

/* The one whose word counts: the first that names a socket, else one that
 * refuses; NULL: all pass. Another's may still come between. */
const struct chosen_program *chosen_decider(const struct chosen *c);
size_t chosen_unknown(const struct chosen *c); /* programs of others */

#endif
