#include "portshare/strace.h"

#include <string.h>

void
strace_arguments(
    const char *argv[static STRACE_ARGS], const char *strace, const char *path)
{
	/* -D: the daemon stays the child of who started it */
	const char *const words[STRACE_ARGS] = { strace, "-D", "-f", "-q",
		"--seccomp-bpf", "-e", "trace=" CALL_TRACED, "-o", path };

	memcpy(argv, words, sizeof words);
}

void
strace_begin(struct strace *s, const char *path, int pid)
{
	memset(s, 0, sizeof *s);
	s->pid = pid;
	snprintf(s->path, sizeof s->path, "%s", path);
}

/*
 * Whether it is about an internet socket. Sockets of other kinds are the main
 * thread's: what the keyholder, a process of its own, opens is none of these.
 */
static bool
concerns(struct strace *s, const struct call *c)
{
	if (c->fd < 0 || c->fd >= STRACE_FDS)
		return c->internet; /* a socket() that failed */
	if (strcmp(c->name, "socket") == 0 && (c->internet || c->tid == s->pid))
		s->internet[c->fd] = c->internet;
	else if (strcmp(c->name, "socket") == 0)
		return false;
	if (strncmp(c->name, "accept", 6) == 0 && c->value >= 0 &&
	    c->value < STRACE_FDS)
		s->internet[c->value] = s->internet[c->fd];
	return s->internet[c->fd];
}

/* A whole line: of one that is being written the rest comes later. */
static bool
read_line(struct strace *s, char line[static CALL_LINE_LEN])
{
	size_t len;
	long here;

	if (s->in == NULL && s->path[0] != '\0')
		s->in = fopen(s->path, "re");
	here = s->in != NULL ? ftell(s->in) : -1;
	if (here < 0)
		return false;
	if (fgets(line, CALL_LINE_LEN, s->in) == NULL) {
		clearerr(s->in);
		return false;
	}
	len = strlen(line);
	if (len < CALL_LINE_LEN - 1 && line[len - 1] != '\n') {
		(void)fseek(s->in, here, SEEK_SET);
		return false;
	}
	line[strcspn(line, "\n")] = '\0';
	return true;
}

bool
strace_next(struct strace *s, struct call *c)
{
	char line[CALL_LINE_LEN];

	while (read_line(s, line)) {
		const char *whole = call_join(&s->halves, line);

		if (whole != NULL && call_parse(c, whole, strlen(whole)) &&
		    concerns(s, c)) {
			if (s->n < STRACE_CALLS)
				s->calls[s->n++] = *c;
			return true;
		}
	}
	return false;
}

void
strace_end(struct strace *s)
{
	if (s->in != NULL)
		fclose(s->in);
	memset(s, 0, sizeof *s);
}
