#include "roughtime/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "config/config.h"
#include "net/sharing.h"
#include "roughtime/version.h"

const struct settings_listen *
settings_listen_at(const struct settings *s, size_t i)
{
	const struct settings_listen *list = s->listen.items;

	return &list[i];
}

/* Where `path` stands in the file; what is left out is told of the root. */
static const struct yaml_node *
place(const struct yaml_node *root, const char *path)
{
	const struct yaml_node *at = schema_find(root, path);

	return at != NULL ? at : root;
}

static const struct yaml_node *
item_place(const struct yaml_node *root, const char *list, size_t i)
{
	char path[64];

	snprintf(path, sizeof path, "%s[%zu]", list, i);
	return place(root, path);
}

/* A list that is there but is no list was told by the schema. */
static bool
left_out(const struct yaml_node *root, const char *list)
{
	const struct yaml_node *node = schema_find(root, list);

	return node == NULL ||
	    (node->kind == YAML_SEQUENCE && node->child == NULL);
}

static void
check_listen(
    struct settings *s, const struct yaml_node *root, struct yaml_errors *e)
{
	struct settings_listen *l = s->listen.items;

	if (left_out(root, "listen"))
		yaml_error(e, place(root, "listen"),
		    "listen: expected at least one, such as "
		    "[{address: 0.0.0.0, port: 2002}]");
	for (size_t i = 0; i < s->listen.count; i++) {
		if (l[i].address.sa.sa_family == AF_UNSPEC)
			continue; /* told by the schema */
		if (!addr_is_listenable(&l[i].address))
			yaml_error(e, item_place(root, "listen", i),
			    "listen[%zu].address: expected an address of this "
			    "host, not multicast, broadcast or ::ffff:IPv4",
			    i);
		addr_set_port(&l[i].address, (uint16_t)l[i].port);
		for (size_t j = 0; j < i; j++) {
			if (addr_equal(&l[i].address, &l[j].address) &&
			    (l[i].transports & l[j].transports) != 0)
				yaml_error(e, item_place(root, "listen", i),
				    "listen[%zu]: same address, port and "
				    "transport as listen[%zu]",
				    i, j);
		}
	}
}

/* Exactly one source: the seed here, or bundles signed elsewhere. */
static void
check_source(const struct settings_identity *id, size_t i,
    const struct yaml_node *at, struct yaml_errors *e)
{
	bool online = id->public_key != NULL || id->delegations != NULL;

	if (id->key != NULL && online)
		yaml_error(e, at,
		    "identities[%zu]: expected `key` alone, or `public_key` "
		    "with `delegations`, got both",
		    i);
	else if (id->key == NULL &&
	    (id->public_key == NULL || id->delegations == NULL))
		yaml_error(e, at,
		    "identities[%zu]: expected `key`, or `public_key` with "
		    "`delegations`",
		    i);
}

static void
check_identities(const struct settings *s, const struct yaml_node *root,
    struct yaml_errors *e)
{
	const struct settings_identity *id = s->identities.items;

	if (left_out(root, "identities"))
		yaml_error(e, place(root, "identities"),
		    "identities: expected at least one, such as "
		    "[{name: main, key: FILE}]");
	for (size_t i = 0; i < s->identities.count; i++) {
		const struct yaml_node *at = item_place(root, "identities", i);

		check_source(&id[i], i, at, e);
		for (size_t j = 0; j < i; j++) {
			if (config_same_text(id[i].name, id[j].name) &&
			    id[i].name != NULL)
				yaml_error(e, at,
				    "identities[%zu].name: same as "
				    "identities[%zu]",
				    i, j);
		}
	}
}

