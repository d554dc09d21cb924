/*
 * Responses: one signature for each (identity, version) of a batch, one tree
 * under it, one reply a request (RFC 10049 section 5.2). Pure: no clock, no
 * allocation, no I/O; memory comes from the caller once, at start.
 */
#ifndef ROUGHTIME_RESPONSE_H
#define ROUGHTIME_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "roughtime/cert.h"
#include "roughtime/request.h"

#define RESPONSE_MAX 1024 /* several clients receive into 1024 bytes */
#define RESPONSE_BATCH_MAX 1024

/* One identity as the packet path sees it; constant while in use. */
struct response_key {
	struct delegation delegation;
	uint8_t online_secret
	    [CERT_SECRET_LEN]; /* the struct lives in locked memory */
	bool usable; /* false: no delegation yet, drop and count */
};

/*
 * The moment of processing. The radius already covers the up to one second
 * that versions in whole seconds cut from the midpoint (timesource's bound
 * does), so that RADI is just the radius rounded up.
 */
struct response_time {
	uint64_t midpoint_us; /* Unix */
	uint64_t radius_us;
};

/* What every SREP announces in VERS, ascending: made once from the set. */
struct response_versions {
	uint8_t bytes[4 * REQUEST_VERSIONS_MAX];
	size_t len;
};
void response_versions_make(struct response_versions *v, uint32_t rows);

enum response_drop {
	RESPONSE_SENT = 0,
	RESPONSE_NO_DELEGATION, /* identity has no usable online key */
	RESPONSE_OUTSIDE_WINDOW, /* midpoint outside MINT…MAXT: never signed */
	RESPONSE_TOO_LONG, /* would be longer than its request or buffer */
	RESPONSE_DROPS
};
const char *response_drop_str(enum response_drop drop);

struct response_job {
	struct request request; /* parsed */
	uint8_t *out; /* where the reply goes */
	size_t cap; /* bytes there; RESPONSE_MAX is enough */
	bool any_length; /* the reply may be longer than its request */
	size_t len; /* result: 0 = dropped for `drop` */
	enum response_drop drop;
};

struct responder; /* opaque: scratch for trees and groups of one thread */

/* Bytes for a responder that takes up to `batch` jobs (<= 1024), and its
 * making in memory of that size, aligned to 64. */
size_t responder_size(size_t batch);
struct responder *responder_init(
    void *memory, size_t batch, const struct response_versions *versions);

/*
 * Answers jobs[0…n): groups by (identity, version), batches where the version
 * allows, signs the rest in trees of one. A request too short for the reply
 * with its group's path is answered in a tree of one when that fits. Returns
 * the number of signatures made.
 */
size_t responder_answer(struct responder *r, struct response_job *jobs,
    size_t n, const struct response_key *keys, const struct response_time *now);

#endif
