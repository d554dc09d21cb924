#include "proxy/ctl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/when.h"
#include "proxy/status.h"

uint64_t
ctl_number(const json_t *row, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(row, key));

	return n > 0 ? (uint64_t)n : 0;
}

double
ctl_real(const json_t *row, const char *key)
{
	return json_number_value(json_object_get(row, key));
}

const char *
ctl_text(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text != NULL && text[0] != '\0' ? text : "-";
}

/* The cells of one line: texts that a value was written into. */
struct cells {
	size_t n;
	const char *text[TABLE_COLUMNS];
	char room[TABLE_COLUMNS][TABLE_CELL];
};

static void
put(struct cells *c, const char *text)
{
	c->text[c->n++] = text;
}

static char *
room(struct cells *c)
{
	c->text[c->n] = c->room[c->n];
	return c->room[c->n++];
}

static void
put_count(struct cells *c, const json_t *row, const char *key)
{
	snprintf(room(c), TABLE_CELL, "%" PRIu64, ctl_number(row, key));
}

static void
put_bytes(struct cells *c, const json_t *row, const char *key)
{
	table_bytes(room(c), ctl_number(row, key));
}

static void
put_ms(struct cells *c, double ms)
{
	when_span_ms(room(c), ms > 0 ? (uint64_t)ms : 0);
}

/* ---- applications ---- */

static const struct table_column application_columns[] = {
	{ "APPLICATION", false },
	{ "PROTO", false },
	{ "PORTS", false },
	{ "EDGES", false },
	{ "ORIGINS", true },
	{ "LIVE", true },
	{ "TOTAL", true },
	{ "STATE", false },
	{ "PATH", false },
};

/* The first address stands for all of them. */
static void
put_edges(struct cells *c, const json_t *row)
{
	const json_t *list = json_object_get(row, "edges");
	const char *first = json_string_value(json_array_get(list, 0));
	size_t n = json_array_size(list);

	if (n > 1)
		snprintf(room(c), TABLE_CELL, "%s +%zu", first, n - 1);
	else
		put(c, first != NULL ? first : "-");
}

static void
put_state(struct cells *c, const json_t *row)
{
	char span[WHEN_SPAN_LEN];
	uint64_t left = ctl_number(row, "drain_left_ms");

	if (left > 0)
		snprintf(room(c), TABLE_CELL, "%s, ends in %s",
		    ctl_text(row, "state"), when_span_ms(span, left));
	else if (json_object_get(row, "unresolved") != NULL)
		snprintf(room(c), TABLE_CELL, "%s, no origin: %s",
		    ctl_text(row, "state"), ctl_text(row, "unresolved"));
	else
		put(c, ctl_text(row, "state"));
}

/* The path, and why it is not the fast one: the last column, of any width. */
static void
put_path(struct cells *c, const json_t *row)
{
	if (json_object_get(row, "path_why") != NULL)
		snprintf(room(c), TABLE_CELL, "%s: %s", ctl_text(row, "path"),
		    ctl_text(row, "path_why"));
	else
		put(c, ctl_text(row, "path"));
}

static void
fill_application(struct cells *c, const json_t *row)
{
	put(c, ctl_text(row, "application"));
	put(c, ctl_text(row, "protocol"));
	put(c, ctl_text(row, "ports"));
	put_edges(c, row);
	put_count(c, row, "origins");
	put_count(c, row, "live");
	put_count(c, row, "begun");
	put_state(c, row);
	put_path(c, row);
}

/* ---- origins ---- */

static const struct table_column origin_columns[] = {
	{ "APPLICATION", false },
	{ "PROTO", false },
	{ "ORIGIN", false },
	{ "WEIGHT", true },
	{ "LIVE", true },
	{ "TOTAL", true },
	{ "FAILED", true },
	{ "IN A ROW", true },
	{ "STATE", false },
	{ "LAST FAULT OF A CHECK", false },
};

static void
put_origin_state(struct cells *c, const json_t *row)
{
	char span[WHEN_SPAN_LEN];
	uint64_t left = ctl_number(row, "ejected_ms");

	if (strcmp(ctl_text(row, "state"), "ejected") == 0)
		snprintf(room(c), TABLE_CELL, "ejected for %s",
		    when_span_ms(span, left));
	else if (strcmp(ctl_text(row, "state"), "down") == 0)
		snprintf(room(c), TABLE_CELL, "down for %s",
		    when_span(span, ctl_number(row, "state_ms") / 1000));
	else
		put(c, ctl_text(row, "state"));
}

