#include "roughtime/timesource.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

/* The kernel stops counting maxerror here and calls the clock lost. */
#define PHASE_LIMIT_US 16000000u
/* The rate at which the kernel lets maxerror grow, and at which ntp slews. */
#define DRIFT_DIVISOR 2000u /* 500 ppm */
/* An older verdict is no longer believed; a fresh one includes the drift
 * until then, so that the packet path need not compute it. */
#define STALE_US 60000000u
#define STALE_DRIFT_US (STALE_US / DRIFT_DIVISOR)
/* Versions that count in seconds cut MIDP to a whole one. */
#define CUT_US 1000000u
#define MARGIN_US (STALE_DRIFT_US + CUT_US)
#define LEAP_US 1000000u

/*
 * The main thread writes, workers read. Each field is valid by itself: a
 * reader that sees an old time beside a new radius is wrong by one poll. A
 * radius of 0 means: serve nothing.
 */
struct timesource {
	_Atomic uint64_t radius_us;
	_Atomic uint64_t stale_radius_us;
	_Atomic uint64_t polled_us; /* CLOCK_BOOTTIME */

	struct timesource_config config;
	struct timesource_sample last;
	struct timesource_verdict verdict;
};

const char *
timesource_state_str(enum timesource_state state)
{
	switch (state) {
	case TIMESOURCE_UNKNOWN:
		return "unknown";
	case TIMESOURCE_SYNCHRONISED:
		return "synchronised";
	case TIMESOURCE_LEAP:
		return "leap second pending";
	case TIMESOURCE_UNSYNCHRONISED:
		return "unsynchronised";
	}
	return "?";
}

static uint64_t
larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The most that MIDP can be off, by the kernel's own word (saturating). */
static uint64_t
error_bound(uint64_t maxerror_us)
{
	uint64_t bound = maxerror_us + MARGIN_US;

	return bound < MARGIN_US ? UINT64_MAX : bound;
}

/* The policy for a clock that nothing vouches for; the radius is the
 * operator's word, and never better than what the kernel still claims. */
static struct timesource_verdict
unsynchronised(const struct timesource_config *c, uint64_t bound_us)
{
	struct timesource_verdict v = { TIMESOURCE_UNSYNCHRONISED, false, 0 };

	v.serve = c->when_unsynchronised == TIMESOURCE_SERVE;
	v.radius_us = larger(c->min_radius_us, c->unsynchronised_radius_us);
	v.radius_us = larger(v.radius_us, bound_us);
	return v;
}

static bool
leap_near(int state)
{
	return state == TIME_INS || state == TIME_DEL || state == TIME_OOP ||
	    state == TIME_WAIT;
}

/*
 * The true time must lie inside MIDP +- RADI (RFC 10049 section 5.2.5). A
 * pending leap second widens the radius by one second for as long as the
 * kernel tells of it (the day before, the second itself, and until the time
 * daemon clears the flag): the kernel repeats or skips a whole second at
 * midnight, while others smear it over a day.
 */
struct timesource_verdict
timesource_judge(
    const struct timesource_config *c, const struct timesource_sample *s)
{
	struct timesource_verdict v = { TIMESOURCE_SYNCHRONISED, true, 0 };
	uint64_t bound_us = error_bound(s->maxerror_us);

	v.radius_us = larger(c->min_radius_us, bound_us);
	if ((s->status & STA_UNSYNC) != 0 || s->state == TIME_ERROR ||
	    s->maxerror_us >= PHASE_LIMIT_US || v.radius_us > c->max_radius_us)
		return unsynchronised(c, bound_us);
	if (leap_near(s->state)) {
		v.state = TIMESOURCE_LEAP;
		v.radius_us += LEAP_US;
	}
	return v;
}

int64_t
timesource_step(const struct timesource_config *c,
    const struct timesource_sample *before,
    const struct timesource_sample *after)
{
	int64_t wall = (int64_t)(after->realtime_us - before->realtime_us);
	int64_t raw = (int64_t)(after->monotonic_us - before->monotonic_us);
	int64_t jump = wall - raw;
	uint64_t size = (uint64_t)(jump < 0 ? -jump : jump);
	uint64_t slew = raw > 0 ? (uint64_t)raw / DRIFT_DIVISOR : 0;

	if (size <= slew || size - slew < c->step_us)
		return 0;
	return jump;
}

static uint64_t
read_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Both clocks as of one moment: of a few tries the one that was interrupted
 * least, or being scheduled away would look like a step. */
