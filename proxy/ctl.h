/*
 * The inside of l4proxyctl(8): what a running proxy answers, as tables
 * (ctl_show.c) and as numbers for Prometheus (ctl_metrics.c). Rows come from
 * the control socket; what they lack is taken as zero or nothing.
 */
#ifndef PROXY_CTL_H
#define PROXY_CTL_H

#include <jansson.h>
#include <stdio.h>

#include "base/table.h"
#include "proxy/control_request.h"

uint64_t ctl_number(const json_t *row, const char *key);
double ctl_real(const json_t *row, const char *key);
const char *ctl_text(const json_t *row, const char *key); /* "-": none */

/* ---- ctl_show.c ---- */

/* Rows as they come, of any number; those of `counters`, which are as many as
 * applications, wait for the end. */
struct ctl_show {
	FILE *out;
	enum control_command command;
	struct table table;
	json_t *counters; /* array */
};
/* 0, or -1 with errno. */
int ctl_show_begin(struct ctl_show *s, FILE *out, enum control_command command);
void ctl_show_row(struct ctl_show *s, json_t *row);
void ctl_show_end(struct ctl_show *s);

/* ---- ctl_metrics.c ---- */

/*
 * Prometheus' text format, version 0.0.4, of the rows of `counters` and of
 * `origins`: each metric once, with its help and type and all its values.
 */
void ctl_metrics(FILE *out, const json_t *counters, const json_t *origins);

#endif
