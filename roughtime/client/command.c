#include "roughtime/client/command.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/when.h"

int
command_usage(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "roughtime %s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n`roughtime %s --help` tells how\n", command);
	return COMMAND_USAGE;
}

void
command_die(const char *fmt, ...)
{
	va_list ap;

	fputs("roughtime: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(COMMAND_USAGE);
}

void *
command_alloc(size_t n, size_t size)
{
	void *p = calloc(n > 0 ? n : 1, size);

	if (p == NULL)
		command_die("out of memory");
	return p;
}

bool
command_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	unsigned long long n;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false; /* strtoull would take a sign and blanks */
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || n < min || n > max)
		return false;
	*out = n;
	return true;
}

bool
command_seconds(const char *text, uint64_t *ns)
{
	double seconds;
	int64_t ms;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	seconds = strtod(text, &end);
	if (*end != '\0') {
		if (!when_duration(text, 1000, &ms) || ms <= 0)
			return false;
		seconds = (double)ms / 1e3;
	}
	if (!isfinite(seconds) || seconds <= 0 || seconds > 1e9)
		return false;
	*ns = (uint64_t)(seconds * 1e9);
	return *ns > 0;
}

void
command_print_json(json_t *root)
{
	if (root == NULL ||
	    json_dumpf(root, stdout,
		JSON_INDENT(2) | JSON_PRESERVE_ORDER |
		    JSON_REAL_PRECISION(12)) != 0 ||
	    putchar('\n') == EOF || fflush(stdout) != 0)
		command_die("cannot write the JSON: %s", strerror(errno));
	json_decref(root);
}
