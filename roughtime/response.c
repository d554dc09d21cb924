#include "roughtime/response.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "roughtime/hash.h"
#include "roughtime/merkle.h"
#include "roughtime/reply.h"

#define ALIGNMENT 64
#define US_PER_S 1000000u

#define GROUPS_MAX 16 /* distinct (identity, version) of one round */
#define LENGTHS_MAX 8 /* distinct packet lengths hashed in lanes */
#define PENDING 0xfe /* values of `group_of` that are no group */
#define DONE 0xff

static_assert(GROUPS_MAX < PENDING, "group numbers fit a byte");

struct group {
	const struct version *version;
	uint32_t identity;
	size_t count;
	size_t first; /* its part of `order` */
	size_t filled;
	size_t packet_len;
	bool mixed; /* packets of several lengths */
	size_t reply_len;
	enum response_drop drop; /* of all, when the key cannot sign */
};

struct responder {
	size_t batch;
	struct response_versions versions;
	size_t base_len[VERSION_ROWS]; /* of a reply with an empty PATH */
	struct group groups[GROUPS_MAX];
	size_t group_count;
	struct reply reply;
	uint8_t (*nodes)[HASH_LEN]; /* merkle_capacity(batch) */
	const uint8_t **messages; /* batch: packets of a run, for hash_many */
	uint16_t *order; /* batch: job numbers by group */
	uint16_t *spare; /* batch */
	uint8_t *group_of; /* batch: of a job, or PENDING or DONE */
};

/* One call of responder_answer. */
struct round {
	struct response_job *jobs;
	size_t n;
	const struct response_key *keys;
	const struct response_time *now;
	size_t signatures;
};

const char *
response_drop_str(enum response_drop drop)
{
	static const char *const words[RESPONSE_DROPS] = {
		[RESPONSE_SENT] = "sent",
		[RESPONSE_NO_DELEGATION] = "no-delegation",
		[RESPONSE_OUTSIDE_WINDOW] = "outside-window",
		[RESPONSE_TOO_LONG] = "too-long",
	};

	return (unsigned int)drop < RESPONSE_DROPS ? words[drop] : "unknown";
}

void
response_versions_make(struct response_versions *v, uint32_t rows)
{
	memset(v, 0, sizeof *v);
	v->len = version_numbers(v->bytes, rows);
}

static enum response_drop
key_drop(const struct response_key *key, uint64_t midpoint_us)
{
	uint64_t s = midpoint_us / US_PER_S;

	if (!key->usable)
		return RESPONSE_NO_DELEGATION;
	if (s < key->delegation.mint_s || s > key->delegation.maxt_s ||
	    (s == key->delegation.maxt_s && midpoint_us % US_PER_S != 0))
		return RESPONSE_OUTSIDE_WINDOW;
	return RESPONSE_SENT;
}

/* RFC 10049 section 9.7: a reply is never longer than its request, where the
 * address of the client is not proven. */
static bool
fits(const struct response_job *job, size_t reply_len)
{
	return reply_len <= job->cap &&
	    (job->any_length || reply_len <= job->request.packet.len);
}

static void
sign(struct responder *r, struct round *o, const struct request *q,
    struct reply_parts *parts)
{
	parts->version = q->version;
	parts->key = &o->keys[q->identity];
	parts->now = o->now;
	parts->versions = &r->versions;
	reply_compose(&r->reply, parts);
	o->signatures++;
}

/* A tree of one: an empty PATH is right for every verifier. */
static void
answer_alone(struct responder *r, struct round *o, struct response_job *job)
{
	const struct request *q = &job->request;
	uint8_t leaf[HASH_FULL_LEN];
	struct reply_parts parts = { .nonce = q->nonce,
		.root = { leaf, q->version->node_len } };

	job->drop = key_drop(&o->keys[q->identity], o->now->midpoint_us);
	if (job->drop == RESPONSE_SENT &&
	    !fits(job, r->base_len[q->version->row]))
		job->drop = RESPONSE_TOO_LONG;
	if (job->drop != RESPONSE_SENT)
		return;
	merkle_leaf(q->version, leaf, q->packet, q->nonce);
	sign(r, o, q, &parts);
	memcpy(job->out, r->reply.bytes, r->reply.len);
	job->len = r->reply.len;
}

