/* config/schema.h: one row an option; every error told, each with its place. */
#include "config/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/addr.h"
#include "tests/support.h"

struct item {
	char *name;
	struct addr address;
	int64_t port;
	unsigned int transports;
};

struct config {
	struct schema_list listen; /* struct item */
	struct schema_list names; /* char * */
	struct schema_list ports; /* int64_t */
	struct schema_list policies; /* int */
	struct {
		double factor;
		int64_t wait_ms;
		struct schema_list tags; /* char * */
	} clock;
	bool on;
	int64_t workers, lifetime_s, any;
	int policy;
	char *user;
};

static const char *const transports[] = { "udp", "tcp", "quic", NULL };
static const char *const policies[] = { "refuse", "serve", "off", NULL };

#define AT(s, f) .offset = offsetof(struct s, f)
#define CLOCK(f)  \
	.offset = \
	    offsetof(struct config, clock.f) - offsetof(struct config, clock)

static const struct schema_row item_rows[] = {
	{ "name", SCHEMA_STRING, AT(item, name), .fallback = "main" },
	{ "address", SCHEMA_ADDRESS, AT(item, address), .required = true },
	{ "port", SCHEMA_INT, AT(item, port), .min = 1, .max = 65535,
	    .fallback = "2002" },
	{ "transports", SCHEMA_FLAGS, AT(item, transports), .words = transports,
	    .min = 1, .fallback = "[udp, tcp]" },
	{ 0 },
};

static const struct schema_row clock_rows[] = {
	{ "factor", SCHEMA_DOUBLE, CLOCK(factor), .min = 0, .max = 1,
	    .fallback = "0.5" },
	{ "wait", SCHEMA_DURATION, CLOCK(wait_ms), .min = 100, .max = 60000,
	    .unit = "ms", .fallback = "3s" },
	{ "tags", SCHEMA_LIST, CLOCK(tags), .item_type = SCHEMA_STRING,
	    .fallback = "[a, b]" },
	{ 0 },
};

static const struct schema_row rows[] = {
	{ "listen", SCHEMA_LIST, AT(config, listen), .required = true, .min = 1,
	    .max = 3, .rows = item_rows, .item_size = sizeof(struct item) },
	{ "names", SCHEMA_LIST, AT(config, names), .item_type = SCHEMA_STRING,
	    .item_size = sizeof(char *) },
	{ "ports", SCHEMA_LIST, AT(config, ports), .item_type = SCHEMA_INT },
	{ "policies", SCHEMA_LIST, AT(config, policies),
	    .item_type = SCHEMA_ENUM, .words = policies },
	{ "clock", SCHEMA_SECTION, AT(config, clock), .rows = clock_rows },
	{ "on", SCHEMA_BOOL, AT(config, on), .fallback = "yes" },
	{ "workers", SCHEMA_AUTO_INT, AT(config, workers), .min = 1, .max = 64,
	    .fallback = "auto" },
	{ "lifetime", SCHEMA_DURATION, AT(config, lifetime_s), .min = 60,
	    .max = 2592000, .unit = "s", .fallback = "24h" },
	{ "any", SCHEMA_INT, AT(config, any) },
	{ "policy", SCHEMA_ENUM, AT(config, policy), .words = policies,
	    .fallback = "serve" },
	{ "user", SCHEMA_STRING, AT(config, user) },
	{ 0 },
};

#define LISTEN "listen: [{address: 127.0.0.1}]\n"

static struct yaml_node *
parse(struct yaml_errors *e, const char *text)
{
	struct yaml_node *root;

	*e = (struct yaml_errors){ .file = "c.yaml" };
	root = yaml_parse((const uint8_t *)text, strlen(text), e);
	if (root == NULL)
		fail_msg("%s", e->lines[0]);
	return root;
}

/* Loads text that is good; schema_free() when done. */
static void
load(struct config *c, const char *text)
{
	struct yaml_errors e;
	struct yaml_node *root = parse(&e, text);

	memset(c, 0, sizeof *c);
	if (schema_load(rows, root, c, &e) != 0)
		fail_msg("%s", e.lines[0]);
	assert_int_equal(e.count, 0);
	yaml_tree_free(root);
}

