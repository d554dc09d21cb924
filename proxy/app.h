/*
 * The application model (Spectrum's, field by field): what is listened on,
 * where it goes, and under which rules. Plain data, made by proxy/settings
 * from l4proxyd.yaml, never changed afterwards. A field more is a line more in
 * service_same().
 */
#ifndef PROXY_APP_H
#define PROXY_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/sock.h"

#define APP_NAME_MAX 64
#define APP_CONGESTION_MAX 16 /* TCP_CA_NAME_MAX */
#define APP_EDGES_MAX 64
#define APP_ORIGINS_MAX 64
#define APP_DNS_NAME_MAX 256

/* proxy_protocol: how the origin learns the client's address. */
enum app_header {
	APP_HEADER_OFF = 0,
	APP_HEADER_V1, /* TCP */
	APP_HEADER_V2, /* TCP: once; UDP: on each datagram */
	APP_HEADER_V2_FIRST, /* UDP: on the first datagram of a flow */
	APP_HEADER_SIMPLE, /* UDP: Simple Proxy Protocol, both ways */
};

enum app_balance {
	APP_ROUND_ROBIN = 0,
	APP_LEAST_CONNECTIONS,
	APP_SOURCE_HASH,
};

enum app_check_kind {
	APP_CHECK_OFF = 0,
	APP_CHECK_TCP, /* connect */
	APP_CHECK_TCP_EXPECT, /* and an answer */
	APP_CHECK_UDP_EXPECT,
};

/* health: how an origin is asked whether it works. */
#define APP_CHECK_BYTES_MAX 512
struct app_check {
	enum app_check_kind kind;
	uint32_t interval_ms, timeout_ms;
	uint32_t rise, fall; /* in a row: until it is up, until it is down */
	uint16_t port; /* 0: the origin's own */
	uint16_t send_len, expect_len;
	uint8_t send[APP_CHECK_BYTES_MAX];
	uint8_t expect[APP_CHECK_BYTES_MAX]; /* anywhere in the answer */
};
bool app_check_same(const struct app_check *a, const struct app_check *b);

/* Where sessions go when health checks say that no origin is up. */
enum app_down { APP_DOWN_LAST_KNOWN = 0, APP_DOWN_REFUSE };

/* fast_path: whether the kernel carries established flows (UDP). */
enum app_fast { APP_FAST_AUTO = 0, APP_FAST_OFF, APP_FAST_REQUIRE };

/* Passive ejection: an origin that cannot be connected to is left out. */
struct app_eject {
	uint32_t after; /* connect failures in a row; 0: never */
	uint32_t for_s; /* doubled by each further one */
};

enum app_rule_action { APP_ALLOW = 0, APP_DENY };

struct app_prefix {
	struct addr address; /* masked, port 0 */
	unsigned int bits; /* of the address family */
};

struct app_origin {
	struct addr address; /* with the port that edge port_first maps to */
	unsigned int weight; /* >= 1 */
};

enum app_dns_type {
	APP_DNS_A = 0,
	APP_DNS_AAAA,
	APP_DNS_BOTH, /* A+AAAA */
	APP_DNS_SRV,
};

/* origin_dns: the origins are what this name resolves to. */
struct app_dns {
	char name[APP_DNS_NAME_MAX]; /* empty: origin_direct */
	enum app_dns_type type;
	uint32_t ttl_s; /* 0: by the records' own */
	uint16_t port; /* that edge port_first maps to; 0: SRV's own */
};

struct app_timeouts {
	uint32_t connect_ms;
	uint32_t idle_ms; /* TCP: no byte either way; UDP: no datagram */
	uint32_t lifetime_ms; /* 0: none */
	uint32_t header_ms; /* a trusted peer's PROXY header */
};

/* Of an application of TCP. */
struct app_tcp {
	uint32_t keepalive_s; /* silence after which a peer is asked; 0: no */
	uint32_t fast_open; /* at the edge: such clients at once; 0: none */
	bool fast_open_origin;
	char congestion[APP_CONGESTION_MAX]; /* control; "": auto */
};

/* Of an application of UDP: when a flow is over before it is idle. */
struct app_udp {
	uint32_t requests; /* datagrams of a client to a flow; 0: any number */
	uint32_t responses; /* replies to each of them; 0: any number */
	bool one_way; /* none */
};

struct app_limits {
	uint32_t connections; /* live sessions or flows; 0: none */
	uint32_t connections_per_prefix;
	double new_per_s; /* 0: none */
	double new_per_s_per_prefix;
	uint64_t bytes_per_s; /* 0: none */
	uint64_t bytes_per_s_per_prefix;
	unsigned int prefix4, prefix6; /* bits of a client prefix */
};

static inline bool
app_is_paced(const struct app_limits *l)
{
	return l->bytes_per_s > 0 || l->bytes_per_s_per_prefix > 0;
}

struct app {
	char name[APP_NAME_MAX];
	enum sock_proto proto;
	uint16_t port_first, port_last; /* edge ports, inclusive */
	size_t edges;
	uint8_t edge_bits[APP_EDGES_MAX]; /* of a prefix; 0: one address, or a
					   * wildcard */
	struct addr edge[APP_EDGES_MAX]; /* port 0; wildcards for `all` */
	size_t origins;
	struct app_origin origin[APP_ORIGINS_MAX]; /* origin_direct */
	struct app_dns dns; /* origin_dns; then there are no `origins` */
	enum app_balance balance;
	enum app_down origins_down;
	struct app_eject eject;
	struct app_check check;
	enum app_header header;
	bool transparent; /* the origin sees the client's address */
	size_t allows, denies; /* ip_firewall */
	struct app_prefix *allow, *deny; /* malloc, owned by the settings */
	size_t trusts; /* proxy_protocol_from */
	struct app_prefix *trust; /* malloc, as above */
	struct app_timeouts timeouts;
	struct app_limits limits;
	struct app_tcp tcp;
	struct app_udp udp;
	enum app_fast fast_path;
};

/* ip_firewall: a deny that matches wins by the longer prefix; an allow list
 * that is not empty denies the rest. v4-mapped addresses count as IPv4. */
enum app_rule_action
app_firewall(const struct app *a, const struct addr *client);

/* Whether a packet can go from the client to the origin as it must: with
 * `transparent` both have to be of one family. */
bool app_reaches(
    const struct app *a, const struct addr *client, const struct addr *origin);

/*
 * The congestion control (tcp(7)) of connections between `ours` and another:
 * the one that is set; else reno over loopback, where nothing is congested and
 * a timer for each packet, as BBR has, is lost time; else NULL, the host's.
 */
const char *app_congestion(const struct app *a, const struct addr *ours);

/* proxy_protocol_from: `peer` must say by a PROXY header who its client is,
 * and is believed. */
bool app_trusts(const struct app *a, const struct addr *peer);

/*
 * The edge of `a` at which one of `ports` ports from that of `to` on is
 * listened on, or NULL. One for many addresses, a wildcard or a prefix, is one
 * if `to` is an address of this host, which the caller says.
 */
const struct addr *app_edge_at(
    const struct app *a, const struct addr *to, unsigned int ports, bool local);
bool app_edge_is_wide(const struct app *a, const struct addr *edge);

/* Whether both have the same origin_dns, or neither has one. */
bool app_dns_same(const struct app *a, const struct app *b);

#endif
