/*
 * One way to ask one address: a rung of the ladder over one transport. It
 * keeps what it has sent, so that a late reply to an earlier try still counts
 * with its true round trip, and what it has seen, for the diagnosis.
 */
#ifndef ROUGHTIME_CLIENT_ATTEMPT_H
#define ROUGHTIME_CLIENT_ATTEMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/view.h"
#include "net/addr.h"
#include "net/sock.h"
#include "roughtime/client/ladder.h"
#include "roughtime/verify.h"

#define ATTEMPT_KEPT 8 /* tries whose reply is still welcome */
#define ATTEMPT_BUFFER 65536 /* any datagram fits */
#define ATTEMPT_SIZE 1036 /* RFC 10049 section 5.1: message of 1024 bytes */

struct attempt_options {
	const uint8_t *public_key; /* NULL: verify.any_key must be set */
	struct verify_options verify;
	size_t size; /* bytes of a request packet */
	struct view previous; /* chain to this reply; data NULL: random nonce */
};

enum attempt_state {
	ATTEMPT_IDLE = 0, /* its turn has not come, or comes again */
	ATTEMPT_CONNECTING, /* TCP */
	ATTEMPT_WAITING, /* for a reply */
	ATTEMPT_DONE /* a reply verified */
};

/* What happened, for people. Counters, but `error` and `fault`: the last. */
struct attempt_seen {
	enum sock_proto proto;
	const char *format;
	bool srv; /* named a long-term key */
	unsigned int sent;
	unsigned int refused; /* ICMP port unreachable, RST */
	unsigned int failed; /* other socket errors: no route, … */
	int error;
	unsigned int closed; /* TCP: ended without a reply */
	unsigned int stale; /* replies to another request: skipped */
	unsigned int invalid;
	enum verify_fault fault;
	bool capital_t; /* would pass with rfc10049-capital-t */
	size_t reply_len; /* of the last reply, good or bad */
};

struct asked {
	uint8_t *packet;
	size_t len;
	uint8_t rand[32]; /* the chain's */
	uint64_t sent_ns; /* monotonic */
};

struct attempt_answer {
	struct verify_result result; /* views into `reply` */
	uint8_t *request, *reply;
	size_t request_len, reply_len;
	uint8_t rand[32];
	uint64_t round_trip_ns;
	uint64_t received_us; /* the local clock at arrival, Unix */
};
void attempt_answer_free(struct attempt_answer *a);

struct attempt {
	struct rung rung;
	struct addr peer;
	enum attempt_state state;
	uint64_t next_ns; /* monotonic: when to ask (again) */
	int fd;
	struct asked asked[ATTEMPT_KEPT]; /* try t is at t % ATTEMPT_KEPT */
	unsigned int tries;
	uint8_t *in; /* TCP: ATTEMPT_BUFFER bytes of stream */
	size_t in_len, out_done;
	struct attempt_seen seen;
	struct attempt_answer answer; /* ATTEMPT_DONE */
};

void attempt_init(struct attempt *a, const struct rung *rung,
    enum sock_proto proto, const struct addr *peer, uint64_t start_ns);
void attempt_free(struct attempt *a);

/* Sends (UDP) or connects (TCP) with a fresh nonce; plans the next try. */
void attempt_ask(
    struct attempt *a, const struct attempt_options *o, uint64_t now_ns);

/*
 * Handles what poll(2) saw: writes, reads and judges everything that is
 * there. `buffer`: ATTEMPT_BUFFER bytes of scratch.
 */
void attempt_event(struct attempt *a, const struct attempt_options *o,
    uint8_t *buffer, uint64_t now_ns);
short attempt_poll_events(const struct attempt *a);

#endif
