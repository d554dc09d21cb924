/* One application of l4proxyd.yaml: from its words to struct app. */
#include <stdlib.h>
#include <string.h>

#include "proxy/fast.h"
#include "proxy/notation.h"
#include "proxy/settings_rows.h"

#define IDLE_TCP_S 3600
#define IDLE_UDP_S 60

/* Tells at KEY[i], or at KEY when that is no list. */
static void
tell_item(
    const struct proxy_place *at, const char *key, size_t i, const char *why)
{
	char path[64];

	snprintf(path, sizeof path, "%s[%zu]", key, i);
	proxy_settings_error(at->e, at->root, at->index, path, "%s", why);
}

bool
proxy_settings_given(
    const struct yaml_node *root, size_t index, const char *key)
{
	char path[64];

	snprintf(path, sizeof path, "applications[%zu].%s", index, key);
	return schema_find(root, path) != NULL;
}

static bool
given(const struct proxy_place *at, const char *key)
{
	return proxy_settings_given(at->root, at->index, key);
}

static void
make_name(struct app *a, const char *name, const struct proxy_place *at)
{
	size_t len = strlen(name);
	bool clean = len >= 1 && len < sizeof a->name;

	for (size_t i = 0; i < len; i++)
		clean =
		    clean && (unsigned char)name[i] >= 0x20 && name[i] != 0x7f;
	if (clean)
		memcpy(a->name, name, len + 1);
	else
		proxy_settings_error(at->e, at->root, at->index, "name",
		    "expected 1 to %d bytes without control characters",
		    APP_NAME_MAX - 1);
}

/* Whether this host has it is for later. */
static void
make_congestion(struct app *a, const char *name, const struct proxy_place *at)
{
	size_t len = strlen(name);

	if (strcmp(name, "auto") == 0)
		return;
	if (len >= 1 && len < sizeof a->tcp.congestion &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len)
		memcpy(a->tcp.congestion, name, len + 1);
	else
		proxy_settings_error(at->e, at->root, at->index,
		    "tcp.congestion",
		    "expected auto or one of "
		    "net.ipv4.tcp_allowed_congestion_control, "
		    "such as cubic");
}

static bool
make_protocol(struct app *a, const char *text, const struct proxy_place *at)
{
	char why[NOTATION_WHY_LEN];
	struct notation_ports ports;

	if (notation_protocol(&a->proto, &ports, text, why) != 0) {
		proxy_settings_error(
		    at->e, at->root, at->index, "protocol", "%s", why);
		return false;
	}
	a->port_first = ports.first;
	a->port_last = ports.last;
	return true;
}

/* `all`, `ipv4` and `ipv6` are wildcards; they stand alone. */
static size_t
edge_word(struct addr *edge, const char *word)
{
	const struct addr four = { .in.sin_family = AF_INET };
	const struct addr six = { .in6.sin6_family = AF_INET6 };

	if (strcmp(word, "ipv4") == 0 || strcmp(word, "all") == 0)
		edge[0] = four;
	if (strcmp(word, "ipv6") == 0)
		edge[0] = six;
	if (strcmp(word, "all") == 0) {
		edge[1] = six;
		return 2;
	}
	return strcmp(word, "ipv4") == 0 || strcmp(word, "ipv6") == 0 ? 1 : 0;
}

static bool
is_listenable(const struct addr *a, char *why)
{
	if (addr_is_listenable(a))
		return true;
	snprintf(why, NOTATION_WHY_LEN,
	    "expected an address of this host, not multicast or broadcast");
	return false;
}

/* One address, or a prefix where sharing.mode allows it. */
static bool
make_edge(struct app *a, size_t edge, const char *text, char *why)
{
	struct app_prefix p;
	unsigned int all;

	if (strchr(text, '/') == NULL)
		return notation_address(&a->edge[edge], text, why) == 0 &&
		    is_listenable(&a->edge[edge], why);
	if (notation_prefix(&p, text, why) != 0 ||
	    !is_listenable(&p.address, why))
		return false;
	all = p.address.sa.sa_family == AF_INET ? 32 : 128;
	a->edge[edge] = p.address;
	a->edge_bits[edge] = p.bits < all ? (uint8_t)p.bits : 0;
	return true;
}

static void
make_edges(
    struct app *a, const struct schema_list *list, const struct proxy_place *at)
{
	char *const *words = list->items;
	char why[NOTATION_WHY_LEN];

