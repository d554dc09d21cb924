#include "roughtime/client/exchange.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "roughtime/client/command.h"

#define MS 1000000ull
#define TCP_AFTER_NS (1500 * MS)
#define NEXT_ADDRESS_NS (100 * MS)
/* How long a better reply may still come after one that does not verify:
 * long enough for one more try, which grease (RFC 10049 section 7) needs. */
#define SETTLE_NS (2500 * MS)
#define LAST_TRY_NS (1500 * MS)

void
exchange_init(struct exchange *x, const struct arguments *a)
{
	x->timeout_ns = a->timeout_ns;
	x->options.public_key = a->has_key ? a->key : NULL;
	x->options.verify = a->verify;
	x->options.verify.any_key = !a->has_key;
	x->options.size = a->size;
}

/* TCP only when UDP has had its chance (RFC 10049 section 5). */
static uint64_t
tcp_delay(const struct exchange *x, unsigned int protos)
{
	bool alone = protos == EXCHANGE_TCP;

	for (size_t i = 0; i < x->count; i++)
		alone = alone && x->list[i].seen.proto == SOCK_TCP;
	return x->all || alone ? 0 : TCP_AFTER_NS;
}

static void
plan_one(struct exchange *x, const struct rung *rung, enum sock_proto proto,
    const struct addr *addr, uint64_t at_ns)
{
	if (x->count < EXCHANGE_MAX)
		attempt_init(&x->list[x->count++], rung, proto, addr, at_ns);
}

void
exchange_plan(struct exchange *x, const struct rung *rungs, size_t n,
    unsigned int protos, const struct addr *addrs, size_t n_addrs)
{
	uint64_t now = clock_monotonic_ns(), tcp;

	if (protos == 0)
		protos = EXCHANGE_UDP | EXCHANGE_TCP;
	tcp = tcp_delay(x, protos);
	if (x->list == NULL)
		x->list = command_alloc(EXCHANGE_MAX, sizeof *x->list);
	for (size_t i = 0; i < n_addrs; i++) {
		for (size_t r = 0; r < n; r++) {
			uint64_t at =
			    now + i * NEXT_ADDRESS_NS + rungs[r].delay_ms * MS;

			if (protos & EXCHANGE_UDP)
				plan_one(x, &rungs[r], SOCK_UDP, &addrs[i], at);
			if (protos & EXCHANGE_TCP && ladder_on_tcp(&rungs[r]))
				plan_one(x, &rungs[r], SOCK_TCP, &addrs[i],
				    at + tcp);
		}
	}
}

/* Nothing more to hope for: refused twice, invalid twice, or out of tries. */
static bool
is_over(const struct exchange *x, const struct attempt *a, uint64_t now_ns)
{
	if (a->state == ATTEMPT_DONE)
		return true;
	if (a->seen.refused + a->seen.failed + a->seen.closed >= 2 ||
	    a->seen.invalid >= 2)
		return true;
	if (a->tries < x->tries || a->state == ATTEMPT_CONNECTING)
		return false;
	return a->state == ATTEMPT_IDLE ||
	    now_ns >=
	    a->asked[(a->tries - 1) % ATTEMPT_KEPT].sent_ns + LAST_TRY_NS;
}

/* Asked, and neither answered nor refused: the reply may be on its way. */
static bool
is_live(const struct attempt *a)
{
	return a->state == ATTEMPT_CONNECTING ||
	    (a->state == ATTEMPT_WAITING && a->seen.refused == 0);
}

/* When everything asked so far was refused, the rest need not wait. */
static void
hurry(struct exchange *x, uint64_t now_ns)
{
	bool asked = false;

	for (size_t i = 0; i < x->count; i++) {
		if (is_live(&x->list[i]))
			return;
		asked = asked || x->list[i].tries > 0;
	}
	for (size_t i = 0; asked && i < x->count; i++) {
		struct attempt *a = &x->list[i];

		if (a->tries == 0 && a->next_ns > now_ns)
			a->next_ns = now_ns;
	}
}

