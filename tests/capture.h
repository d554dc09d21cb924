/* What a piece of a test says on stderr, so that log lines can be asserted. */
#ifndef TESTS_CAPTURE_H
#define TESTS_CAPTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct capture {
	int saved, file;
	char text[16384];
};

static inline void
capture_begin(struct capture *c)
{
	c->saved = dup(STDERR_FILENO);
	c->file = memfd_create("stderr", MFD_CLOEXEC);
	if (c->saved < 0 || dup2(c->file, STDERR_FILENO) < 0)
		abort();
}

/* Gives stderr back; what was said is in c->text, and is said again. */
static inline void
capture_end(struct capture *c)
{
	ssize_t n = pread(c->file, c->text, sizeof c->text - 1, 0);

	c->text[n > 0 ? n : 0] = '\0';
	if (dup2(c->saved, STDERR_FILENO) < 0)
		abort();
	close(c->saved);
	close(c->file);
	fputs(c->text, stderr);
}

/* How often `needle` stands in it. */
static inline size_t
capture_count(const struct capture *c, const char *needle)
{
	size_t n = 0;

	for (const char *p = c->text; (p = strstr(p, needle)) != NULL; p++)
		n++;
	return n;
}

#endif
