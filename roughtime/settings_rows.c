/* The options of roughtimed.yaml(5), one row each. */
#include "roughtime/settings.h"

#include <stddef.h>

#include "net/sharing.h"
#include "roughtime/response.h"
#include "roughtime/version.h"

static const char *const transport_words[] = { "udp", "tcp", NULL };
static const char *const ingress_words[] = { "parallel-queues", "shared-queue",
	NULL };
static const char *const prefer_words[] = { "rfc", "draft-14", NULL };
static const char *const short_words[] = { "answer", "drop", NULL };
static const char *const policy_words[] = { "refuse", "serve", NULL };
static const char *const level_words[] = { "error", "warning", "info", "debug",
	NULL };
static const char *const fail_words[] = { "open", "closed", NULL };

#define AT(field) .offset = offsetof(struct settings, field)
#define IN(section, field) .offset = offsetof(struct settings_##section, field)
#define DAY_S 86400.0
#define WEEK_MS (7 * DAY_S * 1000)

static const struct schema_row listen_rows[] = {
	{ "address", SCHEMA_ADDRESS, IN(listen, address), .required = true,
	    .help = "an IPv4 or IPv6 address of this host" },
	{ "port", SCHEMA_INT, IN(listen, port), .min = 1, .max = 65535,
	    .fallback = "2002", .help = "the RFC's port is 5319" },
	{ "transports", SCHEMA_FLAGS, IN(listen, transports), .min = 1,
	    .max = 2, .words = transport_words, .fallback = "[udp, tcp]" },
	{ 0 },
};

static const struct schema_row identity_rows[] = {
	{ "name", SCHEMA_STRING, IN(identity, name), .required = true,
	    .help = "a word for the log" },
	{ "key", SCHEMA_STRING, IN(identity, key),
	    .help = "key file of roughtime-keys generate" },
	{ "public_key", SCHEMA_STRING, IN(identity, public_key),
	    .help = "base64; the seed stays elsewhere" },
	{ "delegations", SCHEMA_STRING, IN(identity, delegations),
	    .help = "directory of bundles of roughtime-keys delegate" },
	{ 0 },
};

static const struct schema_row clock_rows[] = {
	{ "when_unsynchronised", SCHEMA_ENUM, IN(clock, when_unsynchronised),
	    .words = policy_words, .fallback = "refuse",
	    .help = "what to do while the kernel clock is unsynchronised" },
	{ "min_radius_s", SCHEMA_DURATION, IN(clock, min_radius_s), .min = 1,
	    .max = DAY_S, .fallback = "3", .unit = "s",
	    .help = "RADI is never smaller; 3 without leap information" },
	{ "unsynchronised_radius_s", SCHEMA_DURATION,
	    IN(clock, unsynchronised_radius_s), .min = 1, .max = 365 * DAY_S,
	    .fallback = "60", .unit = "s",
	    .help = "RADI while unsynchronised and served" },
	{ "max_radius_s", SCHEMA_DURATION, IN(clock, max_radius_s), .min = 1,
	    .max = 365 * DAY_S, .fallback = "600", .unit = "s",
	    .help = "a maxerror over this counts as unsynchronised" },
	{ "step_ms", SCHEMA_DURATION, IN(clock, step_ms), .min = 1,
	    .max = WEEK_MS, .fallback = "500", .unit = "ms",
	    .help = "a jump of the wall clock by this much is told" },
	{ 0 },
};

static const struct schema_row delegation_rows[] = {
	{ "lifetime", SCHEMA_DURATION, IN(delegation, lifetime_s), .min = 10,
	    .max = 366 * DAY_S, .fallback = "24h", .unit = "s",
	    .help = "of an online key" },
	{ "overlap", SCHEMA_DURATION, IN(delegation, overlap_s), .min = 1,
	    .max = 183 * DAY_S, .fallback = "1h", .unit = "s",
	    .help = "renewed this long before it ends" },
	{ "backdate", SCHEMA_DURATION, IN(delegation, backdate_s), .min = 1,
	    .max = 183 * DAY_S, .fallback = "1h", .unit = "s",
	    .help = "MINT lies this long before now" },
	{ "warn", SCHEMA_DURATION, IN(delegation, warn_s), .min = 1,
	    .max = 366 * DAY_S, .fallback = "3d", .unit = "s",
	    .help = "warn this long before the last bundle ends" },
	{ 0 },
};

static const struct schema_row tcp_rows[] = {
	{ "max_connections", SCHEMA_INT, IN(tcp, max_connections), .min = 1,
	    .max = 65536, .fallback = "1024", .help = "of the whole server" },
	{ "max_per_client", SCHEMA_INT, IN(tcp, max_per_client), .min = 1,
	    .max = 65536, .fallback = "64",
	    .help = "of one client prefix (limit.prefix4, limit.prefix6)" },
	{ "idle_timeout", SCHEMA_DURATION, IN(tcp, idle_timeout_ms), .min = 100,
	    .max = WEEK_MS, .fallback = "30s", .unit = "ms",
	    .help = "a connection without requests is closed" },
	{ "read_timeout", SCHEMA_DURATION, IN(tcp, read_timeout_ms), .min = 100,
	    .max = WEEK_MS, .fallback = "5s", .unit = "ms",
	    .help = "a frame must be whole this long after its first byte" },
	{ "write_timeout", SCHEMA_DURATION, IN(tcp, write_timeout_ms),
	    .min = 100, .max = WEEK_MS, .fallback = "5s", .unit = "ms",
	    .help = "a client that reads nothing for this long is closed" },
	{ "max_frame", SCHEMA_INT, IN(tcp, max_frame), .min = 2048,
	    .max = 65535, .fallback = "4096", .unit = "bytes",
	    .help = "a longer frame closes the connection" },
	{ "max_outstanding", SCHEMA_INT, IN(tcp, max_outstanding), .min = 1,
	    .max = 256, .fallback = "16",
	    .help = "replies waiting in one connection" },
	{ "short_requests", SCHEMA_ENUM, IN(tcp, short_requests),
	    .words = short_words, .fallback = "answer",
	    .help = "requests that are shorter than their reply" },
	{ 0 },
};

