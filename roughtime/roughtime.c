/* The client: roughtime(1). */
#include <sodium.h>
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
	fputs("usage: roughtime COMMAND …\n\n", out);
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].what);
	fputs("\n`roughtime COMMAND --help` tells more; so does "
	      "roughtime(1).\n",
	    out);
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
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return COMMAND_GOOD;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("roughtime (Timeshare) " TIMESHARE_VERSION);
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
