/* What the settings of both daemons have in common. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/yaml.h"

#define CONFIG_FILE_MAX (1024 * 1024)

/* Fills `settings` from YAML bytes; returns how many errors it put into e. */
typedef size_t config_parser(
    void *settings, const uint8_t *data, size_t len, struct yaml_errors *e);

/*
 * Reads the file at `path` (CONFIG_FILE_MAX bytes at most) for `parse`. 0, or
 * -1: each error is one log_error line; `settings` is untouched when the file
 * could not be read.
 */
int config_load(const char *path, config_parser *parse, void *settings);

/* Two strings that may be NULL. */
bool config_same_text(const char *a, const char *b);

/* A key that takes a restart, and whether a reload leaves it as it is. */
struct config_fixed {
	const char *key;
	bool same;
};
/* The keys that are not the same, as a list for the log in `buf`; NULL when
 * there is none. */
char *config_fixed_change(
    const struct config_fixed *list, size_t n, char *buf, size_t len);

/* `workers: auto` (0) is as many as the cores that this process may use. */
unsigned int config_workers(int64_t wanted, unsigned int most);

#endif
