#include "keys/options.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/when.h"

#define DEFAULT_FOR_S (30u * 86400)
#define LEAST_FOR_S 60u
#define MOST_OVERLAP_S 3600u /* of the default */
#define MOST_BUNDLES 10000u

static const char help[] =
    "usage: roughtime-keys generate -o FILE [--passphrase[-file FILE]]\n"
    "       roughtime-keys import -o FILE [--passphrase[-file FILE]]\n"
    "       roughtime-keys public FILE\n"
    "       roughtime-keys delegate -k FILE -o BUNDLE [--from T] [--for 30d]\n"
    "                      [--count N] [--overlap D] "
    "[--passphrase[-file FILE]]\n"
    "       roughtime-keys show FILE\n"
    "       roughtime-keys -h, --help | -V, --version\n"
    "\n"
    "generate   makes a long-term key and prints its public key\n"
    "import     reads a seed (32 bytes in hex or base64) from standard input\n"
    "public     prints the long-term public key of a key file or bundle\n"
    "delegate   signs bundles: online keys that a server uses for a while\n"
    "show       tells what is in a key file or bundle, never a seed\n"
    "\n"
    "-o, --output FILE        created with mode 0600, never overwritten;\n"
    "                         delegate: an existing directory, or NAME/,\n"
    "                         holds a queue of bundles\n"
    "-k, --key FILE           the long-term key\n"
    "--from T                 `now`, Unix seconds or 2026-11-23T02:00:00Z\n"
    "--for D                  90s, 5m, 24h, 30d: how long a bundle is used\n"
    "--count N                bundles, each following the one before\n"
    "--overlap D              each is valid this long before its turn\n"
    "                         (default: a tenth of --for, at most 1h)\n"
    "--passphrase             ask on the terminal\n"
    "--passphrase-file FILE   the first line of FILE\n"
    "--json                   facts as JSON\n";

enum option_bit {
	OPT_OUTPUT = 1,
	OPT_KEY = 2,
	OPT_PASSPHRASE = 4,
	OPT_QUEUE = 8,
	OPT_FILE = 16,
};

static const struct {
	const char *name;
	enum options_command command;
	unsigned int takes; /* option_bit */
} commands[] = {
	{ "generate", OPTIONS_GENERATE, OPT_OUTPUT | OPT_PASSPHRASE },
	{ "import", OPTIONS_IMPORT, OPT_OUTPUT | OPT_PASSPHRASE },
	{ "public", OPTIONS_PUBLIC, OPT_FILE },
	{ "delegate", OPTIONS_DELEGATE,
	    OPT_KEY | OPT_OUTPUT | OPT_PASSPHRASE | OPT_QUEUE },
	{ "show", OPTIONS_SHOW, OPT_FILE },
};

enum option_value {
	VALUE_FROM = 256,
	VALUE_FOR,
	VALUE_COUNT,
	VALUE_OVERLAP,
	VALUE_PASSPHRASE,
	VALUE_PASSPHRASE_FILE,
	VALUE_JSON,
};

static const struct option long_options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "key", required_argument, NULL, 'k' },
	{ "from", required_argument, NULL, VALUE_FROM },
	{ "for", required_argument, NULL, VALUE_FOR },
	{ "count", required_argument, NULL, VALUE_COUNT },
	{ "overlap", required_argument, NULL, VALUE_OVERLAP },
	{ "passphrase", no_argument, NULL, VALUE_PASSPHRASE },
	{ "passphrase-file", required_argument, NULL, VALUE_PASSPHRASE_FILE },
	{ "json", no_argument, NULL, VALUE_JSON },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 },
};

/* What is being parsed, before the defaults that depend on other options. */
struct parsing {
	struct options *o;
	const char *name; /* of the command */
	unsigned int takes;
	uint64_t now_s;
	bool overlap_given;
};

static bool
parse_seconds(const char *name, const char *text, uint64_t least, uint64_t *v)
{
	int64_t ms;

	if (when_duration(text, 1000, &ms) && ms % 1000 == 0 &&
	    (uint64_t)ms / 1000 >= least) {
		*v = (uint64_t)ms / 1000;
		return true;
	}
	log_error("--%s: expected a duration of at least %llu s, such as 90s, "
		  "5m, 24h or 30d, got \"%s\"",
	    name, (unsigned long long)least, text);
	return false;
}

static bool
parse_from(struct parsing *p, const char *text)
{
	if (when_parse(text, p->now_s, &p->o->from_s))
		return true;
	log_error("--from: expected now, Unix seconds or a time like "
		  "2026-11-23T02:00:00Z, got \"%s\"",
	    text);
	return false;
}

static bool
parse_count(struct parsing *p, const char *text)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long v = strtoul(text, NULL, 10);

	if (digits > 0 && digits < 9 && text[digits] == '\0' && v >= 1 &&
	    v <= MOST_BUNDLES) {
		p->o->count = v;
		return true;
	}
	log_error("--count: expected a number from 1 to %u, got \"%s\"",
	    MOST_BUNDLES, text);
	return false;
}

