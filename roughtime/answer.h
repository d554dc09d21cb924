/*
 * From packets to replies: the steps that UDP and TCP share, with the state
 * of one worker. Nothing here allocates, locks, logs or waits.
 *
 *   answer_begin      after a wake-up: takes the snapshot of identities
 *   answer_admit      each packet: parse, rate limit, one job
 *   answer_jobs       the batch: time, signatures, grease, counters
 *   answer_end        before blocking: gives the snapshot back
 */
#ifndef ROUGHTIME_ANSWER_H
#define ROUGHTIME_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/limit.h"
#include "roughtime/counters.h"
#include "roughtime/identity.h"
#include "roughtime/response.h"
#include "roughtime/timesource.h"

struct answer {
	struct identities *identities;
	const struct timesource *time;
	struct counters *counters;
	size_t worker; /* index, for identity_acquire */

	struct limit *limit; /* NULL: off */
	uint64_t grease_below; /* a random word under it spoils a reply */
	uint64_t random; /* state of the generator for grease */
	bool tcp_any_length; /* tcp.short_requests: answer */

	const struct identity_snapshot *snapshot; /* between begin and end */
	struct response_versions versions;
	uint64_t generation; /* of the snapshot that gave `versions` */
	bool ready;
	size_t batch;
	void *memory; /* of the responder */
	struct responder *responder;
};

/* identities, time, counters, worker and batch are set by the caller. 0, or -1
 * with errno. */
int answer_init(struct answer *a);
void answer_done(struct answer *a);

void answer_begin(struct answer *a);
void answer_end(struct answer *a);

/* The threshold for `grease_below` that spoils this fraction of replies. */
uint64_t answer_grease(double fraction);

/*
 * Parses one packet into job->request and counts a reject. REQUEST_OK with
 * *limited true: over the rate limit, no reply. `now_ns`: monotonic.
 */
enum request_reject
answer_admit(struct answer *a, struct response_job *job, struct view packet,
    size_t min_len, const struct addr *peer, uint64_t now_ns, bool *limited);

/*
 * Answers jobs[0…n), n <= batch: every job gets `len` (0: dropped, counted).
 * False when the clock's policy refuses: all lens are 0.
 */
bool answer_jobs(struct answer *a, struct response_job *jobs, size_t n);

#endif