static const struct schema_row limit_rows[] = {
	{ "rate", SCHEMA_DOUBLE, IN(limit, rate), .min = 0, .max = 1e9,
	    .fallback = "0", .unit = "requests a second",
	    .help = "of one client prefix at one worker; 0 is off" },
	{ "burst", SCHEMA_DOUBLE, IN(limit, burst), .min = 1, .max = 1e9,
	    .fallback = "100", .unit = "requests" },
	{ "prefix4", SCHEMA_INT, IN(limit, prefix4), .min = 1, .max = 32,
	    .fallback = "32", .unit = "bits" },
	{ "prefix6", SCHEMA_INT, IN(limit, prefix6), .min = 1, .max = 128,
	    .fallback = "56", .unit = "bits" },
	{ "entries", SCHEMA_INT, IN(limit, entries), .min = 64, .max = 16777216,
	    .fallback = "65536", .help = "size of the table of one worker" },
	{ 0 },
};

static const struct schema_row grease_rows[] = {
	{ "fraction", SCHEMA_DOUBLE, IN(grease, fraction), .min = 0, .max = 1,
	    .fallback = "0",
	    .help = "of replies that are spoilt (RFC 10049, 7)" },
	{ 0 },
};

static const struct schema_row sharing_rows[] = {
	{ "mode", SCHEMA_ENUM, IN(sharing_section, mode),
	    .words = sharing_words, .fallback = "guarded",
	    .help =
		"off, guarded, open, reuseport, activation, dispatch, demux" },
	{ "socket", SCHEMA_STRING, IN(sharing_section, socket),
	    .help = "guarded, demux: where the proxy is met" },
	{ "fail", SCHEMA_ENUM, IN(sharing_section, fail), .words = fail_words,
	    .fallback = "open" },
	{ 0 },
};

const struct schema_row settings_rows[] = {
	{ "listen", SCHEMA_LIST, AT(listen), .max = SETTINGS_LISTEN_MAX,
	    .rows = listen_rows, .item_size = sizeof(struct settings_listen) },
	{ "identities", SCHEMA_LIST, AT(identities), .max = IDENTITY_MAX,
	    .rows = identity_rows,
	    .item_size = sizeof(struct settings_identity) },
	{ "workers", SCHEMA_AUTO_INT, AT(workers), .min = 1,
	    .max = SETTINGS_WORKERS_MAX, .fallback = "auto",
	    .help = "threads; auto: as many as cores" },
	{ "ingress", SCHEMA_ENUM, AT(ingress), .words = ingress_words,
	    .fallback = "parallel-queues" },
	{ "batch", SCHEMA_INT, AT(batch), .min = 1, .max = RESPONSE_BATCH_MAX,
	    .fallback = "256", .help = "requests under one signature" },
	{ "versions", SCHEMA_LIST, AT(versions), .max = VERSION_ROWS,
	    .item_size = sizeof(char *), .item_type = SCHEMA_STRING,
	    .help = "wire formats served; all when left out" },
	{ "prefer", SCHEMA_ENUM, AT(prefer), .words = prefer_words,
	    .fallback = "rfc",
	    .help = "the answer to one who offers 1 and 0x8000000c" },
	{ "clock", SCHEMA_SECTION, AT(clock), .rows = clock_rows },
	{ "delegation", SCHEMA_SECTION, AT(delegation),
	    .rows = delegation_rows },
	{ "tcp", SCHEMA_SECTION, AT(tcp), .rows = tcp_rows },
	{ "limit", SCHEMA_SECTION, AT(limit), .rows = limit_rows },
	{ "grease", SCHEMA_SECTION, AT(grease), .rows = grease_rows },
	{ "sharing", SCHEMA_SECTION, AT(sharing), .rows = sharing_rows },
	{ "passphrase_file", SCHEMA_STRING, AT(passphrase_file),
	    .help = "opens encrypted key files, read once" },
	{ "user", SCHEMA_STRING, AT(user), .fallback = "nobody",
	    .help = "whom root becomes" },
	{ "log_level", SCHEMA_ENUM, AT(log_level), .words = level_words,
	    .fallback = "info" },
	{ "rcvbuf", SCHEMA_INT, AT(rcvbuf), .min = 0, .max = 1073741824,
	    .fallback = "4194304", .unit = "bytes",
	    .help = "receive queue of a UDP socket; 0: the kernel's default" },
	{ 0 },
};
