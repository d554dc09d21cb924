/*
 * What a schema has to say about a file, and about which key: the words behind
 * `file:line:col: key: expected WHAT, got VALUE`. For config/ only.
 */
#ifndef CONFIG_COMPLAINT_H
#define CONFIG_COMPLAINT_H

#include <stdbool.h>
#include <stddef.h>

#include "config/yaml.h"

#define COMPLAINT_PATH_LEN 160
#define COMPLAINT_WORDS_LEN 256
#define COMPLAINT_NAME_LEN 56 /* of printable text */
#define COMPLAINT_VALUE_LEN 64

/* One load: where errors go and the key that is being looked at. */
struct complaint {
	struct yaml_errors *e;
	size_t errors;
	char path[COMPLAINT_PATH_LEN];
};

/* Both append to the path and return the length to cut it back to. */
size_t complaint_key(struct complaint *to, const char *key);
size_t complaint_index(struct complaint *to, size_t index);

void complaint_tell(struct complaint *to, const struct yaml_node *at,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Says `expected WHAT, got VALUE`; always false. */
bool complaint_expected(struct complaint *to, const struct yaml_node *node,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* `key:` with nothing after it. */
bool complaint_is_nothing(const struct yaml_node *node);

/* Text as it may stand in a message: one line, printable, short. */
size_t
complaint_printable(char buf[static COMPLAINT_NAME_LEN], const char *text);

/* A value for a message: "abc" in quotes, `a list`, `nothing`. */
const char *complaint_value(
    const struct yaml_node *node, char buf[static COMPLAINT_VALUE_LEN]);

#endif
