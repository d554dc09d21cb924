/*
 * The load generator behind `roughtime bench`: flows (sockets) with a window
 * of outstanding requests each, one thread, batches of datagrams or pipelined
 * streams. A lost request gives its place back after `lost_after_ns`.
 */
#ifndef ROUGHTIME_CLIENT_LOAD_H
#define ROUGHTIME_CLIENT_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/histogram.h"
#include "net/addr.h"
#include "net/sock.h"
#include "roughtime/client/slots.h"
#include "roughtime/verify.h"

#define LOAD_BATCH 64
#define LOAD_REPLY_MAX 2048

struct load_options {
	struct addr peer;
	enum sock_proto proto;
	uint32_t flows;
	uint32_t window; /* outstanding on each flow */
	uint32_t burst; /* UDP: datagrams handed to the kernel as one, 1…64 */
	double rate; /* requests a second in all; 0: as fast as replies come */
	uint64_t duration_ns, warmup_ns, lost_after_ns;
	struct view request; /* a packet as request_make() gave it */
	const struct version *version; /* where its replies carry NONC */
	bool echo; /* a reply is the start of its request */
	double verify; /* fraction of replies that is verified */
	uint8_t public_key[CERT_PUBLIC_LEN];
	struct verify_options verify_options;
};

struct load_result {
	uint64_t sent;
	uint64_t received; /* in time, matched */
	uint64_t lost; /* no reply in lost_after_ns */
	uint64_t unmatched; /* late, duplicate or foreign */
	uint64_t refused; /* errors of the socket: ICMP, RST, full queues */
	uint64_t held_back; /* due by the rate, but the window was full */
	uint64_t verified, invalid;
	enum verify_fault fault; /* of the last invalid one; OK: an echo's */
	uint32_t connections; /* TCP: made, with those after a close */
	size_t reply_min, reply_max; /* bytes */
	uint64_t elapsed_ns; /* without warm-up and drain */
	uint64_t cpu_ns; /* of this thread, same span */
	struct histogram latency;
};

struct load_flow {
	int fd;
	struct slots slots;
	/* TCP: the slot whose packet is half written, and the stream in */
	uint32_t writing;
	size_t written, in_len;
	uint8_t *in;
	bool connected;
};

/* One run's state, shared by the two engines. */
struct load {
	const struct load_options *o;
	struct load_result *r;
	struct load_flow *flows;
	bool counting; /* after the warm-up */
	bool sending; /* false while the last replies come in */
	uint64_t start_ns; /* for the rate */
	uint32_t burst; /* as asked, or 1 where the path cannot */
	uint64_t offered; /* requests since start_ns */
	double verify_due;
};

/* Runs it; 0, or -1 with errno when the first sockets cannot be made. */
int load_run(const struct load_options *o, struct load_result *r);

/* How many of `want` requests the rate allows now. */
uint32_t load_allowed(struct load *l, uint32_t want, uint64_t now_ns);
/* Books what a reply on this flow means. */
void load_reply(
    struct load *l, struct load_flow *f, struct view reply, uint64_t now_ns);

/* One engine each: sends and receives what it can without waiting. Returns
 * false when there was nothing to do. */
bool load_udp_turn(struct load *l, struct load_flow *f, uint64_t now_ns);
bool load_tcp_turn(struct load *l, struct load_flow *f, uint64_t now_ns);

#endif
