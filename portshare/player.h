/*
 * The programs of a story: those that run to their end, and daemons, which
 * are watched by their log and, where wanted, by strace(1).
 */
#ifndef PORTSHARE_PLAYER_H
#define PORTSHARE_PLAYER_H

#include <sys/types.h>

#include "portshare/stage.h"
#include "portshare/strace.h"
#include "portshare/tale.h"

#define PLAYER_PATIENCE_MS 15000 /* for whatever is waited for */
#define PLAYER_TEXT_LEN 16384
#define PLAYER_ARGS 12

struct player_output {
	int status; /* of exit(3), -1: killed, or not within patience */
	char text[PLAYER_TEXT_LEN]; /* both outputs, cut where it is longer */
};

/*
 * Tells the words as typed (unless `t` is NULL; they end with NULL), and runs
 * them to their end, in that network and the stage's directory. -1 after a
 * log_error line.
 */
int player_run(struct tale *t, const struct stage *s, enum lab_net net,
    const char *const words[], struct player_output *out);

struct player {
	const char *name; /* of the program */
	const struct stage *stage;
	pid_t pid; /* 0: it does not run */
	int status; /* of its end, as in player_output */
	bool watched; /* by strace */
	struct strace strace;
	char text[PLAYER_TEXT_LEN]; /* what player_log() read last */
};

void player_init(
    struct player *p, const struct stage *s, const char *name, bool watched);

/* The words as typed; they run beside us until they end or are stopped. -1
 * after a log_error line. */
int player_start(struct player *p, struct tale *t, const char *const words[]);
/* Waits until its log has these words so many times, true, or until it has
 * ended. */
bool player_says(struct player *p, const char *words, size_t times);
/* Waits for its end: its status. */
int player_wait(struct player *p);
/* SIGTERM; its status. Nothing happens to one that does not run. */
int player_stop(struct player *p);
/* What it wrote since its start. */
const char *player_log(struct player *p);
/* Tells the lines of the log that have `words`; how many they were. */
size_t player_quote(struct player *p, struct tale *t, const char *words);
/* Tells the calls that were made since it was asked last. */
void player_calls(struct player *p, struct tale *t);

#endif