static void
drop(struct config *c)
{
	static const struct config empty;

	schema_free(rows, c);
	assert_memory_equal(&c->listen, &empty.listen, sizeof c->listen);
	assert_null(c->user);
	assert_null(c->clock.tags.items);
	assert_int_equal(c->lifetime_s, 0);
	schema_free(rows, c); /* twice is harmless */
}

static const struct item *
item_at(const struct config *c, size_t i)
{
	assert_true(i < c->listen.count);
	return (const struct item *)c->listen.items + i;
}

static void
defaults(void **state)
{
	struct yaml_errors e = { 0 };
	struct config c = { 0 };

	(void)state;
	/* without a file nothing is required */
	assert_int_equal(schema_load(rows, NULL, &c, &e), 0);
	assert_int_equal(e.count, 0);
	assert_int_equal(c.listen.count, 0);
	assert_true(c.on);
	assert_int_equal(c.workers, 0);
	assert_int_equal(c.lifetime_s, 86400);
	assert_int_equal(c.policy, 1);
	assert_int_equal(c.any, 0);
	assert_null(c.user);
	assert_true(c.clock.factor == 0.5);
	assert_int_equal(c.clock.wait_ms, 3000);
	assert_int_equal(c.clock.tags.count, 2);
	assert_string_equal(((char **)c.clock.tags.items)[1], "b");
	drop(&c);
}

static void
whole_file(void **state)
{
	char buf[ADDR_STR_LEN];
	struct config c;

	(void)state;
	load(&c,
	    "listen:\n"
	    "  - {address: 192.0.2.1, port: 5319, transports: [tcp]}\n"
	    "  - name: \"\"\n"
	    "    address: 2001:db8::1\n"
	    "names: [x, 'y z', 10]\n"
	    "ports: [1, -2]\n"
	    "policies: [off, refuse]\n"
	    "clock: {factor: 1e-1, wait: 1m, tags: []}\n"
	    "on: off\n"
	    "workers: 8\n"
	    "lifetime: 30d\n"
	    "any: -9223372036854775808\n"
	    "policy: off\n"
	    "user: no\n");
	assert_int_equal(c.listen.count, 2);
	assert_string_equal(item_at(&c, 0)->name, "main");
	assert_int_equal(item_at(&c, 0)->port, 5319);
	assert_int_equal(item_at(&c, 0)->transports, 2);
	assert_int_equal(addr_port(&item_at(&c, 0)->address), 0);
	assert_non_null(
	    strstr(addr_format(buf, &item_at(&c, 0)->address), "192.0.2.1"));
	assert_string_equal(item_at(&c, 1)->name, "");
	assert_int_equal(item_at(&c, 1)->port, 2002);
	assert_int_equal(item_at(&c, 1)->transports, 3);
	assert_int_equal(c.names.count, 3);
	assert_string_equal(((char **)c.names.items)[1], "y z");
	assert_string_equal(((char **)c.names.items)[2], "10");
	assert_int_equal(((int64_t *)c.ports.items)[1], -2);
	assert_int_equal(((int *)c.policies.items)[0], 2);
	assert_true(c.clock.factor == 0.1);
	assert_int_equal(c.clock.wait_ms, 60000);
	assert_int_equal(c.clock.tags.count, 0);
	assert_false(c.on);
	assert_int_equal(c.workers, 8);
	assert_int_equal(c.lifetime_s, 2592000);
	assert_true(c.any == INT64_MIN);
	assert_int_equal(c.policy, 2);
	assert_string_equal(c.user, "no");
	drop(&c);
}

/* A section or list whose lines are all commented out. */
static void
empty_sections(void **state)
{
	struct config c;

	(void)state;
	load(&c, LISTEN "clock:\n#  wait: 1s\nnames:\n#  - x\n");
	assert_int_equal(c.clock.wait_ms, 3000);
	assert_int_equal(c.names.count, 0);
	drop(&c);
}

static void
booleans(void **state)
{
	static const char *const words[] = { "false", "true", "no", "yes",
		"off", "on", "False", "TRUE", "No", "YES", "Off", "On" };
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		struct config c;

		snprintf(text, sizeof text, LISTEN "on: %s\n", words[i]);
		load(&c, text);
		assert_int_equal(c.on, i % 2);
		drop(&c);
	}
}

