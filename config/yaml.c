#include "config/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 16
#define NODES_MAX 100000u
#define BYTES_MAX (1024u * 1024u)
#define ERRORS_MAX 50u /* lines kept; of the others it is told how many */
#define LINE_LEN 512

/* Stands in when there is no memory even for the line that says so. */
static char no_memory[] = "out of memory";
static char *no_memory_lines[] = { no_memory };

static void
keep_line(struct yaml_errors *e, const char *line)
{
	char *copy = strdup(line);

	if (copy != NULL && e->count == e->cap) {
		size_t cap = e->cap == 0 ? 16 : e->cap * 2;
		char **lines = realloc(e->lines, cap * sizeof *lines);

		if (lines != NULL) {
			e->lines = lines;
			e->cap = cap;
		}
	}
	if (copy != NULL && e->count < e->cap) {
		e->lines[e->count++] = copy;
		return;
	}
	free(copy);
	if (e->count == 0) {
		free(e->lines);
		e->lines = no_memory_lines;
		e->count = e->cap = 1;
	}
}

void
yaml_error(
    struct yaml_errors *e, const struct yaml_node *at, const char *fmt, ...)
{
	const char *file = e->file != NULL ? e->file : "-";
	char line[LINE_LEN];
	size_t n;
	va_list ap;

	if (e->lines == no_memory_lines || e->count == ERRORS_MAX) {
		e->more++;
		return;
	}
	/* the file's name may be long, the rest must still be told */
	if (at != NULL)
		snprintf(line, sizeof line, "%.200s:%u:%u: ", file, at->line,
		    at->column);
	else
		snprintf(line, sizeof line, "%.200s: ", file);
	n = strlen(line);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof line - n, fmt, ap);
	va_end(ap);
	keep_line(e, line);
}

void
yaml_errors_free(struct yaml_errors *e)
{
	if (e->lines != no_memory_lines) {
		for (size_t i = 0; i < e->count; i++)
			free(e->lines[i]);
		free(e->lines);
	}
	e->lines = NULL;
	e->count = e->cap = e->more = 0;
}

/*
 * Bytes: what libyaml would refuse with a byte offset or not at all is told
 * here with line and column (of characters).
 */

struct cursor {
	const uint8_t *at;
	const uint8_t *end;
	struct yaml_node place;
};

