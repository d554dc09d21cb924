/* The rules between applications: names, edges, loops. */
#include <string.h>

#include "net/sharing.h"
#include "proxy/notation.h"
#include "proxy/settings_rows.h"

/* A wildcard takes every address of its family on one kernel. */
static bool
same_place(const struct addr *a, const struct addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family || a->sa.sa_family == AF_UNSPEC)
		return false;
	return addr_is_wildcard(a) || addr_is_wildcard(b) || addr_equal(a, b);
}

static bool
ports_meet(uint16_t first, uint16_t last, uint16_t other, uint16_t other_last)
{
	return first <= other_last && other <= last;
}

/* Dispatch has an order for all that overlaps but is not the same. */
static bool
collide(const struct proxy_settings *s, const struct app *a, size_t i,
    const struct app *b, size_t j)
{
	if (s->sharing.mode != SHARING_DISPATCH)
		return same_place(&a->edge[i], &b->edge[j]);
	return a->edge[i].sa.sa_family != AF_UNSPEC &&
	    addr_equal(&a->edge[i], &b->edge[j]) &&
	    a->edge_bits[i] == b->edge_bits[j] &&
	    a->port_last - a->port_first == b->port_last - b->port_first;
}

static void
tell_overlap(const struct app *list, size_t index, size_t edge, size_t other,
    size_t other_edge, const struct yaml_node *root, struct yaml_errors *e)
{
	const struct app *a = &list[index], *b = &list[other];
	char path[48], mine[NOTATION_EDGE_LEN], theirs[NOTATION_EDGE_LEN];
	char ports[NOTATION_PORTS_LEN], other_ports[NOTATION_PORTS_LEN];
	char name[NOTATION_QUOTE_LEN];

	snprintf(path, sizeof path, "edge_ips[%zu]", edge);
	notation_edge(mine, a, edge);
	notation_edge(theirs, b, other_edge);
	if (a == b)
		proxy_settings_error(e, root, index, path,
		    "%s is already taken by %s of this application", mine,
		    theirs);
	else
		proxy_settings_error(e, root, index, path,
		    "%s with %s/%s overlaps %s with %s/%s of application %s",
		    mine, notation_proto_str(a->proto),
		    notation_ports_str(ports, a->port_first, a->port_last),
		    theirs, notation_proto_str(b->proto),
		    notation_ports_str(
			other_ports, b->port_first, b->port_last),
		    notation_quote(name, b->name));
}

/* The first edge of `other` that one of `index` meets: one line is enough. */
static void
check_pair(const struct proxy_settings *s, size_t index, size_t other,
    const struct yaml_node *root, struct yaml_errors *e)
{
	const struct app *a = &s->app[index], *b = &s->app[other];

	if (a->proto != b->proto ||
	    !ports_meet(
		a->port_first, a->port_last, b->port_first, b->port_last))
		return;
	for (size_t i = 0; i < a->edges; i++) {
		for (size_t j = 0; j < (a == b ? i : b->edges); j++) {
			if (!collide(s, a, i, b, j))
				continue;
			tell_overlap(s->app, index, i, other, j, root, e);
			return;
		}
	}
}

/*
 * An origin that is one of the application's own edges: each session would
 * make the next one. Of a wildcard only the loopback addresses are known to be
 * this host's without asking it.
 */
static void
check_loops(const struct app *list, size_t index, const struct yaml_node *root,
    struct yaml_errors *e)
{
	const struct app *a = &list[index];
	unsigned int ports = (unsigned int)(a->port_last - a->port_first) + 1;
	char host[NOTATION_EDGE_LEN], text[ADDR_STR_LEN], path[48];

	for (size_t i = 0; i < a->origins; i++) {
		const struct addr *to = &a->origin[i].address, *edge;

		if (to->sa.sa_family == AF_UNSPEC)
			continue; /* told before */
		edge = app_edge_at(a, to, ports, addr_is_loopback(to));
		if (edge == NULL)
			continue;
		snprintf(path, sizeof path, "origin_direct[%zu]", i);
		proxy_settings_error(e, root, index, path,
		    "%s is this application's own edge (%s): a loop",
		    addr_format(text, to),
		    notation_edge(host, a, (size_t)(edge - a->edge)));
	}
}

static void
check_prefixes(const struct app *a, size_t index, const struct yaml_node *root,
    struct yaml_errors *e)
{
	char path[48], edge[NOTATION_EDGE_LEN];

	for (size_t i = 0; i < a->edges; i++) {
		if (a->edge_bits[i] == 0)
			continue;
		snprintf(path, sizeof path, "edge_ips[%zu]", i);
		proxy_settings_error(e, root, index, path,
		    "the prefix %s takes sharing.mode: dispatch",
		    notation_edge(edge, a, i));
	}
}

void
proxy_app_check(const struct proxy_settings *s, size_t index,
    const struct yaml_node *root, struct yaml_errors *e)
{
	const struct app *list = s->app, *a = &list[index];

	for (size_t i = 0; i < index; i++) {
		if (a->name[0] != '\0' && strcmp(a->name, list[i].name) == 0)
			proxy_settings_error(e, root, index, "name",
			    "same as applications[%zu]", i);
	}
	if (s->sharing.mode != SHARING_DISPATCH)
		check_prefixes(a, index, root, e);
	if (a->port_first == 0)
		return; /* its protocol was told */
	for (size_t i = 0; i <= index; i++) {
		if (list[i].port_first != 0)
			check_pair(s, index, i, root, e);
	}
	check_loops(list, index, root, e);
}
