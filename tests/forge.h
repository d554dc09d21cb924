/*
 * Replies forged field by field, in every version, signed with keys of ours:
 * what a client must take, and with one edit what it must not. Without the
 * code under test, but for messages and hashes.
 */
#ifndef TESTS_FORGE_H
#define TESTS_FORGE_H

#include "base/view.h"
#include "roughtime/merkle.h"
#include "roughtime/version.h"

#define FORGE_NOW_S 1790000000u /* MIDP; the delegation is an hour around */
#define FORGE_CAP 4096

enum forge_level { TOP, SREP, CERT, DELE, REQUEST, LEVELS };
enum forge_op { NOTHING, DROP, SHORTEN, SET32, SET64, LENGTH, FLIP };

/* What is done to one tag before its level is signed. */
struct forge_edit {
	enum forge_level level;
	uint32_t tag;
	enum forge_op op;
	uint64_t value;
};

struct forge_keys {
	uint8_t public_key[32], secret[64];
	uint8_t online_public[32], online_secret[64];
};
extern struct forge_keys forge_keys;

struct forgery {
	const struct version *version;
	struct forge_edit edit;
	uint32_t index;
	size_t nodes; /* of PATH, each of it filled with its number */
	enum merkle_order order;
	uint8_t request[FORGE_CAP], reply[FORGE_CAP];
	size_t request_len, reply_len;
};

extern uint8_t forge_spare[FORGE_CAP]; /* values that LENGTH makes longer */
extern const uint8_t forge_nonce[64];

/* Fills forge_keys; 0 when it could. */
int forge_init(void);

/* The request of `version`; then a reply to it. The edit is done to both. */
void forge_request(struct forgery *f);
void forge_reply(struct forgery *f);

#endif
