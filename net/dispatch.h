/*
 * Many ports, or whole prefixes, to few sockets: a BPF program on the kernel's
 * socket lookup (BPF_PROG_TYPE_SK_LOOKUP, Linux 5.9) sends what matches a rule
 * to a socket of ours, wherever that is bound. Other packets find their
 * sockets as if there were no program.
 *
 * Loading and attaching take CAP_BPF and CAP_NET_ADMIN, once. Later the rules
 * are changed in shared memory, and sockets added through a descriptor, both
 * without rights (bpf(2): BPF_MAP_UPDATE_ELEM alone; Linux 5.19 where
 * kernel.unprivileged_bpf_disabled is set). When the last descriptor goes,
 * with the process, the kernel detaches the program, unless it is pinned.
 */
#ifndef NET_DISPATCH_H
#define NET_DISPATCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/dispatch_table.h"

struct dispatch; /* opaque: map, link and the memory that they share */

#define DISPATCH_WHY_LEN 160

/* Attached to the network namespace of the caller, without a rule yet. NULL,
 * and in `why` a sentence, when the build, the kernel or rights lack. */
struct dispatch *dispatch_open(char why[static DISPATCH_WHY_LEN]);
void dispatch_close(struct dispatch *d); /* NULL is fine */

/*
 * The same, pinned in the directory `path` of a bpffs, which is made: rules
 * outlive the process, and what they match is refused until the next one takes
 * over here. NULL and `why` also while a process has sockets in it.
 */
struct dispatch *
dispatch_open_pinned(const char *path, char why[static DISPATCH_WHY_LEN]);

/* From now on a rule whose sockets are gone refuses. */
void dispatch_fail_closed(struct dispatch *d);

/*
 * Puts `n` sockets (UDP: bound, TCP: listening) into slots that follow each
 * other, for rules to name. A socket leaves its slot when it is closed for the
 * last time; a rule without sockets then matches nothing. Returns the first
 * slot, or -1 with errno; EPERM: only at start, on this kernel.
 */
int dispatch_add(struct dispatch *d, const int *fds, size_t n);

/* Makes the rules ready, all of them or none; 0, or -1 with errno (as
 * dispatch_compile). dispatch_publish() then puts them into force at once. */
int dispatch_prepare(
    struct dispatch *d, const struct dispatch_rule *rules, size_t n);
void dispatch_publish(struct dispatch *d);

/*
 * The process that has such a program in this network namespace with a rule
 * that meets `r`; 0: none that we may see (CAP_SYS_ADMIN). Not under seccomp.
 */
pid_t dispatch_rival(const struct dispatch *d, const struct dispatch_rule *r);

#endif
