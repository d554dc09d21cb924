#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_LEN 1024

static const char *name = "timeshare";
/* alone changed later: by a reload, while other threads log */
static atomic_int limit = LOG_LEVEL_INFO;
static bool journal;
static _Thread_local log_tap_fn *tap;
static _Thread_local void *tap_context;

static const struct {
	const char *word;
	int priority; /* syslog(3) */
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error", 3 },
	[LOG_LEVEL_WARNING] = { "warning", 4 },
	[LOG_LEVEL_INFO] = { "info", 6 },
	[LOG_LEVEL_DEBUG] = { "debug", 7 },
};

void
log_init(const char *program, enum log_level most)
{
	name = program;
	journal = getenv("JOURNAL_STREAM") != NULL;
	log_set_level(most);
}

void
log_set_level(enum log_level most)
{
	atomic_store(&limit, (int)most);
}

void
log_tap(log_tap_fn *fn, void *context)
{
	tap = fn;
	tap_context = context;
}

static void
tell_tap(enum log_level level, const char *fmt, va_list ap)
{
	log_tap_fn *fn = tap;
	char text[LINE_MAX_LEN];
	int saved = errno;

	vsnprintf(text, sizeof text, fmt, ap);
	tap = NULL; /* what it logs itself is not for it */
	fn(tap_context, level, text);
	tap = fn;
	errno = saved; /* %m of the line that is still to be printed */
}

/* One write(2) a line, so that lines of several processes do not mix. */
static void
emit(enum log_level level, const char *fmt, va_list ap)
{
	char line[LINE_MAX_LEN];
	size_t len;
	int n;

	if (tap != NULL) {
		va_list again;

		va_copy(again, ap);
		tell_tap(level, fmt, again);
		va_end(again);
	}
	if ((int)level > atomic_load_explicit(&limit, memory_order_relaxed))
		return;
	if (journal)
		n = snprintf(line, sizeof line, "<%d>", levels[level].priority);
	else
		n = snprintf(
		    line, sizeof line, "%s: %s: ", name, levels[level].word);
	len = n > 0 && (size_t)n < sizeof line ? (size_t)n : 0;
	vsnprintf(line + len, sizeof line - len - 1, fmt, ap);
	len = strlen(line);
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nowhere left to say it */
}

#define LOG_FUNCTION(fn, level)       \
	void fn(const char *fmt, ...) \
	{                             \
		va_list ap;           \
                                      \
		va_start(ap, fmt);    \
		emit(level, fmt, ap); \
		va_end(ap);           \
	}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

__attribute__((format(printf, 2, 3))) static void
say(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(level, fmt, ap);
	va_end(ap);
}

void
log_limited(struct log_gate *gate, enum log_level level, const char *fmt, ...)
{
	uint64_t now = clock_monotonic_ns();
	char text[LINE_MAX_LEN / 2];
	va_list ap;

	if (now < gate->next_ns) {
		gate->held++;
		return;
	}
	gate->next_ns = now + 1000000000u;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	say(level, gate->held == 0 ? "%s" : "%s (%llu more like it)", text,
	    (unsigned long long)gate->held);
	gate->held = 0;
}
