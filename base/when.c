#include "base/when.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
	const char *unit;
	int64_t ms;
} units[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 },
	{ "s", 1000 }, { "ms", 1 } };

#define UNITS (sizeof units / sizeof units[0])

int64_t
when_unit_ms(const char *unit)
{
	for (size_t i = 0; i < UNITS; i++) {
		if (strcmp(units[i].unit, unit) == 0)
			return units[i].ms;
	}
	return 0;
}

bool
when_duration(const char *text, int64_t bare_ms, int64_t *ms)
{
	int64_t each;
	long long n;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false; /* strtoll() would take a sign or spaces */
	errno = 0;
	n = strtoll(text, &end, 10);
	each = *end == '\0' ? bare_ms : when_unit_ms(end);
	if (errno != 0 || each <= 0 || n > INT64_MAX / each)
		return false;
	*ms = n * each;
	return true;
}

/* RFC 3339 section 5.6 without fractions and offsets: UTC is `Z`. */
static bool
parse_rfc3339(const char *text, uint64_t *unix_s)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
	struct tm tm = { 0 }, back;
	time_t t;

	if (strlen(text) != sizeof shape - 1)
		return false;
	for (size_t i = 0; shape[i] != '\0'; i++) {
		bool digit = text[i] >= '0' && text[i] <= '9';

		if (shape[i] == 'd' ? !digit : text[i] != shape[i])
			return false;
	}
	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ", &tm.tm_year, &tm.tm_mon,
		&tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	back = tm;
	t = timegm(&back); /* 30 February becomes March: then it was none */
	if (t < 0 || back.tm_mon != tm.tm_mon || back.tm_mday != tm.tm_mday ||
	    back.tm_hour != tm.tm_hour || back.tm_min != tm.tm_min ||
	    back.tm_sec != tm.tm_sec)
		return false;
	*unix_s = (uint64_t)t;
	return true;
}

bool
when_parse(const char *text, uint64_t now_s, uint64_t *unix_s)
{
	size_t digits = strspn(text, "0123456789");

	if (strcmp(text, "now") == 0) {
		*unix_s = now_s;
		return true;
	}
	if (digits == 0 || text[digits] != '\0')
		return parse_rfc3339(text, unix_s);
	errno = 0;
	*unix_s = strtoull(text, NULL, 10);
	return errno == 0 && *unix_s <= WHEN_LATEST_S;
}

char *
when_span(char buf[static WHEN_SPAN_LEN], uint64_t seconds)
{
	size_t i = 0;
	uint64_t each;

	while (i < UNITS - 2 && seconds < (uint64_t)units[i].ms / 1000)
		i++;
	each = (uint64_t)units[i].ms / 1000;
	if (i == UNITS - 2)
		snprintf(
		    buf, WHEN_SPAN_LEN, "%llus", (unsigned long long)seconds);
	else
		snprintf(buf, WHEN_SPAN_LEN, "%llu%s %llu%s",
		    (unsigned long long)(seconds / each), units[i].unit,
		    (unsigned long long)(seconds % each /
			((uint64_t)units[i + 1].ms / 1000)),
		    units[i + 1].unit);
	return buf;
}

char *
when_span_ms(char buf[static WHEN_SPAN_LEN], uint64_t ms)
{
	if (ms < 1000)
		snprintf(buf, WHEN_SPAN_LEN, "%ums", (unsigned int)ms);
	else if (ms < 10000)
		snprintf(buf, WHEN_SPAN_LEN, "%u.%us",
		    (unsigned int)(ms / 1000), (unsigned int)(ms / 100 % 10));
	else
		return when_span(buf, ms / 1000);
	return buf;
}
