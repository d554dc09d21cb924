/*
 * The settings of roughtimed: what roughtimed.yaml(5) says, as a plain struct
 * that never changes after loading. Parsing is pure; only settings_load reads
 * a file.
 */
#ifndef ROUGHTIME_SETTINGS_H
#define ROUGHTIME_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/schema.h"
#include "config/yaml.h"
#include "net/addr.h"
#include "net/limit.h"
#include "roughtime/identity.h"
#include "roughtime/timesource.h"

#define SETTINGS_PORT 2002 /* where the field is; the RFC's port is 5319 */
#define SETTINGS_WORKERS_MAX 256
#define SETTINGS_LISTEN_MAX 64

enum settings_transport { SETTINGS_UDP = 1u << 0, SETTINGS_TCP = 1u << 1 };
enum settings_ingress {
	SETTINGS_PARALLEL_QUEUES = 0, /* one SO_REUSEPORT socket a worker */
	SETTINGS_SHARED_QUEUE, /* all workers read one socket */
};
enum settings_fail {
	SETTINGS_FAIL_OPEN = 0, /* what is a gone peer's comes to us */
	SETTINGS_FAIL_CLOSED, /* its sockets are kept */
};
enum settings_prefer { SETTINGS_PREFER_RFC = 0, SETTINGS_PREFER_DRAFT14 };
enum settings_short { SETTINGS_SHORT_ANSWER = 0, SETTINGS_SHORT_DROP };
struct settings_listen {
	struct addr address; /* port set after loading */
	int64_t port;
	unsigned int transports; /* enum settings_transport */
};

struct settings_identity {
	char *name;
	char *key;
	char *public_key;
	char *delegations;
};

struct settings_clock {
	int when_unsynchronised; /* enum timesource_policy */
	int64_t min_radius_s;
	int64_t unsynchronised_radius_s;
	int64_t max_radius_s;
	int64_t step_ms;
};

struct settings_delegation {
	int64_t lifetime_s;
	int64_t overlap_s;
	int64_t backdate_s;
	int64_t warn_s;
};

struct settings_tcp {
	int64_t max_connections; /* of the whole server */
	int64_t max_per_client; /* of one client prefix */
	int64_t idle_timeout_ms;
	int64_t read_timeout_ms; /* a frame must be whole in this time */
	int64_t write_timeout_ms; /* no progress in this time: closed */
	int64_t max_frame; /* bytes, with the 12 of the frame */
	int64_t max_outstanding; /* replies waiting in one connection */
	int short_requests; /* enum settings_short */
};

struct settings_limit {
	double rate; /* requests a second and client prefix; 0: off */
	double burst;
	int64_t prefix4, prefix6; /* also of tcp.max_per_client */
	int64_t entries;
};

struct settings_grease {
	double fraction;
};

struct settings_sharing_section {
	int mode; /* enum sharing_mode */
	char *socket;
	int fail; /* enum settings_fail */
};

struct settings {
	struct schema_list listen; /* struct settings_listen */
	struct schema_list identities; /* struct settings_identity */
	int64_t workers; /* 0: as many as cores */
	int ingress; /* enum settings_ingress */
	int64_t batch;
	struct schema_list versions; /* char *; empty: all */
	uint32_t version_rows; /* derived from `versions` */
	int prefer; /* enum settings_prefer */
	struct settings_clock clock;
	struct settings_delegation delegation;
	struct settings_tcp tcp;
	struct settings_limit limit;
	struct settings_grease grease;
	struct settings_sharing_section sharing;
	char *passphrase_file; /* NULL: only plain keys */
	char *user;
	int log_level; /* enum log_level */
	int64_t rcvbuf; /* bytes, 0: the kernel's default */
};

/* The table itself, for the manual's sake and the tests. */
extern const struct schema_row settings_rows[];

/*
 * Fills `s` from YAML bytes. Returns the number of errors, all of them in `e`;
 * settings_free is due in any case.
 */
size_t settings_parse(
    struct settings *s, const uint8_t *data, size_t len, struct yaml_errors *e);

/* Reads and parses `path`; every error is one log_error line. 0 or -1. */
int settings_load(struct settings *s, const char *path);

/*
 * `roughtimed -k KEYFILE -l ADDR:PORT…`: defaults with one identity. With no
 * address 0.0.0.0:2002. An unsynchronised clock is served, with its honest
 * radius: this form is for trying things out. 0, or -1 after log_error.
 */
int settings_from_options(struct settings *s, const char *key,
    const char *const *listen, size_t count);

void settings_free(struct settings *s);

const struct settings_listen *
settings_listen_at(const struct settings *s, size_t i);

/* The parts in the words of the modules that take them. */
struct timesource_config settings_timesource(const struct settings *s);
struct limit_config settings_limit(const struct settings *s);
/* Fills `list` (IDENTITY_MAX); both borrow from `s`. */
struct identity_settings
settings_identities(const struct settings *s, struct identity_config *list);
/* `auto`: the cores that this process may run on. */
unsigned int settings_workers(const struct settings *s);

/*
 * The keys that differ and take a restart to change, as a list for the log in
 * `buf`; NULL when there is none.
 */
char *settings_fixed_change(const struct settings *was,
    const struct settings *now, char *buf, size_t len);

#endif