#define INT_RANGE "expected an integer from 1 to 65535, got "
#define LIFETIME                                                            \
	"lifetime: expected a duration from 60 to 2592000 s, such as 90s, " \
	"5m, 24h or 30d (a bare number is in s), got "
#define ADDRESS                                                               \
	"listen[0].address: expected a numeric address without a port, such " \
	"as 192.0.2.1 or 2001:db8::1, got "

/* `text` follows LISTEN, so it starts at line 2. */
static const struct {
	const char *text;
	const char *line; /* the only error, after `c.yaml:` */
} bad[] = {
	{ "any: abc\n", "2:6: any: expected an integer, got \"abc\"" },
	{ "any: 1.0\n", "2:6: any: expected an integer, got \"1.0\"" },
	{ "any: +1\n", "2:6: any: expected an integer, got \"+1\"" },
	{ "any: 010\n", "2:6: any: expected an integer, got \"010\"" },
	{ "any: 0x10\n", "2:6: any: expected an integer, got \"0x10\"" },
	{ "any: '- 1'\n", "2:6: any: expected an integer, got \"- 1\"" },
	{ "any: 1_000\n", "2:6: any: expected an integer, got \"1_000\"" },
	{ "any: 9223372036854775808\n",
	    "2:6: any: expected an integer, got \"9223372036854775808\"" },
	{ "any:\n", "2:5: any: expected an integer, got nothing" },
	{ "any: [1]\n", "2:6: any: expected an integer, got a list" },
	{ "any: {a: 1}\n", "2:6: any: expected an integer, got a mapping" },
	{ "any: \"\"\n", "2:6: any: expected an integer, got \"\"" },
	{ "any: |\n  a\n  b\n", "2:6: any: expected an integer, got \"a?b?\"" },
	{ "any: abcdefghijabcdefghijabcdefghijabcdefghijabcdefgh\xc3\xa9\n",
	    "2:6: any: expected an integer, got "
	    "\"abcdefghijabcdefghijabcdefghijabcdefghijabcdefg...\"" },
	{ "any: abcdefghijabcdefghijabcdefghijabcdefghijabcdef\xc3\xa9x\n",
	    "2:6: any: expected an integer, got "
	    "\"abcdefghijabcdefghijabcdefghijabcdefghijabcdef\xc3\xa9...\"" },
	{ "workers: 0\n",
	    "2:10: workers: expected auto or an integer from 1 to 64, got "
	    "\"0\"" },
	{ "workers: 65\n",
	    "2:10: workers: expected auto or an integer from 1 to 64, got "
	    "\"65\"" },
	{ "workers: Auto\n",
	    "2:10: workers: expected auto or an integer from 1 to 64, got "
	    "\"Auto\"" },
	{ "on: maybe\n", "2:5: on: expected true or false, got \"maybe\"" },
	{ "on: 1\n", "2:5: on: expected true or false, got \"1\"" },
	{ "on: [yes]\n", "2:5: on: expected true or false, got a list" },
	{ "lifetime: 59\n", "2:11: " LIFETIME "\"59\"" },
	{ "lifetime: 31d\n", "2:11: " LIFETIME "\"31d\"" },
	{ "lifetime: 61500ms\n", "2:11: " LIFETIME "\"61500ms\"" },
	{ "lifetime: 1.5h\n", "2:11: " LIFETIME "\"1.5h\"" },
	{ "lifetime: -90\n", "2:11: " LIFETIME "\"-90\"" },
	{ "lifetime:\n", "2:10: " LIFETIME "nothing" },
	{ "policy: Serve\n",
	    "2:9: policy: expected refuse, serve or off, got \"Serve\"" },
	{ "policy:\n",
	    "2:8: policy: expected refuse, serve or off, got nothing" },
	{ "user:\n", "2:6: user: expected text, got nothing" },
	{ "user: [a]\n", "2:7: user: expected text, got a list" },
	{ "clock: 5\n", "2:8: clock: expected a mapping, got \"5\"" },
	{ "clock: [a]\n", "2:8: clock: expected a mapping, got a list" },
	{ "clock: {factor: 1.01}\n",
	    "2:17: clock.factor: expected a number from 0 to 1, got "
	    "\"1.01\"" },
	{ "clock: {factor: nan}\n",
	    "2:17: clock.factor: expected a number from 0 to 1, got \"nan\"" },
	{ "clock: {factor: 0x0}\n",
	    "2:17: clock.factor: expected a number from 0 to 1, got \"0x0\"" },
	{ "clock: {factor: 1e999}\n",
	    "2:17: clock.factor: expected a number from 0 to 1, got "
	    "\"1e999\"" },
	{ "clock: {factor: e}\n",
	    "2:17: clock.factor: expected a number from 0 to 1, got \"e\"" },
	{ "clock: {factor: ''}\n",
	    "2:17: clock.factor: expected a number from 0 to 1, got \"\"" },
	{ "clock: {tags: a}\n",
	    "2:15: clock.tags: expected a list, such as [a, b], got \"a\"" },
	{ "clock: {tags: [a, [b]]}\n",
	    "2:19: clock.tags[1]: expected text, got a list" },
	{ "names: [a, ~, {b: c}]\n",
	    "2:15: names[2]: expected text, got a mapping" },
	{ "ports: [1, x]\n", "2:12: ports[1]: expected an integer, got \"x\"" },
	{ "policies: [serve, on]\n",
	    "2:19: policies[1]: expected refuse, serve or off, got \"on\"" },
	{ "uesr: x\n", "2:1: uesr: unknown key; did you mean \"user\"?" },
	{ "Clock: {}\n", "2:1: Clock: unknown key; did you mean \"clock\"?" },
	{ "life-time: 1\n",
	    "2:1: life-time: unknown key; did you mean \"lifetime\"?" },
	{ "zebra: x\n", "2:1: zebra: unknown key" },
	{ "\"\": x\n", "2:1: \"\": unknown key" },
	{ "? \n: x\n", "2:2: \"\": unknown key" },
	{ "clock: {wiat: 1s}\n",
	    "2:9: clock.wiat: unknown key; did you mean \"wait\"?" },
	{ "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghi: x\n",
	    "2:1: abcdefghijabcdefghijabcdefghijabcdefghijabcdefg...: unknown "
	    "key" },
	{ "\"a\\nb\": x\n", "2:1: a?b: unknown key; did you mean \"any\"?" },
	{ "any: 1\non: yes\nany: 2\n", "4:1: any: given before, at line 2" },
	{ "clock:\n  wait: 1s\n  wait: 2s\n",
	    "4:3: clock.wait: given before, at line 3" },
};

