/* l4proxyctl(8): asks a running l4proxyd, and has it do things. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/when.h"
#include "net/unixsock.h"
#include "proxy/ctl.h"

#define DEFAULT_SOCKET "/run/timeshare/l4proxyd.sock"
#define TIMEOUT_S 60
#define PING_S 10 /* for who wants to know whether it hangs */
#define LINE_ROOM 65536

enum { GOOD = 0, USAGE = 1, UNREACHABLE = 2, REFUSED = 3 };

struct options {
	const char *socket;
	bool json, metrics;
	struct control_request request;
};

/* How one answer goes, line by line. */
struct answer {
	const struct options *options;
	struct ctl_show show;
	json_t *rows; /* array: for metrics */
};

static void
usage(FILE *to)
{
	fputs(
	    "usage: l4proxyctl [-s SOCKET] [--json] COMMAND [OPTION]...\n"
	    "  applications [--app NAME]         what is served, and how much\n"
	    "  sessions [--app NAME] [--limit N] TCP sessions, UDP flows\n"
	    "  origins [--app NAME]              who is up, who has failed\n"
	    "  counters [--app NAME]             all that is counted\n"
	    "  metrics                           the same for Prometheus\n"
	    "  drain APP [--for TIME]            takes no new clients\n"
	    "  undrain APP                       takes them again\n"
	    "  reload                            reads the configuration\n"
	    "  ping | version                    is it there, which is it\n\n"
	    "  -s SOCKET     of the daemon (" DEFAULT_SOCKET ")\n"
	    "  --json        one JSON object a line, as it came\n"
	    "  -h, --help    -V, --version\n",
	    to);
}

