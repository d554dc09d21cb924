/* The options of l4proxyd.yaml(5), one row each. */
#include "proxy/settings_rows.h"
#include "net/sharing.h"

#include <stddef.h>

const char *const proxy_header_words[] = { "off", "v1", "v2", "v2-first",
	"simple", NULL };
const char *const proxy_tls_words[] = { "off", "flexible", "full", "strict",
	NULL };
static const char *const balance_words[] = { "round-robin", "least-connections",
	"source-hash", NULL };
const char *const proxy_check_words[] = { "tcp", "tcp-expect", "udp-expect",
	NULL };
static const char *const down_words[] = { "last_known", "refuse", NULL };
static const char *const traffic_words[] = { "direct", NULL };
static const char *const dns_words[] = { "A", "AAAA", "A+AAAA", "SRV", NULL };
static const char *const ranges_words[] = { "auto", "dispatch", "sockets",
	NULL };
static const char *const fast_words[] = { "auto", "off", "require", NULL };
static const char *const hook_words[] = { "auto", "tcx", "clsact", NULL };
static const char *const level_words[] = { "error", "warning", "info", "debug",
	NULL };

#define RAW(field) .offset = offsetof(struct proxy_raw, field)
#define AT(field) .offset = offsetof(struct proxy_raw, s.field)
#define IN(part, field) .offset = offsetof(struct proxy_raw_##part, field)
#define APP(field) .offset = offsetof(struct proxy_raw_app, field)
#define WORDS .item_size = sizeof(char *), .item_type = SCHEMA_STRING
#define DAY_S 86400.0
#define YEAR_S (366 * DAY_S)

static const struct schema_row dns_rows[] = {
	{ "name", SCHEMA_STRING, IN(dns, name), .required = true },
	{ "ttl", SCHEMA_DURATION, IN(dns, ttl_s), .min = 0, .max = DAY_S,
	    .fallback = "0", .unit = "s",
	    .help = "resolved again; 0: by the records' own" },
	{ "type", SCHEMA_ENUM, IN(dns, type), .words = dns_words,
	    .fallback = "A+AAAA" },
	{ 0 },
};

static const struct schema_row firewall_rows[] = {
	{ "allow", SCHEMA_LIST, IN(firewall, allow), WORDS, .lone = true,
	    .help = "addresses and prefixes; others are denied" },
	{ "deny", SCHEMA_LIST, IN(firewall, deny), WORDS, .lone = true,
	    .help = "addresses and prefixes" },
	{ 0 },
};

static const struct schema_row limits_rows[] = {
	{ "connections", SCHEMA_INT, IN(limits, connections), .min = 0,
	    .max = 4294967295.0, .fallback = "0",
	    .help = "live sessions or flows; 0 is off" },
	{ "connections_per_prefix", SCHEMA_INT,
	    IN(limits, connections_per_prefix), .min = 0, .max = 4294967295.0,
	    .fallback = "0", .help = "of one client prefix; 0 is off" },
	{ "new_per_s", SCHEMA_DOUBLE, IN(limits, new_per_s), .min = 0,
	    .max = 1e9, .fallback = "0", .unit = "connections a second",
	    .help = "0 is off" },
	{ "new_per_s_per_prefix", SCHEMA_DOUBLE,
	    IN(limits, new_per_s_per_prefix), .min = 0, .max = 1e9,
	    .fallback = "0", .unit = "connections a second",
	    .help = "of one client prefix; 0 is off" },
	{ "bytes_per_s", SCHEMA_INT, IN(limits, bytes_per_s), .min = 0,
	    .max = 1e15, .fallback = "0", .unit = "bytes a second",
	    .help = "of the application; 0 is off" },
	{ "bytes_per_s_per_prefix", SCHEMA_INT,
	    IN(limits, bytes_per_s_per_prefix), .min = 0, .max = 1e15,
	    .fallback = "0", .unit = "bytes a second",
	    .help = "of one client prefix; 0 is off" },
	{ "prefix4", SCHEMA_INT, IN(limits, prefix4), .min = 1, .max = 32,
	    .fallback = "32", .unit = "bits" },
	{ "prefix6", SCHEMA_INT, IN(limits, prefix6), .min = 1, .max = 128,
	    .fallback = "56", .unit = "bits" },
	{ 0 },
};

