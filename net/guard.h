/*
 * sharing: guarded. Two daemons that know each other have one port: the one
 * that holds it sets the flag that lets a newcomer in for the time of one
 * bind, and clears it again. They meet at a UNIX socket; either may start
 * first, and either may hold.
 *
 *   newcomer                       holder
 *   bind: EADDRINUSE
 *   ASK place            ->        is it his, is it not the very same?
 *                        <- OPEN   sets the flag (2 s at most), or NO
 *   flag, bind, listen,
 *   flag cleared
 *   HAVE place           ->        knows whose it is from now on
 *   DONE                 ->        clears the flag; also when the peer is gone
 *
 * When the owner of one address goes, its packets come to the one who has all
 * of them. He knows better than to answer (guard_places()), or keeps sockets
 * of the other in being (`keep`), behind a filter, until it comes back.
 *
 * Blocking only where a bind waits for an answer, and then bounded.
 */
#ifndef NET_GUARD_H
#define NET_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/guard_message.h"
#include "net/guard_places.h"
#include "net/sock.h"

struct guard; /* opaque */
struct demux;

struct guard_setup {
	const char *name; /* of the program, for the other's log */
	const char *path; /* of the UNIX socket */
	bool listens; /* there; else it connects, again and again */
	uid_t owner; /* whom the sockets are given to: whoever we become */
	gid_t group; /* of the UNIX socket's file */
	bool rehearse; /* no socket of ours is to take a packet */
	bool keep; /* hold the sockets of peers who are gone */
	/* guard_places() are others than before; NULL: nobody asks */
	void (*changed)(void *arg);
	void *arg;
};

/* Strings are copied. NULL with a sentence in `why`. */
#define GUARD_WHY_LEN 256
struct guard *
guard_open(const struct guard_setup *setup, char why[static GUARD_WHY_LEN]);
void guard_close(struct guard *g); /* NULL is fine */

/* Has net/demux on the same channel. */
void guard_set_demux(struct guard *g, struct demux *d);

/* Readable when guard_serve() has something to do, which it does at once. */
int guard_fd(const struct guard *g);
void guard_serve(struct guard *g);

/*
 * As listener_open(): sockets of ours at a place, beside those of peers that
 * make way for it. They answer for it from then on, until guard_release() of
 * the first of them, which is due before they are closed.
 */
int guard_listen(struct guard *g, enum sock_proto proto, const struct addr *a,
    const struct sock_opts *o, size_t queues, int *fds);
void guard_release(struct guard *g, int fd);

/* Addresses of peers, also of those who are gone; malloc, NULL with errno. */
struct guard_places *guard_places(const struct guard *g);
/* Those who are gone are not waited for any more; NULL is fine here and in the
 * next one. */
void guard_forget(struct guard *g);
/* Packets dropped on sockets that are kept for them. */
uint64_t guard_kept_drops(const struct guard *g);

/* Listens once more on all of them (net/tcp); 0, or -1 with errno. */
int guard_listen_again(struct guard *g, int fd);

#endif
