/*
 * A daemon that runs, seen by a test of the configuration that it runs: what
 * its sockets have is not somebody else's.
 */
#ifndef NET_INCUMBENT_H
#define NET_INCUMBENT_H

#include <stdbool.h>
#include <sys/types.h>

#include "net/addr.h"
#include "net/sock.h"

struct incumbent; /* opaque */

/* With the sockets that it has now; NULL with errno, as when its descriptors
 * are not for us to see. */
struct incumbent *incumbent_new(pid_t pid);
void incumbent_free(struct incumbent *in); /* NULL is fine */
pid_t incumbent_pid(const struct incumbent *in); /* NULL: 0 */

/* Of a bind for which the address is in use: whether it would work if there
 * were none but the others' sockets. */
bool incumbent_makes_way(const struct incumbent *in, enum sock_proto proto,
    const struct addr *a, const struct sock_opts *o);
/* portlook_explain() without the incumbent's (o->beside, or NULL). */
char *incumbent_explain(char *buf, size_t len, enum sock_proto proto,
    const struct addr *a, const struct sock_opts *o);

#endif
