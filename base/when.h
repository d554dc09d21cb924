/* Moments and spans of time as people write and read them. */
#ifndef BASE_WHEN_H
#define BASE_WHEN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * `now`, Unix seconds, or RFC 3339 in UTC (`2026-11-23T02:00:00Z`), from 1970
 * to the end of the year 9999. False when it is none of them.
 */
#define WHEN_LATEST_S 253402300799u
bool when_parse(const char *text, uint64_t now_s, uint64_t *unix_s);

/* `500ms`, `90s`, `5m`, `24h`, `30d`; a bare number counts `bare_ms` each. */
bool when_duration(const char *text, int64_t bare_ms, int64_t *ms);

/* Milliseconds in "ms", "s", "m", "h" or "d"; 0: no such unit. */
int64_t when_unit_ms(const char *unit);

/* The two largest units: `29d 23h`, `5m 1s`, `0s`. Returns buf. */
#define WHEN_SPAN_LEN 48
char *when_span(char buf[static WHEN_SPAN_LEN], uint64_t seconds);
/* The same where less than a second counts: `340ms`, `1.5s`, `42s`, `5m 1s`. */
char *when_span_ms(char buf[static WHEN_SPAN_LEN], uint64_t ms);

#endif
