/* portshare(8): what sharing a port on this host comes to. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "portshare/command.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "predict", predict_command },
	{ "who", who_command },
	{ "repair", repair_command },
	{ "watch", watch_command },
	{ "matrix", matrix_command },
	{ "story", story_command },
};

static void
usage(FILE *to)
{
	fputs("usage: portshare predict udp|tcp ADDRESS:PORT\n"
	      "           [--flags reuseaddr,reuseport,v6only] [--uid USER]\n"
	      "           [--device NAME] [--json]\n"
	      "       portshare who udp|tcp ADDRESS:PORT\n"
	      "           [--from ADDRESS:PORT | --probe] [--device NAME]\n"
	      "           [--json]\n"
	      "       portshare repair [udp|tcp] --for ADDRESS:PORT\n"
	      "           [--window TIME] [--uid USER] [--v6only] [--both]\n"
	      "           [-n] [--json] [-- COMMAND...]\n"
	      "       portshare watch udp|tcp ADDRESS:PORT...\n"
	      "           [--pid PID | --command NAME] [--allow NAME,...]\n"
	      "           [--hook COMMAND] [--once] [--interval TIME]\n"
	      "           [--window TIME] [--json]\n"
	      "       portshare matrix [--json|--markdown|--html] [-o FILE]\n"
	      "       portshare story [--syscalls] [--pause] [--json]\n"
	      "  predict    would such a bind work; who is in the way, why,\n"
	      "             and the smallest change that would help\n"
	      "  who        which live socket gets a datagram or connection;\n"
	      "             --probe sends some, and shows who got them\n"
	      "  repair     sets the flag that is missing on the socket of a\n"
	      "             running server, for the time of one bind\n"
	      "  watch      tells when another socket takes what is sent to\n"
	      "             ours, and runs a hook\n"
	      "  matrix     two and three sockets on one port in every\n"
	      "             combination, on this kernel and in the model\n"
	      "  story      one port, two servers: why the second is refused,\n"
	      "             ways out and their price, with real programs\n"
	      "  --json, --markdown, --html    instead of a summary\n"
	      "  -o, --output FILE    not to standard output\n"
	      "  -n, --dry-run    tell what repair would do\n"
	      "  -h, --help    -V, --version\n"
	      "  --syscalls    the calls of both servers on their sockets\n"
	      "  --pause    wait for Enter before each chapter\n"
	      "Exit status: 0 will bind, somebody, holds, as told; 1 usage or\n"
	      "failure; 2 will not bind, nobody, differs, not as told.\n",
	    to);
}

/* What was printed is part of the result. */
static int
finish(int status)
{
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	log_error("standard output: %s",
	    errno != 0 ? strerror(errno) : "not all of it could be written");
	return COMMAND_FAILED;
}

static int
answer(const char *word)
{
	if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
		usage(stdout);
		return COMMAND_GOOD;
	}
	if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0) {
		puts("portshare " TIMESHARE_VERSION);
		return COMMAND_GOOD;
	}
	fprintf(stderr, "portshare: no command %s\n", word);
	usage(stderr);
	return COMMAND_FAILED;
}

int
command_usage(const char *why, const char *what)
{
	fprintf(stderr, "portshare: %s%s\n", why, what);
	usage(stderr);
	return COMMAND_FAILED;
}

void
command_help(void)
{
	usage(stdout);
}

int
main(int argc, char **argv)
{
	if (file_hold_standard() != 0)
		return 1; /* nowhere to say why */
	log_init("portshare", LOG_LEVEL_INFO);
	if (argc < 2)
		return command_usage("which command?", "");
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return finish(commands[i].run(argc - 1, argv + 1));
	return finish(answer(argv[1]));
}
