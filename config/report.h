/*
 * What a schema has to say about a file, and about which key: the words behind
 * `file:line:col: key: expected WHAT, got VALUE`. For config/ only.
 */
#ifndef CONFIG_REPORT_H
#define CONFIG_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "config/yaml.h"

#define REPORT_PATH_LEN 160
#define REPORT_WORDS_LEN 256
#define REPORT_NAME_LEN 56 /* of printable text */
#define REPORT_VALUE_LEN 64

/* One load: where errors go and the key that is being looked at. */
struct report {
	struct yaml_errors *e;
	size_t errors;
	char path[REPORT_PATH_LEN];
};

/* Both append to the path and return the length to cut it back to. */
size_t report_key(struct report *r, const char *key);
size_t report_index(struct report *r, size_t index);

void report_tell(struct report *r, const struct yaml_node *at, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

/* Says `expected WHAT, got VALUE`; always false. */
bool report_expected(struct report *r, const struct yaml_node *node,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* `key:` with nothing after it. */
bool report_is_nothing(const struct yaml_node *node);

/* Text as it may stand in a message: one line, printable, short. */
size_t report_printable(char buf[static REPORT_NAME_LEN], const char *text);

/* A value for a message: "abc" in quotes, `a list`, `nothing`. */
const char *
report_value(const struct yaml_node *node, char buf[static REPORT_VALUE_LEN]);

#endif
