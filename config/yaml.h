/*
 * YAML documents as a tree whose every node knows its file:line:column. The
 * only includer of <yaml.h>. Anchors, aliases, tags and several documents are
 * refused by name; depth and node count are bounded.
 */
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum yaml_kind { YAML_NONE = 0, YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_node {
	enum yaml_kind kind;
	unsigned int line; /* from 1 */
	unsigned int column; /* from 1 */
	bool quoted; /* scalar was quoted */
	const char *text; /* scalar: NUL-terminated */
	struct yaml_node *child; /* sequence: first item; mapping: first key */
	struct yaml_node *value; /* a mapping key's value */
	struct yaml_node *next; /* the following item or key */
};

/*
 * Errors are gathered, not stopped at: `file:line:col: key: text`, or without
 * a place when `at` is NULL. Start with { .file = name }.
 */
struct yaml_errors {
	const char *file;
	size_t count; /* lines, at most 50 */
	size_t more; /* errors that had no line any more */
	size_t cap; /* room in `lines` */
	char **lines;
};
void yaml_error(struct yaml_errors *e, const struct yaml_node *at,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void yaml_errors_free(struct yaml_errors *e);

/*
 * Parses bytes; NULL with the reasons in `e`. A file of comments only gives an
 * empty mapping. yaml_tree_free frees the tree (libyaml exports a yaml_free).
 */
struct yaml_node *
yaml_parse(const uint8_t *data, size_t len, struct yaml_errors *e);
void yaml_tree_free(struct yaml_node *root);

#endif
