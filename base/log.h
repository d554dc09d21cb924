/*
 * The logger: one line an event to stderr, `program: level: text`. With
 * JOURNAL_STREAM set the line starts with the syslog priority `<N>` instead
 * (sd-daemon(3)). Never called on a packet path.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR = 0,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/* Sets the name before each line and the least important level that prints. */
void log_init(const char *program, enum log_level most);
/* The level alone, at any time and with other threads about. */
void log_set_level(enum log_level most);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * What this thread logs from here on goes to `tap` as well, whatever the level
 * that prints; NULL ends it. For whoever asked for what is being done.
 */
typedef void log_tap_fn(void *context, enum log_level level, const char *text);
void log_tap(log_tap_fn *tap, void *context);

/*
 * For run-time faults that can repeat: at most one line a second for each
 * call site, and the next line says how many were held back. `gate` is a
 * static variable of the call site.
 */
struct log_gate {
	uint64_t next_ns; /* monotonic */
	uint64_t held;
};
void log_limited(struct log_gate *gate, enum log_level level, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

#endif
