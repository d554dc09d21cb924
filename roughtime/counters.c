#include "roughtime/counters.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COUNTERS_TEXT(constant, name) name,
static const char *const named[] = { COUNTERS_NAMED(COUNTERS_TEXT) };

/* The words of the core hold blanks and dashes; a metric's name does not. */
static char *
join(char *buf, const char *prefix, const char *text)
{
	snprintf(buf, COUNTERS_NAME_LEN, "%s_%s", prefix, text);
	for (char *p = buf; *p != '\0'; p++)
		*p = isalnum((unsigned char)*p)
		    ? (char)tolower((unsigned char)*p)
		    : '_';
	return buf;
}

char *
counters_name(char buf[static COUNTERS_NAME_LEN], unsigned int which)
{
	unsigned int i;

	buf[0] = '\0';
	if (which < COUNTER_VERSION) {
		snprintf(buf, COUNTERS_NAME_LEN, "%s", named[which]);
		return buf;
	}
	if (which < COUNTER_REJECT)
		return join(buf, "answered",
		    version_table[which - COUNTER_VERSION].name);
	if (which < COUNTER_DROP) {
		i = which - COUNTER_REJECT;
		return i == REQUEST_OK
		    ? buf
		    : join(buf, "reject",
			  request_reject_str((enum request_reject)i));
	}
	if (which < COUNTER_GREASE) {
		i = which - COUNTER_DROP;
		return i == RESPONSE_SENT
		    ? buf
		    : join(buf, "drop",
			  response_drop_str((enum response_drop)i));
	}
	i = which - COUNTER_GREASE;
	return i == GREASE_NONE || i >= GREASE_KINDS
	    ? buf
	    : join(buf, "grease", grease_kind_str((enum grease_kind)i));
}

struct text {
	char *at;
	size_t left;
};

static void
line(struct text *t, const char *name, uint64_t value)
{
	int n = snprintf(
	    t->at, t->left, "%s %llu\n", name, (unsigned long long)value);

	if (n < 0 || (size_t)n >= t->left)
		return; /* cap too small: whole lines only */
	t->at += n;
	t->left -= (size_t)n;
}

static uint64_t
sum(const struct counters *const list[], size_t n, unsigned int which)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += atomic_load_explicit(
		    &list[i]->value[which], memory_order_relaxed);
	return total;
}

size_t
counters_format(char *out, size_t cap, const struct counters *const list[],
    size_t n, const struct counters_kernel *kernel)
{
	struct text t = { out, cap };
	char name[COUNTERS_NAME_LEN];

	for (unsigned int i = 0; i < COUNTER_COUNT; i++) {
		if (counters_name(name, i)[0] != '\0')
			line(&t, name, sum(list, n, i));
	}
	line(&t, "tcp_connections", kernel->connections);
	line(&t, "kept_drop", kernel->kept_drops);
	line(&t, "kernel_drop", kernel->drops);
	line(&t, "kernel_drop_queue_full_estimated", kernel->queue_full);
	line(&t, "kernel_drop_filter_estimated",
	    kernel->drops - kernel->queue_full);
	return (size_t)(t.at - out);
}