/*
 * Puts the jobs of a group with packets of several lengths into runs of equal
 * length, so that hash_many fills its lanes; stable. Lengths beyond the table
 * stay behind the others and are hashed as they come.
 */
static void
order_by_length(
    struct responder *r, const struct group *g, const struct response_job *jobs)
{
	size_t lengths[LENGTHS_MAX], count[LENGTHS_MAX + 1] = { 0 };
	size_t known = 0, at = 0;
	uint16_t *order = r->order + g->first;

	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < g->filled; i++) {
			size_t len = jobs[order[i]].request.packet.len;
			size_t b = 0;

			while (b < known && lengths[b] != len)
				b++;
			if (b == known && known < LENGTHS_MAX)
				lengths[known++] = len;
			if (pass == 0)
				count[b]++;
			else
				r->spare[count[b]++] = order[i];
		}
		for (size_t b = 0; pass == 0 && b <= known; b++) {
			size_t n = count[b];

			count[b] = at;
			at += n;
		}
	}
	memcpy(order, r->spare, g->filled * sizeof *order);
}

/* Leaf hashes of a group into the first nodes of the tree. */
static void
hash_leaves(
    struct responder *r, const struct group *g, const struct response_job *jobs)
{
	const uint16_t *order = r->order + g->first;
	size_t start = 0;

	for (size_t i = 0; i < g->filled; i++) {
		struct view packet = jobs[order[i]].request.packet;

		r->messages[i] = packet.data;
		if (i + 1 < g->filled &&
		    jobs[order[i + 1]].request.packet.len == packet.len)
			continue;
		hash_many(HASH_LEAF_PREFIX, r->messages + start, packet.len,
		    i + 1 - start, r->nodes + start);
		start = i + 1;
	}
}

/* Copies the common reply and sets what is this request's own. */
static void
write_reply(const struct reply *reply, const struct merkle *tree, size_t index,
    struct response_job *job)
{
	memcpy(job->out, reply->bytes, reply->len);
	memcpy(job->out + reply->nonce_at, job->request.nonce.data,
	    job->request.nonce.len);
	merkle_path(tree, index, job->out + reply->path_at);
	wire_put32(job->out + reply->indx_at, (uint32_t)index);
	job->len = reply->len;
}

static void
answer_group(struct responder *r, struct round *o, const struct group *g)
{
	const uint16_t *order = r->order + g->first;
	struct reply_parts parts = { .nonce = { NULL, g->version->nonce_len } };
	struct merkle tree;

	if (g->filled == 0)
		return;
	if (g->mixed)
		order_by_length(r, g, o->jobs);
	hash_leaves(r, g, o->jobs);
	merkle_build(&tree, r->nodes, g->filled);
	parts.root = (struct view){ tree.root, HASH_LEN };
	parts.path_len = HASH_LEN * tree.depth;
	sign(r, o, &o->jobs[order[0]].request, &parts);
	for (size_t i = 0; i < g->filled; i++)
		write_reply(&r->reply, &tree, i, &o->jobs[order[i]]);
}

/* The group of a job, made when new; PENDING when the table is full. */
static uint8_t
group_find(struct responder *r, const struct request *q)
{
	struct group *g = r->groups;
	size_t i = 0;

	while (i < r->group_count &&
	    (g[i].version != q->version || g[i].identity != q->identity))
		i++;
	if (i == GROUPS_MAX)
		return PENDING;
	if (i == r->group_count) {
		r->group_count++;
		g[i] = (struct group){ .version = q->version,
			.identity = q->identity,
			.packet_len = q->packet.len };
	}
	g[i].count++;
	if (g[i].packet_len != q->packet.len)
		g[i].mixed = true;
	return (uint8_t)i;
}

static unsigned int
depth_of(size_t leaves)
{
	unsigned int depth = 0;

	while ((size_t)1 << depth < leaves)
		depth++;
	return depth;
}

