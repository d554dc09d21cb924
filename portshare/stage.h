/*
 * Where a story happens: a network, addresses in it, a port, a directory, and
 * the programs that play in it.
 */
#ifndef PORTSHARE_STAGE_H
#define PORTSHARE_STAGE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/lab.h"

struct stage {
	struct lab lab; /* LAB_ROOT, or LAB_HOST: the host's own loopback */
	uint16_t port;
	const char *time; /* an address that only the time server has */
	const char *customer; /* the one that the proxy is to have */
	const char *origin; /* where the customer's own server is */
	char directory[64]; /* of configuration, keys and logs */
};

/*
 * As root the process moves into a network of its own, for good. PATH gets the
 * directory of this program in front. -1 after a log_error line: a program is
 * missing, no directory. stage_close() in both cases.
 */
int stage_open(struct stage *s);
void stage_close(struct stage *s); /* removes the directory */

bool stage_has_program(const char *name);

/* DIRECTORY/NAME; returns buf. */
char *
stage_path(char buf[static PATH_MAX], const struct stage *s, const char *name);
/* Writes a file there, others may read it. 0, or -1 after a log_error line. */
int stage_write(const struct stage *s, const char *name, const char *text);

#endif
