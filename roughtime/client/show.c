#include "roughtime/client/show.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/when.h"
#include "base/wire.h"

char *
show_time(char buf[static SHOW_LEN], uint64_t unix_us)
{
	char whole[CLOCK_RFC3339_LEN];
	size_t len;

	if (unix_us == UINT64_MAX) {
		snprintf(buf, SHOW_LEN, "for ever");
		return buf;
	}
	clock_rfc3339(whole, unix_us / 1000000);
	len = strlen(whole);
	if (whole[0] == '@')
		snprintf(buf, SHOW_LEN, "%s", whole);
	else
		snprintf(buf, SHOW_LEN, "%.*s.%06uZ", (int)len - 1, whole,
		    (unsigned int)(unix_us % 1000000));
	return buf;
}

char *
show_ns(char buf[static SHOW_LEN], uint64_t ns)
{
	if (ns < 1000)
		snprintf(buf, SHOW_LEN, "%u ns", (unsigned int)ns);
	else if (ns < 1000000)
		snprintf(buf, SHOW_LEN, "%.3g us", (double)ns / 1e3);
	else if (ns < 1000000000)
		snprintf(buf, SHOW_LEN, "%.3g ms", (double)ns / 1e6);
	else if (ns < 120000000000)
		snprintf(buf, SHOW_LEN, "%.4g s", (double)ns / 1e9);
	else
		when_span(buf, ns / 1000000000);
	return buf;
}

char *
show_span(char buf[static SHOW_LEN], uint64_t us)
{
	if (us < 120000000)
		return show_ns(buf, us * 1000);
	return when_span(buf, us / 1000000);
}

char *
show_clean(char buf[static SHOW_LEN], const char *text)
{
	size_t n = 0;

	for (; *text != '\0' && n + 1 < SHOW_LEN; text++) {
		unsigned char c = (unsigned char)*text;

		buf[n++] = c < 0x20 || c == 0x7f ? '?' : *text;
	}
	/* not in the middle of a UTF-8 character */
	while (*text != '\0' && n > 0 && (buf[n - 1] & 0x80) != 0)
		n--;
	buf[n] = '\0';
	return buf;
}

int64_t
show_difference(uint64_t a_us, uint64_t b_us)
{
	uint64_t distance = a_us > b_us ? a_us - b_us : b_us - a_us;

	if (distance > INT64_MAX)
		distance = INT64_MAX;
	return a_us > b_us ? (int64_t)distance : -(int64_t)distance;
}

static const char *
local_clock_str(enum local_clock c)
{
	static const char *const words[] = { "agrees", "behind", "ahead",
		"unknown" };

	return (unsigned int)c <= LOCAL_UNKNOWN ? words[c] : "?";
}

struct offset
show_offset(const struct attempt_answer *a)
{
	uint64_t half_us = a->round_trip_ns / 2000;
	uint64_t radius = a->result.radius_us;
	uint64_t middle =
	    a->received_us > half_us ? a->received_us - half_us : 0;
	struct offset o = { .us = show_difference(
				a->result.midpoint_us, middle) };
	uint64_t distance = (uint64_t)(o.us < 0 ? -o.us : o.us);

	o.uncertainty_us =
	    radius < UINT64_MAX - half_us ? radius + half_us : UINT64_MAX;
	if (radius > SHOW_RADIUS_USELESS_US)
		o.verdict = LOCAL_UNKNOWN;
	else if (distance > o.uncertainty_us)
		o.verdict = o.us > 0 ? LOCAL_BEHIND : LOCAL_AHEAD;
	return o;
}

static void
line(const char *name, const char *value)
{
	printf("%-12s %s\n", name, value);
}

static void
show_local(const struct attempt_answer *a)
{
	struct offset o = show_offset(a);
	char distance[SHOW_LEN], uncertain[SHOW_LEN];

	show_span(distance, (uint64_t)(o.us < 0 ? -o.us : o.us));
	show_span(uncertain, o.uncertainty_us);
	switch (o.verdict) {
	case LOCAL_AGREES:
		printf("%-12s agrees: offset %+.6f s, uncertain by %s\n",
		    "local clock", (double)o.us / 1e6, uncertain);
		break;
	case LOCAL_UNKNOWN:
		printf("%-12s not judged: the server claims an accuracy of "
		       "only %s, its clock is not set\n",
		    "local clock", uncertain);
		break;
	case LOCAL_BEHIND:
	case LOCAL_AHEAD:
		printf("%-12s is %s %s: offset %+.6f s, uncertain by %s\n",
		    "local clock", distance, local_clock_str(o.verdict),
		    (double)o.us / 1e6, uncertain);
		break;
	}
}

/* The server's own list; runs of neighbours as `0x80000001-0x8000000c`. */
static void
show_server_versions(struct view list)
{
	size_t n = list.len / 4, end;

	for (size_t i = 0; i < n; i = end) {
		uint32_t first = wire_get32(list.data + 4 * i);

		for (end = i + 1; end < n &&
		     wire_get32(list.data + 4 * end) == first + (end - i);
		     end++)
			;
		printf("%s0x%x", i == 0 ? ", server has " : " ", first);
		if (end - i > 1)
			printf("-0x%x", first + (uint32_t)(end - i - 1));
	}
}

static void
show_version(const struct verify_result *r)
{
	printf("%-12s %s", "version", r->version->name);
	if (r->version->number != 0)
		printf(" (0x%x)", r->version->number);
	show_server_versions(r->versions);
	putchar('\n');
}

