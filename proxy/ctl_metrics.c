#include <inttypes.h>
#include <string.h>

#include "proxy/ctl.h"

#define PREFIX "l4proxyd_"

/* The values of a label: backslash, quote and newline are escaped. */
static void
put_label(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\\' || *text == '"')
			fputc('\\', out);
		if (*text == '\n')
			fputs("\\n", out);
		else
			fputc(*text, out);
	}
}

static void
family(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name,
	    help, name, type);
}

/* `name{application="…",protocol="…"`; the caller goes on. */
static void
begin_sample(FILE *out, const char *name, const json_t *row)
{
	fprintf(out, PREFIX "%s{application=\"", name);
	put_label(out, ctl_text(row, "application"));
	fprintf(out, "\",protocol=\"%s\"", ctl_text(row, "protocol"));
}

static void
sample(FILE *out, const char *name, const json_t *row, const char *label,
    const char *value, uint64_t n)
{
	begin_sample(out, name, row);
	if (label != NULL) {
		fprintf(out, ",%s=\"", label);
		put_label(out, value);
		fputc('"', out);
	}
	fprintf(out, "} %" PRIu64 "\n", n);
}

/* ---- applications ---- */

/* Metrics that are one key of a row. */
static const struct {
	const char *name, *type, *key, *help;
} plain[] = {
	{ "sessions", "gauge", "live", "TCP sessions or UDP flows now" },
	{ "sessions_begun_total", "counter", "begun",
	    "Sessions or flows that were let in" },
	{ "sessions_connected_total", "counter", "connected",
	    "Sessions or flows that reached an origin" },
	{ "sessions_without_origin_total", "counter", "no_origin",
	    "Sessions or flows for which no origin was to be had" },
	{ "flows_evicted_total", "counter", "evicted",
	    "UDP flows that gave way to a newer one" },
};

/* Metrics that have a label for each key of a group. */
static const struct {
	const char *name, *label, *prefix, *help;
} grouped[] = {
	{ "refused_total", "reason", "refused_",
	    "Clients that were not let in; UDP: their datagrams" },
	{ "datagrams_total", "path", "datagrams_", "UDP datagrams" },
	{ "datagrams_dropped_total", "reason", "dropped_",
	    "UDP datagrams that were dropped" },
};

static const struct {
	const char *name, *key, *help;
} by_status[] = {
	{ "sessions_ended_total", "ended_by",
	    "Sessions or flows that ended, by status" },
	{ "connect_failures_total", "connect_failed",
	    "Connections to an origin that failed, by status" },
};

#define EACH_APPLICATION(rows, i, row) \
	json_array_foreach(            \
	    rows, i, row) if (json_object_get(row, "application") != NULL)

static void
put_plain(FILE *out, const json_t *rows)
{
	size_t i;
	json_t *row;

	for (size_t k = 0; k < sizeof plain / sizeof *plain; k++) {
		family(out, plain[k].name, plain[k].type, plain[k].help);
		EACH_APPLICATION(rows, i, row)
		sample(out, plain[k].name, row, NULL, NULL,
		    ctl_number(row, plain[k].key));
	}
	family(out, "received_bytes_total", "counter",
	    "Bytes received from clients and from origins");
	EACH_APPLICATION(rows, i, row)
	{
		sample(out, "received_bytes_total", row, "from", "client",
		    ctl_number(row, "client_bytes"));
		sample(out, "received_bytes_total", row, "from", "origin",
		    ctl_number(row, "origin_bytes"));
	}
}

static void
put_grouped(FILE *out, const json_t *rows)
{
	const char *key;
	json_t *row, *value;
	size_t i;

	for (size_t k = 0; k < sizeof grouped / sizeof *grouped; k++) {
		size_t n = strlen(grouped[k].prefix);

		family(out, grouped[k].name, "counter", grouped[k].help);
		EACH_APPLICATION(rows, i, row)
		json_object_foreach(row, key, value)
		{
			if (strncmp(key, grouped[k].prefix, n) == 0)
				sample(out, grouped[k].name, row,
				    grouped[k].label, key + n,
				    ctl_number(row, key));
		}
	}
}

static void
put_by_status(FILE *out, const json_t *rows)
{
	const char *key;
	json_t *row, *value;
	size_t i;

	for (size_t k = 0; k < sizeof by_status / sizeof *by_status; k++) {
		family(out, by_status[k].name, "counter", by_status[k].help);
		EACH_APPLICATION(rows, i, row)
		json_object_foreach(
		    json_object_get(row, by_status[k].key), key, value)
		{
			sample(out, by_status[k].name, row, "status", key,
			    (uint64_t)json_integer_value(value));
		}
	}
}

