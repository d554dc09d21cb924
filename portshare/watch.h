/*
 * What the files of `portshare watch` share: addresses that are ours, and who
 * else gets what is sent there.
 */
#ifndef PORTSHARE_WATCH_H
#define PORTSHARE_WATCH_H

#include <stdint.h>

#include "portshare/who.h"

#define WATCH_PLACES 64
#define WATCH_PORTS 16 /* of a protocol each: the kernel is asked for each */
#define WATCH_KNOWN 1024 /* sockets that were there before, or are ours */
#define WATCH_FINDINGS 64 /* at one time */

enum watch_event {
	WATCH_STEAL = 0, /* all of it goes to another socket */
	WATCH_SPECIFIC, /* what is sent to a more specific address does */
	WATCH_JOINED, /* a part of it: it has joined the group */
	WATCH_PROGRAM, /* an sk_lookup program sends it there, or may */
	WATCH_VACANT, /* ours are gone, another user came */
	WATCH_GAP, /* ours are gone, and a socket that was there gets it */
	WATCH_NOBODY, /* ours are gone */
};
const char *watch_event_str(enum watch_event event);
const char *watch_event_say(enum watch_event event);

struct watch_place {
	enum sock_proto proto;
	struct addr address;
	bool held; /* ours have been seen */
	unsigned int uid; /* theirs */
	struct addr local; /* where the last of them is bound */
};

/* Known: it was there at the start, or is one of ours. */
struct watch_known {
	uint64_t cookie;
	uint64_t places; /* bit i: it is ours at place i */
	pid_t pid;
	bool alive; /* in the look that is under way */
};

struct watch_finding {
	enum watch_event event;
	size_t place;
	struct addr to; /* what is sent there */
	struct portscan_socket socket; /* cookie 0: none */
	uint32_t program; /* id, 0: none */
	char name[16]; /* the program's */
	bool other_user; /* than ours: a hijack */
};

struct watch {
	struct watch_place place[WATCH_PLACES];
	size_t places;
	/* whose sockets are ours; 0 and NULL: of whoever has them at start */
	pid_t pid;
	const char *command;
	const char
	    *allow; /* names of others that may come, by commas; or NULL */
	struct watch_known known[WATCH_KNOWN];
	size_t knowns;
	uint32_t programs[CHOSEN_PROGRAMS_MAX]; /* there at the start */
	int program_count;
	struct watch_finding finding[WATCH_FINDINGS]; /* now */
	size_t findings;
	const char *hook; /* a command for sh(1), NULL: none */
	int hooks; /* under way */
};

bool watch_same_port(const struct watch_place *a, const struct watch_place *b);

/* Takes in who is there. 0, or -1 with errno. A place that is not `held` then
 * has nobody who could be ours. */
int watch_start(struct watch *w);

/* A number that changes when a look is worth while; cheap. 0: failed, errno. */
uint64_t watch_mark(const struct watch *w);

/* Fills the findings anew. 0, or -1 with errno. */
int watch_look(struct watch *w);

bool watch_same(const struct watch_finding *a, const struct watch_finding *b);

/* For people on standard error; for programs a line on standard output. `over`:
 * it is no longer so. `age_ms`: how old it is at most. */
void
watch_tell(const struct watch *w, const struct watch_finding *f, bool over);
void watch_tell_json(const struct watch *w, const struct watch_finding *f,
    bool over, uint64_t age_ms);

/* Runs the hook, told what it is about in its environment, and does not wait
 * for it; a few at a time. watch_reap() after a while. */
void watch_hook(struct watch *w, const struct watch_finding *f, bool over);
void watch_reap(struct watch *w);

#endif