	for (size_t i = 0; i < list->count; i++) {
		size_t n;

		/* after a fault the index goes on, so that it is the file's */
		if (words[i] == NULL) {
			a->edges++;
			continue; /* told by the schema */
		}
		n = edge_word(a->edge, words[i]);
		if (n > 0 && list->count == 1) {
			a->edges = n;
		} else if (n > 0) {
			tell_item(at, "edge_ips", i,
			    "all, ipv4 and ipv6 stand alone, not in a list "
			    "with others");
			a->edges = 0;
			return;
		} else if (!make_edge(a, a->edges++, words[i], why)) {
			tell_item(at, "edge_ips", i, why);
		}
	}
}

/* Port n of the edge goes to port n of the origin's range. */
static bool
same_length(const struct notation_ports *ports, const struct app *a, char *why)
{
	char edge[NOTATION_PORTS_LEN], origin[NOTATION_PORTS_LEN];
	unsigned int want = (unsigned int)(a->port_last - a->port_first) + 1;
	unsigned int have = (unsigned int)(ports->last - ports->first) + 1;

	if (have == want)
		return true;
	snprintf(why, NOTATION_WHY_LEN,
	    "ports %s are %u, but %s/%s are %u; expected ranges of equal "
	    "length",
	    notation_ports_str(origin, ports->first, ports->last), have,
	    notation_proto_str(a->proto),
	    notation_ports_str(edge, a->port_first, a->port_last), want);
	return false;
}

/* The origin's own ports, or origin_port's. */
static bool
origin_ports(struct notation_ports *ports, const struct app *a,
    const struct notation_ports *common, char *why)
{
	if (ports->first == 0 && common->first == 0) {
		snprintf(why, NOTATION_WHY_LEN,
		    "expected a port, here or as origin_port");
		return false;
	}
	if (ports->first == 0)
		*ports = *common;
	else if (common->first != 0) {
		snprintf(why, NOTATION_WHY_LEN,
		    "has a port, and origin_port gives one too; expected "
		    "one of them");
		return false;
	}
	return same_length(ports, a, why);
}

static bool
make_origin(struct app_origin *to, const struct app *a, const char *text,
    const struct notation_ports *common, char *why)
{
	struct notation_origin o;

	if (notation_origin(&o, text, why) != 0)
		return false;
	if (o.proto != a->proto) {
		snprintf(why, NOTATION_WHY_LEN,
		    "is %s, but the application's protocol is %s",
		    notation_proto_str(o.proto), notation_proto_str(a->proto));
		return false;
	}
	if (addr_is_wildcard(&o.address) || !addr_is_listenable(&o.address)) {
		snprintf(why, NOTATION_WHY_LEN,
		    "expected the address of a host, not a wildcard, "
		    "multicast or broadcast");
		return false;
	}
	if (!origin_ports(&o.ports, a, common, why))
		return false;
	to->address = o.address;
	addr_set_port(&to->address, o.ports.first);
	to->weight = o.weight;
	return true;
}

/* origin_port, or none; false: it was told. */
static bool
common_ports(struct notation_ports *common, const struct proxy_raw_app *raw,
    const struct proxy_place *at)
{
	char why[NOTATION_WHY_LEN];

	*common = (struct notation_ports){ 0 };
	if (raw->origin_port == NULL ||
	    notation_ports(common, raw->origin_port, why) == 0)
		return true;
	proxy_settings_error(
	    at->e, at->root, at->index, "origin_port", "%s", why);
	return false;
}

static void
make_origins(struct app *a, const struct proxy_raw_app *raw,
    const struct proxy_place *at)
{
	char *const *words = raw->origin_direct.items;
	struct notation_ports common;
	char why[NOTATION_WHY_LEN];

	if (!common_ports(&common, raw, at))
		return;
	for (size_t i = 0; i < raw->origin_direct.count; i++) {
		struct app_origin *to = &a->origin[a->origins++];

		if (words[i] != NULL &&
		    !make_origin(to, a, words[i], &common, why))
			tell_item(at, "origin_direct", i, why);
	}
}

/* SRV records have their own port: of one only. */
static void
check_srv(const struct app *a, const struct notation_ports *ports,
    const struct proxy_place *at)
{
	char edge[NOTATION_PORTS_LEN];

	if (ports->first != 0)
		proxy_settings_error(at->e, at->root, at->index, "origin_port",
		    "SRV records give the port, expected none here");
	if (a->port_first != a->port_last)
		proxy_settings_error(at->e, at->root, at->index,
		    "origin_dns.type",
		    "SRV gives one port, but %s/%s are %u; expected A, AAAA "
		    "or A+AAAA with origin_port",
		    notation_proto_str(a->proto),
		    notation_ports_str(edge, a->port_first, a->port_last),
		    (unsigned int)(a->port_last - a->port_first) + 1);
}

