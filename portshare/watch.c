/* `portshare watch`: tells when another socket gets what is sent to ours. */
#include "portshare/watch.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/when.h"
#include "portshare/command.h"

#define INTERVAL_MS 250
#define INTERVAL_MAX_MS 3600000
#define REST_FACTOR 20 /* a look takes a twentieth of the time at most… */
#define REST_MAX_MS 900 /* …as long as a second is kept */

struct options {
	int64_t interval_ms;
	int64_t window_ms; /* 0: until told to stop */
	bool once, json, help;
};

/* ---- the command line ---- */

static int
read_time(int64_t *ms, const char *option, const char *text)
{
	if (!when_duration(text, 1000, ms) || *ms < 1 ||
	    *ms > INTERVAL_MAX_MS) {
		fprintf(stderr, "portshare: %s: ", option);
		return command_usage("1ms to 1h, such as 250ms, not ", text);
	}
	return COMMAND_GOOD;
}

static int
read_pid(struct watch *w, const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (n < 1 || n > INT32_MAX || *end != '\0')
		return command_usage("--pid: not a process: ", text);
	w->pid = (pid_t)n;
	return COMMAND_GOOD;
}

static int
read_option(struct watch *w, struct options *o, int c)
{
	if (c == 'h')
		o->help = true;
	else if (c == 'j')
		o->json = true;
	else if (c == '1')
		o->once = true;
	else if (c == 'i')
		return read_time(&o->interval_ms, "--interval", optarg);
	else if (c == 'w')
		return read_time(&o->window_ms, "--window", optarg);
	else if (c == 'p')
		return read_pid(w, optarg);
	else if (c == 'c')
		w->command = optarg;
	else if (c == 'a')
		w->allow = optarg;
	else if (c == 'k')
		w->hook = optarg;
	else
		return command_usage("watch: see above", "");
	return COMMAND_GOOD;
}

static size_t
count_ports(const struct watch *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->places; i++) {
		size_t k = 0;

		while (k < i && !watch_same_port(&w->place[k], &w->place[i]))
			k++;
		n += k == i;
	}
	return n;
}

/* udp ADDRESS:PORT... tcp ADDRESS:PORT... */
static int
read_places(struct watch *w, int argc, char **argv)
{
	enum sock_proto proto = SOCK_UDP;

	if (argc < 2 || place_read_proto(&proto, argv[0]) != COMMAND_GOOD)
		return argc < 2
		    ? command_usage("expected: udp|tcp ADDRESS:PORT...", "")
		    : COMMAND_FAILED;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "udp") == 0 ||
		    strcmp(argv[i], "tcp") == 0) {
			(void)place_read_proto(&proto, argv[i]);
			continue;
		}
		if (w->places == WATCH_PLACES)
			return command_usage("watch: 64 addresses at most", "");
		w->place[w->places].proto = proto;
		if (place_read_address(&w->place[w->places++].address,
			argv[i]) != COMMAND_GOOD)
			return COMMAND_FAILED;
	}
	if (count_ports(w) > WATCH_PORTS)
		return command_usage("watch: 16 different ports at most", "");
	return COMMAND_GOOD;
}

