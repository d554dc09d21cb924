/* Parse, answer, spoil: a reply is never longer than its request. */
#include <sodium/crypto_sign.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "roughtime/grease.h"
#include "roughtime/response.h"

#define BATCH 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct {
	bool ready;
	uint8_t memory[1 << 16] __attribute__((aligned(64)));
	struct responder *responder;
	struct response_key keys[2];
	uint8_t srv[2][CERT_SRV_LEN];
} s;

static void
start(void)
{
	struct response_versions versions;

	for (uint8_t i = 0; i < 2; i++) {
		uint8_t seed[CERT_SEED_LEN] = { 'f', 'u', 'z', 'z', i };
		uint8_t public_key[CERT_PUBLIC_LEN];

		/* one key for both purposes will do here */
		crypto_sign_seed_keypair(
		    public_key, s.keys[i].online_secret, seed);
		delegation_make(&s.keys[i].delegation, s.keys[i].online_secret,
		    public_key, 0, 2000000000);
		s.keys[i].usable = true;
		cert_srv(s.srv[i], public_key);
	}
	response_versions_make(&versions, VERSION_ALL);
	if (responder_size(BATCH) > sizeof s.memory)
		abort();
	s.responder = responder_init(s.memory, BATCH, &versions);
	s.ready = true;
}

/* The whole way of one packet; `copies` of it share a tree where they may. */
static void
serve(struct view packet, const struct request_policy *policy, size_t copies)
{
	const struct response_time now = { 1790000000500000ull, 3000000 };
	static uint8_t out[BATCH][RESPONSE_MAX];
	struct response_job jobs[BATCH];

	for (size_t i = 0; i < copies; i++) {
		if (request_parse(&jobs[i].request, packet, 0, policy) !=
		    REQUEST_OK)
			return;
		jobs[i].out = out[i];
		jobs[i].cap = RESPONSE_MAX;
		jobs[i].any_length = false;
	}
	responder_answer(s.responder, jobs, copies, s.keys, &now);
	for (size_t i = 0; i < copies; i++) {
		if (jobs[i].len > packet.len || jobs[i].len > RESPONSE_MAX ||
		    (jobs[i].len == 0) != (jobs[i].drop == RESPONSE_TOO_LONG))
			abort();
		if (jobs[i].len == 0)
			continue;
		grease_apply(out[i], &jobs[i].len, RESPONSE_MAX, packet.len,
		    wire_get32(jobs[i].request.nonce.data));
		if (jobs[i].len > packet.len || jobs[i].len > RESPONSE_MAX)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct request_policy policy = { .versions = VERSION_ALL,
		.identities = 1,
		.srv = (const uint8_t(*)[CERT_SRV_LEN])s.srv };
	struct view packet = { data, len };

	if (!s.ready)
		start();
	serve(packet, &policy, 2);
	policy.identities = 2;
	policy.prefer_draft14 = true;
	serve(packet, &policy, 1);
	return 0;
}