static void
fill_origin(struct cells *c, const json_t *row)
{
	put(c, ctl_text(row, "application"));
	put(c, ctl_text(row, "protocol"));
	put(c, ctl_text(row, "address"));
	put_count(c, row, "weight");
	put_count(c, row, "live");
	put_count(c, row, "total");
	put_count(c, row, "failed");
	put_count(c, row, "failures");
	put_origin_state(c, row);
	put(c, ctl_text(row, "why"));
}

/* ---- sessions ---- */

static const struct table_column session_columns[] = {
	{ "APPLICATION", false },
	{ "PROTO", false },
	{ "CLIENT", false },
	{ "EDGE", false },
	{ "ORIGIN", false },
	{ "IN", true },
	{ "OUT", true },
	{ "AGE", true },
	{ "IDLE", true },
	{ "WORKER", true },
	{ "STATE", false },
};

static void
fill_session(struct cells *c, const json_t *row)
{
	put(c, ctl_text(row, "application"));
	put(c, ctl_text(row, "protocol"));
	put(c, ctl_text(row, "client"));
	put(c, ctl_text(row, "edge"));
	put(c, ctl_text(row, "origin"));
	put_bytes(c, row, "client_bytes");
	put_bytes(c, row, "origin_bytes");
	put_ms(c, ctl_real(row, "age_ms"));
	put_ms(c, ctl_real(row, "idle_ms"));
	put_count(c, row, "worker");
	put(c, ctl_text(row, "state"));
}

/* ---- counters ---- */

static const struct table_column counter_columns[] = {
	{ "APPLICATION", false },
	{ "PROTO", false },
	{ "LIVE", true },
	{ "TOTAL", true },
	{ "ENDED", true },
	{ "IN", true },
	{ "OUT", true },
	{ "AVERAGE", true },
	{ "MEDIAN", true },
	{ "P90", true },
	{ "P99", true },
	{ "LONGEST", true },
};
static const struct table_column detail_columns[] = {
	{ "APPLICATION", false },
	{ "COUNT", true },
	{ "OF", false },
};
static const struct table_column worker_columns[] = {
	{ "WORKER", true },
	{ "TCP LIVE", true },
	{ "TCP TOTAL", true },
	{ "UDP LIVE", true },
	{ "UDP TOTAL", true },
	{ "ACCEPT PAUSES", true },
	{ "CPU", true },
};

static void
fill_counters(struct cells *c, const json_t *row)
{
	const json_t *d = json_object_get(row, "duration_ms");

	put(c, ctl_text(row, "application"));
	put(c, ctl_text(row, "protocol"));
	put_count(c, row, "live");
	put_count(c, row, "begun");
	put_count(c, row, "ended");
	put_bytes(c, row, "client_bytes");
	put_bytes(c, row, "origin_bytes");
	put_ms(c, ctl_real(d, "average"));
	put_ms(c, ctl_real(d, "median"));
	put_ms(c, ctl_real(d, "p90"));
	put_ms(c, ctl_real(d, "p99"));
	put_ms(c, ctl_real(d, "max"));
}

static void
fill_worker(struct cells *c, const json_t *row)
{
	put_count(c, row, "worker");
	put_count(c, row, "sessions");
	put_count(c, row, "sessions_begun");
	put_count(c, row, "flows");
	put_count(c, row, "flows_begun");
	put_count(c, row, "accept_pauses");
	put_ms(c, ctl_real(row, "cpu_s") * 1e3);
}

static void
detail(struct table *t, const json_t *row, uint64_t count, const char *of)
{
	struct cells c = { 0 };

	if (count == 0)
		return;
	put(&c, ctl_text(row, "application"));
	snprintf(room(&c), TABLE_CELL, "%" PRIu64, count);
	put(&c, of);
	table_row(t, c.text);
}

static void
details_by_status(
    struct table *t, const json_t *row, const char *key, const char *what)
{
	const json_t *counts = json_object_get(row, key);
	char of[TABLE_CELL];

	for (unsigned int i = 0; i < STATUS_KINDS; i++) {
		char code[16];

		snprintf(code, sizeof code, "%d", status_at(i));
		snprintf(of, sizeof of, "%s %s: %s", what, code,
		    status_str(status_at(i)));
		detail(t, row, ctl_number(counts, code), of);
	}
}

/* refused_firewall as `refused: firewall`; nothing when it is another key. */
static void
detail_by_name(struct table *t, const json_t *row, const char *key)
{
	static const char *const groups[] = { "refused_", "datagrams_",
		"dropped_" };
	char of[TABLE_CELL];

	for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
		size_t n = strlen(groups[i]);

		if (strncmp(key, groups[i], n) != 0)
			continue;
		snprintf(of, sizeof of, "%.*s: %s", (int)n - 1, key, key + n);
		for (char *p = of; *p != '\0'; p++)
			*p = *p == '_' ? ' ' : *p;
		detail(t, row, ctl_number(row, key), of);
	}
}