static bool
parse_option(struct parsing *p, int value, const char *arg)
{
	switch (value) {
	case 'o':
		p->o->output = arg;
		return true;
	case 'k':
		p->o->key = arg;
		return true;
	case VALUE_FROM:
		return parse_from(p, arg);
	case VALUE_FOR:
		return parse_seconds("for", arg, LEAST_FOR_S, &p->o->for_s);
	case VALUE_COUNT:
		return parse_count(p, arg);
	case VALUE_OVERLAP:
		p->overlap_given = true;
		return parse_seconds("overlap", arg, 0, &p->o->overlap_s);
	case VALUE_PASSPHRASE:
		p->o->ask_passphrase = true;
		return true;
	case VALUE_PASSPHRASE_FILE:
		p->o->passphrase_file = arg;
		return true;
	default:
		p->o->json = true;
		return true;
	}
}

/* The bit a command must have to take this option; 0: all take it. */
static unsigned int
needed_bit(int value)
{
	switch (value) {
	case 'o':
		return OPT_OUTPUT;
	case 'k':
		return OPT_KEY;
	case VALUE_PASSPHRASE:
	case VALUE_PASSPHRASE_FILE:
		return OPT_PASSPHRASE;
	case VALUE_JSON:
		return 0;
	default:
		return OPT_QUEUE;
	}
}

static const char *
option_name(int value)
{
	for (size_t i = 0; long_options[i].name != NULL; i++) {
		if (long_options[i].val == value)
			return long_options[i].name;
	}
	return "?";
}

static enum options_result
parse_options(struct parsing *p, int argc, char **argv)
{
	int value;

	while ((value = getopt_long(
		    argc, argv, "o:k:hV", long_options, NULL)) != -1) {
		unsigned int bit;

		if (value == '?')
			return OPTIONS_BAD; /* getopt has said what */
		if (value == 'h' || value == 'V') {
			fputs(value == 'h' ? help
					   : "roughtime-keys " TIMESHARE_VERSION
					     "\n",
			    stdout);
			return OPTIONS_ANSWERED;
		}
		bit = needed_bit(value);
		if ((p->takes & bit) != bit) {
			log_error("%s does not take --%s", p->name,
			    option_name(value));
			return OPTIONS_BAD;
		}
		if (!parse_option(p, value, optarg))
			return OPTIONS_BAD;
	}
	return OPTIONS_RUN;
}

/* Options that must be there, and those that cannot stand together. */
static bool
check_presence(const struct parsing *p, int args)
{
	const struct options *o = p->o;

	if ((p->takes & OPT_KEY) != 0 && o->key == NULL)
		log_error("%s: expected -k FILE, the long-term key", p->name);
	else if ((p->takes & OPT_OUTPUT) != 0 &&
	    (o->output == NULL || o->output[0] == '\0'))
		log_error("%s: expected -o FILE", p->name);
	else if (args != ((p->takes & OPT_FILE) != 0 ? 1 : 0))
		log_error("%s: expected %s, got %d arguments", p->name,
		    (p->takes & OPT_FILE) != 0 ? "one FILE" : "options only",
		    args);
	else if (o->ask_passphrase && o->passphrase_file != NULL)
		log_error("%s: expected --passphrase or --passphrase-file, "
			  "not both",
		    p->name);
	else
		return true;
	return false;
}

static bool
check_queue(struct parsing *p)
{
	struct options *o = p->o;
	uint64_t tenth_s = o->for_s / 10;

	if (!p->overlap_given)
		o->overlap_s =
		    tenth_s < MOST_OVERLAP_S ? tenth_s : MOST_OVERLAP_S;
	if (o->overlap_s >= o->for_s)
		log_error("--overlap: expected less than --for");
	else if (o->overlap_s > o->from_s)
		log_error("--overlap: reaches back before 1970");
	else if (o->for_s > WHEN_LATEST_S ||
	    o->from_s + o->count * o->for_s > WHEN_LATEST_S)
		log_error("--for: ends after the year 9999");
	else
		return true;
	return false;
}

/* Finds the command; a leading --help or --version needs none. */
static int
find_command(struct parsing *p, const char *word)
{
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(commands[i].name, word) == 0) {
			p->o->command = commands[i].command;
			p->name = commands[i].name;
			p->takes = commands[i].takes;
			return 1;
		}
	}
	return 0;
}

enum options_result
options_parse(struct options *o, int argc, char **argv, uint64_t now_s)
{
	static char program[] = "roughtime-keys";
	struct parsing p = { .o = o, .name = program, .now_s = now_s };
	enum options_result result;
	int skip;

	*o = (struct options){
		.from_s = now_s, .for_s = DEFAULT_FOR_S, .count = 1
	};
	skip = argc > 1 ? find_command(&p, argv[1]) : 0;
	if (skip == 0 && argc > 1 && argv[1][0] != '-') {
		log_error(
		    "expected a command, got \"%s\"; see --help", argv[1]);
		return OPTIONS_BAD;
	}
	argv[skip] = program; /* getopt's messages start with it */
	result = parse_options(&p, argc - skip, argv + skip);
	if (result != OPTIONS_RUN)
		return result;
	if (o->command == OPTIONS_NONE) {
		log_error("expected a command; see --help");
		return OPTIONS_BAD;
	}
	if (!check_presence(&p, argc - skip - optind) || !check_queue(&p))
		return OPTIONS_BAD;
	if ((p.takes & OPT_FILE) != 0)
		o->file = argv[skip + optind];
	return OPTIONS_RUN;
}
