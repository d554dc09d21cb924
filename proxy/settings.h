/*
 * The settings of l4proxyd: what l4proxyd.yaml(5) says, as plain data that
 * never changes after loading. Parsing is pure; only proxy_settings_load reads
 * a file.
 *
 * An IPv6 edge is IPv6 only (bind it with IPV6_V6ONLY): `edge_ips: all` gives
 * both wildcards.
 */
#ifndef PROXY_SETTINGS_H
#define PROXY_SETTINGS_H

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

#include "config/yaml.h"
#include "net/fastpath.h"
#include "proxy/app.h"

#define PROXY_APPS_MAX 1024
#define PROXY_WORKERS_MAX 256
#define PROXY_RESOLVERS_MAX 8

/* How a range of ports is listened on. */
enum proxy_ranges {
	PROXY_RANGES_AUTO = 0, /* dispatch where it can be had */
	PROXY_RANGES_DISPATCH,
	PROXY_RANGES_SOCKETS,
};

#define PROXY_SPARE_MAX 64

struct proxy_sharing {
	int mode; /* enum sharing_mode */
	char *peer;
	int64_t peek_ms; /* of demux: how long a connection may say nothing */
	char *pin; /* of dispatch: a directory in a bpffs; NULL: not pinned */
};

struct proxy_settings {
	struct app *app; /* array, malloc */
	size_t apps; /* at least one after a load without errors */
	int64_t workers; /* 0: as many as cores */
	size_t resolvers; /* 0: those of /etc/resolv.conf */
	struct addr resolver[PROXY_RESOLVERS_MAX]; /* with ports */
	char *event_log; /* a file, "-" for stdout; NULL: none */
	char *control; /* path of the UNIX socket; NULL: none */
	char *control_group; /* who may connect besides; NULL: none */
	char *user; /* whom root becomes */
	int log_level; /* enum log_level */
	int64_t udp_flows; /* of each worker */
	int64_t tcp_sessions; /* of each worker */
	int64_t busy_poll_us; /* before a worker sleeps */
	int64_t splice_after; /* bytes one way before splice takes over */
	int64_t rcvbuf; /* bytes of a UDP queue; 0: the kernel's default */
	int port_ranges; /* enum proxy_ranges */
	size_t spares; /* of dispatch: what is left to others */
	struct addr spare[PROXY_SPARE_MAX]; /* with ports; wildcards, too */
	size_t fast_path_interfaces; /* 0: found out */
	char fast_path_interface[FASTPATH_DEVICES][IF_NAMESIZE];
	int fast_path_hook; /* enum fastpath_hook */
	int64_t fast_path_flows; /* 0: as many as there can be */
	int64_t drain_s; /* what sessions of a removed application get */
	struct proxy_sharing sharing;
};

/*
 * Fills `s` from YAML bytes. Returns the number of errors, all of them in `e`;
 * proxy_settings_free is due in any case.
 */
size_t proxy_settings_parse(struct proxy_settings *s, const uint8_t *data,
    size_t len, struct yaml_errors *e);

/* Reads and parses `path`; every error is one log_error line. 0 or -1. */
int proxy_settings_load(struct proxy_settings *s, const char *path);

void proxy_settings_free(struct proxy_settings *s);

/* `auto`: the cores that this process may run on. */
unsigned int proxy_settings_workers(const struct proxy_settings *s);

/* For a reload: the application of that name, or NULL. */
const struct app *
proxy_settings_find(const struct proxy_settings *s, const char *name);

/*
 * The keys that differ and take a restart to change, as a list for the log in
 * `buf`; NULL when there is none.
 */
char *proxy_settings_fixed_change(const struct proxy_settings *was,
    const struct proxy_settings *now, char *buf, size_t len);

#endif
