/*
 * Requests: parse what a server gets, negotiate a version, choose the
 * identity (RFC 10049 sections 5.1 and 5.2); make what a client sends. Pure.
 */
#ifndef ROUGHTIME_REQUEST_H
#define ROUGHTIME_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "roughtime/cert.h"
#include "roughtime/message.h"
#include "roughtime/version.h"

#define REQUEST_VERSIONS_MAX 32
#define REQUEST_UDP_MIN 1024 /* bytes of a UDP packet that we answer */
#define REQUEST_SIZE_MAX 65535

enum request_reject {
	REQUEST_OK = 0,
	REQUEST_SHORT, /* UDP: under REQUEST_UDP_MIN bytes */
	REQUEST_FRAME_TRUNCATED,
	REQUEST_FRAME_TRAILING,
	REQUEST_MALFORMED, /* message_decode said no */
	REQUEST_IS_RESPONSE, /* top-level SIG */
	REQUEST_TYPE_NOT_ZERO, /* TYPE != 0 or not four bytes */
	REQUEST_NO_VERSION, /* framed without VER */
	REQUEST_VERSION_UNFRAMED, /* VER in an unframed packet */
	REQUEST_VERSION_LIST, /* empty, over 32 entries, not whole words, holds 0 */
	REQUEST_VERSION_ORDER, /* unsorted or repeated where 1 or c stands */
	REQUEST_VERSION_UNKNOWN, /* nothing in common */
	REQUEST_NO_NONCE,
	REQUEST_NONCE_LENGTH, /* fits no offered version */
	REQUEST_SRV_LENGTH,
	REQUEST_SRV_UNKNOWN, /* for another long-term key */
	REQUEST_SRV_MISSING, /* several long-term keys, none named */
	REQUEST_REJECTS
};
const char *request_reject_str(enum request_reject reject);

/* What this server answers to. Plain data, constant while in use. */
struct request_policy {
	uint32_t versions; /* set of version rows served */
	bool prefer_draft14; /* offered [1, c]: answer c instead of 1 */
	size_t identities;
	const uint8_t (*srv)[CERT_SRV_LEN]; /* one for each identity */
};

struct request {
	struct view packet; /* with the frame */
	struct view nonce;
	const struct version *version; /* negotiated */
	uint32_t identity; /* index into the policy's list */
};

/*
 * `min_len`: REQUEST_UDP_MIN on UDP, 0 on TCP (whether a reply may be longer
 * than its request is the business of response_job).
 */
enum request_reject request_parse(struct request *r, struct view packet,
    size_t min_len, const struct request_policy *policy);

struct request_spec {
	uint32_t versions; /* set of rows to offer; all framed, or Google alone,
	                        one nonce length, all typed or all untyped */
	const uint8_t *nonce; /* 32 or 64 bytes by version */
	const uint8_t *srv; /* 32 bytes or NULL */
	size_t size; /* of the whole packet; padded up to it (0: none) */
	bool descending; /* order of VER, for old readers' sake */
};

/* Writes a request packet; returns bytes, or 0: too small or a mixed set. */
size_t request_make(uint8_t *out, size_t cap, const struct request_spec *spec);

#endif
