/*
 * How a story is told: chapters, words, what was typed and what came of it;
 * for people while it happens, for programs as one object at the end.
 */
#ifndef PORTSHARE_TALE_H
#define PORTSHARE_TALE_H

#include <jansson.h>
#include <stdbool.h>

#include "portshare/call.h"

#define TALE_LEN 512

struct tale {
	json_t *events; /* NULL: for people */
	bool pause; /* waits for Enter before each chapter */
	int chapter, checks;
	char failed[TALE_LEN]; /* what was not as told, "": nothing yet */
};

/* A signal came to end it, or nobody reads it: nothing is waited for. */
bool tale_interrupted(void);
void tale_catch_signals(void);

/* For programs, and out of memory: -1. */
int tale_begin(struct tale *t, bool json);
void tale_chapter(struct tale *t, const char *title);
/* A paragraph. */
void tale_say(struct tale *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* What stands in a file; what a person would type; what it printed. */
void tale_file(struct tale *t, const char *name, const char *text);
void tale_typed(struct tale *t, const char *text);
void tale_printed(struct tale *t, const char *text);
/* Only the lines with these words; how many they were. */
size_t tale_quoted(struct tale *t, const char *text, const char *words);
void tale_call(struct tale *t, const char *process, const struct call *c);

/*
 * Whether it is as it is told: returns `so`. The first that is not ends the
 * story; of one that was interrupted nothing can be said, false.
 */
bool tale_check(struct tale *t, bool so, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* JSON: prints the events in `about`, which is taken. Frees. */
void tale_end(struct tale *t, json_t *about);

#endif
