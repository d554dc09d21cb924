/*
 * What has to be set on whose socket, so that a newcomer may bind: worked out
 * in the model before anything is touched.
 */
#ifndef PORTSHARE_REPAIR_PLAN_H
#define PORTSHARE_REPAIR_PLAN_H

#include "net/portlook.h"
#include "net/sockflag.h"

enum repair_plan_kind {
	REPAIR_PLAN_FREE = 0, /* nobody is in the way of such a newcomer */
	REPAIR_PLAN_OPEN, /* the flag on `needs` lets it in */
	REPAIR_PLAN_USELESS, /* no flag of the holder helps: `verdict` */
	REPAIR_PLAN_HIDDEN, /* whose socket `hidden` is, we may not see */
};

struct repair_plan {
	enum sock_proto proto;
	enum sockflag flag;
	enum repair_plan_kind kind;
	struct portlook look;
	struct portrules_socket newer; /* with all that it must carry */
	struct portrules_verdict verdict;
	size_t *needs; /* indices of look.found */
	size_t n;
	size_t hidden;
	const char *then; /* what that does to the others' packets, or NULL */
};

/*
 * UDP: SO_REUSEADDR, which asks nobody who they are. TCP: SO_REUSEPORT, for a
 * newcomer of user `uid`; REPAIR_PLAN_ANY_UID: of the holder's. 0, or -1 with
 * errno; repair_plan_free() in both cases.
 */
#define REPAIR_PLAN_ANY_UID ((unsigned int)-1)
int repair_plan_make(struct repair_plan *p, enum sock_proto proto,
    const struct addr *wanted, bool v6only, unsigned int uid);
void repair_plan_free(struct repair_plan *p);

#endif
