#include "proxy/spin.h"

#include "base/clock.h"

/* Two of three must find something; a good time pays for a few in vain. */
#define FOUND 1
#define IN_VAIN 2
#define WORTH_MAX 8
#define TRY_EVERY 64

static void
found(struct spin *s)
{
	if (s->worth < WORTH_MAX)
		s->worth += FOUND;
}

static void
in_vain(struct spin *s)
{
	s->worth -= IN_VAIN;
	if (s->worth < -1)
		s->worth = -1;
	s->slept = 0;
}

/* libev calls it in turns without any other event. */
static void
idle_event(struct ev_loop *loop, ev_idle *idle, int what)
{
	struct spin *s = idle->data;

	(void)what;
	s->idled = true;
	if (clock_monotonic_ns() - s->since_ns < s->most_ns)
		return;
	in_vain(s);
	ev_idle_stop(loop, idle);
}

/* Before the loop looks, and perhaps sleeps. */
static void
turn_event(struct ev_loop *loop, ev_prepare *turn, int what)
{
	struct spin *s = turn->data;
	bool idled = s->idled;

	(void)what;
	s->idled = false;
	if (s->rests) {
		s->rests = false;
		ev_idle_stop(loop, &s->idle);
		return;
	}
	if (idled)
		return;
	if (ev_is_active(&s->idle))
		found(s);
	else if (s->worth < 0 && ++s->slept < TRY_EVERY)
		return;
	s->since_ns = clock_monotonic_ns();
	ev_idle_start(loop, &s->idle);
}

void
spin_start(struct spin *s, struct ev_loop *loop, uint64_t most_ns)
{
	if (most_ns == 0)
		return;
	*s = (struct spin){ .loop = loop, .most_ns = most_ns };
	ev_prepare_init(&s->turn, turn_event);
	ev_idle_init(&s->idle, idle_event);
	s->turn.data = s->idle.data = s;
	ev_prepare_start(loop, &s->turn);
}

void
spin_rest(struct spin *s)
{
	s->rests = true;
}

void
spin_stop(struct spin *s)
{
	if (s->loop == NULL)
		return;
	ev_prepare_stop(s->loop, &s->turn);
	ev_idle_stop(s->loop, &s->idle);
}
