/*
 * bytes_per_s, of all and of a client prefix: a half that may not receive yet is not read, so that its sender
 * is held up by TCP, until its turn comes. Each turn is a small portion, handed
 * out by proxy/pace to whoever asks first, of whichever worker: many sessions
 * get equal parts, and nobody is woken in vain.
 */
#include "proxy/session_inner.h"

#include "base/clock.h"

#define NS_PER_S 1e9

static enum relay_result
move_some(struct half *h, size_t most)
{
	return relay_move_some(&h->relay, h->session->table->pool, h->io.fd,
	    h->other->io.fd, most);
}

/* False: it has to wait for its turn. */
static bool
is_due(struct half *h)
{
	struct pace *p = h->session->service->pace;
	const struct addr *client = &h->session->client_address;
	uint64_t now_ns = clock_monotonic_ns();

	if (h->portion > 0)
		return h->turn_ns <= now_ns;
	h->portion = (uint32_t)pace_portion(p);
	h->turn_ns = pace_reserve(p, client, h->portion, now_ns);
	if (h->turn_ns <= now_ns)
		return true;
	tally_add(h->session->tally, TALLY_WAITS, 1);
	session_set_timer(h->session);
	return false;
}

/* Of its portion, which is over. */
static void
give_back(struct half *h, size_t bytes)
{
	const struct session *s = h->session;

	pace_give_back(s->service->pace, &s->client_address, bytes);
	h->portion = 0;
}

enum relay_result
session_pace_move(struct half *h)
{
	uint64_t before = h->relay.bytes;
	enum relay_result result;

	/* what waits goes on without asking: it has been counted */
	if (!is_due(h))
		return move_some(h, 0);
	result = move_some(h, h->portion);
	give_back(h, h->portion - (h->relay.bytes - before));
	return result;
}

void
session_pace_forget(struct half *h)
{
	if (h->portion > 0)
		give_back(h, h->portion);
}

bool
session_paced(const struct session *s, double *turn)
{
	const struct half *both[] = { &s->client, &s->origin };
	uint64_t first = UINT64_MAX;

	for (size_t i = 0; i < 2; i++) {
		if (both[i]->portion > 0 && both[i]->turn_ns < first)
			first = both[i]->turn_ns;
	}
	*turn = (double)first / NS_PER_S;
	return first != UINT64_MAX;
}

static bool
resume_half(struct half *h)
{
	struct session *s = h->session;

	if (h->portion == 0 || h->turn_ns > clock_monotonic_ns())
		return true;
	s->clock.active = session_now_s();
	return session_move(h);
}

bool
session_resume(struct session *s)
{
	if (s->client.portion == 0 && s->origin.portion == 0)
		return true;
	if (!resume_half(&s->client) || !resume_half(&s->origin))
		return false;
	session_watch(s);
	return true;
}