static void
ask_those_due(struct exchange *x, uint64_t now_ns)
{
	for (size_t i = 0; i < x->count; i++) {
		struct attempt *a = &x->list[i];

		if (now_ns >= a->next_ns && a->tries < x->tries &&
		    a->state != ATTEMPT_CONNECTING && !is_over(x, a, now_ns))
			attempt_ask(a, &x->options, now_ns);
	}
}

/* The moment of the next thing to do, not later than `until`. */
static uint64_t
next_moment(const struct exchange *x, uint64_t now_ns, uint64_t until)
{
	for (size_t i = 0; i < x->count; i++) {
		const struct attempt *a = &x->list[i];
		uint64_t at = a->next_ns;

		if (is_over(x, a, now_ns))
			continue;
		if (a->tries >= x->tries)
			at = a->asked[(a->tries - 1) % ATTEMPT_KEPT].sent_ns +
			    LAST_TRY_NS;
		if (at > now_ns && at < until)
			until = at;
	}
	return until;
}

static void
wait_and_read(
    struct exchange *x, struct pollfd *fds, uint8_t *buffer, uint64_t until_ns)
{
	uint64_t now = clock_monotonic_ns();
	uint64_t ms = until_ns > now ? (until_ns - now) / MS + 1 : 0;

	for (size_t i = 0; i < x->count; i++) {
		fds[i].events = attempt_poll_events(&x->list[i]);
		fds[i].fd = fds[i].events != 0 ? x->list[i].fd : -1;
	}
	if (poll(fds, x->count, (int)(ms < 1000 ? ms : 1000)) < 0 &&
	    errno != EINTR)
		command_die("poll: %s", strerror(errno));
	for (size_t i = 0; i < x->count; i++) {
		if (fds[i].fd >= 0 && fds[i].revents != 0)
			attempt_event(&x->list[i], &x->options, buffer,
			    clock_monotonic_ns());
	}
}

static bool
all_over(const struct exchange *x, uint64_t now_ns)
{
	for (size_t i = 0; i < x->count; i++) {
		if (!is_over(x, &x->list[i], now_ns))
			return false;
	}
	return true;
}

static bool
any_invalid(const struct exchange *x)
{
	for (size_t i = 0; i < x->count; i++) {
		if (x->list[i].seen.invalid > 0)
			return true;
	}
	return false;
}

static struct attempt *
find_winner(const struct exchange *x)
{
	for (size_t i = 0; i < x->count; i++) {
		if (x->list[i].state == ATTEMPT_DONE)
			return &x->list[i];
	}
	return NULL;
}

struct attempt *
exchange_run(struct exchange *x)
{
	struct pollfd *fds = command_alloc(x->count, sizeof *fds);
	uint8_t *buffer = command_alloc(1, ATTEMPT_BUFFER);
	uint64_t now = clock_monotonic_ns();
	uint64_t until = now + x->timeout_ns;
	bool settling = false;

	while (now < until && !all_over(x, now) &&
	    (x->all || find_winner(x) == NULL)) {
		hurry(x, now);
		ask_those_due(x, now);
		wait_and_read(x, fds, buffer, next_moment(x, now, until));
		now = clock_monotonic_ns();
		if (!x->all && !settling && any_invalid(x)) {
			settling = true;
			until =
			    until < now + SETTLE_NS ? until : now + SETTLE_NS;
		}
	}
	free(buffer);
	free(fds);
	return find_winner(x);
}

enum diagnosis
exchange_explain(const struct exchange *x, char text[static DIAGNOSE_LEN])
{
	struct attempt_seen *seen = command_alloc(x->count, sizeof *seen);
	enum diagnosis d;
	size_t n = 0;

	for (size_t i = 0; i < x->count; i++) {
		if (x->list[i].tries > 0)
			seen[n++] = x->list[i].seen;
	}
	d = diagnose(text, seen, n);
	free(seen);
	return d;
}

void
exchange_free(struct exchange *x)
{
	for (size_t i = 0; i < x->count; i++)
		attempt_free(&x->list[i]);
	free(x->list);
	x->list = NULL;
	x->count = 0;
}