static void
make_dns(struct app *a, const struct proxy_raw_app *raw,
    const struct proxy_place *at)
{
	const struct proxy_raw_dns *dns = &raw->origin_dns;
	struct notation_ports ports;
	char why[NOTATION_WHY_LEN];

	if (dns->name == NULL)
		return; /* no origin_dns, or told by the schema */
	a->dns.type = (enum app_dns_type)dns->type;
	a->dns.ttl_s = (uint32_t)dns->ttl_s;
	if (notation_name(dns->name, why) == 0)
		memcpy(a->dns.name, dns->name, strlen(dns->name) + 1);
	else
		proxy_settings_error(
		    at->e, at->root, at->index, "origin_dns.name", "%s", why);
	if (!common_ports(&ports, raw, at))
		return;
	if (a->dns.type == APP_DNS_SRV)
		check_srv(a, &ports, at);
	else if (ports.first == 0)
		proxy_settings_error(at->e, at->root, at->index, "origin_port",
		    "required with origin_dns, but missing; or type: SRV");
	else if (!same_length(&ports, a, why))
		proxy_settings_error(
		    at->e, at->root, at->index, "origin_port", "%s", why);
	a->dns.port = ports.first;
}

/* Exactly one of the two. */
static void
check_origin_kind(const struct proxy_place *at)
{
	bool direct = given(at, "origin_direct");
	bool dns = given(at, "origin_dns");

	if (!direct && !dns)
		proxy_settings_error(at->e, at->root, at->index,
		    "origin_direct",
		    "required, but missing: expected such as "
		    "[tcp://192.0.2.1:22]");
	else if (direct && dns)
		proxy_settings_error(at->e, at->root, at->index, "origin_dns",
		    "expected one of origin_direct and origin_dns, got both");
}

static void
check_words(const struct app *a, const struct proxy_raw_app *raw,
    const struct proxy_place *at)
{
	/* words of proxy_header_words that the protocol cannot carry */
	static const bool carried[2][5] = {
		[SOCK_TCP] = { [APP_HEADER_OFF] = true,
		    [APP_HEADER_V1] = true,
		    [APP_HEADER_V2] = true },
		[SOCK_UDP] = { [APP_HEADER_OFF] = true,
		    [APP_HEADER_V2] = true,
		    [APP_HEADER_V2_FIRST] = true,
		    [APP_HEADER_SIMPLE] = true },
	};

	if (!carried[a->proto][a->header])
		proxy_settings_error(at->e, at->root, at->index,
		    "proxy_protocol", "%s is for %s, expected %s",
		    proxy_header_words[a->header],
		    a->proto == SOCK_TCP ? "UDP" : "TCP",
		    a->proto == SOCK_TCP ? "off, v1 or v2"
					 : "off, v2, v2-first or simple");
	if (raw->tls != PROXY_TLS_OFF)
		proxy_settings_error(at->e, at->root, at->index, "tls",
		    "%s is not built yet, expected off",
		    proxy_tls_words[raw->tls]);
	if (a->proto == SOCK_UDP && given(at, "tcp"))
		proxy_settings_error(at->e, at->root, at->index, "tcp",
		    "is for applications of TCP");
	if (a->proto == SOCK_TCP && given(at, "udp"))
		proxy_settings_error(at->e, at->root, at->index, "udp",
		    "is for applications of UDP");
	if (raw->udp.one_way && raw->udp.responses > 0)
		proxy_settings_error(at->e, at->root, at->index,
		    "udp.responses",
		    "one_way says that there are none, expected 0");
}

static bool
has_origin(const struct app *a, sa_family_t family)
{
	for (size_t i = 0; i < a->origins; i++) {
		/* AF_UNSPEC: a fault that has been told */
		if (a->origin[i].address.sa.sa_family == family ||
		    a->origin[i].address.sa.sa_family == AF_UNSPEC)
			return true;
	}
	return a->origins == 0;
}

/* What must be and cannot is told now, not by the first flow. */
static void
check_fast_path(const struct app *a, const struct proxy_place *at)
{
	enum fast_why why = fast_why_not(a);

	if (a->fast_path == APP_FAST_REQUIRE && why != FAST_WHY_NONE)
		proxy_settings_error(at->e, at->root, at->index, "fast_path",
		    "the kernel cannot carry these flows: %s",
		    fast_why_str(why));
}

/* A packet has two addresses of one family. */
static void
check_transparent(const struct app *a, const struct proxy_place *at)
{
	if (!a->transparent)
		return;
	if (a->header != APP_HEADER_OFF)
		proxy_settings_error(at->e, at->root, at->index, "transparent",
		    "the origin sees the client's address already, expected "
		    "proxy_protocol: off");
	for (size_t i = 0; a->trusts == 0 && i < a->edges; i++) {
		sa_family_t family = a->edge[i].sa.sa_family;

		if (family == AF_UNSPEC || has_origin(a, family))
			continue;
		proxy_settings_error(at->e, at->root, at->index, "transparent",
		    "clients come by %s to edge_ips, and no origin can see "
		    "that: none is %s",
		    family == AF_INET ? "IPv4" : "IPv6",
		    family == AF_INET ? "IPv4" : "IPv6");
		return;
	}
}

