/* The books: what both servers counted is what was asked of them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "portshare/story.h"

#define LAST_LINE "\nkernel_drop_filter_estimated "

static size_t
count_reports(const char *log)
{
	size_t n = 0;

	while ((log = strstr(log, LAST_LINE)) != NULL) {
		log += strlen(LAST_LINE);
		n++;
	}
	return n;
}

const char *
story_report(struct story *s)
{
	static const char first[] = "\nudp_received ";
	size_t before = count_reports(player_log(&s->time));
	const char *last = "", *at;

	if (kill(s->time.pid, SIGUSR1) < 0 ||
	    !player_says(&s->time, LAST_LINE, before + 1))
		return "";
	for (at = strstr(s->time.text, first); at != NULL;
	     at = strstr(at + 1, first))
		last = at;
	return last;
}

long
story_counted(const char *report, const char *name)
{
	char line[64];
	const char *at;

	snprintf(line, sizeof line, "\n%s ", name);
	at = strstr(report, line);
	return at != NULL ? strtol(at + strlen(line), NULL, 10) : -1;
}

/* Asked until it is there: counters follow what they count. */
static bool
time_servers(struct story *s)
{
	uint64_t end = clock_monotonic_ms() + PLAYER_PATIENCE_MS;
	const char *report;
	long udp, tcp;

	tale_typed(&s->tale, "kill -USR1 $(pidof roughtimed)");
	do {
		report = story_report(s);
		udp = story_counted(report, "udp_sent");
		tcp = story_counted(report, "tcp_sent");
	} while (udp + tcp < (long)s->asked_time && !tale_interrupted() &&
	    clock_monotonic_ms() < end);
	(void)tale_quoted(&s->tale, report, "p_received ");
	(void)tale_quoted(&s->tale, report, "p_sent ");
	return tale_check(&s->tale,
	    udp > 0 && tcp > 0 && udp + tcp >= (long)s->asked_time,
	    "the time server answered what was asked of it, %ld over UDP and "
	    "%ld over TCP",
	    udp, tcp);
}

/* The number that stands before `what` in the application's row. */
static long
row(const char *text, const char *application, const char *what)
{
	char line[128];
	long n = -1;

	for (const char *at = text; *at != '\0';
	     at += strcspn(at, "\n"), at += *at == '\n') {
		snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
		if (strncmp(line, application, strlen(application)) == 0 &&
		    strstr(line, what) != NULL)
			n = strtol(line + strlen(application), NULL, 10);
	}
	return n;
}

static bool
proxys(struct story *s)
{
	const char *const argv[] = { "l4proxyctl", "-s", "l4proxyd.sock",
		"counters", NULL };
	uint64_t end = clock_monotonic_ms() + PLAYER_PATIENCE_MS;
	struct tale *told = &s->tale;
	long n;

	do {
		if (player_run(told, &s->stage, LAB_SERVER, argv, &s->out) < 0)
			return false;
		n = row(s->out.text, "customer-udp", "from clients");
		told = NULL; /* typed once */
	} while (n < (long)s->asked_datagrams && !tale_interrupted() &&
	    clock_monotonic_ms() < end);
	(void)tale_quoted(&s->tale, s->out.text, "datagrams: ");
	(void)tale_quoted(&s->tale, s->out.text, "ended by ");
	return tale_check(&s->tale, n == (long)s->asked_datagrams,
	    "the proxy passed on the customer's %u datagram%s, and only these",
	    s->asked_datagrams, s->asked_datagrams == 1 ? "" : "s");
}

bool
story_books(struct story *s)
{
	tale_chapter(&s->tale, "The books");
	tale_say(&s->tale, "Both count what they do, while they do it.");
	return time_servers(s) && proxys(s);
}
