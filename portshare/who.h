/* What the files of `portshare who` share. */
#ifndef PORTSHARE_WHO_H
#define PORTSHARE_WHO_H

#include "net/chosen.h"
#include "net/fastpath.h"
#include "portshare/place.h"

struct who {
	const struct place *place;
	struct portlook look;
	struct portrules_packet packet;
	struct portrules_delivery delivery; /* as if there were no program */
	struct chosen chosen;
	/* whose word counts before rule 3; NULL: none that can be read */
	const struct chosen_program *decider;
	/* the sockets that it names, wherever they are bound */
	struct portscan_socket named[CHOSEN_SOCKETS_MAX];
	size_t named_n;
	/* a flow that the kernel carries past all of this (l4proxyd) */
	bool taken;
	struct fastpath_taker taker;
};

/* 0, or -1 with errno; who_free() in both cases. */
int who_look(struct who *w, const struct place *p);
void who_free(struct who *w);
/* Another address of the same port, of the same look. */
int who_ask(struct who *w, const struct place *p);

/* Socket i of the look may get the packet. */
bool who_receives(const struct who *w, size_t i);
/* Somebody gets it. */
bool who_is_heard(const struct who *w);
enum portrules_level who_level(const struct who *w);
enum portrules_tie who_tie(const struct who *w);

struct who_probe;
/* `p` NULL: nothing was sent. */
void who_tell(const struct who *w, const struct who_probe *p);
void who_tell_json(const struct who *w, const struct who_probe *p);

#endif
