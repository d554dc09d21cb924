/*
 * One health check of one origin, on an event loop: connect, send, wait for
 * the answer, say how it went. Nothing blocks; all memory is the caller's.
 */
#ifndef PROXY_PROBE_H
#define PROXY_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>

#include "proxy/app.h"
#include "proxy/header.h"
#include "proxy/origin.h"

#define PROBE_ANSWER_MAX 4096 /* of TCP; what comes later is not looked at */

enum probe_result {
	PROBE_GOOD = 0,
	PROBE_BAD,
	PROBE_UNKNOWN, /* we had no socket: says nothing about the origin */
};

/* `why` is for PROBE_BAD, such as `connect: Connection refused`; else errno
 * says what we lacked. The probe may be started again from here. */
typedef void probe_done(void *arg, enum probe_result result, const char *why);

struct probe {
	struct ev_loop *loop;
	const struct app *app; /* of its `check` */
	probe_done *done;
	void *arg;
	ev_io io;
	ev_timer timer;
	int fd; /* -1: none is under way */
	bool connected;
	size_t out_len, sent;
	uint8_t out[HEADER_V2_MAX + APP_CHECK_BYTES_MAX];
	size_t got;
	uint8_t answer[PROBE_ANSWER_MAX];
};

void probe_init(struct probe *p, struct ev_loop *loop, const struct app *app,
    probe_done *done, void *arg);

/* Checks the origin at `origin` (or at its check.port). `done` is called
 * once, perhaps from within. */
void probe_start(struct probe *p, const struct addr *origin);

void probe_stop(struct probe *p); /* no `done` any more */

/* An answer for a message: quoted, one line, its first bytes. */
#define PROBE_QUOTE_LEN 48
char *
probe_quote(char buf[static PROBE_QUOTE_LEN], const uint8_t *bytes, size_t len);

#endif
