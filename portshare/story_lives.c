/* Three sockets from their first call to their last: --syscalls, summed up. */
#include <string.h>

#include "portshare/story.h"

/* What a life must have, in this order. */
struct step {
	const char *name, *argument; /* NULL: any */
};

static bool
is_step(const struct call *c, const struct step *wanted)
{
	return strcmp(c->name, wanted->name) == 0 && c->value >= 0 &&
	    (wanted->argument == NULL ||
		strstr(c->arguments, wanted->argument) != NULL);
}

/*
 * Takes the calls of the socket that calls[first] made, up to the one that has
 * its number next. Whether all steps are there, one after the other.
 */
static bool
follow(const struct strace *k, size_t first, const struct step *steps, size_t n,
    struct tale *t, const char *process)
{
	size_t step = 0;

	for (size_t i = first; i < k->n; i++) {
		const struct call *c = &k->calls[i];

		if (c->fd != k->calls[first].fd)
			continue;
		if (i > first && strcmp(c->name, "socket") == 0)
			break;
		if (step < n && is_step(c, &steps[step]))
			step++;
		if (t != NULL)
			tale_call(t, process, c);
	}
	return step == n;
}

static bool
tell_life(struct story *s, const struct player *p, const char *what,
    const struct step *steps, size_t n)
{
	const struct strace *k = &p->strace;
	size_t first = 0;

	tale_say(&s->tale, "%s", what);
	while (first < k->n &&
	    (!is_step(&k->calls[first], &steps[0]) ||
		!follow(k, first, steps, n, NULL, NULL)))
		first++;
	if (first < k->n)
		(void)follow(k, first, steps, n, &s->tale, p->name);
	return tale_check(&s->tale, first < k->n,
	    "such a socket was seen, and the calls came in this order");
}

#define LIFE(p, what, steps) \
	tell_life(s, p, what, steps, sizeof(steps) / sizeof *(steps))

bool
story_lives(struct story *s)
{
	static const struct step datagrams[] = {
		{ "socket", "SOCK_DGRAM" },
		{ "setsockopt", "SO_REUSEPORT, 1" },
		{ "bind", NULL },
	};
	static const struct step listener[] = {
		{ "socket", "SOCK_STREAM" },
		{ "setsockopt", "SO_REUSEPORT, 1" },
		{ "bind", NULL },
		{ "listen", NULL },
		{ "accept4", NULL },
	};
	static const struct step client[] = {
		{ "socket", "SOCK_DGRAM" },
		{ "connect", NULL },
	};

	if (!s->time.watched)
		return true;
	tale_chapter(&s->tale, "The lives of three sockets");
	return LIFE(&s->time,
		   "A datagram socket that serves: made, given its options, "
		   "bound. That is all; from here on it receives and sends, "
		   "to and from anybody.",
		   datagrams) &&
	    LIFE(&s->proxy,
		"A stream socket that serves: made, given its options, "
		"bound, and then it listens. Each accept gives another "
		"socket, for one client; this one never carries a byte.",
		listener) &&
	    LIFE(&s->proxy,
		"A socket that is a client: made and connected, to the "
		"customer's server. The kernel gives it an address and port.",
		client);
}
