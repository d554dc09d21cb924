#include "roughtime/client/attempt.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "roughtime/client/command.h"
#include "roughtime/message.h"
#include "roughtime/request.h"

void
attempt_answer_free(struct attempt_answer *a)
{
	free(a->request);
	free(a->reply);
	memset(a, 0, sizeof *a);
}

void
attempt_init(struct attempt *a, const struct rung *rung, enum sock_proto proto,
    const struct addr *peer, uint64_t start_ns)
{
	memset(a, 0, sizeof *a);
	a->rung = *rung;
	a->peer = *peer;
	a->next_ns = start_ns;
	a->fd = -1;
	a->seen.proto = proto;
	a->seen.format = rung->name;
}

static void
disconnect(struct attempt *a)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
	if (a->state != ATTEMPT_DONE)
		a->state = ATTEMPT_IDLE;
}

void
attempt_free(struct attempt *a)
{
	disconnect(a);
	for (size_t i = 0; i < ATTEMPT_KEPT; i++)
		free(a->asked[i].packet);
	free(a->in);
	attempt_answer_free(&a->answer);
}

static void
note_error(struct attempt *a, int error)
{
	a->seen.error = error;
	if (error == ECONNREFUSED || error == ECONNRESET)
		a->seen.refused++;
	else
		a->seen.failed++;
}

static size_t
nonce_len(const struct rung *rung)
{
	for (size_t row = 0; row < VERSION_ROWS; row++) {
		if (rung->rows & 1u << row)
			return version_table[row].nonce_len;
	}
	return 32;
}

static bool
framed(const struct rung *rung)
{
	return ladder_on_tcp(rung);
}

/* A new request with a nonce of its own, in the place of the oldest. */
static struct asked *
make_request(struct attempt *a, const struct attempt_options *o)
{
	struct asked *q = &a->asked[a->tries % ATTEMPT_KEPT];
	uint8_t nonce[HASH_FULL_LEN], srv[CERT_SRV_LEN];
	struct request_spec spec = { .versions = a->rung.rows,
		.nonce = nonce,
		.size = framed(&a->rung) ? o->size : o->size - FRAME_LEN };

	randombytes_buf(q->rand, sizeof q->rand);
	randombytes_buf(nonce, sizeof nonce);
	if (o->previous.data != NULL)
		verify_chain_nonce(
		    nonce, nonce_len(&a->rung), o->previous, q->rand);
	if (a->rung.srv && o->public_key != NULL) {
		cert_srv(srv, o->public_key);
		spec.srv = srv;
		a->seen.srv = true;
	}
	free(q->packet);
	q->packet = command_alloc(1, o->size + 256);
	q->len = request_make(q->packet, o->size + 256, &spec);
	if (q->len == 0)
		command_die("no request can offer these versions together");
	a->tries++;
	return q;
}

static bool
send_datagram(struct attempt *a, struct asked *q)
{
	ssize_t n;

	q->sent_ns = clock_monotonic_ns();
	n = send(a->fd, q->packet, q->len, MSG_NOSIGNAL);
	/* the first failure may be the ICMP error of an earlier try */
	if (n < 0 && errno == ECONNREFUSED) {
		note_error(a, errno);
		n = send(a->fd, q->packet, q->len, MSG_NOSIGNAL);
	}
	if (n < 0 && errno != EAGAIN) {
		note_error(a, errno);
		return false;
	}
	a->seen.sent++;
	return true;
}

void
attempt_ask(struct attempt *a, const struct attempt_options *o, uint64_t now_ns)
{
	static const struct sock_opts opts = { .nodelay = true };
	struct asked *q = make_request(a, o);

	a->next_ns = now_ns + ladder_backoff_ns(a->tries);
	if (a->fd < 0)
		a->fd = sock_connect(a->seen.proto, &a->peer, &opts);
	if (a->fd < 0) {
		note_error(a, errno);
		return;
	}
	if (a->seen.proto == SOCK_TCP) {
		a->state = ATTEMPT_CONNECTING;
		a->in_len = a->out_done = 0;
		/* a connection is retried when it ends, not while it stands */
		a->next_ns = UINT64_MAX;
		return;
	}
	if (send_datagram(a, q))
		a->state = ATTEMPT_WAITING;
	else
		disconnect(a);
}

static struct asked *
latest(struct attempt *a)
{
	return &a->asked[(a->tries - 1) % ATTEMPT_KEPT];
}

static void
take_answer(struct attempt *a, const struct attempt_options *o,
    const struct asked *q, struct view packet, uint64_t now_ns)
{
	struct attempt_answer *answer = &a->answer;

	attempt_answer_free(answer);
	answer->received_us = clock_realtime_us();
	answer->round_trip_ns = now_ns - q->sent_ns;
	answer->request = command_alloc(1, q->len);
	answer->reply = command_alloc(1, packet.len);
	answer->request_len = q->len;
	answer->reply_len = packet.len;
	memcpy(answer->request, q->packet, q->len);
	memcpy(answer->reply, packet.data, packet.len);
	memcpy(answer->rand, q->rand, sizeof q->rand);
	/* once more, so that the views of the result are into our copy */
	(void)verify_response(&answer->result,
	    o->public_key != NULL ? o->public_key : answer->rand,
	    (struct view){ answer->request, answer->request_len },
	    (struct view){ answer->reply, answer->reply_len }, &o->verify);
	a->state = ATTEMPT_DONE;
}

/* A reply without NONC tells only by its tree which request it is for. */
static bool
for_another_request(const struct attempt *a, enum verify_fault fault)
{
	return fault == VERIFY_NONCE ||
	    (fault == VERIFY_ROOT && !framed(&a->rung));
}