static const struct schema_row tcp_rows[] = {
	{ "keepalive_s", SCHEMA_DURATION, IN(tcp, keepalive_s), .min = 0,
	    .max = 32767, .fallback = "60", .unit = "s",
	    .help = "silence before a peer is asked; 0: never" },
	{ "fast_open", SCHEMA_INT, IN(tcp, fast_open), .min = 0, .max = 65535,
	    .fallback = "0",
	    .help = "clients with data in their first packet; 0 is off" },
	{ "fast_open_origin", SCHEMA_BOOL, IN(tcp, fast_open_origin),
	    .fallback = "false", .help = "data in our first packet" },
	{ "congestion", SCHEMA_STRING, IN(tcp, congestion), .fallback = "auto",
	    .help = "congestion control; auto: the host's, reno on loopback" },
	{ 0 },
};

static const struct schema_row health_rows[] = {
	{ "type", SCHEMA_ENUM, IN(health, type), .words = proxy_check_words,
	    .required = true, .help = "tcp: connecting is enough" },
	{ "interval_s", SCHEMA_DURATION, IN(health, interval_s), .min = 1,
	    .max = DAY_S, .fallback = "5", .unit = "s",
	    .help = "between checks of one origin" },
	{ "timeout_s", SCHEMA_DURATION, IN(health, timeout_s), .min = 1,
	    .max = 3600, .fallback = "2", .unit = "s",
	    .help = "of one check, not over interval_s" },
	{ "rise", SCHEMA_INT, IN(health, rise), .min = 1, .max = 1000,
	    .fallback = "2", .help = "good ones in a row bring it up" },
	{ "fall", SCHEMA_INT, IN(health, fall), .min = 1, .max = 1000,
	    .fallback = "3", .help = "bad ones in a row take it down" },
	{ "port", SCHEMA_INT, IN(health, port), .min = 1, .max = 65535,
	    .help = "instead of the origin's first one" },
	{ "send", SCHEMA_STRING, IN(health, send),
	    .help = "for the -expect types; \\n, \\r, \\t, \\xHH" },
	{ "expect", SCHEMA_STRING, IN(health, expect),
	    .help = "somewhere in the answer; udp-expect: \"\" for any" },
	{ 0 },
};

static const struct schema_row eject_rows[] = {
	{ "after", SCHEMA_INT, IN(eject, after), .min = 0, .max = 1000,
	    .fallback = "3", .help = "connect failures in a row; 0 is off" },
	{ "for_s", SCHEMA_DURATION, IN(eject, for_s), .min = 1, .max = DAY_S,
	    .fallback = "10", .unit = "s",
	    .help = "doubled by each further one, to 32 times" },
	{ 0 },
};

static const struct schema_row udp_rows[] = {
	{ "requests", SCHEMA_INT, IN(udp, requests), .min = 0, .max = 1e6,
	    .fallback = "0",
	    .help = "datagrams of a client to a flow; 0: any number" },
	{ "responses", SCHEMA_INT, IN(udp, responses), .min = 0, .max = 1e6,
	    .fallback = "0",
	    .help = "replies to each, then the flow ends; 0: any number" },
	{ "one_way", SCHEMA_BOOL, IN(udp, one_way), .fallback = "false",
	    .help = "there are no replies" },
	{ 0 },
};

