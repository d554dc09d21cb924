/* l4proxyd.yaml as the schema reads it, before it becomes struct app. */
#ifndef PROXY_SETTINGS_ROWS_H
#define PROXY_SETTINGS_ROWS_H

#include <stdint.h>

#include "config/schema.h"
#include "proxy/settings.h"

enum { PROXY_TLS_OFF = 0 };

struct proxy_raw_dns {
	char *name;
	int64_t ttl_s;
	int type;
};

struct proxy_raw_firewall {
	struct schema_list allow, deny; /* char * */
};

struct proxy_raw_limits {
	int64_t connections;
	int64_t connections_per_prefix;
	double new_per_s;
	double new_per_s_per_prefix;
	int64_t bytes_per_s;
	int64_t bytes_per_s_per_prefix;
	int64_t prefix4, prefix6;
};

struct proxy_raw_tcp {
	int64_t keepalive_s;
	int64_t fast_open;
	bool fast_open_origin;
	char *congestion;
};

struct proxy_raw_eject {
	int64_t after;
	int64_t for_s;
};

struct proxy_raw_udp {
	int64_t requests;
	int64_t responses;
	bool one_way;
};

struct proxy_raw_health {
	int type; /* enum app_check_kind, less one */
	int64_t interval_s, timeout_s;
	int64_t rise, fall;
	int64_t port; /* 0: the origin's */
	char *send, *expect; /* as notation_bytes() reads them */
};

struct proxy_raw_app {
	char *name;
	char *protocol;
	struct schema_list edge_ips; /* char * */
	struct schema_list origin_direct; /* char * */
	struct proxy_raw_dns origin_dns;
	char *origin_port;
	int proxy_protocol; /* enum app_header */
	bool transparent;
	struct schema_list proxy_protocol_from; /* char * */
	int64_t proxy_protocol_timeout_s;
	struct proxy_raw_firewall ip_firewall;
	int balance; /* enum app_balance */
	int origins_down; /* enum app_down */
	struct proxy_raw_eject eject;
	struct proxy_raw_health health;
	int tls;
	int traffic_type;
	int64_t idle_timeout_s; /* 0: by protocol */
	int64_t connect_timeout_s;
	int64_t lifetime_s;
	struct proxy_raw_limits limits;
	struct proxy_raw_tcp tcp;
	struct proxy_raw_udp udp;
	int fast_path; /* enum app_fast */
};

struct proxy_raw_sharing {
	struct proxy_sharing s;
	struct schema_list spare; /* char * */
};

struct proxy_raw {
	struct schema_list applications; /* struct proxy_raw_app */
	struct schema_list resolvers; /* char * */
	struct schema_list fast_path_interfaces; /* char * */
	struct proxy_raw_sharing sharing;
	struct proxy_settings s; /* all but the lists and `sharing` */
};

extern const struct schema_row proxy_settings_rows[];
extern const char *const proxy_sharing_words[];
extern const char *const proxy_tls_words[];
extern const char *const proxy_check_words[]; /* proxy_raw_health.type */
extern const char *const proxy_header_words[]; /* by enum app_header */

/*
 * One application's own rules: fills `a` from `raw`. `index` is its place in
 * the list, for messages.
 */
void proxy_app_make(struct app *a, const struct proxy_raw_app *raw,
    size_t index, const struct yaml_node *root, struct yaml_errors *e);

/* `health` as the check of `a`, whose protocol and origins are there. */
void proxy_check_make(struct app *a, const struct proxy_raw_health *raw,
    size_t index, const struct yaml_node *root, struct yaml_errors *e);

/* Whether application `index` has this key in the file. */
bool proxy_settings_given(
    const struct yaml_node *root, size_t index, const char *key);

/* The rules between application `index` and itself or those before it. */
void proxy_app_check(const struct proxy_settings *s, size_t index,
    const struct yaml_node *root, struct yaml_errors *e);

/* What the rules of one application need to tell a fault. */
struct proxy_place {
	struct yaml_errors *e;
	const struct yaml_node *root;
	size_t index; /* of the application in the list */
};

/*
 * An error at `path` inside application `index`, where the nearest thing that
 * the file has stands.
 */
void proxy_settings_error(struct yaml_errors *e, const struct yaml_node *root,
    size_t index, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

#endif
