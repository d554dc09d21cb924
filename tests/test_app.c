/* The address rules of an application. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/app.h"
#include "proxy/notation.h"
#include "tests/sockets.h"

static size_t
prefixes(struct app_prefix *list, const char *text)
{
	char copy[256], why[NOTATION_WHY_LEN], *word, *save = NULL;
	size_t n = 0;

	snprintf(copy, sizeof copy, "%s", text);
	for (word = strtok_r(copy, " ", &save); word != NULL;
	     word = strtok_r(NULL, " ", &save)) {
		if (notation_prefix(&list[n++], word, why) != 0)
			fail_msg("%s", why);
	}
	return n;
}

static const struct {
	const char *allow, *deny, *client;
	enum app_rule_action action;
} rules[] = {
	/* no rules, one list */
	{ "", "", "192.0.2.1", APP_ALLOW },
	{ "", "203.0.113.0/24", "203.0.113.0", APP_DENY },
	{ "", "203.0.113.0/24", "203.0.113.255", APP_DENY },
	{ "", "203.0.113.0/24", "203.0.112.255", APP_ALLOW },
	{ "", "203.0.113.0/24", "203.0.114.0", APP_ALLOW },
	{ "203.0.113.0/24", "", "203.0.113.9", APP_ALLOW },
	{ "203.0.113.0/24", "", "203.0.114.9", APP_DENY },
	{ "203.0.113.9", "", "203.0.113.9", APP_ALLOW },
	{ "203.0.113.9", "", "203.0.113.8", APP_DENY },
	/* both: the longer prefix wins, the deny between equals */
	{ "10.1.0.0/16", "10.0.0.0/8", "10.1.2.3", APP_ALLOW },
	{ "10.1.0.0/16", "10.0.0.0/8", "10.2.2.3", APP_DENY },
	{ "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", APP_DENY },
	{ "10.0.0.0/8", "10.1.0.0/16", "10.2.2.3", APP_ALLOW },
	{ "10.0.0.0/8", "10.0.0.0/8", "10.2.2.3", APP_DENY },
	{ "10.0.0.0/8", "192.0.2.0/24", "198.51.100.1", APP_DENY },
	{ "10.0.0.0/8 10.1.2.0/24", "10.1.0.0/16 10.1.2.3", "10.1.2.4",
	    APP_ALLOW },
	{ "10.0.0.0/8 10.1.2.0/24", "10.1.0.0/16 10.1.2.3", "10.1.2.3",
	    APP_DENY },
	/* bits that end inside a byte */
	{ "", "192.0.2.128/25", "192.0.2.128", APP_DENY },
	{ "", "192.0.2.128/25", "192.0.2.127", APP_ALLOW },
	{ "", "192.0.2.4/31", "192.0.2.5", APP_DENY },
	{ "", "192.0.2.4/31", "192.0.2.6", APP_ALLOW },
	{ "", "128.0.0.0/1", "128.0.0.0", APP_DENY },
	{ "", "128.0.0.0/1", "127.255.255.255", APP_ALLOW },
	{ "", "2001:db8::/33", "2001:db8:7fff::", APP_DENY },
	{ "", "2001:db8::/33", "2001:db8:8000::", APP_ALLOW },
	{ "", "2001:db8::1", "2001:db8::1", APP_DENY },
	{ "", "2001:db8::1", "2001:db8::2", APP_ALLOW },
	/* everything of a family, and only of it */
	{ "", "0.0.0.0/0", "192.0.2.1", APP_DENY },
	{ "", "0.0.0.0/0", "2001:db8::1", APP_ALLOW },
	{ "", "::/0", "2001:db8::1", APP_DENY },
	{ "", "::/0", "192.0.2.1", APP_ALLOW },
	{ "0.0.0.0/0", "", "2001:db8::1", APP_DENY },
	{ "0.0.0.0/0 ::/0", "", "2001:db8::1", APP_ALLOW },
	/* v4-mapped clients and rules are IPv4 */
	{ "", "203.0.113.0/24", "::ffff:203.0.113.7", APP_DENY },
	{ "", "::ffff:203.0.113.0/120", "203.0.113.7", APP_DENY },
	{ "", "::/0", "::ffff:203.0.113.7", APP_ALLOW },
};

static void
test_firewall(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		struct app_prefix allow[8], deny[8];
		struct app a = { .allow = allow, .deny = deny };
		struct addr client = sockets_addr(rules[i].client);

		a.allows = prefixes(allow, rules[i].allow);
		a.denies = prefixes(deny, rules[i].deny);
		addr_set_port(&client, (uint16_t)(i * 1000));
		if (app_firewall(&a, &client) != rules[i].action)
			fail_msg("allow [%s] deny [%s] client %s",
			    rules[i].allow, rules[i].deny, rules[i].client);
	}
}

/* A range of two ports at 192.0.2.1 and [::]. */
static const struct {
	const char *to;
	unsigned int ports;
	bool local;
	const char *edge; /* NULL: none */
} edges[] = {
	{ "192.0.2.1:80", 1, false, "192.0.2.1:0" },
	{ "192.0.2.1:81", 1, false, "192.0.2.1:0" },
	{ "192.0.2.1:79", 1, false, NULL },
	{ "192.0.2.1:82", 1, false, NULL },
	{ "192.0.2.1:79", 2, false, "192.0.2.1:0" },
	{ "192.0.2.1:1", 79, false, NULL },
	{ "192.0.2.1:1", 65535, false, "192.0.2.1:0" },
	{ "192.0.2.2:80", 1, true, NULL },
	{ "[2001:db8::1]:80", 1, false, NULL },
	{ "[2001:db8::1]:80", 1, true, "[::]:0" },
	{ "[2001:db8::1]:79", 1, true, NULL },
};

static void
test_edges(void **state)
{
	const struct app a = { .port_first = 80,
		.port_last = 81,
		.edges = 2,
		.edge = { sockets_addr("192.0.2.1"), sockets_addr("::") } };

	(void)state;
	for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
		struct addr to = sockets_addr(edges[i].to);
		const struct addr *edge =
		    app_edge_at(&a, &to, edges[i].ports, edges[i].local);
		char text[ADDR_STR_LEN] = "";

		if (edge != NULL)
			addr_format(text, edge);
		if (strcmp(text, edges[i].edge != NULL ? edges[i].edge : "") !=
		    0)
			fail_msg("row %zu: %s", i, text);
	}
}

static void
test_congestion(void **state)
{
	const struct addr here = sockets_addr("127.0.0.1"),
			  everywhere = sockets_addr("0.0.0.0"),
			  there = sockets_addr("192.0.2.1");
	struct app a = { 0 };

	(void)state;
	assert_string_equal(app_congestion(&a, &here), "reno");
	assert_null(app_congestion(&a, &everywhere));
	assert_null(app_congestion(&a, &there));
	strcpy(a.tcp.congestion, "bbr");
	assert_string_equal(app_congestion(&a, &here), "bbr");
	assert_string_equal(app_congestion(&a, &there), "bbr");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_firewall),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_congestion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
