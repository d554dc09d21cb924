#include "proxy/settings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "config/config.h"
#include "net/sharing.h"
#include "proxy/notation.h"
#include "proxy/settings_rows.h"

/* Cuts the last `.key` or `[index]` off; false when nothing is left. */
static bool
cut_path(char *path)
{
	size_t n = strlen(path);

	while (n > 0 && path[n - 1] != '.' && path[n - 1] != '[')
		n--;
	if (n == 0)
		return false;
	path[n - 1] = '\0';
	return true;
}

void
proxy_settings_error(struct yaml_errors *e, const struct yaml_node *root,
    size_t index, const char *path, const char *fmt, ...)
{
	const struct yaml_node *at;
	char whole[96], near[96], text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	snprintf(whole, sizeof whole, "applications[%zu].%s", index, path);
	memcpy(near, whole, sizeof near);
	while ((at = schema_find(root, near)) == NULL && cut_path(near))
		continue;
	yaml_error(e, at != NULL ? at : root, "%s: %s", whole, text);
}

/* Also `applications:` with all of them commented out. */
static bool
is_empty(const struct yaml_node *node)
{
	if (node == NULL)
		return true;
	if (node->kind == YAML_SCALAR)
		return !node->quoted && node->text[0] == '\0';
	return node->kind == YAML_SEQUENCE && node->child == NULL;
}

static void
make_apps(
    struct proxy_raw *raw, const struct yaml_node *root, struct yaml_errors *e)
{
	const struct proxy_raw_app *from = raw->applications.items;
	struct proxy_settings *s = &raw->s;
	const struct yaml_node *at = schema_find(root, "applications");

	if (is_empty(at))
		yaml_error(e, at != NULL ? at : root,
		    "applications: expected at least one, such as "
		    "[{name: ssh, protocol: tcp/22, edge_ips: all, "
		    "origin_direct: tcp://192.0.2.1:22}]");
	if (raw->applications.count == 0)
		return;
	s->app = calloc(raw->applications.count, sizeof *s->app);
	if (s->app == NULL) {
		yaml_error(e, root, "applications: out of memory");
		return;
	}
	for (; s->apps < raw->applications.count; s->apps++) {
		proxy_app_make(
		    &s->app[s->apps], &from[s->apps], s->apps, root, e);
		proxy_app_check(s, s->apps, root, e);
	}
}

/* `192.0.2.1:2002`, `0.0.0.0:2002` */
static int
spare_place(struct addr *a, const char *text, char *why)
{
	const char *what;

	if (addr_parse(a, text, -1, &what) == 0)
		return 0;
	snprintf(why, NOTATION_WHY_LEN, "%s", what);
	return -1;
}

static size_t
make_places(struct addr *to, const struct schema_list *list, const char *key,
    int (*read)(struct addr *, const char *, char *),
    const struct yaml_node *root, struct yaml_errors *e)
{
	char *const *words = list->items;
	char why[NOTATION_WHY_LEN], path[48];

	for (size_t i = 0; i < list->count; i++) {
		const struct yaml_node *at;

		snprintf(path, sizeof path, "%s[%zu]", key, i);
		at = schema_find(root, path);
		if (words[i] != NULL && read(&to[i], words[i], why) != 0)
			yaml_error(
			    e, at != NULL ? at : root, "%s: %s", path, why);
	}
	return list->count;
}

/* Whether they are there, the start will say. */
static void
make_interfaces(
    struct proxy_raw *raw, const struct yaml_node *root, struct yaml_errors *e)
{
	char *const *words = raw->fast_path_interfaces.items;
	struct proxy_settings *s = &raw->s;
	char path[48];

	for (size_t i = 0; i < raw->fast_path_interfaces.count; i++) {
		size_t len = words[i] != NULL ? strlen(words[i]) : 0;
		const struct yaml_node *at;

		snprintf(path, sizeof path, "fast_path_interfaces[%zu]", i);
		at = schema_find(root, path);
		if (len > 0 && len < IF_NAMESIZE)
			memcpy(
			    s->fast_path_interface[s->fast_path_interfaces++],
			    words[i], len + 1);
		else
			yaml_error(e, at != NULL ? at : root,
			    "%s: expected the name of an interface, such as "
			    "eth0",
			    path);
	}
}

/* `off` is the word for none. */
static void
drop_off(char **text)
{
	if (*text != NULL && strcmp(*text, "off") == 0) {
		free(*text);
		*text = NULL;
	}
}

static void
check_path(const char *path, const char *key, const struct yaml_node *root,
    struct yaml_errors *e)
{
	if (path != NULL && path[0] == '\0')
		yaml_error(e, schema_find(root, key),
		    "%s: expected a path or off, got \"\"", key);
}