/* A number means all rows that have it: 0x8000000c stands for draft-12 too. */
static uint32_t
version_set(const char *word)
{
	const struct version *v = version_by_name(word);
	bool number = strncmp(word, "draft-", 6) != 0;
	uint32_t set = 0;

	if (v == NULL)
		return 0;
	for (int row = 0; row < VERSION_ROWS; row++) {
		const struct version *other = &version_table[row];

		if (other == v ||
		    (number && v->number != 0 && other->number == v->number))
			set |= 1u << row;
	}
	return set;
}

static void
check_versions(
    struct settings *s, const struct yaml_node *root, struct yaml_errors *e)
{
	char *const *words = s->versions.items;

	s->version_rows = s->versions.count == 0 ? VERSION_ALL : 0;
	for (size_t i = 0; i < s->versions.count; i++) {
		uint32_t set = words[i] != NULL ? version_set(words[i]) : 0;

		if (set == 0)
			yaml_error(e, item_place(root, "versions", i),
			    "versions[%zu]: expected a wire format such as "
			    "rfc, draft-14, draft-08, 0x8000000b or google",
			    i);
		s->version_rows |= set;
	}
}

static void
check_values(const struct settings *s, const struct yaml_node *root,
    struct yaml_errors *e)
{
	const struct settings_delegation *d = &s->delegation;

	if (d->lifetime_s > 0 && d->overlap_s >= d->lifetime_s)
		yaml_error(e, place(root, "delegation.overlap"),
		    "delegation.overlap: expected less than the lifetime (%lld s)",
		    (long long)d->lifetime_s);
	if (s->clock.max_radius_s < s->clock.min_radius_s)
		yaml_error(e, place(root, "clock.max_radius_s"),
		    "clock.max_radius_s: expected min_radius_s (%lld) or more",
		    (long long)s->clock.min_radius_s);
}

size_t
settings_parse(
    struct settings *s, const uint8_t *data, size_t len, struct yaml_errors *e)
{
	struct yaml_node *root;
	size_t before = e->count;

	memset(s, 0, sizeof *s);
	root = yaml_parse(data, len, e);
	if (root == NULL)
		return e->count > before ? e->count - before : 1;
	schema_load(settings_rows, root, s, e);
	check_listen(s, root, e);
	check_identities(s, root, e);
	check_versions(s, root, e);
	check_values(s, root, e);
	yaml_tree_free(root);
	return e->count - before;
}

static size_t
parse(void *s, const uint8_t *data, size_t len, struct yaml_errors *e)
{
	return settings_parse(s, data, len, e);
}

int
settings_load(struct settings *s, const char *path)
{
	memset(s, 0, sizeof *s);
	return config_load(path, parse, s);
}

static int
fill_listen(struct settings *s, const char *const *listen, size_t count)
{
	struct settings_listen *l = calloc(count, sizeof *l);
	const char *why;

	s->listen.items = l;
	if (l == NULL) {
		log_error("listen: %s", strerror(errno));
		return -1;
	}
	for (; s->listen.count < count; s->listen.count++, l++) {
		const char *text = listen[s->listen.count];

		if (addr_parse(&l->address, text, SETTINGS_PORT, &why) != 0) {
			log_error("-l %s: %s", text, why);
			return -1;
		}
		l->port = addr_port(&l->address);
		if (l->port == 0 || !addr_is_listenable(&l->address)) {
			log_error("-l %s: expected an address of this host, "
				  "not multicast, broadcast or ::ffff:IPv4, "
				  "and a port over 0",
			    text);
			return -1;
		}
		l->transports = SETTINGS_UDP | SETTINGS_TCP;
	}
	return 0;
}

static int
fill_identity(struct settings *s, const char *key)
{
	struct settings_identity *id = calloc(1, sizeof *id);

	s->identities.items = id;
	s->identities.count = id != NULL ? 1 : 0;
	if (id == NULL || (id->name = strdup("main")) == NULL ||
	    (id->key = strdup(key)) == NULL) {
		log_error("identity: %s", strerror(errno));
		return -1;
	}
	return 0;
}

