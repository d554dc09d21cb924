/*
 * The command lines of the subcommands: the options that several of them
 * take, and whom to ask.
 */
#ifndef ROUGHTIME_CLIENT_ARGUMENTS_H
#define ROUGHTIME_CLIENT_ARGUMENTS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "roughtime/client/target.h"
#include "roughtime/verify.h"

/* For the `val` of a row of options; '4' and '6' are common too. */
enum argument {
	ARGUMENT_HELP = 256,
	ARGUMENT_JSON,
	ARGUMENT_UDP,
	ARGUMENT_TCP,
	ARGUMENT_VERSION,
	ARGUMENT_TIMEOUT,
	ARGUMENT_SIZE,
	ARGUMENT_COMPAT,
	ARGUMENT_OWN /* the first value that a subcommand may use itself */
};

/* What was given; defaults are set by the subcommand. */
struct arguments {
	bool json;
	unsigned int protos; /* EXCHANGE_UDP | EXCHANGE_TCP */
	uint32_t rows; /* of versions */
	uint64_t timeout_ns;
	size_t size; /* of a request packet */
	int family; /* AF_UNSPEC, AF_INET, AF_INET6 */
	struct verify_options verify;

	const char *server; /* HOST[:PORT] */
	struct target target;
	bool has_key;
	uint8_t key[CERT_PUBLIC_LEN];
};

struct arguments_spec {
	const char *help;
	const char *letters;
	const struct option *options;
	/* one of the subcommand's own; false: its value makes no sense */
	bool (*take)(void *own, int opt, const char *value);
};

/*
 * Takes the options; argv[0] is the subcommand, optind is left at the first
 * argument. Returns -1 to go on, or an exit status when all has been said.
 */
int arguments_options(struct arguments *a, const struct arguments_spec *spec,
    void *own, int argc, char **argv);

/* Takes `HOST[:PORT] [PUBLIC-KEY]` behind them; as above. */
int arguments_server(struct arguments *a, int argc, char **argv);

/* Says that the server's name gave no address; returns the exit status. */
int arguments_no_address(
    const struct arguments *a, const char *command, const char *why);

#endif
