/* A cell step by step: its sockets, what happens to them, what is sent. */
#ifndef PORTSHARE_CELL_BUILD_H
#define PORTSHARE_CELL_BUILD_H

#include "portshare/cell.h"

/* Of `n` sockets and no step yet. */
struct cell
cell_build_new(enum cell_theme theme, enum sock_proto proto, uint8_t n);

/* bit 0: SO_REUSEADDR, bit 1: SO_REUSEPORT */
void cell_build_flags(struct cell_socket *s, unsigned int flags);

/* One more step, with all it can say; with the socket alone; a packet. */
void cell_build_add(struct cell *c, enum cell_act act, unsigned int who,
    unsigned int what, enum cell_way way);
void cell_build_step(struct cell *c, enum cell_act act, unsigned int who);
void cell_build_send(struct cell *c, enum cell_place place, enum cell_way way);

/* Bind, and listen where there is such a thing. */
void cell_build_open(struct cell *c, unsigned int who);

/* Packets to every address that one of the sockets could hear. */
void cell_build_ask(struct cell *c);

#endif
