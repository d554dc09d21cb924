#include "config/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* `file:line:col: path: what was expected` */
void
report_tell(struct report *r, const struct yaml_node *at, const char *fmt, ...)
{
	char text[REPORT_WORDS_LEN + 128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	r->errors++;
	if (r->path[0] != '\0')
		yaml_error(r->e, at, "%s: %s", r->path, text);
	else
		yaml_error(r->e, at, "%s", text);
}

/* Appends to the path; returns the length to cut it back to. */
size_t
report_key(struct report *r, const char *key)
{
	size_t n = strlen(r->path);

	snprintf(
	    r->path + n, sizeof r->path - n, "%s%.60s", n > 0 ? "." : "", key);
	return n;
}

size_t
report_index(struct report *r, size_t index)
{
	size_t n = strlen(r->path);

	snprintf(r->path + n, sizeof r->path - n, "[%zu]", index);
	return n;
}

/* `key:` with nothing after it. */
bool
report_is_nothing(const struct yaml_node *node)
{
	return node->kind == YAML_SCALAR && !node->quoted &&
	    node->text[0] == '\0';
}

/* Text as it may stand in a message: one line, printable, short. */
size_t
report_printable(char buf[static REPORT_NAME_LEN], const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++) {
		/* cut before a character, not inside one */
		if (n >= 47 && ((unsigned char)*text & 0xc0) != 0x80)
			return n +
			    (size_t)snprintf(
				buf + n, REPORT_NAME_LEN - n, "...");
		buf[n++] = (unsigned char)*text < 0x20 ? '?' : *text;
	}
	buf[n] = '\0';
	return n;
}

const char *
report_value(const struct yaml_node *node, char buf[static REPORT_VALUE_LEN])
{
	size_t n;

	if (node->kind == YAML_SEQUENCE)
		return "a list";
	if (node->kind == YAML_MAPPING)
		return "a mapping";
	if (node->kind != YAML_SCALAR || report_is_nothing(node))
		return "nothing";
	buf[0] = '"';
	n = report_printable(buf + 1, node->text);
	memcpy(buf + 1 + n, "\"", 2);
	return buf;
}

/* Says `expected WHAT, got VALUE`; always false. */
bool
report_expected(
    struct report *r, const struct yaml_node *node, const char *fmt, ...)
{
	char what[REPORT_WORDS_LEN], value[REPORT_VALUE_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	report_tell(
	    r, node, "expected %s, got %s", what, report_value(node, value));
	return false;
}
