#include "portshare/tale.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 78
#define TEXT_LEN 2048

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

void
tale_catch_signals(void)
{
	const struct sigaction end = { .sa_handler = on_signal };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };

	(void)sigaction(SIGINT, &end, NULL);
	(void)sigaction(SIGTERM, &end, NULL);
	(void)sigaction(SIGHUP, &end, NULL);
	/* the reader of the story may go: its players must not stay */
	(void)sigaction(SIGPIPE, &ignore, NULL);
}

bool
tale_interrupted(void)
{
	return interrupted != 0 || ferror(stdout);
}

int
tale_begin(struct tale *t, bool json)
{
	memset(t, 0, sizeof *t);
	if (json)
		t->events = json_array();
	return json && t->events == NULL ? -1 : 0;
}

/* One event of the story for programs; false: there are only people. */
static bool
record(struct tale *t, const char *kind, json_t *more)
{
	json_t *o;

	if (t->events == NULL) {
		json_decref(more);
		return false;
	}
	o = json_pack("{s:i, s:s}", "chapter", t->chapter, "kind", kind);
	json_object_update(o, more);
	json_decref(more);
	json_array_append_new(t->events, o);
	return true;
}

static bool
record_text(struct tale *t, const char *kind, const char *text)
{
	return record(t, kind, json_pack("{s:s}", "text", text));
}

/* One line, broken between words where it is too long; `hang` more blanks
 * before what follows. */
static void
print_line(const char *line, size_t len, size_t indent, size_t hang)
{
	while (indent + len > WIDTH) {
		size_t n = WIDTH - indent;

		while (n > 0 && line[n] != ' ')
			n--;
		if (n == 0)
			break; /* a word that is longer than the line */
		printf("%*s%.*s\n", (int)indent, "", (int)n, line);
		line += n + 1;
		len -= n + 1;
		indent += hang;
		hang = 0;
	}
	printf("%*s%.*s\n", (int)indent, "", (int)len, line);
}

static void
print_lines(const char *text, size_t indent, size_t hang)
{
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");
		size_t blanks = strspn(text, " ");

		if (blanks > len)
			blanks = len;
		if (len == 0)
			putchar('\n');
		else
			print_line(
			    text + blanks, len - blanks, indent + blanks, hang);
		text += len + (text[len] == '\n');
	}
	fflush(stdout);
}

static void
wait_for_enter(void)
{
	int c;

	printf("\n[Enter]");
	fflush(stdout);
	do
		c = getchar();
	while (c != '\n' && c != EOF);
}

void
tale_chapter(struct tale *t, const char *title)
{
	t->chapter++;
	if (record_text(t, "title", title))
		return;
	if (t->pause && t->chapter > 1)
		wait_for_enter();
	printf("\n%d. %s\n", t->chapter, title);
}

void
tale_say(struct tale *t, const char *format, ...)
{
	char text[TEXT_LEN];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (record_text(t, "words", text))
		return;
	putchar('\n');
	print_lines(text, 0, 0);
}

void
tale_file(struct tale *t, const char *name, const char *text)
{
	if (record(
		t, "file", json_pack("{s:s, s:s}", "name", name, "text", text)))
		return;
	printf("\n    # %s\n", name);
	print_lines(text, 4, 2);
}

void
tale_typed(struct tale *t, const char *text)
{
	if (record_text(t, "typed", text))
		return;
	printf("\n    $ %s\n", text);
	fflush(stdout);
}

void
tale_printed(struct tale *t, const char *text)
{
	if (!record_text(t, "printed", text))
		print_lines(text, 4, 2);
}

size_t
tale_quoted(struct tale *t, const char *text, const char *words)
{
	char line[TEXT_LEN];
	size_t count = 0, len;

	for (; *text != '\0'; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		snprintf(line, sizeof line, "%.*s", (int)len, text);
		if (strstr(line, words) != NULL) {
			tale_printed(t, line);
			count++;
		}
	}
	return count;
}

void
tale_call(struct tale *t, const char *process, const struct call *c)
{
	char text[CALL_TEXT_LEN];

	if (t->events != NULL)
		record(t, "call",
		    json_pack("{s:s, s:s, s:s, s:s}", "process", process,
			"call", c->name, "arguments", c->arguments, "result",
			c->result));
	else
		printf("    | %-10s  %s\n", process, call_format(text, c));
}

bool
tale_check(struct tale *t, bool so, const char *format, ...)
{
	char text[TALE_LEN];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (tale_interrupted())
		return false;
	t->checks++;
	if (!so && t->failed[0] == '\0')
		memcpy(t->failed, text, sizeof text);
	if (!record(
		t, "check", json_pack("{s:s, s:b}", "text", text, "so", so))) {
		char line[TALE_LEN + 16];

		snprintf(
		    line, sizeof line, "%s: %s", so ? "ok" : "NOT SO", text);
		print_lines(line, 2, 4);
	}
	return so;
}

void
tale_end(struct tale *t, json_t *about)
{
	if (t->events != NULL) {
		json_object_set(about, "events", t->events);
		json_dumpf(about, stdout, JSON_INDENT(1));
		putchar('\n');
	}
	json_decref(t->events);
	json_decref(about);
}
