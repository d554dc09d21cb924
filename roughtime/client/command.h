/* The subcommands of `roughtime`, and what all of them share. */
#ifndef ROUGHTIME_CLIENT_COMMAND_H
#define ROUGHTIME_CLIENT_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The contract with scripts: roughtime(1), EXIT STATUS. */
enum command_exit {
	COMMAND_GOOD = 0,
	COMMAND_USAGE = 1,
	COMMAND_NO_ANSWER = 2,
	COMMAND_INVALID = 3,
	COMMAND_DISAGREE = 4
};

/* argv[0] is the subcommand's own name. Each returns an exit status. */
int query_command(int argc, char **argv);
int probe_command(int argc, char **argv);
int measure_command(int argc, char **argv);
int judge_command(int argc, char **argv); /* `roughtime verify` */
int bench_command(int argc, char **argv);

/* One line of complaint and a hint at --help; returns COMMAND_USAGE. */
int command_usage(const char *command, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A failure of our own machine (memory, entropy, file): says it, exits 1. */
void command_die(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));
void *command_alloc(size_t n, size_t size); /* zeroed; dies without memory */

/* A number in [min, max]; false for anything else on the line. */
bool
command_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* Seconds as `1.5` or with a unit (`500ms`, `2m`) into nanoseconds, > 0. */
bool command_seconds(const char *text, uint64_t *ns);

/* Prints and frees a JSON object; dies when stdout is gone. */
void command_print_json(json_t *root);

#endif
