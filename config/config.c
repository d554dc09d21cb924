#include "config/config.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"

int
config_load(const char *path, config_parser *parse, void *settings)
{
	char why[FILE_WHY_LEN];
	struct yaml_errors e = { .file = path };
	uint8_t *data;
	size_t len, errors;

	if (file_read(path, CONFIG_FILE_MAX, &data, &len, why) != 0) {
		log_error("%s", why);
		return -1;
	}
	errors = parse(settings, data, len, &e);
	free(data);
	for (size_t i = 0; i < e.count; i++)
		log_error("%s", e.lines[i]);
	if (e.more > 0)
		log_error("%s: and %zu more errors", path, e.more);
	yaml_errors_free(&e);
	return errors == 0 ? 0 : -1;
}

bool
config_same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

char *
config_fixed_change(
    const struct config_fixed *list, size_t n, char *buf, size_t len)
{
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		int more = list[i].same
		    ? 0
		    : snprintf(buf + used, len - used, "%s%s",
			  used > 0 ? ", " : "", list[i].key);

		if (more > 0 && (size_t)more < len - used)
			used += (size_t)more;
	}
	return used > 0 ? buf : NULL;
}

unsigned int
config_workers(int64_t wanted, unsigned int most)
{
	cpu_set_t set;
	int cores = 1;

	if (wanted > 0)
		return (unsigned int)wanted;
	if (sched_getaffinity(0, sizeof set, &set) == 0)
		cores = CPU_COUNT(&set);
	return (unsigned int)cores < most ? (unsigned int)cores : most;
}