static void
bad_values(void **state)
{
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct config c = { 0 };
		struct yaml_errors e;
		struct yaml_node *root;
		size_t n;

		snprintf(text, sizeof text, "%s%s", LISTEN, bad[i].text);
		root = parse(&e, text);
		n = schema_load(rows, root, &c, &e);
		if (n == 0)
			fail_msg("bad[%zu] is taken: %s", i, bad[i].text);
		assert_string_equal(
		    e.lines[0] + strlen("c.yaml:"), bad[i].line);
		assert_int_equal(n, 1);
		assert_int_equal(e.count, 1);
		yaml_errors_free(&e);
		yaml_tree_free(root);
		schema_free(rows, &c);
	}
}

/* Lists of mappings, at the start of the file. */
static const struct {
	const char *text;
	const char *line;
} bad_lists[] = {
	{ "listen: []\n",
	    "1:9: listen: expected a list of 1 to 3 items, got 0" },
	{ "listen:\n", "1:8: listen: expected a list of 1 to 3 items, got 0" },
	{ "listen: [{}, {}, {}, {}]\n",
	    "1:9: listen: expected a list of 1 to 3 items, got 4" },
	{ "listen: x\n",
	    "1:9: listen: expected a list, such as [a, b], got \"x\"" },
	{ "listen: {address: x}\n",
	    "1:9: listen: expected a list, such as [a, b], got a mapping" },
	{ "listen: [x]\n",
	    "1:10: listen[0]: expected a mapping (key: value), got \"x\"" },
	{ "listen: [{}]\n", "1:10: listen[0].address: required, but missing" },
	{ "listen:\n  -\n", "2:4: listen[0].address: required, but missing" },
	{ "listen: [{address: 127.0.0.1:80}]\n",
	    "1:20: " ADDRESS "\"127.0.0.1:80\"" },
	{ "listen: [{address: '127.0.0.1:0'}]\n",
	    "1:20: " ADDRESS "\"127.0.0.1:0\"" },
	{ "listen: [{address: localhost}]\n",
	    "1:20: " ADDRESS "\"localhost\"" },
	{ "listen: [{address: ''}]\n", "1:20: " ADDRESS "\"\"" },
	{ "listen: [{address: \"::\", port: abc}]\n",
	    "1:32: listen[0].port: " INT_RANGE "\"abc\"" },
	{ "listen: [{address: \"::\"}, {address: \"::\", port: 0}]\n",
	    "1:49: listen[1].port: " INT_RANGE "\"0\"" },
	{ "listen: [{address: \"::\", port: 65536}]\n",
	    "1:32: listen[0].port: " INT_RANGE "\"65536\"" },
	{ "listen: [{address: \"::\", transports: udp}]\n",
	    "1:38: listen[0].transports: expected a list, such as [a, b], "
	    "got \"udp\"" },
	{ "listen: [{address: \"::\", transports: []}]\n",
	    "1:38: listen[0].transports: expected a list of at least 1 of "
	    "udp, tcp or quic" },
	{ "listen: [{address: \"::\", transports: [udp, sctp]}]\n",
	    "1:44: listen[0].transports: expected udp, tcp or quic, got "
	    "\"sctp\"" },
	{ "listen: [{address: \"::\", transports: [udp, [tcp]]}]\n",
	    "1:44: listen[0].transports: expected udp, tcp or quic, got a "
	    "list" },
	{ "listen: [{address: \"::\", transports: [udp, udp]}]\n",
	    "1:44: listen[0].transports: \"udp\" is in the list twice" },
	{ "# only this\n", "2:1: listen: required, but missing" },
	{ "on: yes\n", "1:1: listen: required, but missing" },
	{ "just text\n",
	    "1:1: expected a mapping (key: value), got \"just text\"" },
	{ "- a\n", "1:1: expected a mapping (key: value), got a list" },
};

