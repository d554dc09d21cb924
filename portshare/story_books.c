/* The books: what both servers counted is what was asked of them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "portshare/story.h"

/* The number of the last line "NAME N" of the log; -1: there is none. */
static long
counted(const char *text, const char *name)
{
	char line[64];
	long n = -1;

	snprintf(line, sizeof line, "\n%s ", name);
	while ((text = strstr(text, line)) != NULL) {
		text += strlen(line);
		n = strtol(text, NULL, 10);
	}
	return n;
}

/* Asks until the counters are there: they follow what they count. */
static bool
time_has_counted(struct story *s, long *udp, long *tcp)
{
	uint64_t end = clock_monotonic_ms() + PLAYER_PATIENCE_MS;
	const char *log;

	do {
		if (kill(s->time.pid, SIGUSR1) < 0 ||
		    !player_says(&s->time, "\nkernel_drop_filter_estimated "))
			return false;
		log = player_log(&s->time);
		*udp = counted(log, "udp_sent");
		*tcp = counted(log, "tcp_sent");
	} while (
	    *udp + *tcp < (long)s->asked_time && clock_monotonic_ms() < end);
	return *udp + *tcp >= (long)s->asked_time;
}

static bool
time_servers(struct story *s)
{
	long udp = -1, tcp = -1;
	bool good;

	tale_typed(&s->tale, "kill -USR1 $(pidof roughtimed)");
	good = time_has_counted(s, &udp, &tcp);
	(void)player_quote(&s->time, &s->tale, "p_received ");
	(void)player_quote(&s->time, &s->tale, "p_sent ");
	return tale_check(&s->tale, good && udp > 0 && tcp > 0,
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
	char path[PATH_MAX];
	const char *const argv[] = { "-s",
		stage_path(path, &s->stage, "l4proxyd.sock"), "counters",
		NULL };
	uint64_t end = clock_monotonic_ms() + PLAYER_PATIENCE_MS;
	struct tale *told = &s->tale;
	long n;

	do {
		if (player_run(told, &s->stage, LAB_SERVER, STAGE_CTL, argv,
			&s->out) < 0)
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
