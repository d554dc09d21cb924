/*
 * The sessions that live now, a chunk at a time: the main thread asks a
 * worker, and the worker fills the chunk in between two turns of its own. A
 * session keeps its place in the worker's tables as long as it lives and the
 * places are gone through in order, so one that lives throughout is told once,
 * whatever begins and ends meanwhile.
 */
#ifndef PROXY_LIVE_H
#define PROXY_LIVE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/sock.h"
#include "proxy/app.h"

#define LIVE_ROWS 128 /* of a chunk */
#define LIVE_LOOKS 1024 /* places looked at for one chunk */

enum live_state {
	LIVE_HEADER = 0, /* waits for a PROXY header */
	LIVE_RESOLVING, /* for an answer of origin_dns */
	LIVE_CONNECTING,
	LIVE_OPEN,
	LIVE_CLIENT_ENDED, /* TCP: half closed */
	LIVE_ORIGIN_ENDED,
	LIVE_UNREPLIED, /* UDP: without a reply so far */
	LIVE_REPLIED,
	LIVE_STATES
};
const char *live_state_str(enum live_state state);

struct live_row {
	char application[APP_NAME_MAX];
	enum sock_proto proto;
	enum live_state state;
	struct addr client, edge;
	struct addr origin; /* family 0: none yet */
	uint64_t client_bytes, origin_bytes; /* received from each */
	uint32_t client_packets, origin_packets; /* UDP */
	uint64_t age_ms, idle_ms;
};

struct live_ask {
	struct live_ask *next; /* in a box */
	/* the question */
	char application[APP_NAME_MAX]; /* "": all */
	void (*answered)(
	    struct live_ask *a); /* called by the worker's thread */
	void *context;
	/* how far it has come; all zero for the first chunk of a worker */
	uint32_t tcp_at, udp_at;
	bool tcp_done, done;
	/* the answer */
	size_t count;
	struct live_row rows[LIVE_ROWS];
};

/* Whether this is an application that is asked about. */
bool live_wants(const struct live_ask *a, const char *application);

/* The next row to fill; the caller has made sure that there is room. */
struct live_row *live_row_next(struct live_ask *a, const struct app *app);

/* Messages from any thread to one that takes all of them at once, in order. */
struct live_box {
	_Atomic(struct live_ask *) newest;
};
void live_box_put(struct live_box *b, struct live_ask *a);
struct live_ask *live_box_take(struct live_box *b); /* NULL: empty */

#endif