static int
read_words(struct watch *w, struct options *o, int argc, char **argv)
{
	static const struct option words[] = {
		{ "pid", required_argument, NULL, 'p' },
		{ "command", required_argument, NULL, 'c' },
		{ "allow", required_argument, NULL, 'a' },
		{ "hook", required_argument, NULL, 'k' },
		{ "interval", required_argument, NULL, 'i' },
		{ "window", required_argument, NULL, 'w' },
		{ "once", no_argument, NULL, '1' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	memset(w, 0, sizeof *w);
	*o = (struct options){ .interval_ms = INTERVAL_MS };
	while ((c = getopt_long(argc, argv, "h", words, NULL)) != -1)
		if (read_option(w, o, c) != COMMAND_GOOD)
			return COMMAND_FAILED;
	if (o->help)
		return COMMAND_GOOD;
	return read_places(w, argc - optind, argv + optind);
}

/* ---- watching ---- */

static void
report(struct watch *w, const struct options *o, const struct watch_finding *f,
    bool over, uint64_t age_ms)
{
	watch_tell(w, f, over);
	if (o->json)
		watch_tell_json(w, f, over, age_ms);
	if (w->hook != NULL)
		watch_hook(w, f, over);
}

static bool
is_among(
    const struct watch_finding *f, const struct watch_finding *all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (watch_same(f, &all[i]))
			return true;
	return false;
}

/* What is new, and what is over. Returns how many are new; -1 with errno. */
static int
compare(struct watch *w, const struct options *o, uint64_t since_ms)
{
	static struct watch_finding before[WATCH_FINDINGS];
	size_t n = w->findings;
	int fresh = 0;

	memcpy(before, w->finding, n * sizeof *before);
	if (watch_look(w) < 0) {
		memcpy(w->finding, before, n * sizeof *before);
		w->findings = n;
		return -1;
	}
	for (size_t i = 0; i < w->findings; i++)
		if (!is_among(&w->finding[i], before, n)) {
			report(w, o, &w->finding[i], false,
			    clock_monotonic_ms() - since_ms);
			fresh++;
		}
	for (size_t i = 0; i < n; i++)
		if (!is_among(&before[i], w->finding, w->findings))
			report(w, o, &before[i], true, 0);
	return fresh;
}

/* The signals that end it are taken in rest() only. */
static void
stops_of(sigset_t *stops)
{
	sigemptyset(stops);
	sigaddset(stops, SIGTERM);
	sigaddset(stops, SIGINT);
	sigaddset(stops, SIGHUP);
}

/* True: such a signal came. */
static bool
rest(const struct options *o, uint64_t took_ms)
{
	uint64_t ms = took_ms * REST_FACTOR;
	struct timespec t;
	sigset_t stops;

	if (ms > REST_MAX_MS)
		ms = REST_MAX_MS;
	if (ms < (uint64_t)o->interval_ms)
		ms = (uint64_t)o->interval_ms;
	t.tv_sec = (time_t)(ms / 1000);
	t.tv_nsec = (long)(ms % 1000) * 1000000;
	stops_of(&stops);
	return sigtimedwait(&stops, NULL, &t) > 0;
}

static int
watch(struct watch *w, const struct options *o)
{
	static struct log_gate gate;
	uint64_t begun = clock_monotonic_ms(), since = begun, mark = 0;
	int found = 0;

	for (;;) {
		uint64_t now = clock_monotonic_ms(), next = watch_mark(w);
		int fresh = 0;

		if (next != mark)
			fresh = compare(w, o, since);
		if (next == 0 || fresh < 0)
			log_limited(&gate, LOG_LEVEL_ERROR,
			    "the sockets of this host cannot be seen: %s",
			    strerror(errno));
		else
			mark = next;
		found += fresh > 0;
		since = now;
		watch_reap(w);
		now = clock_monotonic_ms();
		if ((o->once && found > 0) ||
		    (o->window_ms > 0 &&
			now - begun >= (uint64_t)o->window_ms) ||
		    rest(o, now - since))
			return found > 0 ? COMMAND_NO : COMMAND_GOOD;
	}
}

/* Nobody's sockets could be taken for a stranger's. */
static bool
all_held(const struct watch *w)
{
	char name[128];
	bool all = true;

	for (size_t i = 0; i < w->places; i++) {
		const struct watch_place *p = &w->place[i];

		place_name(name, sizeof name, p->proto, &p->address);
		if (p->held)
			continue;
		if (w->pid != 0 || w->command != NULL) {
			log_info("%s: not there yet", name);
			continue;
		}
		log_error("%s: nobody hears it; start the server first, or "
			  "say whose it will be: --command",
		    name);
		all = false;
	}
	return all;
}

int
watch_command(int argc, char **argv)
{
	static struct watch w;
	struct options o;
	sigset_t stops;
	int status = read_words(&w, &o, argc, argv);

	if (status != COMMAND_GOOD)
		return status;
	if (o.help) {
		command_help();
		return COMMAND_GOOD;
	}
	if (watch_start(&w) < 0) {
		log_error("the sockets of this host cannot be seen: %s",
		    strerror(errno));
		return COMMAND_FAILED;
	}
	if (!all_held(&w))
		return COMMAND_FAILED;
	if (w.program_count < 0)
		log_warning("whether an sk_lookup program comes first is for "
			    "root to see, and so are others' flags");
	stops_of(&stops);
	sigprocmask(SIG_BLOCK, &stops, NULL);
	log_info("watching %zu address%s", w.places, w.places == 1 ? "" : "es");
	return watch(&w, &o);
}
