/* A measurement: choose servers, two rounds, one chain of replies. */
#ifndef ROUGHTIME_CLIENT_MEASURE_H
#define ROUGHTIME_CLIENT_MEASURE_H

#include "roughtime/client/chain.h"
#include "roughtime/client/exchange.h"
#include "roughtime/client/report.h"
#include "roughtime/client/serverlist.h"

#define MEASURE_ROUNDS 2
#define MEASURE_SERVERS_MAX (CHAIN_MAX / MEASURE_ROUNDS)
/* RFC 10049 section 8.1: fewer cannot outvote a liar. */
#define MEASURE_SERVERS_MIN 3

struct measure_options {
	size_t servers; /* as many as this, when the list has them */
	uint64_t timeout_ns; /* for one server in one round */
	int family;
	struct verify_options verify;
	bool seeded;
	uint8_t seed[32];
};

/* One server that was asked, in the order of asking. */
struct measured {
	const struct serverlist_entry *entry;
	bool chosen; /* answered in round one: is asked again */
	/* what worked, for round two */
	struct rung rung;
	enum sock_proto proto;
	struct addr peer;
	/* by round: index of the reply in the chain, or -1 */
	int reply[MEASURE_ROUNDS];
	/* why there is none */
	int exit; /* COMMAND_NO_ANSWER, COMMAND_INVALID */
	char why[256]; /* first line of the diagnosis */
};

struct measurement {
	struct measured asked[SERVERLIST_MAX];
	size_t n_asked;
	size_t wanted; /* servers that should have answered */
	size_t complete; /* answered in both rounds */
	/* the chain, and what each reply says about the local clock */
	struct chain_link links[CHAIN_MAX];
	struct attempt_answer answers[CHAIN_MAX];
	size_t count;
	struct chain_verdict verdict;
	/* over servers with a usable radius, suspects left out of agreement */
	bool has_median, has_agreement;
	struct chain_offset median;
	int64_t low_us, high_us;
};

void measure_run(struct measurement *m, const struct serverlist *list,
    const struct measure_options *o);
void measure_free(struct measurement *m);

/* The exit status that the measurement deserves. */
int measure_status(const struct measurement *m);

#endif
