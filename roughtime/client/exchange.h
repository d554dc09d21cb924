/*
 * Many attempts at once until one gets a reply that verifies, or (probe) all
 * of them have an end. The only loop of the client that waits.
 */
#ifndef ROUGHTIME_CLIENT_EXCHANGE_H
#define ROUGHTIME_CLIENT_EXCHANGE_H

#include "roughtime/client/arguments.h"
#include "roughtime/client/attempt.h"
#include "roughtime/client/diagnose.h"
#include "roughtime/client/target.h"

#define EXCHANGE_MAX (TARGET_ADDRS_MAX * LADDER_MAX * 2)

struct exchange {
	struct attempt_options options;
	uint64_t timeout_ns; /* for the whole of it */
	unsigned int tries; /* requests an attempt sends at most */
	bool all; /* do not stop at the first verified reply */
	struct attempt *list;
	size_t count;
};

/* What the command line says about requests and replies; borrows from it. */
void exchange_init(struct exchange *x, const struct arguments *a);

/*
 * Plans `rungs` over `protos` to every address, beside what is planned
 * already. No protos: both. TCP waits until UDP has had its chance, unless it is alone or `all`
 * is set.
 */
#define EXCHANGE_UDP (1u << SOCK_UDP)
#define EXCHANGE_TCP (1u << SOCK_TCP)
void exchange_plan(struct exchange *x, const struct rung *rungs, size_t n,
    unsigned int protos, const struct addr *addrs, size_t n_addrs);

/* Runs it; the attempt that won, or NULL. */
struct attempt *exchange_run(struct exchange *x);

/* Why nothing verified, from all that was sent (see diagnose.h). */
enum diagnosis
exchange_explain(const struct exchange *x, char text[static DIAGNOSE_LEN]);

void exchange_free(struct exchange *x);

#endif