static void
show_notes(const struct attempt *a)
{
	const struct verify_result *r = &a->answer.result;

	if (r->any_key)
		line("NOT VERIFIED",
		    "no public key was given: anybody on the "
		    "way could have made this reply");
	if (r->capital_t)
		line("note",
		    "valid only in the compatibility mode "
		    "rfc10049-capital-t");
	if (r->downgrade != 0)
		printf("%-12s downgrade: the server has 0x%x too, which was "
		       "offered, and did not use it\n",
		    "note", r->downgrade);
	if (a->seen.stale > 0)
		printf("%-12s %u replies to other requests were skipped\n",
		    "note", a->seen.stale);
	if (a->seen.invalid > 0)
		printf("%-12s %u invalid replies came before it (%s)\n", "note",
		    a->seen.invalid, verify_fault_str(a->seen.fault));
}

void
show_answer(const char *server, const struct attempt *a, bool verified)
{
	const struct verify_result *r = &a->answer.result;
	char peer[ADDR_STR_LEN], one[SHOW_LEN], two[SHOW_LEN];

	printf("%-12s %s (%s, %s)\n", "server", show_clean(one, server),
	    addr_format(peer, &a->peer),
	    a->seen.proto == SOCK_TCP ? "TCP" : "UDP");
	printf("%-12s %s%s\n", verified ? "time" : "UNVERIFIED",
	    show_time(one, r->midpoint_us), verified ? " (verified)" : "");
	line("radius", show_span(one, r->radius_us));
	line("round trip", show_ns(one, a->answer.round_trip_ns));
	show_local(&a->answer);
	show_version(r);
	printf("%-12s %s to %s\n", "delegation", show_time(one, r->mint_us),
	    show_time(two, r->maxt_us));
	printf("%-12s %zu nodes, index %u%s\n", "path", r->path_nodes, r->index,
	    r->order == MERKLE_MIRRORED ? ", mirrored order" : "");
	show_notes(a);
}

static json_t *
versions_json(const struct verify_result *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->versions.len / 4; i++)
		json_array_append_new(
		    list, json_integer(wire_get32(r->versions.data + 4 * i)));
	return list;
}

static json_int_t
integer(uint64_t v)
{
	return v > INT64_MAX ? INT64_MAX : (json_int_t)v;
}

static json_t *
reply_json(const struct verify_result *r)
{
	char from[SHOW_LEN], until[SHOW_LEN], at[SHOW_LEN];

	return json_pack("{s:s, s:I, s:s, s:I, s:f, s:{s:s, s:s}, "
			 "s:{s:I, s:I, s:s}, s:o, s:s?, s:o}",
	    "version", r->version->name, "version_number",
	    (json_int_t)r->version->number, "time",
	    show_time(at, r->midpoint_us), "midpoint_us",
	    integer(r->midpoint_us), "radius_s", (double)r->radius_us / 1e6,
	    "delegation", "from", show_time(from, r->mint_us), "until",
	    show_time(until, r->maxt_us), "path", "nodes",
	    (json_int_t)r->path_nodes, "index", (json_int_t)r->index, "order",
	    r->order == MERKLE_MIRRORED ? "mirrored" : "natural",
	    "server_versions", versions_json(r), "compat",
	    r->capital_t ? "rfc10049-capital-t" : NULL, "downgrade",
	    r->downgrade != 0 ? json_integer(r->downgrade) : json_null());
}

json_t *
show_answer_json(const char *server, const struct attempt *a, bool verified)
{
	struct offset o = show_offset(&a->answer);
	char peer[ADDR_STR_LEN];
	json_t *root, *reply = reply_json(&a->answer.result);

	root = json_pack("{s:s, s:b, s:s, s:s, s:s, s:f, s:f, s:f, s:s, "
			 "s:I, s:I, s:I, s:I}",
	    "server", server, "verified", verified, "address",
	    addr_format(peer, &a->peer), "transport",
	    a->seen.proto == SOCK_TCP ? "tcp" : "udp", "asked_for",
	    a->seen.format, "round_trip_s",
	    (double)a->answer.round_trip_ns / 1e9, "local_offset_s",
	    (double)o.us / 1e6, "local_uncertainty_s",
	    (double)o.uncertainty_us / 1e6, "local_clock",
	    local_clock_str(o.verdict), "reply_bytes",
	    (json_int_t)a->answer.reply_len, "requests_sent",
	    (json_int_t)a->seen.sent, "stale_replies",
	    (json_int_t)a->seen.stale, "invalid_replies",
	    (json_int_t)a->seen.invalid);
	json_object_update(root, reply);
	json_decref(reply);
	return root;
}

json_t *
show_attempt_json(const struct attempt *a)
{
	const struct attempt_seen *s = &a->seen;
	char peer[ADDR_STR_LEN];

	return json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:s?}",
	    "address", addr_format(peer, &a->peer), "transport",
	    s->proto == SOCK_TCP ? "tcp" : "udp", "asked_for", s->format, "srv",
	    s->srv, "sent", (json_int_t)s->sent, "refused",
	    (json_int_t)s->refused, "failed", (json_int_t)s->failed, "closed",
	    (json_int_t)s->closed, "stale", (json_int_t)s->stale, "invalid",
	    (json_int_t)s->invalid, "fault",
	    s->invalid > 0 ? verify_fault_str(s->fault) : NULL);
}
