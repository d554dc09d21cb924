#include "portshare/call.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS 6

/* Bytes of the line, not ended by a NUL. */
struct piece {
	const char *at;
	size_t len;
};

struct parts {
	struct piece arguments[ARGUMENTS];
	size_t n;
	struct piece rest; /* behind the closing parenthesis */
};

static size_t
past_string(const char *at, size_t len)
{
	size_t i = 1;

	while (i < len && at[i] != '"')
		i += at[i] == '\\' ? 2 : 1;
	return i < len ? i + 1 : len;
}

/* What stands between the parentheses, apart at its own commas. */
static bool
split(struct parts *p, const char *at, size_t len)
{
	size_t depth = 0, start = 0;

	p->n = 0;
	for (size_t i = 0; i < len;) {
		char c = at[i];

		if (c == '"') {
			i += past_string(at + i, len - i);
			continue;
		}
		if ((c == ',' || c == ')') && depth == 0) {
			if (p->n == ARGUMENTS)
				return false;
			p->arguments[p->n++] =
			    (struct piece){ at + start, i - start };
			start = i + 1 + (i + 1 < len && at[i + 1] == ' ');
		}
		if (c == ')' && depth == 0) {
			p->rest = (struct piece){ at + i + 1, len - i - 1 };
			return true;
		}
		if (strchr("([{", c) != NULL)
			depth++;
		else if (strchr(")]}", c) != NULL && depth > 0)
			depth--;
		i++;
	}
	return false;
}

static bool
begins(const struct piece *p, const char *with)
{
	size_t len = strlen(with);

	return p->len >= len && memcmp(p->at, with, len) == 0;
}

/* What stands between `before` and `end`, empty: it is not there. */
static struct piece
within(const struct piece *p, const char *before, const char *end)
{
	struct piece found = { p->at, 0 };
	const char *at = memmem(p->at, p->len, before, strlen(before));
	const char *stop;

	if (at == NULL)
		return found;
	found.at = at + strlen(before);
	stop = memmem(
	    found.at, p->len - (size_t)(found.at - p->at), end, strlen(end));
	if (stop != NULL)
		found.len = (size_t)(stop - found.at);
	return found;
}

static int
print_address(char *buf, size_t cap, const struct piece *p)
{
	struct piece port = within(p, "_port=htons(", ")");
	struct piece four = within(p, "inet_addr(\"", "\")");
	struct piece six = within(p, "inet_pton(AF_INET6, \"", "\"");
	struct piece path = within(p, "sun_path=\"", "\"");

	if (four.len > 0)
		return snprintf(buf, cap, "%.*s:%.*s", (int)four.len, four.at,
		    (int)port.len, port.at);
	if (six.len > 0)
		return snprintf(buf, cap, "[%.*s]:%.*s", (int)six.len, six.at,
		    (int)port.len, port.at);
	if (path.len > 0)
		return snprintf(buf, cap, "%.*s", (int)path.len, path.at);
	return snprintf(buf, cap, "%.*s", (int)p->len, p->at);
}

/* A flag is [1], a number behind a pointer; or strace may not look there. */
static int
print_value(char *buf, size_t cap, const struct piece *p)
{
	struct piece inner = *p;

	if (p->len > 2 && p->at[0] == '[' && p->at[p->len - 1] == ']')
		inner = (struct piece){ p->at + 1, p->len - 2 };
	if (begins(p, "0x"))
		return snprintf(buf, cap, "?");
	return begins(p, "{sa_family=")
	    ? print_address(buf, cap, p)
	    : snprintf(buf, cap, "%.*s", (int)inner.len, inner.at);
}

/* Of which calls the how many-th argument says nothing to people. */
static bool
is_dull(const struct call *c, const struct parts *p, size_t i)
{
	if (i == p->n - 1 && i >= 2 && strncmp(c->name, "accept", 6) != 0 &&
	    strcmp(c->name, "socket") != 0)
		return true; /* a length */
	return strncmp(c->name, "accept", 6) == 0 &&
	    (i == 2 || (i == 1 && !begins(&p->arguments[1], "{")));
}

static void
lay_out(struct call *c, const struct parts *p)
{
	size_t len = 0;

	c->arguments[0] = '\0';
	for (size_t i = 0; i < p->n; i++) {
		char *at = c->arguments + len;
		size_t room = sizeof c->arguments - len;
		int n;

		if (is_dull(c, p, i))
			continue;
		n = snprintf(at, room, "%s", len > 0 ? ", " : "");
		if ((size_t)n >= room)
			return;
		n += print_value(at + n, room - (size_t)n, &p->arguments[i]);
		if ((size_t)n >= room)
			return;
		len += (size_t)n;
	}
}

