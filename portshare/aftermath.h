/* What a newcomer's bind does to the packets of the sockets before it. */
#ifndef PORTSHARE_AFTERMATH_H
#define PORTSHARE_AFTERMATH_H

#include "net/portlook.h"

/*
 * Binds the newcomer in the model, where it stays. A sentence about the
 * address in dispute; NULL: nobody loses anything, or it does not bind.
 */
const char *
aftermath_of(struct portlook *l, const struct portrules_socket *newer);

#endif
