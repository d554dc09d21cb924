/*
 * One row an option. A table of rows turns a YAML mapping into a plain
 * struct; unknown and repeated keys, wrong kinds and values out of range are
 * all told, each with file:line:col, key and what was expected.
 */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config/yaml.h"

enum schema_type {
	SCHEMA_END = 0,
	SCHEMA_BOOL, /* bool */
	SCHEMA_INT, /* int64_t, min..max */
	SCHEMA_DOUBLE, /* double, min..max */
	SCHEMA_DURATION, /* int64_t in `unit` "s" or "ms"; accepts 90, 90s, 5m, 24h, 30d */
	SCHEMA_STRING, /* char *, malloc */
	SCHEMA_ENUM, /* int: index into `words` (NULL-terminated) */
	SCHEMA_AUTO_INT, /* int64_t, the word `auto` gives 0 */
	SCHEMA_ADDRESS, /* struct addr (net/addr.h) without a port (port 0) */
	SCHEMA_SECTION, /* nested mapping: `rows`, offset of the nested struct */
	SCHEMA_LIST, /* struct schema_list of `item_size` structs by `rows`,
	                    or of scalars when rows is NULL and item_type is set */
	SCHEMA_FLAGS, /* unsigned int bit set: a list of words */
};

struct schema_list {
	void *items; /* array, malloc */
	size_t count;
};

struct schema_row {
	const char *key;
	enum schema_type type;
	size_t offset; /* in the struct */
	bool required; /* wherever the enclosing mapping stands in the file */
	double min, max; /* numbers, durations in `unit`; LIST: items, FLAGS:
	                    min words. min >= max: numbers have no bounds, and
	                    a list ends at 4096 items when max is 0 */
	const char *fallback; /* default, as it would stand in the file, a
	                         scalar without quotes; NULL: zero */
	const char *const *words; /* ENUM, FLAGS */
	const char *unit; /* for the manual and messages; DURATION needs it */
	const struct schema_row *rows; /* SECTION, LIST of mappings */
	size_t item_size; /* LIST */
	enum schema_type item_type; /* LIST of scalars */
	bool lone; /* LIST of scalars: one value may stand without brackets */
	const char *help; /* one line */
};

/*
 * Fills `out` (zeroed by the caller) with defaults, then with what stands in
 * `node` (NULL: defaults only). Returns the number of errors added to `e`.
 */
size_t schema_load(const struct schema_row *rows, const struct yaml_node *node,
    void *out, struct yaml_errors *e);

/* Frees strings and lists inside `out` and zeroes it. */
void schema_free(const struct schema_row *rows, void *out);

/* The YAML node that gave key `path` ("listen", "clock.min_radius_s",
 * "listen[0].port"), for later checks that want a place; NULL when left out. */
const struct yaml_node *
schema_find(const struct yaml_node *root, const char *path);

#endif
