/*
 * The inside of a guard, for guard.c (connections), guard_hold.c (the holder's
 * side of a window), guard_listen.c (the newcomer's) and guard_group.c (the
 * sockets of one place).
 */
#ifndef NET_GUARD_INNER_H
#define NET_GUARD_INNER_H

#include <stdint.h>

#include "net/guard.h"
#include "net/sockflag.h"
#include "net/unixsock.h"

#define GUARD_PEERS_MAX 8
#define GUARD_WINDOW_MS 2000
#define GUARD_ANSWER_MS 2000 /* for an answer at run time, and more at start */
#define GUARD_START_MS 5000
#define GUARD_MEET_MS 3000 /* for peers to find us, after our start */

struct guard_peer {
	int fd; /* -1: none */
	struct unixsock_peer who;
	struct guard_message hello; /* GUARD_NONE: not yet */
	struct guard_message waits; /* an ASK, while another's window is open */
	struct guard_message answer; /* to `asked`: OPEN or NO */
	uint32_t asked; /* 0: nothing, or answered */
};

struct guard_socket {
	struct guard_place place;
	int *fds;
	size_t count;
	int bolt; /* -1: none */
};

struct guard {
	struct guard_setup setup;
	char *name, *path;
	uid_t started_as;
	uint64_t opened_ms;
	int epoll, listener, timer;
	struct unixsock_file file;
	struct guard_peer peers[GUARD_PEERS_MAX];
	uint64_t
	    meet_ms; /* when to connect again; 0: connected, or listening */
	pid_t refused; /* the last one, told */
	bool met; /* a peer came since this was cleared */

	struct guard_socket *sockets;
	size_t count;

	struct guard_peer *window; /* for whom it is open; NULL */
	struct guard_message window_ask;
	enum guard_way window_way;
	uint64_t window_ends_ms;

	uint32_t number; /* of the last question */
	bool started; /* questions are those of a reload */
};

/* ---- guard.c ---- */

/* Waits up to `ms` for something, and does it. */
void guard_turn(struct guard *g, int ms);
/* A peer who does not read is not one any more. */
void guard_tell(struct guard_peer *p, const struct guard_message *m,
    const int *fds, size_t count);
static inline bool
guard_is_known(const struct guard_peer *p)
{
	return p->fd >= 0 && p->hello.type == GUARD_HELLO;
}

/* ---- guard_hold.c ---- */

/* Two sockets that cannot both be bound without a flag. */
bool guard_overlap(const struct guard_place *a, const struct guard_place *b);
/* Takes a copy. */
int guard_hold(struct guard *g, const struct guard_socket *s);
struct guard_socket *guard_find(struct guard *g, int fd);

void guard_take_ask(
    struct guard *g, struct guard_peer *p, const struct guard_message *m);
/* The flag is cleared; whoever waits gets a window. */
void guard_close_window(struct guard *g);

/* ---- guard_group.c ---- */

/* Fills fds[0…count) and the bolt. 0, or -1 with errno and the step. */
int guard_group_open(
    struct guard_socket *s, const struct sock_opts *o, enum sock_step *step);
/* Sets, or clears, the flags of a way; within the group they stay. */
int guard_flags(const struct guard_socket *s, enum guard_way way, bool on);

#endif