/* What is known once the groups are counted: places, lengths, drops. */
static void
place_groups(struct responder *r, const struct round *o)
{
	size_t first = 0;

	for (size_t i = 0; i < r->group_count; i++) {
		struct group *g = &r->groups[i];

		g->first = first;
		first += g->count;
		g->reply_len = r->base_len[g->version->row] +
		    HASH_LEN * depth_of(g->count);
		g->drop = key_drop(&o->keys[g->identity], o->now->midpoint_us);
	}
}

/*
 * Fills `order`. A packet too short for the reply with its group's path is
 * answered alone instead; the path of the others only gets shorter by it.
 */
static void
fill_groups(struct responder *r, struct round *o)
{
	for (size_t i = 0; i < o->n; i++) {
		struct response_job *job = &o->jobs[i];
		uint8_t number = r->group_of[i];
		struct group *g;

		if (number >= PENDING)
			continue;
		r->group_of[i] = DONE;
		g = &r->groups[number];
		if (g->drop != RESPONSE_SENT)
			job->drop = g->drop;
		else if (fits(job, g->reply_len))
			r->order[g->first + g->filled++] = (uint16_t)i;
		else
			answer_alone(r, o, job);
	}
}

/* Answers the pending jobs of as many groups as the table holds; false when
 * nothing is left to do. */
static bool
answer_round(struct responder *r, struct round *o)
{
	bool left = false;

	r->group_count = 0;
	for (size_t i = 0; i < o->n; i++) {
		if (r->group_of[i] != PENDING)
			continue;
		r->group_of[i] = group_find(r, &o->jobs[i].request);
		left = left || r->group_of[i] == PENDING;
	}
	place_groups(r, o);
	fill_groups(r, o);
	for (size_t i = 0; i < r->group_count; i++)
		answer_group(r, o, &r->groups[i]);
	return left;
}

static void
answer_batch(struct responder *r, struct round *o)
{
	for (size_t i = 0; i < o->n; i++) {
		struct response_job *job = &o->jobs[i];

		job->len = 0;
		job->drop = RESPONSE_SENT;
		r->group_of[i] = PENDING;
		if (!job->request.version->batched) {
			r->group_of[i] = DONE;
			answer_alone(r, o, job);
		}
	}
	while (answer_round(r, o))
		continue;
}

size_t
responder_answer(struct responder *r, struct response_job *jobs, size_t n,
    const struct response_key *keys, const struct response_time *now)
{
	struct round o = { .keys = keys, .now = now };

	for (size_t at = 0; at < n; at += o.n) {
		o.jobs = jobs + at;
		o.n = n - at < r->batch ? n - at : r->batch;
		answer_batch(r, &o);
	}
	return o.signatures;
}

static size_t
aligned(size_t size)
{
	return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

size_t
responder_size(size_t batch)
{
	return aligned(sizeof(struct responder)) +
	    aligned(merkle_capacity(batch) * HASH_LEN) +
	    aligned(batch * sizeof(uint8_t *)) +
	    2 * aligned(batch * sizeof(uint16_t)) + aligned(batch);
}

/* Takes `size` bytes off the front of the responder's memory. */
static void *
take(uint8_t **at, size_t size)
{
	uint8_t *p = *at;

	*at += aligned(size);
	return p;
}

struct responder *
responder_init(
    void *memory, size_t batch, const struct response_versions *versions)
{
	uint8_t *at = memory;
	struct responder *r = take(&at, sizeof *r);

	assert(batch > 0 && batch <= RESPONSE_BATCH_MAX);
	assert((uintptr_t)memory % ALIGNMENT == 0);
	memset(r, 0, sizeof *r);
	r->batch = batch;
	r->versions = *versions;
	r->nodes = take(&at, merkle_capacity(batch) * HASH_LEN);
	r->messages = take(&at, batch * sizeof *r->messages);
	r->order = take(&at, batch * sizeof *r->order);
	r->spare = take(&at, batch * sizeof *r->spare);
	r->group_of = take(&at, batch);
	for (size_t i = 0; i < VERSION_ROWS; i++) {
		r->base_len[i] = reply_len(&version_table[i], versions);
		assert(r->base_len[i] + HASH_LEN * depth_of(batch) <=
		    RESPONSE_MAX);
	}
	return r;
}
