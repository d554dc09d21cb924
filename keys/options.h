/* The command line of roughtime-keys as a struct. */
#ifndef KEYS_OPTIONS_H
#define KEYS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum options_command {
	OPTIONS_NONE = 0,
	OPTIONS_GENERATE,
	OPTIONS_IMPORT,
	OPTIONS_PUBLIC,
	OPTIONS_DELEGATE,
	OPTIONS_SHOW,
};

struct options {
	enum options_command command;
	const char *file; /* public, show: the argument */
	const char *output; /* -o */
	const char *key; /* -k */
	const char *passphrase_file;
	bool ask_passphrase;
	bool json;
	uint64_t from_s; /* Unix */
	uint64_t for_s;
	uint64_t overlap_s;
	uint64_t count;
};

enum options_result { OPTIONS_RUN, OPTIONS_ANSWERED, OPTIONS_BAD };

/*
 * Strings stay in argv. OPTIONS_ANSWERED: --help or --version was printed.
 * OPTIONS_BAD: what was expected has been told by log_error.
 */
enum options_result
options_parse(struct options *o, int argc, char **argv, uint64_t now_s);

#endif
