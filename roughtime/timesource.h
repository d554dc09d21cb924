/*
 * What the clock is worth: adjtimex(2) state and maxerror become RADI, leap
 * seconds widen it, steps are detected against CLOCK_MONOTONIC_RAW. One thread
 * polls; workers read two atomics.
 */
#ifndef ROUGHTIME_TIMESOURCE_H
#define ROUGHTIME_TIMESOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "roughtime/response.h"

enum timesource_policy { TIMESOURCE_REFUSE = 0, TIMESOURCE_SERVE };

struct timesource_config {
	enum timesource_policy when_unsynchronised;
	uint64_t min_radius_us; /* >= 3 s without leap information */
	uint64_t unsynchronised_radius_us; /* what is honest without a source */
	uint64_t max_radius_us; /* over it (leap apart) is unsynchronised */
	uint64_t step_us; /* a jump of this much is a step */
};

/* One look at the kernel's clock: what adjtimex(2) and the clocks said. */
struct timesource_sample {
	int state; /* TIME_OK, TIME_INS, TIME_DEL, TIME_OOP, TIME_WAIT, TIME_ERROR */
	unsigned int status; /* STA_UNSYNC … */
	uint64_t maxerror_us;
	uint64_t realtime_us;
	uint64_t monotonic_us; /* CLOCK_MONOTONIC_RAW */
};

enum timesource_state {
	TIMESOURCE_UNKNOWN = 0,
	TIMESOURCE_SYNCHRONISED,
	TIMESOURCE_LEAP, /* a leap second is near: radius is wider */
	TIMESOURCE_UNSYNCHRONISED, /* policy decides */
};
const char *timesource_state_str(enum timesource_state state);

struct timesource_verdict {
	enum timesource_state state;
	bool serve;
	uint64_t radius_us;
};

/* Pure: what a sample means under a configuration. */
struct timesource_verdict timesource_judge(
    const struct timesource_config *c, const struct timesource_sample *s);

/* Pure: how far the wall clock jumped between two samples, in microseconds,
 * signed; 0 within the rate that slewing can explain (500 ppm) and step_us. */
int64_t timesource_step(const struct timesource_config *c,
    const struct timesource_sample *before,
    const struct timesource_sample *after);

struct timesource; /* opaque: verdict published to the workers */

struct timesource *timesource_new(const struct timesource_config *c);
void timesource_free(struct timesource *t);
/* Judges the last sample anew, and tells when that changes the verdict. */
void
timesource_configure(struct timesource *t, const struct timesource_config *c);

/*
 * Called about once a second by the main thread: takes a sample, publishes
 * the verdict, logs a change of state or a step once. Returns the verdict.
 */
struct timesource_verdict timesource_poll(struct timesource *t);

/* The two halves of a poll: ask the kernel; judge, publish and tell. */
void timesource_take(struct timesource_sample *s);
struct timesource_verdict
timesource_accept(struct timesource *t, const struct timesource_sample *s);

/*
 * Packet path, any thread, no lock: now, with the published radius. False:
 * by policy nothing is served (the caller counts it). A verdict that is older
 * than a minute (the main thread hangs, the machine slept: CLOCK_BOOTTIME
 * goes on) is treated as an unsynchronised clock. Not noticed by anybody: a
 * virtual machine that was paused with all of its clocks, until a time daemon
 * steps them; nor does a step show before the next poll.
 */
bool timesource_now(const struct timesource *t, struct response_time *now);

/* The radius half of it, at a moment of CLOCK_BOOTTIME; 0: do not serve. */
uint64_t timesource_radius_at(const struct timesource *t, uint64_t boottime_us);

#endif