/* Takes one UTF-8 character (RFC 3629); -1 when it is not one. */
static long
next_char(struct cursor *c)
{
	static const struct {
		uint8_t mask, lead;
		long least; /* shorter forms are overlong */
	} forms[] = { { 0x80, 0x00, 0 }, { 0xe0, 0xc0, 0x80 },
		{ 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };
	long value;

	for (size_t n = 0; n < 4; n++) {
		if ((c->at[0] & forms[n].mask) != forms[n].lead)
			continue;
		if ((size_t)(c->end - c->at) <= n)
			return -1;
		value = c->at[0] & (uint8_t)~forms[n].mask;
		for (size_t i = 1; i <= n; i++) {
			if ((c->at[i] & 0xc0) != 0x80)
				return -1;
			value = value << 6 | (c->at[i] & 0x3f);
		}
		c->at += n + 1;
		if (value < forms[n].least || value > 0x10ffff ||
		    (value >= 0xd800 && value <= 0xdfff))
			return -1;
		return value;
	}
	return -1;
}

static bool
is_control(long c)
{
	return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') ||
	    (c >= 0x7f && c < 0xa0 && c != 0x85);
}

static int
check_bytes(const uint8_t *data, size_t len, struct yaml_errors *e)
{
	struct cursor c = { data, data + len, { .line = 1, .column = 1 } };

	if (len > BYTES_MAX) {
		yaml_error(e, NULL, "longer than %u bytes", BYTES_MAX);
		return -1;
	}
	while (c.at < c.end) {
		unsigned int byte = *c.at;
		long value = next_char(&c);

		if (value < 0)
			yaml_error(
			    e, &c.place, "byte 0x%02x is not UTF-8", byte);
		else if (value == 0)
			yaml_error(e, &c.place, "a NUL byte");
		else if (is_control(value))
			yaml_error(e, &c.place, "control character 0x%02lx",
			    (unsigned long)value);
		else if (value == '\n') {
			c.place.line++;
			c.place.column = 1;
			continue;
		} else {
			c.place.column++;
			continue;
		}
		return -1;
	}
	return 0;
}

/* Events to nodes. `event` is the one being looked at. */

struct reader {
	yaml_parser_t parser;
	yaml_event_t event;
	const uint8_t *data;
	size_t len;
	size_t nodes;
	size_t documents;
	bool failed; /* an error that ends the reading */
	bool refused; /* an error after which the reading goes on */
	struct yaml_errors *e;
};

static struct yaml_node
place_of(yaml_mark_t mark)
{
	struct yaml_node at = { .line = (unsigned int)mark.line + 1,
		.column = (unsigned int)mark.column + 1 };

	return at;
}

/* The byte at that place; 0 past the end, or after what is not ASCII. */
static uint8_t
byte_at(const struct reader *r, yaml_mark_t mark)
{
	const uint8_t *at = r->data, *end = r->data + r->len;

	for (size_t line = 0; line < mark.line && at < end; line++) {
		at = memchr(at, '\n', (size_t)(end - at));
		at = at == NULL ? end : at + 1;
	}
	for (size_t i = 0; i < mark.column && at < end; i++) {
		if (*at++ >= 0x80)
			return 0;
	}
	return at < end ? *at : 0;
}

/* libyaml's words for what it does not take as text help nobody. */
static const char *
hint(const struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	uint8_t byte = byte_at(r, p->problem_mark);

	if (strstr(p->context, "alias") != NULL ||
	    strstr(p->context, "token") != NULL ||
	    (strstr(p->context, "flow") != NULL &&
		(byte == ':' || byte == '[')))
		return "; text with such a character wants quotes, as \"::1\" "
		       "and \"*\"";
	return "";
}

static void
tell_parser(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	struct yaml_node at = place_of(p->problem_mark);

	r->failed = true;
	if (p->error == YAML_MEMORY_ERROR)
		yaml_error(r->e, NULL, "out of memory");
	else if (p->error == YAML_READER_ERROR)
		yaml_error(r->e, NULL, "byte %zu: %s", p->problem_offset,
		    p->problem != NULL ? p->problem : "unreadable");
	else if (byte_at(r, p->problem_mark) == '\t')
		yaml_error(r->e, &at, "a tab; YAML is indented with spaces");
	else if (p->context != NULL)
		yaml_error(r->e, &at, "%s (%s that starts at line %zu)%s",
		    p->problem, p->context, p->context_mark.line + 1, hint(r));
	else
		yaml_error(r->e, &at, "%s", p->problem);
}

/* Moves on to the next event; false after an error. */
static bool
advance(struct reader *r)
{
	yaml_event_delete(&r->event);
	if (!r->failed && !yaml_parser_parse(&r->parser, &r->event))
		tell_parser(r);
	return !r->failed;
}

static void
refuse(struct reader *r, const char *what)
{
	struct yaml_node at = place_of(r->event.start_mark);

	r->refused = true;
	yaml_error(r->e, &at, "%s", what);
}

static void
refuse_and_stop(struct reader *r, const char *what)
{
	refuse(r, what);
	r->failed = true;
}

/* A node with room for its text behind it: one allocation, one free. */
static struct yaml_node *
node_new(struct reader *r, enum yaml_kind kind, const char *text, size_t len)
{
	struct yaml_node *node;
	char *copy;

	if (++r->nodes > NODES_MAX) {
		refuse_and_stop(r, "more than 100000 values in one file");
		return NULL;
	}
	node = calloc(1, sizeof *node + len + 1);
	if (node == NULL) {
		refuse_and_stop(r, "out of memory");
		return NULL;
	}
	*node = place_of(r->event.start_mark);
	node->kind = kind;
	if (kind == YAML_SCALAR) {
		copy = (char *)(node + 1);
		memcpy(copy, text, len);
		node->text = copy;
	}
	return node;
}

static void
check_features(struct reader *r, const void *anchor, const void *tag)
{
	if (anchor != NULL)
		refuse(r, "an anchor (&name): not supported");
	if (tag != NULL)
		refuse(r, "a tag (!name): not supported");
}

static struct yaml_node *read_node(struct reader *r, unsigned int depth);

static struct yaml_node *
read_scalar(struct reader *r)
{
	const char *text = (const char *)r->event.data.scalar.value;
	size_t len = r->event.data.scalar.length;
	struct yaml_node *node;

	check_features(
	    r, r->event.data.scalar.anchor, r->event.data.scalar.tag);
	if (memchr(text, '\0', len) != NULL)
		refuse(r, "a NUL (\\0) inside text");
	node = node_new(r, YAML_SCALAR, text, len);
	if (node != NULL)
		node->quoted =
		    r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	return node;
}

static void
read_items(struct reader *r, struct yaml_node *parent, unsigned int depth)
{
	struct yaml_node **end = &parent->child;

	while (advance(r) && r->event.type != YAML_SEQUENCE_END_EVENT) {
		*end = read_node(r, depth);
		if (*end == NULL)
			return;
		end = &(*end)->next;
	}
}

static void
read_pairs(struct reader *r, struct yaml_node *parent, unsigned int depth)
{
	struct yaml_node **end = &parent->child;

	while (advance(r) && r->event.type != YAML_MAPPING_END_EVENT) {
		if (r->event.type == YAML_SEQUENCE_START_EVENT ||
		    r->event.type == YAML_MAPPING_START_EVENT)
			refuse(r, "a list or mapping as a key: not supported");
		*end = read_node(r, depth);
		if (*end == NULL || !advance(r))
			return;
		(*end)->value = read_node(r, depth);
		if ((*end)->value == NULL)
			return;
		end = &(*end)->next;
	}
}

/* A list or mapping, from its start event to its end event. */
static struct yaml_node *
read_branch(struct reader *r, enum yaml_kind kind, unsigned int depth)
{
	struct yaml_node *node;

	if (depth >= DEPTH_MAX) {
		refuse_and_stop(r, "nested deeper than 16 levels");
		return NULL;
	}
	node = node_new(r, kind, NULL, 0);
	if (node == NULL)
		return NULL;
	if (kind == YAML_SEQUENCE) {
		check_features(r, r->event.data.sequence_start.anchor,
		    r->event.data.sequence_start.tag);
		read_items(r, node, depth + 1);
	} else {
		check_features(r, r->event.data.mapping_start.anchor,
		    r->event.data.mapping_start.tag);
		read_pairs(r, node, depth + 1);
	}
	return node;
}

/* The node that starts at the present event; NULL when reading failed. */
static struct yaml_node *
read_node(struct reader *r, unsigned int depth)
{
	switch (r->event.type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(r);
	case YAML_SEQUENCE_START_EVENT:
		return read_branch(r, YAML_SEQUENCE, depth);
	case YAML_MAPPING_START_EVENT:
		return read_branch(r, YAML_MAPPING, depth);
	case YAML_ALIAS_EVENT:
		refuse(r, "an alias (*name): not supported");
		return node_new(r, YAML_NONE, NULL, 0);
	default:
		refuse_and_stop(r, "expected a value");
		return NULL;
	}
}

static void
check_document(struct reader *r)
{
	if (++r->documents > 1)
		refuse_and_stop(r, "a second document (---): not supported");
	else if (r->event.data.document_start.tag_directives.start !=
	    r->event.data.document_start.tag_directives.end)
		refuse(r, "a tag directive (%TAG): not supported");
}

static struct yaml_node *
read_stream(struct reader *r)
{
	struct yaml_node *root = NULL;

	while (advance(r) && r->event.type != YAML_STREAM_END_EVENT) {
		if (r->event.type == YAML_DOCUMENT_START_EVENT) {
			check_document(r);
			if (r->failed || !advance(r))
				break;
			root = read_node(r, 0);
		}
	}
	/* only comments: a mapping without keys, so that what is required
	 * can be asked for at a place */
	if (root == NULL && !r->failed)
		root = node_new(r, YAML_MAPPING, NULL, 0);
	return root;
}

struct yaml_node *
yaml_parse(const uint8_t *data, size_t len, struct yaml_errors *e)
{
	struct reader r = { .data = data, .len = len, .e = e };
	struct yaml_node *root;

	if (len > 0 && check_bytes(data, len, e) != 0)
		return NULL;
	if (!yaml_parser_initialize(&r.parser)) {
		yaml_error(e, NULL, "out of memory");
		return NULL;
	}
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(
	    &r.parser, len > 0 ? data : (const uint8_t *)"", len);
	root = read_stream(&r);
	yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	if (r.failed || r.refused) {
		yaml_tree_free(root);
		return NULL;
	}
	return root;
}

/* Recursion is as deep as the file, which is bounded; lists are loops. */
void
yaml_tree_free(struct yaml_node *root)
{
	while (root != NULL) {
		struct yaml_node *next = root->next;

		yaml_tree_free(root->child);
		yaml_tree_free(root->value);
		free(root);
		root = next;
	}
}
