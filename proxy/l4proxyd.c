/* l4proxyd(8): the layer 4 proxy. */
#include <getopt.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/log.h"
#include "proxy/proxy.h"

struct options {
	const char *config;
	bool test;
};

static void
usage(FILE *to)
{
	fputs("usage: l4proxyd [-t] [-c FILE]\n"
	      "  -c FILE  configuration (default " PROXY_CONFIG ")\n"
	      "  -t       test configuration and binds, then exit\n"
	      "  -h, --help    -V, --version\n"
	      "SIGHUP reloads, SIGUSR1 opens the event log again, SIGTERM\n"
	      "stops.\n",
	    to);
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

	while ((c = getopt_long(argc, argv, "c:thV", words, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 't':
			o->test = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		case 'V':
			puts("l4proxyd " TIMESHARE_VERSION);
			exit(0);
		default:
			usage(stderr);
			exit(1);
		}
	}
	if (optind < argc) {
		fputs("l4proxyd: it takes options only\n", stderr);
		usage(stderr);
		exit(1);
	}
}

int
main(int argc, char **argv)
{
	struct options o = { .config = PROXY_CONFIG };
	struct proxy *proxy;
	int result = 0;

	if (file_hold_standard() != 0)
		return 1; /* nowhere to say why */
	log_init("l4proxyd", LOG_LEVEL_INFO);
	parse_options(&o, argc, argv);
	if (sodium_init() < 0) {
		log_error("libsodium does not start");
		return 1;
	}
	proxy = proxy_new(o.config, o.test);
	if (proxy == NULL)
		return 1;
	if (o.test)
		log_info("the configuration is good");
	else
		result = proxy_run(proxy);
	proxy_free(proxy);
	return result == 0 ? 0 : 1;
}
