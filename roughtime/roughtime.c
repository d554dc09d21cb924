/* The client: roughtime(1). */
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "roughtime/client/command.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{ "query", query_command, "ask one server for the time" },
	{ "probe", probe_command, "which versions and transports it speaks" },
	{ "measure", measure_command, "compare servers, prove who lies" },
	{ "verify", judge_command, "check a malfeasance report" },
	{ "bench", bench_command, "load a server and measure it" },
};

static void
usage(FILE *out)
{
	fputs("usage: roughtime COMMAND …\n"
	      "       roughtime -h, --help | -V, --version\n\n",
	    out);
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].what);
	fputs("\n`roughtime COMMAND --help` tells more; so does "
	      "roughtime(1).\n",
	    out);
}

static bool
is_option(const char *arg, const char *letter, const char *word)
{
	return strcmp(arg, letter) == 0 || strcmp(arg, word) == 0;
}

int
main(int argc, char **argv)
{
	if (file_hold_standard() != 0)
		return COMMAND_USAGE; /* nowhere to say why */
	if (argc < 2) {
		usage(stderr);
		return COMMAND_USAGE;
	}
	if (is_option(argv[1], "-h", "--help")) {
		usage(stdout);
		return COMMAND_GOOD;
	}
	if (is_option(argv[1], "-V", "--version")) {
		puts("roughtime " TIMESHARE_VERSION);
		return COMMAND_GOOD;
	}
	if (sodium_init() < 0)
		command_die("libsodium does not start");
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "roughtime: there is no command %s\n", argv[1]);
	usage(stderr);
	return COMMAND_USAGE;
}