static struct app_prefix *
make_prefixes(const struct schema_list *list, const char *key, size_t *count,
    const struct proxy_place *at)
{
	char *const *words = list->items;
	struct app_prefix *made;
	char why[NOTATION_WHY_LEN];

	if (list->count == 0)
		return NULL;
	made = calloc(list->count, sizeof *made);
	if (made == NULL) {
		proxy_settings_error(
		    at->e, at->root, at->index, key, "%s", "out of memory");
		return NULL;
	}
	for (size_t i = 0; i < list->count; i++) {
		if (words[i] == NULL)
			continue;
		if (notation_prefix(&made[*count], words[i], why) != 0)
			tell_item(at, key, i, why);
		else
			(*count)++;
	}
	return made;
}

static void
make_numbers(struct app *a, const struct proxy_raw_app *raw)
{
	const struct proxy_raw_limits *l = &raw->limits;
	int64_t idle_s = raw->idle_timeout_s;

	if (idle_s == 0)
		idle_s = a->proto == SOCK_TCP ? IDLE_TCP_S : IDLE_UDP_S;
	a->timeouts.idle_ms = (uint32_t)(idle_s * 1000);
	a->timeouts.connect_ms = (uint32_t)(raw->connect_timeout_s * 1000);
	a->timeouts.lifetime_ms = (uint32_t)(raw->lifetime_s * 1000);
	a->timeouts.header_ms =
	    (uint32_t)(raw->proxy_protocol_timeout_s * 1000);
	a->tcp = (struct app_tcp){
		.keepalive_s = (uint32_t)raw->tcp.keepalive_s,
		.fast_open = (uint32_t)raw->tcp.fast_open,
		.fast_open_origin = raw->tcp.fast_open_origin,
	};
	a->fast_path = (enum app_fast)raw->fast_path;
	a->udp = (struct app_udp){
		.requests = (uint32_t)raw->udp.requests,
		.responses = (uint32_t)raw->udp.responses,
		.one_way = raw->udp.one_way,
	};
	a->limits = (struct app_limits){
		.connections = (uint32_t)l->connections,
		.connections_per_prefix = (uint32_t)l->connections_per_prefix,
		.new_per_s = l->new_per_s,
		.new_per_s_per_prefix = l->new_per_s_per_prefix,
		.bytes_per_s = (uint64_t)l->bytes_per_s,
		.bytes_per_s_per_prefix = (uint64_t)l->bytes_per_s_per_prefix,
		.prefix4 = (unsigned int)l->prefix4,
		.prefix6 = (unsigned int)l->prefix6,
	};
}

void
proxy_app_make(struct app *a, const struct proxy_raw_app *raw, size_t index,
    const struct yaml_node *root, struct yaml_errors *e)
{
	const struct proxy_place at = { e, root, index };

	a->balance = (enum app_balance)raw->balance;
	a->origins_down = (enum app_down)raw->origins_down;
	a->eject.after = (uint32_t)raw->eject.after;
	a->eject.for_s = (uint32_t)raw->eject.for_s;
	proxy_check_make(a, &raw->health, index, root, e);
	a->header = (enum app_header)raw->proxy_protocol;
	a->transparent = raw->transparent;
	if (raw->name != NULL)
		make_name(a, raw->name, &at);
	make_edges(a, &raw->edge_ips, &at);
	check_origin_kind(&at);
	a->allow = make_prefixes(
	    &raw->ip_firewall.allow, "ip_firewall.allow", &a->allows, &at);
	a->deny = make_prefixes(
	    &raw->ip_firewall.deny, "ip_firewall.deny", &a->denies, &at);
	a->trust = make_prefixes(
	    &raw->proxy_protocol_from, "proxy_protocol_from", &a->trusts, &at);
	/* what follows hangs on the protocol: without one it says nothing */
	if (raw->protocol == NULL || !make_protocol(a, raw->protocol, &at))
		return;
	if (given(&at, "origin_direct"))
		make_origins(a, raw, &at);
	else
		make_dns(a, raw, &at);
	check_words(a, raw, &at);
	check_transparent(a, &at);
	make_numbers(a, raw);
	if (raw->tcp.congestion != NULL)
		make_congestion(a, raw->tcp.congestion, &at);
	check_fast_path(a, &at);
}
