#include "proxy/session_inner.h"

#include <errno.h>

#include "base/clock.h"
#include "net/tcp.h"

#define LOOK_S 1.0 /* how often a half that makes no events is looked at */
#define SETTLED_S 10.0 /* most sessions are shorter */

/* Not the loop's own: that one jumps when somebody sets the clock. */
double
session_now_s(void)
{
	return (double)clock_monotonic_ns() / 1e9;
}

double
session_deadline(const struct session_clock *c, const struct app_timeouts *t,
    enum session_state state, enum status *why)
{
	double at, life = c->born + t->lifetime_ms / 1e3;

	if (state == SESSION_HEADER) {
		*why = STATUS_HEADER_LATE;
		at = c->born + t->header_ms / 1e3;
	} else if (state == SESSION_RESOLVING) {
		*why = STATUS_RESOLVE_TIMEDOUT;
		at = c->attempt + t->connect_ms / 1e3;
	} else if (state == SESSION_CONNECTING) {
		*why = STATUS_CONNECT_TIMEDOUT;
		at = c->attempt + t->connect_ms / 1e3;
	} else {
		*why = STATUS_CLOSED;
		at = c->active + t->idle_ms / 1e3;
	}
	if (t->lifetime_ms > 0 && life < at) {
		*why = STATUS_CLOSED;
		at = life;
	}
	return at;
}

/* With the end of a removed application, or of us all. */
static double
deadline(const struct session *s, enum status *why)
{
	uint64_t ends[] = { s->table->ends_ns,
		service_ends_ns(s->service, addr_port(&s->edge)) };
	struct session_clock c = s->clock;
	double at, turn;

	/* who waits for a turn is not idle */
	if (session_paced(s, &turn) && turn > c.active)
		c.active = turn;
	at = session_deadline(&c, &s->service->app.timeouts, s->state, why);

	for (size_t i = 0; i < 2; i++) {
		double end = ends[i] != 0 ? (double)ends[i] / 1e9 : at;

		if (end < at) {
			*why = STATUS_UNAVAILABLE;
			at = end;
		}
	}
	return at;
}

/* Ended, or held up by the other side, or not wanted yet: then nothing says
 * that it is reset. Who waits for a turn will be read. */
static bool
is_unseen(const struct half *h)
{
	return h->io.fd >= 0 && !ev_is_active(&h->io) && h->portion == 0;
}

static bool
any_unseen(const struct session *s)
{
	return is_unseen(&s->client) || is_unseen(&s->origin);
}

void
session_set_timer(struct session *s)
{
	struct ev_loop *loop = s->table->setup.loop;
	enum status why;
	double now = session_now_s(), in = deadline(s, &why) - now, turn;

	if (in > SETTLED_S && s->state == SESSION_OPEN && !s->settled)
		in = SETTLED_S;
	if (in > LOOK_S && any_unseen(s))
		in = LOOK_S;
	if (session_paced(s, &turn) && turn - now < in)
		in = turn - now;
	ev_timer_stop(loop, &s->timer);
	ev_timer_set(&s->timer, in > 0 ? in : 0, 0);
	ev_timer_start(loop, &s->timer);
}

void
session_look_soon(struct session *s)
{
	if (any_unseen(s) &&
	    ev_timer_remaining(s->table->setup.loop, &s->timer) > LOOK_S)
		session_set_timer(s);
}

/* What it sent before is for a reader that reads, however slowly. */
static bool
is_still_read(const struct half *h)
{
	return relay_waiting(&h->relay) > 0 &&
	    session_now_s() - h->session->clock.active < LOOK_S;
}

static bool
half_is_alive(struct half *h)
{
	int error;

	if (!is_unseen(h) || !tcp_is_dead(h->io.fd) || is_still_read(h))
		return true;
	error = tcp_error(h->io.fd);
	/* what Linux calls a reset after the end of one direction */
	if (error == EPIPE || error == 0)
		error = ECONNRESET;
	session_close(h->session, status_from_errno(h->side, error), true);
	return false;
}

/* The client's side has its keepalive from the listener. */
static void
settle(struct session *s)
{
	if (s->settled || s->state != SESSION_OPEN)
		return;
	s->settled = true;
	/* it only fails for a connection that is dead already */
	(void)tcp_keepalive(
	    s->origin.io.fd, (int)s->service->app.tcp.keepalive_s);
}

/* Before its time: whether both are there, and until when it sleeps. */
static void
look_after(struct session *s)
{
	settle(s);
	if (half_is_alive(&s->client) && half_is_alive(&s->origin))
		session_set_timer(s);
}

void
session_timer_event(struct ev_loop *loop, ev_timer *w, int events)
{
	struct session *s = w->data;
	enum status why;

	(void)loop;
	(void)events;
	if (deadline(s, &why) > session_now_s()) {
		if (session_resume(s))
			look_after(s);
		return;
	}
	if (s->state == SESSION_CONNECTING && why == STATUS_CONNECT_TIMEDOUT)
		session_connect_failed(s, why);
	else
		session_close(s, why, why != STATUS_CLOSED);
}

void
sessions_end_by(struct sessions *t, uint64_t ends_ns)
{
	if (ends_ns != 0)
		t->ends_ns = ends_ns;
	for (struct session *s = t->open; s != NULL; s = s->next)
		session_set_timer(s);
}
