/* How the smallest change is made: what to type, or what to set where. */
#ifndef PORTSHARE_ADVICE_H
#define PORTSHARE_ADVICE_H

#include "portshare/place.h"

#define ADVICE_MAX 3
#define ADVICE_LEN 320

/*
 * Fills lines and returns how many. `holder` is the socket in the way, NULL:
 * none is known.
 */
size_t
advice_make(char lines[static ADVICE_MAX][ADVICE_LEN], enum portrules_fix fix,
    const struct place *p, const struct portscan_socket *holder);

#endif
