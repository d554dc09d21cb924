/*
 * The event log: one JSON object a line with Spectrum's field names; connect,
 * and one of disconnect, clientFiltered, originError, … for each session or
 * flow. Workers put their lines into one bounded queue without a lock, and one
 * thread writes them; a slow disk loses lines (counted), never time.
 */
#ifndef PROXY_EVENTLOG_H
#define PROXY_EVENTLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "proxy/app.h"
#include "proxy/status.h"

enum event_kind {
	EVENT_CONNECT = 0,
	EVENT_DISCONNECT,
	EVENT_CLIENT_FILTERED,
	EVENT_RESOLVE_ORIGIN,
	EVENT_ORIGIN_ERROR,
	EVENT_TLS_ERROR,
};
const char *event_kind_str(enum event_kind kind); /* "connect" … */
/* What the end of a session is that never reached an origin. */
enum event_kind event_kind_of(enum status status);

struct event {
	enum event_kind kind;
	const struct app *app;
	struct addr client;
	struct addr edge;
	struct addr origin; /* family 0: none was chosen */
	uint64_t client_bytes; /* received from the client */
	uint64_t origin_bytes;
	uint64_t client_rtt_ns; /* TCP_INFO; 0 unknown */
	uint64_t origin_rtt_ns;
	uint64_t connect_us; /* Unix */
	uint64_t disconnect_us; /* 0: still open */
	enum status status;
	bool firewall_matched;
};

#define EVENT_LINE_MAX 1024
/* Pure: the line with its newline; returns bytes. */
size_t event_format(
    char out[static EVENT_LINE_MAX], const struct event *e, uint64_t now_us);

/* Opaque: the queue and its thread. NULL stands for no event log: all but
 * eventlog_open take it and do nothing. */
struct eventlog;

/* `path`: a file (appended, 0640) or "-" for stdout; NULL with errno. */
struct eventlog *eventlog_open(const char *path);
void eventlog_write(struct eventlog *log, const struct event *e);
/* Reopens the file (SIGUSR1, after logrotate). 0, or -1 with errno: then the
 * old one stays. */
int eventlog_reopen(struct eventlog *log);
uint64_t eventlog_lost(const struct eventlog *log);
/* Writes what is queued, for a second at most if nobody takes it. Workers
 * write no more by then. */
void eventlog_close(struct eventlog *log);

#endif