static void
read_clocks(struct timesource_sample *s)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 4 && best > 50; i++) {
		uint64_t before = read_us(CLOCK_MONOTONIC_RAW);
		uint64_t wall = clock_realtime_us();
		uint64_t gap = read_us(CLOCK_MONOTONIC_RAW) - before;

		if (gap >= best)
			continue;
		best = gap;
		s->realtime_us = wall;
		s->monotonic_us = before + gap / 2;
	}
}

void
timesource_take(struct timesource_sample *s)
{
	struct timex tx = { .modes = 0 }; /* read only: needs no right */

	memset(s, 0, sizeof *s);
	s->state = adjtimex(&tx);
	s->status = (unsigned int)tx.status;
	s->maxerror_us = tx.maxerror < 0 ? 0 : (uint64_t)tx.maxerror;
	if (s->state < 0) { /* forbidden: then nothing vouches for the clock */
		s->state = TIME_ERROR;
		s->status = STA_UNSYNC;
		s->maxerror_us = PHASE_LIMIT_US;
	}
	read_clocks(s);
}

static void
publish(struct timesource *t)
{
	struct timesource_verdict stale = unsynchronised(&t->config, 0);

	t->verdict = timesource_judge(&t->config, &t->last);
	atomic_store(
	    &t->radius_us, t->verdict.serve ? t->verdict.radius_us : 0);
	atomic_store(&t->stale_radius_us, stale.serve ? stale.radius_us : 0);
}

struct timesource *
timesource_new(const struct timesource_config *c)
{
	struct timesource *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	t->config = *c;
	timesource_poll(t);
	return t;
}

void
timesource_free(struct timesource *t)
{
	free(t);
}

static void
tell_step(const struct timesource_sample *s, int64_t us)
{
	bool leap = s->state == TIME_OOP || s->state == TIME_WAIT;

	if (us != 0)
		log_warning("clock: stepped by %+.6f s%s", (double)us / 1e6,
		    leap ? " (leap second)" : "");
}

static void
tell_state(const struct timesource *t)
{
	const struct timesource_verdict *v = &t->verdict;
	const char *state = timesource_state_str(v->state);
	double radius_s = (double)v->radius_us / 1e6;

	if (v->state != TIMESOURCE_UNSYNCHRONISED)
		log_info("clock: %s, radius %.3f s", state, radius_s);
	else if (v->serve)
		log_warning("clock: %s (kernel error bound %.3f s); serving "
			    "with a radius of %.3f s",
		    state, (double)t->last.maxerror_us / 1e6, radius_s);
	else
		log_warning("clock: %s (kernel error bound %.3f s): NO REQUEST "
			    "IS ANSWERED; run an NTP client, or set `clock: "
			    "{when_unsynchronised: serve}` to answer with a "
			    "radius of %.3f s",
		    state, (double)t->last.maxerror_us / 1e6, radius_s);
}

/* Judges the last sample again; tells what is different now. */
static void
judge(struct timesource *t)
{
	struct timesource_verdict was = t->verdict;

	publish(t);
	if (was.state != t->verdict.state || was.serve != t->verdict.serve)
		tell_state(t);
}

void
timesource_configure(struct timesource *t, const struct timesource_config *c)
{
	t->config = *c;
	judge(t);
}

struct timesource_verdict
timesource_accept(struct timesource *t, const struct timesource_sample *s)
{
	if (t->verdict.state != TIMESOURCE_UNKNOWN)
		tell_step(s, timesource_step(&t->config, &t->last, s));
	t->last = *s;
	judge(t);
	atomic_store(&t->polled_us, read_us(CLOCK_BOOTTIME));
	return t->verdict;
}

struct timesource_verdict
timesource_poll(struct timesource *t)
{
	struct timesource_sample s;

	timesource_take(&s);
	return timesource_accept(t, &s);
}

uint64_t
timesource_radius_at(const struct timesource *t, uint64_t boottime_us)
{
	uint64_t polled = atomic_load(&t->polled_us);

	/* a poll may fall between the caller's clock and our load */
	if (boottime_us > polled && boottime_us - polled > STALE_US)
		return atomic_load(&t->stale_radius_us);
	return atomic_load(&t->radius_us);
}

bool
timesource_now(const struct timesource *t, struct response_time *now)
{
	now->radius_us = timesource_radius_at(t, read_us(CLOCK_BOOTTIME));
	now->midpoint_us = clock_realtime_us();
	return now->radius_us != 0;
}