int
settings_from_options(struct settings *s, const char *key,
    const char *const *listen, size_t count)
{
	static const char *const anywhere[] = { "0.0.0.0:2002" };
	struct yaml_errors none = { .file = "defaults" };

	memset(s, 0, sizeof *s);
	schema_load(settings_rows, NULL, s, &none);
	yaml_errors_free(&none);
	s->version_rows = VERSION_ALL;
	s->clock.when_unsynchronised = TIMESOURCE_SERVE;
	if (count == 0) {
		listen = anywhere;
		count = 1;
	}
	if (fill_listen(s, listen, count) != 0)
		return -1;
	return fill_identity(s, key);
}

void
settings_free(struct settings *s)
{
	schema_free(settings_rows, s);
}

struct timesource_config
settings_timesource(const struct settings *s)
{
	const struct settings_clock *c = &s->clock;
	bool serve = c->when_unsynchronised == TIMESOURCE_SERVE;

	return (struct timesource_config){
		.when_unsynchronised =
		    serve ? TIMESOURCE_SERVE : TIMESOURCE_REFUSE,
		.min_radius_us = (uint64_t)c->min_radius_s * 1000000,
		.unsynchronised_radius_us =
		    (uint64_t)c->unsynchronised_radius_s * 1000000,
		.max_radius_us = (uint64_t)c->max_radius_s * 1000000,
		.step_us = (uint64_t)c->step_ms * 1000,
	};
}

struct limit_config
settings_limit(const struct settings *s)
{
	return (struct limit_config){
		.entries = (uint32_t)s->limit.entries,
		.rate_per_s = s->limit.rate,
		.burst = s->limit.burst,
		.prefix4 = (unsigned int)s->limit.prefix4,
		.prefix6 = (unsigned int)s->limit.prefix6,
	};
}

struct identity_settings
settings_identities(const struct settings *s, struct identity_config *list)
{
	const struct settings_identity *id = s->identities.items;

	for (size_t i = 0; i < s->identities.count; i++) {
		list[i] = (struct identity_config){ .name = id[i].name,
			.key = id[i].key,
			.public_key = id[i].public_key,
			.delegations = id[i].delegations };
	}
	return (struct identity_settings){
		.list = list,
		.count = s->identities.count,
		.versions = s->version_rows,
		.prefer_draft14 = s->prefer == SETTINGS_PREFER_DRAFT14,
		.delegation_s = (uint64_t)s->delegation.lifetime_s,
		.overlap_s = (uint64_t)s->delegation.overlap_s,
		.backdate_s = (uint64_t)s->delegation.backdate_s,
		.warn_s = (uint64_t)s->delegation.warn_s,
	};
}

unsigned int
settings_workers(const struct settings *s)
{
	return config_workers(s->workers, SETTINGS_WORKERS_MAX);
}

char *
settings_fixed_change(const struct settings *was, const struct settings *now,
    char *buf, size_t len)
{
	const struct config_fixed fixed[] = {
		{ "workers", was->workers == now->workers },
		{ "ingress", was->ingress == now->ingress },
		{ "batch", was->batch == now->batch },
		{ "rcvbuf", was->rcvbuf == now->rcvbuf },
		{ "sharing.mode", was->sharing.mode == now->sharing.mode },
		{ "user", config_same_text(was->user, now->user) },
		{ "passphrase_file",
		    config_same_text(
			was->passphrase_file, now->passphrase_file) },
		{ "tcp.max_connections",
		    was->tcp.max_connections == now->tcp.max_connections },
		{ "tcp.max_per_client",
		    was->tcp.max_per_client == now->tcp.max_per_client },
		{ "tcp.max_frame", was->tcp.max_frame == now->tcp.max_frame },
		{ "tcp.max_outstanding",
		    was->tcp.max_outstanding == now->tcp.max_outstanding },
	};

	return config_fixed_change(
	    fixed, sizeof fixed / sizeof fixed[0], buf, len);
}