static void
complain(const char *fmt, ...)
{
	va_list ap;

	fputs("l4proxyctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* ---- the command line ---- */

enum { OPT_JSON = 256, OPT_APP, OPT_LIMIT, OPT_FOR };

static bool
take_limit(struct control_request *r, const char *text)
{
	char *end;

	errno = 0;
	r->limit = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 &&
	    r->limit > 0 && r->limit <= INT64_MAX;
}

static bool
take_name(struct control_request *r, const char *name)
{
	if (name[0] == '\0' || strlen(name) >= sizeof r->application)
		return false;
	strcpy(r->application, name);
	return true;
}

/* False: its value makes no sense. */
static bool
take(struct options *o, int option, const char *value)
{
	switch (option) {
	case 's':
		o->socket = value;
		return true;
	case OPT_JSON:
		return o->json = true;
	case OPT_APP:
		return take_name(&o->request, value);
	case OPT_LIMIT:
		return take_limit(&o->request, value);
	case OPT_FOR:
		return when_duration(value, 1000, &o->request.for_ms) &&
		    o->request.for_ms >= 0 &&
		    o->request.for_ms <= CONTROL_FOR_MAX_MS;
	default:
		return false;
	}
}

static bool
take_command(struct options *o, const char *word)
{
	o->metrics = strcmp(word, "metrics") == 0;
	if (o->metrics)
		word = "counters";
	for (int i = CONTROL_NONE + 1; i < CONTROL_COMMANDS; i++) {
		enum control_command command = (enum control_command)i;

		if (strcmp(word, control_command_str(command)) == 0)
			o->request.command = command;
	}
	return o->request.command != CONTROL_NONE;
}

/* COMMAND [APP]; 0, or an exit status after a complaint. */
static int
take_words(struct options *o, int argc, char **argv)
{
	enum control_command c;

	if (argc == 0) {
		usage(stderr);
		return USAGE;
	}
	if (!take_command(o, argv[0])) {
		complain("there is no command %s; --help has them", argv[0]);
		return USAGE;
	}
	c = o->request.command;
	if (argc == 2 && (c == CONTROL_DRAIN || c == CONTROL_UNDRAIN) &&
	    take_name(&o->request, argv[1]))
		return 0;
	if (argc == 1)
		return 0;
	complain("%s: %s is too much or no name", argv[0], argv[1]);
	return USAGE;
}

/* The daemon's own reader says whether it all goes together. */
static int
check(const struct options *o)
{
	char text[CONTROL_TEXT_MAX], why[CONTROL_WHY_LEN];
	struct control_request again;
	size_t len = control_request_format(text, &o->request);

	if (len == 0)
		complain("the name of the application is no UTF-8");
	else if (control_request_parse(&again,
		     (struct view){ (const uint8_t *)text, len - 1 }, why) != 0)
		complain("%s", why);
	else if (o->metrics && (o->json || o->request.application[0] != '\0'))
		complain("metrics are of all applications, and no JSON");
	else
		return 0;
	return USAGE;
}

/* 0, or an exit status + 1 when all has been said. */
static int
parse(struct options *o, int argc, char **argv)
{
	static const struct option words[] = {
		{ "json", no_argument, NULL, OPT_JSON },
		{ "app", required_argument, NULL, OPT_APP },
		{ "limit", required_argument, NULL, OPT_LIMIT },
		{ "for", required_argument, NULL, OPT_FOR },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:hV", words, NULL)) != -1) {
		if (c == 'h') {
			usage(stdout);
			return GOOD + 1;
		}
		if (c == 'V') {
			puts("l4proxyctl " TIMESHARE_VERSION);
			return GOOD + 1;
		}
		if (c == '?' || !take(o, c, optarg)) {
			if (c != '?')
				complain(
				    "%s: a value that makes no sense", optarg);
			usage(stderr);
			return USAGE + 1;
		}
	}
	c = take_words(o, argc - optind, argv + optind);
	if (c == 0)
		c = check(o);
	return c == 0 ? 0 : c + 1;
}

/* ---- the daemon ---- */

static const char *
why_unreachable(int error)
{
	switch (error) {
	case ENOENT:
		return "is l4proxyd running, and is this its `control:`?";
	case ECONNREFUSED:
		return "l4proxyd does not run any more";
	case EACCES:
	case EPERM:
		return "it is for root and for the control_group";
	default:
		return "the daemon is busy, or this is no control socket";
	}
}

static FILE *
reach(const struct options *o)
{
	bool ping = o->request.command == CONTROL_PING;
	int fd = unixsock_connect(o->socket, ping ? PING_S : TIMEOUT_S);
	int error = errno;
	FILE *f = fd >= 0 ? fdopen(fd, "r+") : NULL;

	if (fd < 0)
		complain("%s: %s: %s", o->socket, strerror(error),
		    why_unreachable(error));
	else if (f == NULL)
		complain("%s", strerror(errno));
	return f;
}

static bool
ask(FILE *daemon, const struct control_request *r)
{
	char text[CONTROL_TEXT_MAX];
	size_t len = control_request_format(text, r);

	return send(fileno(daemon), text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* ---- the answer ---- */

static int
end(const struct answer *a, const json_t *line)
{
	const char *how = ctl_text(line, "end");
	const char *message = ctl_text(line, "message");
	bool plain = !a->options->json && !a->options->metrics;

	if (strcmp(how, "good") != 0) {
		complain("%s: %s", how, message);
		return REFUSED;
	}
	if (plain && a->options->request.command == CONTROL_PING)
		puts("l4proxyd is there");
	else if (plain && message[0] != '-')
		puts(message);
	return GOOD;
}

static void
take_row(struct answer *a, json_t *row, const char *text)
{
	if (a->options->json)
		fputs(text, stdout);
	else if (a->options->metrics)
		json_array_append(a->rows, row);
	else
		ctl_show_row(&a->show, row);
}

/* One answer, to its end. */
static int
hear(struct answer *a, FILE *daemon)
{
	static char text[LINE_ROOM];

	while (fgets(text, sizeof text, daemon) != NULL) {
		json_t *line = json_loads(text, 0, NULL);
		int status = -1;

		if (!json_is_object(line)) {
			json_decref(line);
			complain("%s: what answers there is no l4proxyd",
			    a->options->socket);
			return UNREACHABLE;
		}
		if (json_object_get(line, "end") != NULL)
			status = end(a, line);
		else
			take_row(a, line, text);
		json_decref(line);
		if (status >= 0)
			return status;
	}
	complain("%s: %s", a->options->socket,
	    ferror(daemon) ? "no answer in time"
			   : "the daemon hung up before it had answered");
	return UNREACHABLE;
}

static int
talk(struct answer *a, FILE *daemon, const struct control_request *r)
{
	if (!ask(daemon, r) && errno != EPIPE) {
		complain("%s: %s", a->options->socket, strerror(errno));
		return UNREACHABLE;
	}
	/* who hung up may have said why */
	return hear(a, daemon);
}

static int
run_metrics(const struct options *o, FILE *daemon)
{
	const struct control_request of_origins = { .command = CONTROL_ORIGINS,
		.for_ms = -1 };
	struct answer counters = { .options = o, .rows = json_array() };
	struct answer origins = { .options = o, .rows = json_array() };
	int status = talk(&counters, daemon, &o->request);

	if (status == GOOD)
		status = talk(&origins, daemon, &of_origins);
	if (status == GOOD)
		ctl_metrics(stdout, counters.rows, origins.rows);
	json_decref(counters.rows);
	json_decref(origins.rows);
	return status;
}

static int
run(const struct options *o, FILE *daemon)
{
	struct answer a = { .options = o };
	int status;

	if (o->metrics)
		return run_metrics(o, daemon);
	if (ctl_show_begin(&a.show, stdout, o->request.command) != 0) {
		complain("%s", strerror(errno));
		return USAGE;
	}
	status = talk(&a, daemon, &o->request);
	ctl_show_end(&a.show);
	return status;
}

int
main(int argc, char **argv)
{
	struct options o = { .socket = DEFAULT_SOCKET, .request.for_ms = -1 };
	int status;
	FILE *daemon;

	if (file_hold_standard() != 0)
		return USAGE; /* nowhere to say why */
	status = parse(&o, argc, argv);
	if (status != 0)
		return status - 1;
	daemon = reach(&o);
	if (daemon == NULL)
		return UNREACHABLE;
	status = run(&o, daemon);
	fclose(daemon);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		complain("standard output: %s", strerror(errno));
		return USAGE;
	}
	return status;
}
