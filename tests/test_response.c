/*
 * roughtime/response.h: every wire format, batches of all shapes, what is
 * dropped and why. Each reply is checked as a client would (tests/support.h).
 */
#include "roughtime/response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/wire.h"
#include "tests/support.h"

#define MINT_S 1789990000u
#define MAXT_S 1790090000u
#define NOW_US 1790000000000000ull
#define S 1000000ull
#define IDENTITIES 24 /* with two batched versions more than the group table */
#define JOBS_MAX RESPONSE_BATCH_MAX
#define PACKET_MAX 1100

/* A server and the requests of one call; one of it, in static memory. */
static struct {
	struct support_identity id[IDENTITIES];
	struct response_key keys[IDENTITIES];
	uint8_t srv[IDENTITIES][CERT_SRV_LEN];
	struct request_policy policy;
	struct response_versions versions;
	struct response_time now;
	size_t batch;
	uint8_t *memory;
	struct responder *responder;
	struct response_job jobs[JOBS_MAX];
	uint8_t packets[JOBS_MAX][PACKET_MAX];
	uint8_t out[JOBS_MAX][RESPONSE_MAX];
	size_t n;
	bool seen[RESPONSE_DROPS];
} t;

static const char *
drop_name(int i)
{
	return response_drop_str((enum response_drop)i);
}

/* The responder's memory ends at a guard page. */
static void
start(size_t batch)
{
	for (size_t i = 0; i < IDENTITIES; i++) {
		t.keys[i] = t.id[i].key;
		memcpy(t.srv[i], t.id[i].srv, CERT_SRV_LEN);
	}
	t.policy = (struct request_policy){ .versions = VERSION_ALL,
		.identities = IDENTITIES,
		.srv = (const uint8_t(*)[CERT_SRV_LEN])t.srv };
	response_versions_make(&t.versions, VERSION_ALL);
	t.now = (struct response_time){ NOW_US, 3 * S };
	t.n = 0;
	t.batch = batch;
	t.memory = guard_alloc(responder_size(batch));
	t.responder = responder_init(t.memory, batch, &t.versions);
}

static void
finish(void)
{
	guard_free(t.memory, responder_size(t.batch));
}

/* Adds a request of `size` bytes for row and identity; its job. */
static struct response_job *
ask(enum version_row row, size_t identity, size_t size)
{
	struct response_job *job = &t.jobs[t.n];
	struct request_spec spec = {
		.versions = 1u << row, .srv = t.srv[identity], .size = size
	};
	uint8_t nonce[64];
	size_t len;

	assert_true(t.n < JOBS_MAX);
	for (size_t i = 0; i < sizeof nonce; i++)
		nonce[i] = (uint8_t)(t.n * 7 + i * 13 + (t.n >> 8));
	spec.nonce = nonce;
	len = request_make(t.packets[t.n], PACKET_MAX, &spec);
	assert_true(len > 0);
	memset(job, 0xee, sizeof *job);
	assert_int_equal(
	    request_parse(&job->request, (struct view){ t.packets[t.n], len },
		0, &t.policy),
	    REQUEST_OK);
	assert_int_equal(job->request.version->row, row);
	assert_int_equal(job->request.identity, identity);
	job->out = t.out[t.n];
	job->cap = RESPONSE_MAX;
	job->any_length = false;
	t.n++;
	return job;
}

static size_t
answer(void)
{
	return responder_answer(t.responder, t.jobs, t.n, t.keys, &t.now);
}

/* The job got a reply that its client verifies; SREP. */
static struct view
assert_sent(const struct response_job *job)
{
	const struct request *q = &job->request;

	assert_int_equal(job->drop, RESPONSE_SENT);
	assert_true(job->len > 0 && job->len <= RESPONSE_MAX);
	assert_true(job->any_length || job->len <= q->packet.len);
	t.seen[RESPONSE_SENT] = true;
	return support_reply(q->version, t.id[q->identity].long_term_public,
	    q->packet, q->nonce, (struct view){ job->out, job->len });
}

static void
assert_all_sent(void)
{
	for (size_t i = 0; i < t.n; i++)
		assert_sent(&t.jobs[i]);
}

static void
assert_dropped(const struct response_job *job, enum response_drop drop)
{
	assert_int_equal(job->drop, drop);
	assert_int_equal(job->len, 0);
	t.seen[drop] = true;
}

static size_t
path_len(const struct response_job *job)
{
	struct view body = { job->out, job->len };

	if (job->request.version->framed)
		frame_decode((struct view){ job->out, job->len }, &body);
	return support_value(body, TAG_PATH).len;
}