/* Digits up to something else; -1: none, or too many. */
static int
number(const char *at, size_t len)
{
	long n = 0;
	size_t i = 0;

	for (; i < len && i < 9 && isdigit((unsigned char)at[i]); i++)
		n = 10 * n + (at[i] - '0');
	return i > 0 && (i == len || !isdigit((unsigned char)at[i])) ? (int)n
								     : -1;
}

/* `= 4`, `= -1 EADDRINUSE (Address already in use)`. */
static bool
read_result(struct call *c, const struct piece *rest)
{
	size_t i = 0, n = 0;

	while (i < rest->len && rest->at[i] == ' ')
		i++;
	if (rest->len - i < 3 || memcmp(rest->at + i, "= ", 2) != 0)
		return false;
	i += 2;
	c->value = number(rest->at + i, rest->len - i);
	if (c->value < 0) {
		if (rest->len - i < 4 || memcmp(rest->at + i, "-1 ", 3) != 0)
			return false;
		i += 3;
	}
	while (i + n < rest->len && rest->at[i + n] != ' ')
		n++;
	snprintf(c->result, sizeof c->result, "%.*s", (int)n, rest->at + i);
	return n > 0;
}

static bool
is_traced(const char *name)
{
	static const char list[] = CALL_TRACED;
	size_t len = strlen(name), word;

	for (const char *at = list; *at != '\0'; at += word + (at[word] != 0)) {
		word = strcspn(at, ",");
		if (word == len && memcmp(at, name, len) == 0)
			return true;
	}
	return false;
}

/* `17504 bind(`, the thread padded with blanks. Returns how much that was. */
static size_t
read_head(struct call *c, const char *line, size_t len)
{
	size_t i = 0, n = 0;

	c->tid = number(line, len);
	while (i < len && isdigit((unsigned char)line[i]))
		i++;
	while (i < len && line[i] == ' ')
		i++;
	while (i + n < len && (isalnum((unsigned char)line[i + n])))
		n++;
	if (c->tid < 0 || n >= sizeof c->name || i + n >= len ||
	    line[i + n] != '(')
		return 0;
	snprintf(c->name, sizeof c->name, "%.*s", (int)n, line + i);
	return is_traced(c->name) ? i + n + 1 : 0;
}

bool
call_parse(struct call *c, const char *line, size_t len)
{
	struct parts p;
	size_t head;

	memset(c, 0, sizeof *c);
	head = read_head(c, line, len);
	if (head == 0 || !split(&p, line + head, len - head) ||
	    !read_result(c, &p.rest))
		return false;
	lay_out(c, &p);
	c->fd = number(p.arguments[0].at, p.arguments[0].len);
	if (strcmp(c->name, "socket") != 0)
		return true;
	c->fd = c->value;
	c->internet = begins(&p.arguments[0], "AF_INET"); /* and AF_INET6 */
	return true;
}

char *
call_format(char buf[static CALL_TEXT_LEN], const struct call *c)
{
	snprintf(buf, CALL_TEXT_LEN, "%s(%s) = %s", c->name, c->arguments,
	    c->result);
	return buf;
}

/* The half of the same thread, CALL_HALVES: none waits. */
static size_t
find_half(const struct call_halves *h, const char *line)
{
	int tid = number(line, strlen(line));

	for (size_t i = 0; i < h->n; i++)
		if (number(h->waiting[i], strlen(h->waiting[i])) == tid)
			return i;
	return CALL_HALVES;
}

const char *
call_join(struct call_halves *h, const char *line)
{
	static const char unfinished[] = " <unfinished ...>";
	static const char resumed[] = " resumed>";
	const char *cut = strstr(line, unfinished);
	const char *more = strstr(line, resumed);
	size_t i = find_half(h, line);

	if (cut != NULL) {
		if (i == CALL_HALVES && h->n < CALL_HALVES)
			i = h->n++;
		if (i < CALL_HALVES)
			snprintf(h->waiting[i], CALL_LINE_LEN, "%.*s",
			    (int)(cut - line), line);
		return NULL;
	}
	if (more == NULL || strstr(line, "<... ") == NULL)
		return line;
	if (i == CALL_HALVES)
		return NULL; /* its beginning was not ours */
	if ((size_t)snprintf(h->whole, sizeof h->whole, "%s%s", h->waiting[i],
		more + strlen(resumed)) >= sizeof h->whole)
		h->whole[0] = '\0';
	if (i != --h->n)
		memcpy(h->waiting[i], h->waiting[h->n], CALL_LINE_LEN);
	return h->whole;
}
