/* `roughtime measure`: RFC 10049 section 8.2 over a list of servers. */
#include "roughtime/client/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "roughtime/client/arguments.h"
#include "roughtime/client/command.h"
#include "roughtime/client/measure_show.h"

static const char help[] =
    "usage: roughtime measure [options] -l LIST\n"
    "\n"
    "Asks servers of a list at random, twice in the same order, each request\n"
    "bound to the reply before it (RFC 10049 section 8.2), so that two times\n"
    "that cannot both be true are a proof. Tells the median offset of the local\n"
    "clock, what all servers agree on, and who stands against the majority.\n"
    "\n"
    "  -l, --list LIST    server list, JSON of RFC 10049 section 8.3\n"
    "  --servers N        how many servers (3; all when the list is shorter)\n"
    "  -o, --output REPORT\n"
    "                     write the chain as a report there, always; without\n"
    "                     it one is written when servers disagree:\n"
    "                     roughtime-report-TIME.json. Reports are not sent.\n"
    "  --timeout SECONDS  for each server and round (5)\n"
    "  --seed HEX         choose servers by this seed (64 digits), for tests\n"
    "  --compat rfc10049-capital-t\n"
    "  -4, -6             IPv4 or IPv6 only\n"
    "  --json             facts as JSON\n"
    "\n"
    "Exit: 0 consistent, 1 usage, 2 too few servers answered, 3 too few\n"
    "answered validly, 4 servers disagree.\n";

enum { OPT_SERVERS = ARGUMENT_OWN, OPT_SEED };

static const struct option options[] = {
	{ "list", required_argument, NULL, 'l' },
	{ "output", required_argument, NULL, 'o' },
	{ "servers", required_argument, NULL, OPT_SERVERS },
	{ "timeout", required_argument, NULL, ARGUMENT_TIMEOUT },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "compat", required_argument, NULL, ARGUMENT_COMPAT },
	{ "json", no_argument, NULL, ARGUMENT_JSON },
	{ "help", no_argument, NULL, ARGUMENT_HELP },
	{ NULL, 0, NULL, 0 },
};

struct measure {
	const char *list, *output;
	struct measure_options options;
};

static bool
take_option(void *own, int opt, const char *value)
{
	struct measure *m = own;
	uint64_t n;

	switch (opt) {
	case 'l':
		m->list = value;
		return true;
	case 'o':
		m->output = value;
		return true;
	case OPT_SERVERS:
		if (!command_number(value, 1, MEASURE_SERVERS_MAX, &n))
			return false;
		m->options.servers = (size_t)n;
		return true;
	default: /* OPT_SEED; a key and a seed are 32 bytes alike */
		return m->options.seeded = target_key(m->options.seed, value);
	}
}

static const struct arguments_spec spec = {
	.help = help,
	.letters = "46l:o:",
	.options = options,
	.take = take_option,
};

/* Returns -1 to go on, or an exit status. */
static int
parse(struct measure *m, struct arguments *a, int argc, char **argv)
{
	int status = arguments_options(a, &spec, m, argc, argv);

	if (status >= 0)
		return status;
	if (m->list == NULL || optind != argc)
		return command_usage("measure", "give a server list: -l LIST");
	m->options.timeout_ns = a->timeout_ns;
	m->options.family = a->family;
	m->options.verify = a->verify;
	return -1;
}

static bool
read_list(struct serverlist *l, const char *path)
{
	char why[FILE_WHY_LEN], reason[SERVERLIST_WHY_LEN];
	uint8_t *text;
	size_t len;
	bool ok;

	if (file_read(path, SERVERLIST_BYTES_MAX, &text, &len, why) < 0) {
		fprintf(stderr, "roughtime measure: %s\n", why);
		return false;
	}
	ok = serverlist_parse(l, (const char *)text, len, reason);
	free(text);
	if (!ok)
		fprintf(stderr, "roughtime measure: %s: %s\n", path, reason);
	for (size_t i = 0; ok && i < l->skipped; i++)
		fprintf(stderr, "roughtime measure: %s: %s left out: %s\n",
		    path, l->skips[i].name,
		    serverlist_fault_str(l->skips[i].fault));
	if (ok && l->count == 0) {
		fprintf(
		    stderr, "roughtime measure: %s: no usable server\n", path);
		ok = false;
	}
	return ok;
}

#define PATH_LEN 64

/* A name of its own for each report, also within one second. */
static const char *
choose_path(char path[static PATH_LEN])
{
	time_t now = time(NULL);
	char stamp[24] = "";
	struct tm tm;

	if (gmtime_r(&now, &tm) != NULL)
		strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
	snprintf(path, PATH_LEN, "roughtime-report-%s.json", stamp);
	for (int i = 2; access(path, F_OK) == 0 && i < 100; i++)
		snprintf(
		    path, PATH_LEN, "roughtime-report-%s-%d.json", stamp, i);
	return path;
}

/* The path written, or NULL. Replies that do not verify are never in it. */
static const char *
write_report(
    const struct measurement *m, const char *output, char path[static PATH_LEN])
{
	char why[FILE_WHY_LEN];
	json_t *report;
	char *text;
	int rc;

	if (m->count == 0 || (output == NULL && m->verdict.conflicts == 0))
		return NULL;
	if (output == NULL)
		output = choose_path(path);
	report = report_make(m->links, m->count);
	text = json_dumps(report, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	json_decref(report);
	if (text == NULL)
		command_die("out of memory");
	rc = file_replace(output, 0644, text, strlen(text), why);
	free(text);
	if (rc < 0)
		fprintf(stderr, "roughtime measure: %s\n", why);
	return rc < 0 ? NULL : output;
}

int
measure_command(int argc, char **argv)
{
	struct arguments a = { .timeout_ns = 5000000000, .family = AF_UNSPEC };
	struct measure given = { .options.servers = 3 };
	struct measurement *m;
	struct serverlist list = { 0 };
	char path[PATH_LEN];
	const char *report;
	int status = parse(&given, &a, argc, argv);

	if (status >= 0)
		return status;
	if (!read_list(&list, given.list)) {
		serverlist_free(&list);
		return COMMAND_USAGE;
	}
	m = command_alloc(1, sizeof *m);
	measure_run(m, &list, &given.options);
	report = write_report(m, given.output, path);
	if (a.json)
		measure_show_json(m, &list, report);
	else
		measure_show(m, &list, report);
	status = measure_status(m);
	measure_free(m);
	free(m);
	serverlist_free(&list);
	return status;
}
