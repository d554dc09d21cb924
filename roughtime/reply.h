/*
 * One reply's bytes: SREP, its signature, and the message around it (RFC 10049
 * section 5.2), in every wire format. Pure; response.c makes the trees.
 */
#ifndef ROUGHTIME_REPLY_H
#define ROUGHTIME_REPLY_H

#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "roughtime/response.h"
#include "roughtime/version.h"

/* A finished reply but for what is each request's own. */
struct reply {
	uint8_t bytes[RESPONSE_MAX];
	size_t len;
	size_t nonce_at; /* offsets of the three values in bytes */
	size_t path_at;
	size_t indx_at;
};

/* What all replies under one signature have in common. */
struct reply_parts {
	const struct version *version;
	const struct response_key *key;
	const struct response_time *now;
	const struct response_versions *versions;
	struct view nonce; /* data NULL: zero bytes, filled in later */
	struct view root;
	size_t path_len; /* bytes */
};

/* Bytes of a reply with an empty PATH, frame included. */
size_t
reply_len(const struct version *v, const struct response_versions *versions);

/* Signs and writes `reply`, with zero bytes for PATH and INDX. */
void reply_compose(struct reply *reply, const struct reply_parts *parts);

#endif
