/* Times, spans and replies as text and as JSON. Pure. */
#ifndef ROUGHTIME_CLIENT_SHOW_H
#define ROUGHTIME_CLIENT_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "roughtime/client/attempt.h"

#define SHOW_LEN 96

/* RFC 3339 in UTC with six digits of fraction; "for ever" for all ones. */
char *show_time(char buf[static SHOW_LEN], uint64_t unix_us);
/* `412 us`, `3.2 ms`, `1.5 s`, `2 h 5 m`: for people. */
char *show_span(char buf[static SHOW_LEN], uint64_t us);
/* The same for nanoseconds, with what is under a microsecond. */
char *show_ns(char buf[static SHOW_LEN], uint64_t ns);
/* Text from others without control bytes, cut to the buffer. */
char *show_clean(char buf[static SHOW_LEN], const char *text);

/* a - b in microseconds, saturated. */
int64_t show_difference(uint64_t a_us, uint64_t b_us);

/* What a reply says about the local clock. */
enum local_clock {
	LOCAL_AGREES = 0, /* within the uncertainty */
	LOCAL_BEHIND,
	LOCAL_AHEAD,
	LOCAL_UNKNOWN /* the server claims no usable accuracy */
};

struct offset {
	int64_t us; /* server - local, at the middle of the round trip */
	uint64_t uncertainty_us; /* radius + half the round trip */
	enum local_clock verdict;
};
/* A radius over a day tells nothing: unsynchronised servers send one of
 * 4294967295 s. */
#define SHOW_RADIUS_USELESS_US (86400ull * 1000000)
struct offset show_offset(const struct attempt_answer *a);

/* "version 1 (rfc10049)" … as a table of `name  value` lines to stdout. */
void show_answer(const char *server, const struct attempt *a, bool verified);
json_t *
show_answer_json(const char *server, const struct attempt *a, bool verified);

/* What was tried, for the JSON of a failure and of probe. */
json_t *show_attempt_json(const struct attempt *a);

#endif