/* For the diagnosis only: would the compatibility mode have helped? */
static bool
passes_compat(const struct attempt *a, const struct attempt_options *o,
    struct view packet)
{
	struct verify_options compat = { .compat_capital_t = true };
	const struct asked *q = &a->asked[(a->tries - 1) % ATTEMPT_KEPT];
	struct verify_result result;

	return o->public_key != NULL &&
	    verify_response(&result, o->public_key,
		(struct view){ q->packet, q->len }, packet,
		&compat) == VERIFY_OK;
}

/* What a packet from the peer means for this attempt. */
static void
judge(struct attempt *a, const struct attempt_options *o, struct view packet,
    uint64_t now_ns)
{
	static const uint8_t none[CERT_PUBLIC_LEN];
	const uint8_t *key = o->public_key != NULL ? o->public_key : none;
	enum verify_fault fault = VERIFY_NONCE;
	struct verify_result result;
	unsigned int kept = a->tries < ATTEMPT_KEPT ? a->tries : ATTEMPT_KEPT;

	for (unsigned int i = 1; i <= kept; i++) {
		const struct asked *q =
		    &a->asked[(a->tries - i) % ATTEMPT_KEPT];

		fault = verify_response(&result, key,
		    (struct view){ q->packet, q->len }, packet, &o->verify);
		if (fault == VERIFY_OK) {
			a->seen.reply_len = packet.len;
			take_answer(a, o, q, packet, now_ns);
			return;
		}
		if (!for_another_request(a, fault))
			break;
	}
	if (for_another_request(a, fault)) {
		a->seen.stale++;
		return;
	}
	a->seen.invalid++;
	a->seen.fault = fault;
	a->seen.reply_len = packet.len;
	if (fault == VERIFY_CERT_SIGNATURE)
		a->seen.capital_t = passes_compat(a, o, packet);
}

static void
read_datagrams(struct attempt *a, const struct attempt_options *o,
    uint8_t *buffer, uint64_t now_ns)
{
	/* bounded: a flood must not keep us from the other attempts */
	for (int i = 0; i < 64 && a->state == ATTEMPT_WAITING; i++) {
		ssize_t n = recv(a->fd, buffer, ATTEMPT_BUFFER, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			note_error(a, errno);
		if (n < 0)
			return;
		judge(a, o, (struct view){ buffer, (size_t)n }, now_ns);
	}
}

/* The connection ended or cannot go on: again after the back-off. */
static void
hang_up(struct attempt *a, uint64_t now_ns)
{
	disconnect(a);
	a->next_ns = now_ns + ladder_backoff_ns(a->tries);
}

static void
write_stream(struct attempt *a, uint64_t now_ns)
{
	struct asked *q = latest(a);
	ssize_t n = send(
	    a->fd, q->packet + a->out_done, q->len - a->out_done, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN))
		return;
	if (n < 0) {
		note_error(a, errno);
		hang_up(a, now_ns);
		return;
	}
	if (a->out_done == 0)
		q->sent_ns = now_ns;
	a->out_done += (size_t)n;
	if (a->out_done < q->len)
		return;
	a->seen.sent++;
	a->state = ATTEMPT_WAITING;
}

/* Takes whole frames off the stream; false when it is no Roughtime at all. */
static bool
take_frames(struct attempt *a, const struct attempt_options *o, uint64_t now_ns)
{
	enum frame_scan scan = FRAME_SCAN_WHOLE;
	size_t len;

	while (a->state == ATTEMPT_WAITING) {
		scan = frame_scan(a->in, a->in_len, ATTEMPT_BUFFER, &len);
		if (scan != FRAME_SCAN_WHOLE)
			break;
		judge(a, o, (struct view){ a->in, len }, now_ns);
		a->in_len -= len;
		memmove(a->in, a->in + len, a->in_len);
	}
	if (scan == FRAME_SCAN_WHOLE || scan == FRAME_SCAN_PART)
		return true;
	a->seen.invalid++;
	a->seen.fault = VERIFY_FRAME;
	return false;
}

static void
read_stream(struct attempt *a, const struct attempt_options *o, uint64_t now_ns)
{
	ssize_t n;

	if (a->in == NULL)
		a->in = command_alloc(1, ATTEMPT_BUFFER);
	n = recv(a->fd, a->in + a->in_len, ATTEMPT_BUFFER - a->in_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		unsigned int invalid = a->seen.invalid;

		a->in_len += (size_t)n;
		/* one bad reply ends it (RFC 10049 section 5) */
		if (take_frames(a, o, now_ns) && a->seen.invalid == invalid)
			return;
	} else if (n == 0) {
		a->seen.closed++;
	} else {
		note_error(a, errno);
	}
	hang_up(a, now_ns);
}

void
attempt_event(struct attempt *a, const struct attempt_options *o,
    uint8_t *buffer, uint64_t now_ns)
{
	if (a->state == ATTEMPT_CONNECTING)
		write_stream(a, now_ns);
	else if (a->state != ATTEMPT_WAITING)
		return;
	else if (a->seen.proto == SOCK_TCP)
		read_stream(a, o, now_ns);
	else
		read_datagrams(a, o, buffer, now_ns);
}

short
attempt_poll_events(const struct attempt *a)
{
	if (a->fd < 0 || a->state == ATTEMPT_DONE || a->state == ATTEMPT_IDLE)
		return 0;
	return a->state == ATTEMPT_CONNECTING ? POLLOUT : POLLIN;
}