static const struct schema_row app_rows[] = {
	{ "name", SCHEMA_STRING, APP(name), .required = true,
	    .help = "Application of the event log" },
	{ "protocol", SCHEMA_STRING, APP(protocol), .required = true,
	    .help = "tcp/22, udp/53, tcp/1000-2000" },
	{ "edge_ips", SCHEMA_LIST, APP(edge_ips), WORDS, .required = true,
	    .lone = true, .min = 1, .max = APP_EDGES_MAX,
	    .help = "addresses of this host, or all, ipv4, ipv6" },
	{ "origin_direct", SCHEMA_LIST, APP(origin_direct), WORDS, .lone = true,
	    .min = 1, .max = APP_ORIGINS_MAX,
	    .help = "tcp://192.0.2.1:22?weight=1; several are balanced" },
	{ "origin_dns", SCHEMA_SECTION, APP(origin_dns), .rows = dns_rows,
	    .help = "a name whose addresses are the origins" },
	{ "origin_port", SCHEMA_STRING, APP(origin_port),
	    .help =
		"for origins that are written without one, and origin_dns" },
	{ "proxy_protocol", SCHEMA_ENUM, APP(proxy_protocol),
	    .words = proxy_header_words, .fallback = "off",
	    .help = "how the origin learns the client's address" },
	{ "transparent", SCHEMA_BOOL, APP(transparent), .fallback = "false",
	    .help = "the client's address is the source; routing must fit" },
	{ "proxy_protocol_from", SCHEMA_LIST, APP(proxy_protocol_from), WORDS,
	    .lone = true, .help = "whose PROXY headers are believed" },
	{ "proxy_protocol_timeout_s", SCHEMA_DURATION,
	    APP(proxy_protocol_timeout_s), .min = 1, .max = 3600,
	    .fallback = "5", .unit = "s",
	    .help = "within which they send one" },
	{ "ip_firewall", SCHEMA_SECTION, APP(ip_firewall),
	    .rows = firewall_rows },
	{ "balance", SCHEMA_ENUM, APP(balance), .words = balance_words,
	    .fallback = "round-robin" },
	{ "origins_down", SCHEMA_ENUM, APP(origins_down), .words = down_words,
	    .fallback = "last_known",
	    .help = "when health checks say that all are down" },
	{ "health", SCHEMA_SECTION, APP(health), .rows = health_rows,
	    .help = "checks of the origins; none by default" },
	{ "eject", SCHEMA_SECTION, APP(eject), .rows = eject_rows,
	    .help = "an origin that cannot be connected to" },
	{ "tls", SCHEMA_ENUM, APP(tls), .words = proxy_tls_words,
	    .fallback = "off", .help = "towards the client" },
	{ "traffic_type", SCHEMA_ENUM, APP(traffic_type),
	    .words = traffic_words, .fallback = "direct" },
	{ "idle_timeout_s", SCHEMA_DURATION, APP(idle_timeout_s), .min = 1,
	    .max = 40 * DAY_S, .unit = "s",
	    .help = "by default 1h for TCP, 60s for UDP" },
	{ "connect_timeout_s", SCHEMA_DURATION, APP(connect_timeout_s),
	    .min = 1, .max = 3600, .fallback = "5", .unit = "s" },
	{ "lifetime_s", SCHEMA_DURATION, APP(lifetime_s), .min = 0,
	    .max = 40 * DAY_S, .fallback = "0", .unit = "s",
	    .help = "0: no end" },
	{ "limits", SCHEMA_SECTION, APP(limits), .rows = limits_rows },
	{ "tcp", SCHEMA_SECTION, APP(tcp), .rows = tcp_rows },
	{ "udp", SCHEMA_SECTION, APP(udp), .rows = udp_rows },
	{ "fast_path", SCHEMA_ENUM, APP(fast_path), .words = fast_words,
	    .fallback = "auto",
	    .help = "UDP: the kernel carries established flows" },
	{ 0 },
};

static const struct schema_row sharing_rows[] = {
	{ "mode", SCHEMA_ENUM, IN(sharing, s.mode), .words = sharing_words,
	    .fallback = "guarded",
	    .help =
		"off, guarded, open, reuseport, activation, dispatch, demux" },
	{ "peer", SCHEMA_STRING, IN(sharing, s.peer),
	    .help = "guarded, demux: where the time server is met" },
	{ "peek", SCHEMA_DURATION, IN(sharing, s.peek_ms), .min = 1,
	    .max = 60000, .fallback = "500ms", .unit = "ms",
	    .help = "demux: who says nothing for so long is the customer's" },
	{ "pin", SCHEMA_STRING, IN(sharing, s.pin), .fallback = "off",
	    .help =
		"dispatch: a directory in a bpffs, where rules outlive us" },
	{ "spare", SCHEMA_LIST, IN(sharing, spare), WORDS, .lone = true,
	    .max = PROXY_SPARE_MAX,
	    .help = "dispatch: ADDRESS:PORT of others inside our edges" },
	{ 0 },
};

