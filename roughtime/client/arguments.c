#include "roughtime/client/arguments.h"

#include <stdio.h>
#include <string.h>

#include "roughtime/client/command.h"
#include "roughtime/client/exchange.h"

#define SIZE_MIN 128
#define SIZE_MAX_UDP 65000

static bool
take_size(struct arguments *a, const char *value)
{
	uint64_t n;

	if (!command_number(value, SIZE_MIN, SIZE_MAX_UDP, &n))
		return false;
	a->size = (size_t)n / 4 * 4; /* messages are words */
	return true;
}

/* False when the value makes no sense. */
static bool
take_common(struct arguments *a, int opt, const char *value)
{
	switch (opt) {
	case ARGUMENT_JSON:
		return a->json = true;
	case ARGUMENT_UDP:
		return a->protos |= EXCHANGE_UDP;
	case ARGUMENT_TCP:
		return a->protos |= EXCHANGE_TCP;
	case ARGUMENT_VERSION:
		return (a->rows = ladder_parse(value)) != 0;
	case ARGUMENT_TIMEOUT:
		return command_seconds(value, &a->timeout_ns);
	case ARGUMENT_SIZE:
		return take_size(a, value);
	case ARGUMENT_COMPAT:
		return a->verify.compat_capital_t =
			   strcmp(value, "rfc10049-capital-t") == 0;
	default: /* '4', '6' */
		a->family = opt == '4' ? AF_INET : AF_INET6;
		return true;
	}
}

static bool
is_common(int opt)
{
	return opt == '4' || opt == '6' ||
	    (opt >= ARGUMENT_HELP && opt < ARGUMENT_OWN);
}

int
arguments_options(struct arguments *a, const struct arguments_spec *spec,
    void *own, int argc, char **argv)
{
	int opt;

	optind = 0;
	while ((opt = getopt_long(
		    argc, argv, spec->letters, spec->options, NULL)) != -1) {
		if (opt == ARGUMENT_HELP) {
			fputs(spec->help, stdout);
			return COMMAND_GOOD;
		}
		if (opt == '?')
			return command_usage(argv[0], "an option is wrong");
		if (is_common(opt) ? !take_common(a, opt, optarg)
				   : !spec->take(own, opt, optarg))
			return command_usage(argv[0], "%s: bad value %s",
			    argv[optind - 1] == optarg ? argv[optind - 2]
						       : argv[optind - 1],
			    optarg);
	}
	return -1;
}

int
arguments_server(struct arguments *a, int argc, char **argv)
{
	int n = argc - optind;
	const char *why;

	if (n < 1 || n > 2)
		return command_usage(argv[0], "give HOST[:PORT] and a key");
	a->server = argv[optind];
	if (!target_parse(&a->target, a->server, &why))
		return command_usage(argv[0], "%s: %s", a->server, why);
	a->has_key = n == 2;
	if (a->has_key && !target_key(a->key, argv[optind + 1]))
		return command_usage(argv[0],
		    "%s: not a public key (32 bytes as base64 or hex)",
		    argv[optind + 1]);
	return -1;
}

int
arguments_no_address(
    const struct arguments *a, const char *command, const char *why)
{
	if (a->json)
		command_print_json(json_pack("{s:s, s:b, s:s, s:s}", "server",
		    a->server, "verified", 0, "fault", "name", "reason", why));
	else
		fprintf(stderr, "roughtime %s: %s: %s\n", command,
		    a->target.host, why);
	return COMMAND_NO_ANSWER;
}
