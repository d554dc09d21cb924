/* What the control socket changes, and who may. */
#include "proxy/control_inner.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/when.h"

bool
control_may_act(struct control_connection *c)
{
	const char *word = control_command_str(c->request.command);

	if (c->peer.uid == 0 || c->peer.uid == c->control->owner) {
		log_info("control: %s%s%s, asked by uid %u, pid %d", word,
		    c->request.application[0] != '\0' ? " " : "",
		    c->request.application, (unsigned int)c->peer.uid,
		    (int)c->peer.pid);
		return true;
	}
	control_end(c, "refused",
	    "%s is for root and for uid %u, who started the daemon; you are "
	    "uid %u",
	    word, (unsigned int)c->control->owner, (unsigned int)c->peer.uid);
	return false;
}

/* ---- reload ---- */

void
control_report_release(struct control_report *r)
{
	if (r == NULL || --r->holders > 0)
		return;
	for (size_t i = 0; i < r->count; i++)
		free(r->lines[i].text);
	free(r);
}

/* Errors and warnings are the answer; the rest is for the log alone. */
static void
keep(void *context, enum log_level level, const char *text)
{
	struct control_report *r = context;
	char *copy;

	if (level > LOG_LEVEL_WARNING || r->count == CONTROL_REPORT_MAX)
		return;
	copy = strdup(text);
	if (copy != NULL)
		r->lines[r->count++] = (struct control_line){ level, copy };
}

void
control_reload_begins(struct control *c)
{
	if (c == NULL)
		return;
	c->report = calloc(1, sizeof *c->report);
	if (c->report == NULL)
		return;
	c->report->holders = 1;
	log_tap(keep, c->report);
}

void
control_reload_ends(struct control *c, bool good)
{
	if (c == NULL || c->report == NULL)
		return;
	log_tap(NULL, NULL);
	c->report->good = good;
	for (size_t i = 0; i < CONTROL_CONNECTIONS; i++) {
		struct control_connection *k = &c->connections[i];

		if (!k->waits || k->request.command != CONTROL_RELOAD)
			continue;
		k->waits = false;
		k->report = c->report;
		c->report->holders++;
		control_wake(k);
	}
	control_report_release(c->report);
	c->report = NULL;
}

/* Asks for it first, then tells what it had to say. */
void
control_reload(struct control_connection *c)
{
	const struct control_report *r = c->report;

	if (c->control->proxy->stopping) {
		control_end(c, "failed", "the daemon is about to end");
	} else if (r == NULL && c->cursor > 0) {
		control_end(c, "failed", "no memory to tell how it went");
	} else if (r == NULL) {
		c->waits = true;
		c->cursor = 1; /* asked */
		proxy_reload(c->control->proxy);
	} else if (c->cursor - 1 < r->count) {
		const struct control_line *l = &r->lines[c->cursor - 1];

		c->cursor++;
		control_row(c,
		    json_pack("{s:s, s:o}", "level",
			l->level == LOG_LEVEL_ERROR ? "error" : "warning",
			"text", control_text(l->text)));
	} else if (r->good) {
		control_end(c, "good", "reloaded");
	} else {
		control_end(c, "failed",
		    "the configuration is not good: everything stays as it "
		    "was");
	}
}

/* ---- drain ---- */

void
control_settled(struct control *c)
{
	for (size_t i = 0; c != NULL && i < CONTROL_CONNECTIONS; i++) {
		struct control_connection *k = &c->connections[i];
		enum control_command command = k->request.command;

		if (!k->waits ||
		    (command != CONTROL_DRAIN && command != CONTROL_UNDRAIN))
			continue;
		k->waits = false;
		control_wake(k);
	}
}

static void
tell_drained(struct control_connection *c)
{
	const struct proxy *p = c->control->proxy;
	const char *name = c->request.application;
	char left[WHEN_SPAN_LEN];

	for (size_t i = 0; i < p->current->apps; i++) {
		struct service *v = p->services[i];
		uint64_t now_ns = clock_monotonic_ns(), ends_ns = v->ends_ns;

		if (strcmp(v->app.name, name) != 0)
			continue;
		if (!v->draining && edge_is_paused(&p->edges, i))
			control_end(c, "failed",
			    "%s: cannot listen again; the log has why", name);
		else if (v->draining)
			control_end(c, "good",
			    "%s: takes no new clients; %zu sessions, at most "
			    "%s",
			    name, service_live(v),
			    when_span_ms(left,
				ends_ns > now_ns ? (ends_ns - now_ns) / 1000000
						 : 0));
		else
			control_end(c, "good", "%s: serves", name);
		return;
	}
	control_end(c, "failed", "a reload has removed %s", name);
}

/* Asks for it, waits until ports refuse or listen, and tells how it stands. */
void
control_drain(struct control_connection *c)
{
	struct proxy *p = c->control->proxy;
	const char *name = c->request.application;
	char why[PROXY_WHY_LEN];
	int result;

	if (p->stopping) {
		control_end(c, "failed", "the daemon is about to end");
		return;
	}
	if (c->cursor > 0) {
		tell_drained(c);
		return;
	}
	result = c->request.command == CONTROL_DRAIN
	    ? proxy_drain(p, name, c->request.for_ms, why)
	    : proxy_undrain(p, name, why);
	if (result != 0) {
		control_end(c, "failed", "%s", why);
		return;
	}
	c->cursor = 1;
	c->waits = true;
}