const struct schema_row proxy_settings_rows[] = {
	{ "applications", SCHEMA_LIST,
	    .offset = offsetof(struct proxy_raw, applications),
	    .max = PROXY_APPS_MAX, .rows = app_rows,
	    .item_size = sizeof(struct proxy_raw_app) },
	{ "workers", SCHEMA_AUTO_INT, AT(workers), .min = 1,
	    .max = PROXY_WORKERS_MAX, .fallback = "auto",
	    .help = "threads; auto: as many as cores" },
	{ "resolvers", SCHEMA_LIST, RAW(resolvers), WORDS, .lone = true,
	    .min = 0, .max = PROXY_RESOLVERS_MAX,
	    .help = "DNS servers; by default those of /etc/resolv.conf" },
	{ "event_log", SCHEMA_STRING, AT(event_log), .fallback = "off",
	    .help = "a file, or - for stdout" },
	{ "control", SCHEMA_STRING, AT(control), .fallback = "off",
	    .help = "path of the control socket" },
	{ "control_group", SCHEMA_STRING, AT(control_group), .fallback = "off",
	    .help = "who may connect to it and read, besides root" },
	{ "user", SCHEMA_STRING, AT(user), .fallback = "nobody",
	    .help = "whom root becomes" },
	{ "log_level", SCHEMA_ENUM, AT(log_level), .words = level_words,
	    .fallback = "info" },
	{ "udp_flows", SCHEMA_INT, AT(udp_flows), .min = 16, .max = 16777216,
	    .fallback = "65536", .help = "flows of each worker" },
	{ "tcp_sessions", SCHEMA_INT, AT(tcp_sessions), .min = 16,
	    .max = 16777216, .fallback = "65536",
	    .help = "sessions of each worker" },
	{ "busy_poll_us", SCHEMA_INT, AT(busy_poll_us), .min = 0, .max = 10000,
	    .fallback = "50", .unit = "microseconds",
	    .help = "that a worker looks for more before it sleeps" },
	{ "splice_after", SCHEMA_INT, AT(splice_after), .min = 0, .max = 1e15,
	    .fallback = "65536", .unit = "bytes",
	    .help = "one way, before bulk is spliced rather than copied" },
	{ "rcvbuf", SCHEMA_INT, AT(rcvbuf), .min = 0, .max = 1073741824,
	    .fallback = "4194304", .unit = "bytes",
	    .help = "receive queue of a UDP socket; 0: the kernel's default" },
	{ "drain_s", SCHEMA_DURATION, AT(drain_s), .min = 0, .max = YEAR_S,
	    .fallback = "30", .unit = "s",
	    .help = "for sessions of an application that is gone" },
	{ "port_ranges", SCHEMA_ENUM, AT(port_ranges), .words = ranges_words,
	    .fallback = "auto",
	    .help = "one socket a worker for a range, or one a port" },
	{ "fast_path_interfaces", SCHEMA_LIST, RAW(fast_path_interfaces), WORDS,
	    .lone = true, .max = FASTPATH_DEVICES,
	    .help = "by default those of edges and origins" },
	{ "fast_path_hook", SCHEMA_ENUM, AT(fast_path_hook),
	    .words = hook_words, .fallback = "auto",
	    .help = "where the program hangs on an interface" },
	{ "fast_path_flows", SCHEMA_AUTO_INT, AT(fast_path_flows), .min = 1,
	    .max = 16777216, .fallback = "auto",
	    .help = "of all workers; auto: as many as there can be" },
	{ "sharing", SCHEMA_SECTION, RAW(sharing), .rows = sharing_rows },
	{ 0 },
};