static void
put_durations(FILE *out, const json_t *rows)
{
	static const struct {
		const char *key, *quantile;
	} quantiles[] = { { "median", "0.5" }, { "p90", "0.9" },
		{ "p99", "0.99" } };
	const char *name = "session_duration_seconds";
	size_t i;
	json_t *row;

	family(out, name, "summary",
	    "How long sessions or flows lasted that reached an origin");
	EACH_APPLICATION(rows, i, row)
	{
		const json_t *d = json_object_get(row, "duration_ms");

		for (size_t q = 0; q < 3; q++) {
			begin_sample(out, name, row);
			fprintf(
			    out, ",quantile=\"%s\"} ", quantiles[q].quantile);
			if (ctl_number(d, "count") == 0)
				fputs("NaN\n", out);
			else
				fprintf(out, "%.6f\n",
				    ctl_real(d, quantiles[q].key) / 1e3);
		}
		begin_sample(out, "session_duration_seconds_sum", row);
		fprintf(out, "} %.6f\n", ctl_real(d, "sum") / 1e3);
		sample(out, "session_duration_seconds_count", row, NULL, NULL,
		    ctl_number(d, "count"));
	}
}

/* ---- origins ---- */

static const struct {
	const char *name, *type, *key, *help;
} of_origin[] = {
	{ "origin_up", "gauge", NULL,
	    "1: it gets sessions; 0: down, ejected or no longer listed" },
	{ "origin_weight", "gauge", "weight", "Its share of sessions" },
	{ "origin_sessions", "gauge", "live", "Sessions or flows now" },
	{ "origin_sessions_total", "counter", "total",
	    "Sessions or flows that were sent there" },
	{ "origin_failures_total", "counter", "failed",
	    "Of them: did not connect" },
	{ "origin_checks_total", "counter", "checks", "Health checks" },
	{ "origin_checks_failed_total", "counter", "checks_failed",
	    "Of them: went wrong" },
};

static void
put_origins(FILE *out, const json_t *rows)
{
	size_t i;
	json_t *row;

	for (size_t k = 0; k < sizeof of_origin / sizeof *of_origin; k++) {
		family(out, of_origin[k].name, of_origin[k].type,
		    of_origin[k].help);
		EACH_APPLICATION(rows, i, row)
		sample(out, of_origin[k].name, row, "origin",
		    ctl_text(row, "address"),
		    of_origin[k].key != NULL
			? ctl_number(row, of_origin[k].key)
			: strcmp(ctl_text(row, "state"), "up") == 0);
	}
}

/* ---- workers and the daemon ---- */

static void
put_workers(FILE *out, const json_t *rows)
{
	size_t i;
	json_t *row;

	family(out, "worker_cpu_seconds_total", "counter",
	    "CPU time of a worker's thread");
	json_array_foreach(rows, i, row)
	{
		if (json_object_get(row, "worker") != NULL)
			fprintf(out,
			    PREFIX "worker_cpu_seconds_total{worker=\"%" PRIu64
				   "\"} %.6f\n",
			    ctl_number(row, "worker"), ctl_real(row, "cpu_s"));
	}
	family(out, "worker_accept_pauses_total", "counter",
	    "How often no descriptor was left for a client");
	json_array_foreach(rows, i, row)
	{
		if (json_object_get(row, "worker") != NULL)
			fprintf(out,
			    PREFIX
			    "worker_accept_pauses_total{worker=\"%" PRIu64
			    "\"} %" PRIu64 "\n",
			    ctl_number(row, "worker"),
			    ctl_number(row, "accept_pauses"));
	}
}

static void
put_daemon(FILE *out, const json_t *row)
{
	family(out, "info", "gauge", "The version that runs");
	fprintf(
	    out, PREFIX "info{version=\"%s\"} 1\n", ctl_text(row, "version"));
	family(out, "uptime_seconds", "gauge", "Since the start");
	fprintf(out, PREFIX "uptime_seconds %.3f\n", ctl_real(row, "uptime_s"));
	family(out, "reloads_total", "counter", "Reloads, by how they went");
	fprintf(out,
	    PREFIX "reloads_total{result=\"good\"} %" PRIu64 "\n" PREFIX
		   "reloads_total{result=\"failed\"} %" PRIu64 "\n",
	    ctl_number(row, "reloads"), ctl_number(row, "reloads_failed"));
	family(out, "event_lines_lost_total", "counter",
	    "Lines of the event log that could not be written");
	fprintf(out, PREFIX "event_lines_lost_total %" PRIu64 "\n",
	    ctl_number(row, "event_lines_lost"));
}

void
ctl_metrics(FILE *out, const json_t *counters, const json_t *origins)
{
	size_t i;
	json_t *row;

	json_array_foreach(counters, i, row)
	{
		if (json_object_get(row, "version") != NULL)
			put_daemon(out, row);
	}
	put_workers(out, counters);
	put_plain(out, counters);
	put_grouped(out, counters);
	put_by_status(out, counters);
	put_durations(out, counters);
	put_origins(out, origins);
}