static void
bad_shapes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad_lists / sizeof bad_lists[0]; i++) {
		struct config c = { 0 };
		struct yaml_errors e;
		struct yaml_node *root = parse(&e, bad_lists[i].text);

		assert_int_equal(schema_load(rows, root, &c, &e), 1);
		assert_int_equal(e.count, 1);
		assert_string_equal(
		    e.lines[0] + strlen("c.yaml:"), bad_lists[i].line);
		yaml_errors_free(&e);
		yaml_tree_free(root);
		schema_free(rows, &c);
	}
}

static void
all_errors_are_told(void **state)
{
	static const char text[] = "listen:\n"
				   "  - {address: x, port: y, prot: 1}\n"
				   "  - {address: \"::\", port: 99999}\n"
				   "  - z\n"
				   "any: 1\n"
				   "any: 2\n"
				   "polcy: off\n"
				   "clock: {factor: 2, wait: 1ms}\n";
	static const char *const places[] = { "7:1: polcy", "2:27: listen[0].",
		"2:15: listen[0].", "2:24: listen[0].", "3:27: listen[1].",
		"4:5: listen[2]:", "8:17: clock.", "8:26: clock.", "6:1: any" };
	struct config c = { 0 };
	struct yaml_errors e;
	struct yaml_node *root = parse(&e, text);

	(void)state;
	assert_int_equal(schema_load(rows, root, &c, &e), 9);
	assert_int_equal(e.count, 9);
	for (size_t i = 0; i < 9; i++)
		assert_memory_equal(e.lines[i] + strlen("c.yaml:"), places[i],
		    strlen(places[i]));
	yaml_errors_free(&e);
	yaml_tree_free(root);
	schema_free(rows, &c);
}

