/* roughtimed(8): the Roughtime server. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "keys/secret.h"
#include "roughtime/hash.h"
#include "roughtime/server.h"
#include "roughtime/settings.h"

#define DEFAULT_CONFIG "/etc/timeshare/roughtimed.yaml"

struct options {
	struct server_options server;
	const char *listen[SETTINGS_LISTEN_MAX];
	bool test;
};

static void
usage(FILE *to)
{
	fputs("usage: roughtimed [-t] [-c FILE]\n"
	      "       roughtimed [-t] -k KEYFILE [-l ADDR:PORT]...\n"
	      "  -c FILE       configuration (default " DEFAULT_CONFIG ")\n"
	      "  -k KEYFILE    no configuration: one identity, this key file\n"
	      "  -l ADDR:PORT  with -k: listen here, UDP and TCP (default\n"
	      "                0.0.0.0:2002); may be repeated\n"
	      "  -t            test configuration, binds and keys, then exit\n"
	      "  -h, --help    -V, --version\n"
	      "SIGHUP reloads, SIGUSR1 prints counters, SIGTERM stops.\n",
	    to);
}

static _Noreturn void
misuse(const char *text)
{
	fprintf(stderr, "roughtimed: %s\n", text);
	usage(stderr);
	exit(1);
}

static void
add_listen(struct options *o, const char *text)
{
	if (o->server.listen_count == SETTINGS_LISTEN_MAX)
		misuse("too many -l");
	o->listen[o->server.listen_count++] = text;
}

static void
check_options(struct options *o)
{
	if (o->server.config != NULL && o->server.key != NULL)
		misuse("-c and -k exclude each other");
	if (o->server.key == NULL && o->server.listen_count > 0)
		misuse("-l goes with -k; with a file, it is `listen:` there");
	if (o->server.config == NULL && o->server.key == NULL)
		o->server.config = DEFAULT_CONFIG;
	o->server.listen = o->listen;
}

static void
parse_options(struct options *o, int argc, char **argv)
{
	static const struct option words[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:k:l:thV", words, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->server.config = optarg;
			break;
		case 'k':
			o->server.key = optarg;
			break;
		case 'l':
			add_listen(o, optarg);
			break;
		case 't':
			o->test = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		case 'V':
			puts("roughtimed " TIMESHARE_VERSION);
			exit(0);
		default:
			usage(stderr);
			exit(1);
		}
	}
	if (optind < argc)
		misuse("it takes options only");
	check_options(o);
}

int
main(int argc, char **argv)
{
	struct options o = { 0 };
	struct server *server;
	int result = 0;

	if (file_hold_standard() != 0)
		return 1; /* nowhere to say why */
	log_init("roughtimed", LOG_LEVEL_INFO);
	parse_options(&o, argc, argv);
	if (secret_init() != 0 || hash_select(HASH_AUTO) != 0) {
		log_error("libsodium does not start");
		return 1;
	}
	o.server.rehearse = o.test;
	server = server_new(&o.server);
	if (server == NULL)
		return 1;
	if (o.test)
		log_info("the configuration is good");
	else
		result = server_run(server);
	server_free(server);
	return result == 0 ? 0 : 1;
}