static void
each_format_alone(void **state)
{
	(void)state;
	for (enum version_row row = 0; row < VERSION_ROWS; row++) {
		const struct version *v = &version_table[row];
		struct response_job *job;
		struct view srep;

		start(4);
		job = ask(row, 3, 1024);
		assert_int_equal(answer(), 1);
		srep = assert_sent(job);
		assert_int_equal(path_len(job), 0);
		assert_true(wire_get64(support_value(srep, TAG_MIDP).data) ==
		    version_time(v, NOW_US));
		assert_int_equal(wire_get32(support_value(srep, TAG_RADI).data),
		    v->unit == VERSION_UNIX_S ? 3 : 3000000);
		if (v->ver_in_srep) {
			struct view vers = support_value(srep, TAG_VERS);

			assert_int_equal(vers.len, t.versions.len);
			assert_memory_equal(
			    vers.data, t.versions.bytes, vers.len);
		}
		finish();
	}
}

/* 412 + 4 a version in VERS + 32 a node of the path. */
static void
batches_of_each_size(void **state)
{
	static const size_t sizes[] = { 1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 64, 100,
		255, 256, 257, 1000, 1024 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		size_t depth = 0;

		while ((size_t)1 << depth < sizes[i])
			depth++;
		start(sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			ask(i % 2 ? VERSION_RFC : VERSION_DRAFT14, 0, 1036);
		assert_int_equal(answer(), 1);
		assert_all_sent();
		for (size_t k = 0; k < t.n; k++)
			assert_int_equal(
			    t.jobs[k].len, 412 + t.versions.len + 32 * depth);
		finish();
	}
}

/* Only version 1 and 0x8000000c with TYPE share a tree. */
static void
old_versions_are_signed_alone(void **state)
{
	(void)state;
	for (enum version_row row = 0; row < VERSION_DRAFT14; row++) {
		start(8);
		for (size_t k = 0; k < 3; k++)
			ask(row, 0, 1024);
		assert_int_equal(answer(), 3);
		assert_all_sent();
		for (size_t k = 0; k < 3; k++)
			assert_int_equal(path_len(&t.jobs[k]), 0);
		finish();
	}
}

/* Versions, keys and lengths in any order: each reply is its request's own. */
static void
mixed_batch(void **state)
{
	static const size_t sizes[] = { 1024, 1036, 1028, 1032, 1040, 1044,
		1048, 1052, 1056, 1060, 1064, 1068 };
	size_t singles = 0, k = 1;

	(void)state;
	start(256);
	for (size_t i = 0; i < 256; i++) {
		enum version_row row;

		k = k * 1103515245 + 12345;
		row = (enum version_row)(k >> 16) % VERSION_ROWS;
		if (i % 4 != 0)
			row = i % 3 ? VERSION_RFC : VERSION_DRAFT14;
		singles += row < VERSION_DRAFT14;
		ask(row, (k >> 20) % 3, sizes[(k >> 24) % 12]);
	}
	assert_int_equal(answer(), singles + 3 * 2);
	assert_all_sent();
	finish();
}

/* In a tree of equal lengths INDX follows the order of the requests. */
static void
indexes_are_distinct(void **state)
{
	bool index[64] = { false };

	(void)state;
	start(64);
	for (size_t i = 0; i < 64; i++)
		ask(VERSION_RFC, 0, i % 2 ? 1024 : 1036);
	assert_int_equal(answer(), 1);
	assert_all_sent();
	for (size_t i = 0; i < 64; i++) {
		struct view body;
		uint32_t indx;

		frame_decode(
		    (struct view){ t.jobs[i].out, t.jobs[i].len }, &body);
		indx = wire_get32(support_value(body, TAG_INDX).data);
		assert_in_range(indx, 0, 63);
		assert_false(index[indx]);
		index[indx] = true;
	}
	finish();
}

static void
more_groups_than_the_table(void **state)
{
	(void)state;
	start(RESPONSE_BATCH_MAX);
	for (size_t i = 0; i < 10 * IDENTITIES; i++)
		ask(i % 2 ? VERSION_RFC : VERSION_DRAFT14,
		    (i / 2 + i / 50) % IDENTITIES, 1036);
	assert_int_equal(answer(), 2 * IDENTITIES);
	assert_all_sent();
	finish();
}

/* More jobs than the responder was made for: as many trees as needed. */
static void
more_jobs_than_the_batch(void **state)
{
	(void)state;
	start(16);
	for (size_t i = 0; i < 40; i++)
		ask(VERSION_RFC, 0, 1036);
	assert_int_equal(answer(), 3);
	assert_all_sent();
	assert_int_equal(path_len(&t.jobs[0]), 4 * 32);
	assert_int_equal(path_len(&t.jobs[39]), 3 * 32);
	finish();
	start(16);
	assert_int_equal(answer(), 0); /* no job at all */
	finish();
}

/* Section 9.7: alone if the path does not fit, not at all if nothing does. */
static void
never_longer_than_the_request(void **state)
{
	size_t alone;

	(void)state;
	start(64);
	for (size_t i = 0; i < 64; i++)
		ask(VERSION_RFC, 0, 1036);
	alone = 412 + t.versions.len;
	t.n = 60;
	ask(VERSION_RFC, 0, alone + 6 * 32); /* just fits the batch */
	ask(VERSION_RFC, 0, alone + 6 * 32 - 4); /* just does not */
	ask(VERSION_RFC, 0, alone); /* just fits alone */
	ask(VERSION_RFC, 0, alone - 4); /* fits no way */
	assert_int_equal(answer(), 3);
	for (size_t i = 0; i < 63; i++)
		assert_sent(&t.jobs[i]);
	assert_int_equal(path_len(&t.jobs[60]), 6 * 32);
	assert_int_equal(path_len(&t.jobs[61]), 0);
	assert_int_equal(path_len(&t.jobs[62]), 0);
	assert_dropped(&t.jobs[63], RESPONSE_TOO_LONG);
	finish();
	for (enum version_row row = 0; row < VERSION_ROWS; row++) {
		start(1);
		ask(row, 0, 0); /* unpadded, as on TCP */
		assert_int_equal(answer(), 0);
		assert_dropped(&t.jobs[0], RESPONSE_TOO_LONG);
		finish();
	}
}

/* TCP: the client's address is proven, so a short request has its reply, in
 * the batch like all others. */
static void
any_length(void **state)
{
	(void)state;
	for (enum version_row row = 0; row < VERSION_ROWS; row++) {
		start(4);
		ask(row, 0, 1036);
		ask(row, 0, 0)->any_length = true;
		ask(row, 0, 0);
		answer();
		assert_sent(&t.jobs[0]);
		assert_sent(&t.jobs[1]);
		assert_true(t.jobs[1].len > t.jobs[1].request.packet.len);
		assert_int_equal(path_len(&t.jobs[1]), path_len(&t.jobs[0]));
		assert_dropped(&t.jobs[2], RESPONSE_TOO_LONG);
		finish();
	}
}

/* Not a byte beyond `cap`, and no reply when it does not fit. */
static void
keeps_to_the_buffer(void **state)
{
	(void)state;
	for (enum version_row row = 0; row < VERSION_ROWS; row++) {
		size_t len;
		uint8_t *out;

		start(8);
		for (size_t i = 0; i < 5; i++)
			ask(row, 0, 1036);
		answer();
		len = t.jobs[4].len;
		out = guard_alloc(len);
		t.jobs[4].out = out;
		t.jobs[4].cap = len;
		answer();
		assert_int_equal(t.jobs[4].len, len);
		assert_sent(&t.jobs[4]);
		t.jobs[4].cap = 100;
		memset(out, 0xee, len);
		answer();
		assert_dropped(&t.jobs[4], RESPONSE_TOO_LONG);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(out[i], 0xee);
		for (size_t i = 0; i < 4; i++)
			assert_sent(&t.jobs[i]);
		guard_free(out, len);
		finish();
	}
}

static void
no_delegation(void **state)
{
	(void)state;
	start(16);
	t.keys[1].usable = false;
	for (size_t i = 0; i < 12; i++)
		ask(i < 6 ? VERSION_RFC : VERSION_GOOGLE, i % 2, 1036);
	assert_int_equal(answer(), 1 + 3);
	for (size_t i = 0; i < 12; i++) {
		if (i % 2)
			assert_dropped(&t.jobs[i], RESPONSE_NO_DELEGATION);
		else
			assert_sent(&t.jobs[i]);
	}
	finish();
}

static void
never_signed_outside_the_window(void **state)
{
	static const struct {
		uint64_t midpoint_us;
		bool inside;
	} moments[] = {
		{ 0, false },
		{ MINT_S * S - 1, false },
		{ MINT_S * S, true },
		{ MAXT_S * S, true },
		{ MAXT_S * S + 1, false },
		{ (MAXT_S + 1) * S, false },
		{ UINT64_MAX, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
		for (enum version_row row = 0; row < VERSION_ROWS; row++) {
			start(4);
			t.now.midpoint_us = moments[i].midpoint_us;
			ask(row, 0, 1036);
			ask(row, 0, 1036);
			if (moments[i].inside) {
				assert_true(answer() > 0);
				assert_all_sent();
			} else {
				assert_int_equal(answer(), 0);
				assert_dropped(
				    &t.jobs[0], RESPONSE_OUTSIDE_WINDOW);
				assert_dropped(
				    &t.jobs[1], RESPONSE_OUTSIDE_WINDOW);
			}
			finish();
		}
	}
}

/* A new responder is not needed when a key becomes usable: no state stays. */
static void
nothing_stays_from_a_call(void **state)
{
	struct response_job first;
	uint8_t reply[RESPONSE_MAX];

	(void)state;
	start(8);
	for (size_t i = 0; i < 5; i++)
		ask(i % 2 ? VERSION_RFC : VERSION_DRAFT14, i % 3, 1036);
	answer();
	first = t.jobs[0];
	memcpy(reply, first.out, first.len);
	t.keys[0].usable = false;
	answer();
	assert_dropped(&t.jobs[0], RESPONSE_NO_DELEGATION);
	t.keys[0].usable = true;
	answer();
	assert_int_equal(t.jobs[0].len, first.len);
	assert_memory_equal(t.jobs[0].out, reply, first.len);
	finish();
}

/* The radius, which covers the cut of MIDP, rounded up to the version's unit. */
static void
radius_is_rounded_up(void **state)
{
	static const struct {
		uint64_t fraction_us, radius_us;
		uint32_t seconds;
	} cases[] = {
		{ 0, 3 * S, 3 },
		{ 999999, 3 * S, 3 },
		{ 0, 3 * S + 1, 4 },
		{ 0, 1, 1 },
		{ 0, 0, 1 },
		{ 999999, 1000000, 1 },
		{ 999999, 1000001, 2 },
		{ 0, UINT64_MAX, UINT32_MAX },
		{ 999999, UINT64_MAX, UINT32_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view seconds, micro, radi;

		start(2);
		t.now.midpoint_us = NOW_US + cases[i].fraction_us;
		t.now.radius_us = cases[i].radius_us;
		ask(VERSION_RFC, 0, 1036);
		ask(VERSION_DRAFT05, 0, 1036);
		answer();
		seconds = assert_sent(&t.jobs[0]);
		micro = assert_sent(&t.jobs[1]);
		radi = support_value(seconds, TAG_RADI);
		assert_int_equal(wire_get32(radi.data), cases[i].seconds);
		radi = support_value(micro, TAG_RADI);
		if (cases[i].radius_us == 0)
			assert_int_equal(wire_get32(radi.data), 1);
		else if (cases[i].radius_us == UINT64_MAX)
			assert_int_equal(wire_get32(radi.data), UINT32_MAX);
		else
			assert_int_equal(
			    wire_get32(radi.data), cases[i].radius_us);
		finish();
	}
}

/* The longest VERS with the deepest tree stays under 1024 bytes. */
static void
longest_reply(void **state)
{
	(void)state;
	start(RESPONSE_BATCH_MAX);
	guard_free(t.memory, responder_size(t.batch));
	for (uint32_t i = 0; i < REQUEST_VERSIONS_MAX; i++)
		wire_put32(t.versions.bytes + 4 * (size_t)i, i + 1);
	t.versions.len = 4 * REQUEST_VERSIONS_MAX;
	t.memory = guard_alloc(responder_size(t.batch));
	t.responder = responder_init(t.memory, t.batch, &t.versions);
	for (size_t i = 0; i < RESPONSE_BATCH_MAX; i++)
		ask(VERSION_RFC, 0, 1024);
	assert_int_equal(answer(), 1);
	assert_all_sent();
	assert_int_equal(t.jobs[0].len, 412 + 4 * 32 + 32 * 10);
	finish();
}

static void
all_drops_were_seen(void **state)
{
	(void)state;
	support_all_seen(t.seen, RESPONSE_DROPS, drop_name);
	assert_string_equal(drop_name(RESPONSE_DROPS), "unknown");
}

static int
setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < IDENTITIES; i++)
		support_identity(&t.id[i], (uint8_t)(i + 1), MINT_S, MAXT_S);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_format_alone),
		cmocka_unit_test(batches_of_each_size),
		cmocka_unit_test(old_versions_are_signed_alone),
		cmocka_unit_test(mixed_batch),
		cmocka_unit_test(indexes_are_distinct),
		cmocka_unit_test(more_groups_than_the_table),
		cmocka_unit_test(more_jobs_than_the_batch),
		cmocka_unit_test(never_longer_than_the_request),
		cmocka_unit_test(any_length),
		cmocka_unit_test(keeps_to_the_buffer),
		cmocka_unit_test(no_delegation),
		cmocka_unit_test(never_signed_outside_the_window),
		cmocka_unit_test(nothing_stays_from_a_call),
		cmocka_unit_test(radius_is_rounded_up),
		cmocka_unit_test(longest_reply),
		cmocka_unit_test(all_drops_were_seen),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, setup, NULL);
}