static void
long_lists_end(void **state)
{
	struct config c = { 0 };
	struct yaml_errors e = { .file = "f" };
	struct yaml_node *root;
	size_t cap = 32768, n = 0;
	char *text = malloc(cap);

	(void)state;
	assert_non_null(text);
	n = (size_t)snprintf(text, cap, LISTEN "ports: [");
	for (int i = 0; i < 4097; i++)
		n += (size_t)snprintf(text + n, cap - n, "%d, ", i);
	snprintf(text + n, cap - n, "]\n");
	root = yaml_parse((const uint8_t *)text, strlen(text), &e);
	assert_non_null(root);
	assert_int_equal(schema_load(rows, root, &c, &e), 1);
	assert_string_equal(e.lines[0],
	    "f:2:8: ports: expected a list of 0 to 4096 items, got 4097");
	yaml_errors_free(&e);
	yaml_tree_free(root);
	schema_free(rows, &c);
	free(text);
}

static void
nodes_are_found(void **state)
{
	static const struct {
		const char *path;
		unsigned int line, column; /* 0: not there */
	} table[] = {
		{ "", 1, 1 },
		{ "any", 1, 6 },
		{ "clock.wait", 3, 9 },
		{ "listen", 5, 3 },
		{ "listen[0]", 5, 5 },
		{ "listen[1].address", 6, 15 },
		{ "listen[2]", 0, 0 },
		{ "listen.address", 0, 0 },
		{ "any.x", 0, 0 },
		{ "any[0]", 0, 0 },
		{ "none", 0, 0 },
		{ "clock.none", 0, 0 },
		{ "clock.wait.more", 0, 0 },
	};
	struct yaml_errors e;
	struct yaml_node *root = parse(&e,
	    "any: 1\nclock:\n  wait: 1s\nlisten:\n"
	    "  - {address: \"::\"}\n  - {address: \"::1\"}\n");

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const struct yaml_node *n = schema_find(root, table[i].path);

		if ((n == NULL) != (table[i].line == 0))
			fail_msg("%s", table[i].path);
		if (n != NULL) {
			assert_int_equal(n->line, table[i].line);
			assert_int_equal(n->column, table[i].column);
		}
	}
	assert_null(schema_find(NULL, "any"));
	yaml_tree_free(root);
}

/* Where the row says so, one value stands for a list of one. */
static void
test_lone_item(void **state)
{
	static const struct schema_row lone_rows[] = {
		{ "names", SCHEMA_LIST, AT(config, names), .min = 1, .max = 2,
		    .item_type = SCHEMA_STRING, .lone = true },
		{ 0 },
	};
	static const struct {
		const char *text;
		size_t count;
		const char *error;
	} cases[] = {
		{ "names: a\nother: b\n", 1, "c.yaml:2:1: other: unknown" },
		{ "names: [a]\n", 1, NULL },
		{ "names: [a, b]\n", 2, NULL },
		{ "names:\n", 0, "c.yaml:1:7: names: expected a list of 1" },
		{ "names: {a: b}\n", 0, "c.yaml:1:8: names: expected a list" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct yaml_errors e;
		struct yaml_node *root = parse(&e, cases[i].text);
		struct config c = { 0 };

		schema_load(lone_rows, root, &c, &e);
		assert_int_equal(c.names.count, cases[i].count);
		if (cases[i].count > 0)
			assert_string_equal(*(char **)c.names.items, "a");
		assert_int_equal(e.count, cases[i].error != NULL ? 1 : 0);
		if (e.count > 0)
			assert_int_equal(strncmp(e.lines[0], cases[i].error,
					     strlen(cases[i].error)),
			    0);
		schema_free(lone_rows, &c);
		yaml_tree_free(root);
		yaml_errors_free(&e);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(whole_file),
		cmocka_unit_test(empty_sections),
		cmocka_unit_test(booleans),
		cmocka_unit_test(bad_values),
		cmocka_unit_test(bad_shapes),
		cmocka_unit_test(all_errors_are_told),
		cmocka_unit_test(long_lists_end),
		cmocka_unit_test(nodes_are_found),
		cmocka_unit_test(test_lone_item),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