static void
check_values(const struct proxy_settings *s, const struct yaml_node *root,
    struct yaml_errors *e)
{
	const struct yaml_node *sharing = schema_find(root, "sharing");

	check_path(s->event_log, "event_log", root, e);
	check_path(s->control, "control", root, e);
	if (s->sharing.mode != SHARING_DISPATCH &&
	    (s->sharing.pin != NULL || s->spares > 0))
		yaml_error(e, sharing != NULL ? sharing : root,
		    "sharing: pin and spare take mode: dispatch");
}

size_t
proxy_settings_parse(struct proxy_settings *s, const uint8_t *data, size_t len,
    struct yaml_errors *e)
{
	struct proxy_raw raw = { 0 };
	struct yaml_node *root;
	size_t before = e->count;

	memset(s, 0, sizeof *s);
	root = yaml_parse(data, len, e);
	if (root == NULL)
		return e->count > before ? e->count - before : 1;
	schema_load(proxy_settings_rows, root, &raw, e);
	raw.s.sharing = raw.sharing.s; /* its strings with it */
	make_apps(&raw, root, e);
	raw.s.resolvers = make_places(raw.s.resolver, &raw.resolvers,
	    "resolvers", notation_server, root, e);
	raw.s.spares = make_places(raw.s.spare, &raw.sharing.spare,
	    "sharing.spare", spare_place, root, e);
	make_interfaces(&raw, root, e);
	drop_off(&raw.s.sharing.pin);
	check_values(&raw.s, root, e);
	drop_off(&raw.s.event_log);
	drop_off(&raw.s.control);
	drop_off(&raw.s.control_group);
	*s = raw.s;
	memset(&raw.s, 0, sizeof raw.s); /* it is the caller's now */
	memset(&raw.sharing.s, 0, sizeof raw.sharing.s);
	schema_free(proxy_settings_rows, &raw);
	yaml_tree_free(root);
	return e->count - before;
}

static size_t
parse(void *s, const uint8_t *data, size_t len, struct yaml_errors *e)
{
	return proxy_settings_parse(s, data, len, e);
}

int
proxy_settings_load(struct proxy_settings *s, const char *path)
{
	memset(s, 0, sizeof *s);
	return config_load(path, parse, s);
}

void
proxy_settings_free(struct proxy_settings *s)
{
	struct proxy_raw raw = { .s = *s, .sharing.s = s->sharing };

	for (size_t i = 0; i < s->apps; i++) {
		free(s->app[i].allow);
		free(s->app[i].deny);
		free(s->app[i].trust);
	}
	free(s->app);
	schema_free(proxy_settings_rows, &raw);
	memset(s, 0, sizeof *s);
}

unsigned int
proxy_settings_workers(const struct proxy_settings *s)
{
	return config_workers(s->workers, PROXY_WORKERS_MAX);
}

const struct app *
proxy_settings_find(const struct proxy_settings *s, const char *name)
{
	for (size_t i = 0; i < s->apps; i++) {
		if (strcmp(s->app[i].name, name) == 0)
			return &s->app[i];
	}
	return NULL;
}

char *
proxy_settings_fixed_change(const struct proxy_settings *was,
    const struct proxy_settings *now, char *buf, size_t len)
{
	const struct config_fixed fixed[] = {
		{ "workers", was->workers == now->workers },
		{ "event_log",
		    config_same_text(was->event_log, now->event_log) },
		{ "control", config_same_text(was->control, now->control) },
		{ "control_group",
		    config_same_text(was->control_group, now->control_group) },
		{ "sharing.mode", was->sharing.mode == now->sharing.mode },
		{ "sharing.peek",
		    was->sharing.peek_ms == now->sharing.peek_ms },
		{ "sharing.pin",
		    config_same_text(was->sharing.pin, now->sharing.pin) },
		{ "user", config_same_text(was->user, now->user) },
		{ "udp_flows", was->udp_flows == now->udp_flows },
		{ "tcp_sessions", was->tcp_sessions == now->tcp_sessions },
		{ "port_ranges", was->port_ranges == now->port_ranges },
		{ "fast_path_interfaces",
		    was->fast_path_interfaces == now->fast_path_interfaces &&
			memcmp(was->fast_path_interface,
			    now->fast_path_interface,
			    sizeof was->fast_path_interface) == 0 },
		{ "fast_path_hook",
		    was->fast_path_hook == now->fast_path_hook },
		{ "fast_path_flows",
		    was->fast_path_flows == now->fast_path_flows },
		{ "busy_poll_us", was->busy_poll_us == now->busy_poll_us },
		{ "splice_after", was->splice_after == now->splice_after },
	};

	return config_fixed_change(
	    fixed, sizeof fixed / sizeof fixed[0], buf, len);
}
