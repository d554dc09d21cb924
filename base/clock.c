#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t
read_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t
clock_monotonic_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

uint64_t
clock_monotonic_ms(void)
{
	return clock_monotonic_ns() / 1000000u;
}

uint64_t
clock_realtime_us(void)
{
	return read_ns(CLOCK_REALTIME) / 1000;
}

uint64_t
clock_unix_s(void)
{
	return clock_realtime_us() / 1000000u;
}

uint64_t
clock_thread_cpu_ns(void)
{
	return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

char *
clock_rfc3339(char buf[static CLOCK_RFC3339_LEN], uint64_t unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	/* year 10000 and later: RFC 3339 has no words for it */
	if (unix_s > 253402300799u || gmtime_r(&t, &tm) == NULL)
		snprintf(buf, CLOCK_RFC3339_LEN, "@%llu",
		    (unsigned long long)unix_s);
	else
		strftime(buf, CLOCK_RFC3339_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return buf;
}
