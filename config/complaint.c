#include "config/complaint.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* `file:line:col: path: what was expected` */
void
complaint_tell(
    struct complaint *to, const struct yaml_node *at, const char *fmt, ...)
{
	char text[COMPLAINT_WORDS_LEN + 128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	to->errors++;
	if (to->path[0] != '\0')
		yaml_error(to->e, at, "%s: %s", to->path, text);
	else
		yaml_error(to->e, at, "%s", text);
}

/* Appends to the path; returns the length to cut it back to. */
size_t
complaint_key(struct complaint *to, const char *key)
{
	size_t n = strlen(to->path);

	snprintf(to->path + n, sizeof to->path - n, "%s%.60s", n > 0 ? "." : "",
	    key);
	return n;
}

size_t
complaint_index(struct complaint *to, size_t index)
{
	size_t n = strlen(to->path);

	snprintf(to->path + n, sizeof to->path - n, "[%zu]", index);
	return n;
}

/* `key:` with nothing after it. */
bool
complaint_is_nothing(const struct yaml_node *node)
{
	return node->kind == YAML_SCALAR && !node->quoted &&
	    node->text[0] == '\0';
}

/* Text as it may stand in a message: one line, printable, short. */
size_t
complaint_printable(char buf[static COMPLAINT_NAME_LEN], const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++) {
		/* cut before a character, not inside one */
		if (n >= 47 && ((unsigned char)*text & 0xc0) != 0x80)
			return n +
			    (size_t)snprintf(
				buf + n, COMPLAINT_NAME_LEN - n, "...");
		buf[n++] = (unsigned char)*text < 0x20 ? '?' : *text;
	}
	buf[n] = '\0';
	return n;
}

const char *
complaint_value(
    const struct yaml_node *node, char buf[static COMPLAINT_VALUE_LEN])
{
	size_t n;

	if (node->kind == YAML_SEQUENCE)
		return "a list";
	if (node->kind == YAML_MAPPING)
		return "a mapping";
	if (node->kind != YAML_SCALAR || complaint_is_nothing(node))
		return "nothing";
	buf[0] = '"';
	n = complaint_printable(buf + 1, node->text);
	memcpy(buf + 1 + n, "\"", 2);
	return buf;
}

/* Says `expected WHAT, got VALUE`; always false. */
bool
complaint_expected(
    struct complaint *to, const struct yaml_node *node, const char *fmt, ...)
{
	char what[COMPLAINT_WORDS_LEN], value[COMPLAINT_VALUE_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	complaint_tell(to, node, "expected %s, got %s", what,
	    complaint_value(node, value));
	return false;
}