static void
fill_details(struct table *t, json_t *row)
{
	const char *key;
	json_t *value;

	detail(t, row, ctl_number(row, "no_origin"), "found no origin");
	detail(t, row, ctl_number(row, "evicted"), "evicted for a newer one");
	json_object_foreach(row, key, value)
	{
		detail_by_name(t, row, key);
	}
	details_by_status(t, row, "ended_by", "ended by");
	details_by_status(t, row, "connect_failed", "connect failed by");
}

static void
show_daemon(FILE *out, const json_t *row)
{
	char span[WHEN_SPAN_LEN];

	fprintf(out,
	    "l4proxyd %s, pid %" PRIu64 ", %s for %s, %" PRIu64 " %s\n",
	    ctl_text(row, "version"), ctl_number(row, "pid"),
	    ctl_text(row, "state"),
	    when_span(span, (uint64_t)ctl_real(row, "uptime_s")),
	    ctl_number(row, "workers"),
	    ctl_number(row, "workers") == 1 ? "worker" : "workers");
	fprintf(out,
	    "configuration %s, %" PRIu64 " reloads, %" PRIu64 " failed\n",
	    ctl_text(row, "config"), ctl_number(row, "reloads"),
	    ctl_number(row, "reloads_failed"));
	if (ctl_number(row, "event_lines_lost") > 0)
		fprintf(out, "%" PRIu64 " lines of the event log are lost\n",
		    ctl_number(row, "event_lines_lost"));
}

/* ---- which ---- */

#define COLUMNS(list) list, sizeof(list) / sizeof *(list)

static const struct {
	const struct table_column *columns;
	size_t count;
	void (*fill)(struct cells *c, const json_t *row);
} kinds[CONTROL_COMMANDS] = {
	[CONTROL_APPLICATIONS] = { COLUMNS(application_columns),
	    fill_application },
	[CONTROL_ORIGINS] = { COLUMNS(origin_columns), fill_origin },
	[CONTROL_SESSIONS] = { COLUMNS(session_columns), fill_session },
	[CONTROL_COUNTERS] = { COLUMNS(counter_columns), NULL },
};

int
ctl_show_begin(struct ctl_show *s, FILE *out, enum control_command command)
{
	*s = (struct ctl_show){ .out = out, .command = command };
	if (command == CONTROL_COUNTERS)
		s->counters = json_array();
	if (kinds[command].count == 0)
		return 0;
	return table_begin(
	    &s->table, out, kinds[command].columns, kinds[command].count);
}

void
ctl_show_row(struct ctl_show *s, json_t *row)
{
	struct cells c = { 0 };

	if (s->command == CONTROL_COUNTERS) {
		json_array_append(s->counters, row);
	} else if (kinds[s->command].fill != NULL) {
		kinds[s->command].fill(&c, row);
		table_row(&s->table, c.text);
	} else if (s->command == CONTROL_VERSION) {
		show_daemon(s->out, row);
	} else {
		fprintf(s->out, "%s: %s\n", ctl_text(row, "level"),
		    ctl_text(row, "text"));
	}
}

/* The rows that have `key`, each as a line. */
static void
fill_from(struct ctl_show *s, const char *key,
    void (*fill)(struct cells *c, const json_t *row))
{
	size_t i;
	json_t *row;

	json_array_foreach(s->counters, i, row)
	{
		struct cells c = { 0 };

		if (json_object_get(row, key) == NULL)
			continue;
		fill(&c, row);
		table_row(&s->table, c.text);
	}
}

/* The next paragraph: a blank line between two that have something. */
static void
next_table(struct ctl_show *s, const struct table_column *columns, size_t n)
{
	bool any = s->table.rows > 0 || s->table.titled;

	table_end(&s->table);
	if (any)
		fputc('\n', s->out);
	/* no memory: the rest is left out */
	if (n > 0 && table_begin(&s->table, s->out, columns, n) != 0)
		json_array_clear(s->counters);
}

static void
show_counters(struct ctl_show *s)
{
	size_t i;
	json_t *row;

	fill_from(s, "application", fill_counters);
	next_table(s, COLUMNS(detail_columns));
	json_array_foreach(s->counters, i, row)
	{
		if (json_object_get(row, "application") != NULL)
			fill_details(&s->table, row);
	}
	next_table(s, COLUMNS(worker_columns));
	fill_from(s, "worker", fill_worker);
	next_table(s, NULL, 0);
	json_array_foreach(s->counters, i, row)
	{
		if (json_object_get(row, "version") != NULL)
			show_daemon(s->out, row);
	}
}

void
ctl_show_end(struct ctl_show *s)
{
	if (s->counters != NULL)
		show_counters(s);
	table_end(&s->table);
	json_decref(s->counters);
}
