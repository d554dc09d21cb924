#include "roughtime/answer.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

int
answer_init(struct answer *a)
{
	size_t size = responder_size(a->batch);

	a->memory = aligned_alloc(64, (size + 63) / 64 * 64);
	if (a->memory == NULL)
		return -1;
	randombytes_buf(&a->random, sizeof a->random);
	return 0;
}

void
answer_done(struct answer *a)
{
	free(a->memory);
	limit_free(a->limit);
	a->memory = NULL;
	a->limit = NULL;
}

void
answer_begin(struct answer *a)
{
	const struct identity_snapshot *s;

	s = identity_acquire(a->identities, a->worker);
	a->snapshot = s;
	if (a->ready && a->generation == s->generation)
		return;
	/* our own copy: the responder outlives the snapshot */
	a->versions = s->versions;
	a->generation = s->generation;
	a->responder = responder_init(a->memory, a->batch, &a->versions);
	a->ready = true;
}

void
answer_end(struct answer *a)
{
	if (a->snapshot == NULL)
		return;
	a->snapshot = NULL;
	identity_release(a->identities, a->worker);
}

uint64_t
answer_grease(double fraction)
{
	if (fraction >= 1)
		return UINT64_MAX;
	return fraction > 0 ? (uint64_t)(fraction * 18446744073709551616.0) : 0;
}

enum request_reject
answer_admit(struct answer *a, struct response_job *job, struct view packet,
    size_t min_len, const struct addr *peer, uint64_t now_ns, bool *limited)
{
	enum request_reject reject =
	    request_parse(&job->request, packet, min_len, &a->snapshot->policy);

	*limited = false;
	if (reject != REQUEST_OK) {
		counters_add(a->counters, COUNTER_REJECT + reject, 1);
	} else if (a->limit != NULL && !limit_take(a->limit, peer, now_ns)) {
		counters_add(a->counters, COUNTER_DROP_RATE_LIMITED, 1);
		*limited = true;
	}
	return reject;
}

/*
 * splitmix64: grease only has to be spread, an onlooker who foresees it gains
 * nothing.
 */
static uint64_t
next_random(struct answer *a)
{
	uint64_t z = a->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void
spoil(struct answer *a, struct response_job *job)
{
	size_t max = job->any_length ? job->cap : job->request.packet.len;
	enum grease_kind kind;

	if (next_random(a) >= a->grease_below)
		return;
	kind = grease_apply(job->out, &job->len, job->cap, max, next_random(a));
	if (kind != GREASE_NONE)
		counters_add(a->counters, COUNTER_GREASE + kind, 1);
}

static void
finish(struct answer *a, struct response_job *job)
{
	if (job->len == 0) {
		counters_add(a->counters, COUNTER_DROP + job->drop, 1);
		return;
	}
	counters_add(
	    a->counters, COUNTER_VERSION + job->request.version->row, 1);
	if (a->grease_below > 0)
		spoil(a, job);
}

bool
answer_jobs(struct answer *a, struct response_job *jobs, size_t n)
{
	struct response_time now;
	size_t signatures;

	if (n == 0)
		return true;
	if (!timesource_now(a->time, &now)) {
		counters_add(a->counters, COUNTER_DROP_CLOCK_REFUSED, n);
		for (size_t i = 0; i < n; i++)
			jobs[i].len = 0;
		return false;
	}
	signatures =
	    responder_answer(a->responder, jobs, n, a->snapshot->keys, &now);
	counters_add(a->counters, COUNTER_SIGNATURES, signatures);
	for (size_t i = 0; i < n; i++)
		finish(a, &jobs[i]);
	return true;
}
