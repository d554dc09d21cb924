/*
 * The inside of a guard, for guard.c (connections), guard_hold.c (the holder's
 * side of a window), guard_listen.c (the newcomer's), guard_group.c (the
 * sockets of one place) and guard_keep.c (what is left of a peer); and for
 * demux.c, which talks over its channel.
 */
#ifndef NET_GUARD_INNER_H
#define NET_GUARD_INNER_H

#include <stdint.h>

#include "base/log.h"
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
	bool shared; /* with a peer who has to know */
};

/* A place with sockets that are held for somebody, or not. */
struct guard_kept {
	struct guard_place place;
	char name[GUARD_NAME_LEN]; /* whose */
	const struct guard_peer *peer; /* NULL: it is gone */
	int *fds; /* its sockets, then perhaps the bolt */
	size_t count, fd_count;
	uint64_t drops_before; /* its owner went */
};

struct guard_kept_list {
	struct guard_kept *items; /* GUARD_PLACES_MAX, or NULL */
	size_t count;
};

struct guard {
	struct guard_setup setup;
	struct demux *demux; /* NULL: none */
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

	struct guard_kept_list theirs; /* places of peers, there or gone */
	struct guard_kept_list ours; /* of before our start, not yet claimed */
	struct log_gate full;
	uint64_t drops; /* on sockets that were kept, of peers who are back */

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

/* ---- guard_keep.c ---- */

/* Descriptors that are given become the list's. */
void guard_take_have(struct guard *g, struct guard_peer *p,
    const struct guard_message *m, const int *fds, size_t count);
void guard_take_left(
    struct guard *g, struct guard_peer *p, const struct guard_message *m);
/* The peer is gone; somebody of that name is there. */
void guard_orphan(struct guard *g, const struct guard_peer *p);
void guard_give_back(struct guard *g, struct guard_peer *p);

void guard_tell_have(struct guard_peer *p, const struct guard_socket *s);
void guard_tell_left(struct guard *g, const struct guard_socket *s);
void guard_take_kept(struct guard *g, const struct guard_message *m,
    const int *fds, size_t count);
/* What was kept for the place becomes s->fds; false: nothing that fits, and
 * what does not is given up. */
bool
guard_claim(struct guard *g, struct guard_socket *s, const struct sock_opts *o);
void guard_decline(struct guard *g); /* the rest of it */
void guard_kept_free(struct guard_kept_list *l);

/* ---- guard_group.c ---- */

/* Fills fds[0…count) and the bolt. 0, or -1 with errno and the step. */
int guard_group_open(
    struct guard_socket *s, const struct sock_opts *o, enum sock_step *step);
/* Sets, or clears, the flags of a way; within the group they stay. */
int guard_flags(const struct guard_socket *s, enum guard_way way, bool on);

#endif
