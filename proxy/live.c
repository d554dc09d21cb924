#include "proxy/live.h"

#include <string.h>

static const char *const words[LIVE_STATES] = {
	[LIVE_HEADER] = "header",
	[LIVE_RESOLVING] = "resolving",
	[LIVE_CONNECTING] = "connecting",
	[LIVE_OPEN] = "open",
	[LIVE_CLIENT_ENDED] = "client-ended",
	[LIVE_ORIGIN_ENDED] = "origin-ended",
	[LIVE_UNREPLIED] = "unreplied",
	[LIVE_REPLIED] = "replied",
};

const char *
live_state_str(enum live_state state)
{
	return state < LIVE_STATES ? words[state] : "unknown";
}

bool
live_wants(const struct live_ask *a, const char *application)
{
	return a->application[0] == '\0' ||
	    strcmp(a->application, application) == 0;
}

struct live_row *
live_row_next(struct live_ask *a, const struct app *app)
{
	struct live_row *row = &a->rows[a->count++];

	memset(row, 0, sizeof *row);
	memcpy(row->application, app->name, sizeof row->application);
	row->proto = app->proto;
	return row;
}

void
live_box_put(struct live_box *b, struct live_ask *a)
{
	a->next = atomic_load(&b->newest);
	while (!atomic_compare_exchange_weak(&b->newest, &a->next, a))
		continue;
}

struct live_ask *
live_box_take(struct live_box *b)
{
	struct live_ask *a = atomic_exchange(&b->newest, NULL);
	struct live_ask *first = NULL;

	while (a != NULL) { /* the newest is on top */
		struct live_ask *next = a->next;

		a->next = first;
		first = a;
		a = next;
	}
	return first;
}
