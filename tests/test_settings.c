/* roughtimed.yaml: what is taken, and that every fault is told at its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "roughtime/settings.h"
#include "net/sharing.h"
#include "roughtime/version.h"
#include "tests/support.h"

#define ID "identities: [{name: main, key: main.key}]\n"
#define LISTEN "listen: [{address: 0.0.0.0}]\n"
#define MINIMAL LISTEN ID

static size_t
parse(struct settings *s, const char *text, struct yaml_errors *e)
{
	*e = (struct yaml_errors){ .file = "f" };
	return settings_parse(s, (const uint8_t *)text, strlen(text), e);
}

static void
good(struct settings *s, const char *text)
{
	struct yaml_errors e;
	size_t n = parse(s, text, &e);

	if (n > 0)
		fail_msg("%s: %s", text, e.lines[0]);
	yaml_errors_free(&e);
}

static void
test_defaults(void **state)
{
	struct settings s;
	const struct settings_listen *l;

	(void)state;
	good(&s, MINIMAL);
	l = settings_listen_at(&s, 0);
	assert_int_equal(s.listen.count, 1);
	assert_int_equal(addr_port(&l->address), 2002);
	assert_int_equal(l->transports, SETTINGS_UDP | SETTINGS_TCP);
	assert_int_equal(s.version_rows, VERSION_ALL);
	assert_int_equal(s.batch, 256);
	assert_int_equal(s.ingress, SETTINGS_PARALLEL_QUEUES);
	assert_int_equal(s.clock.when_unsynchronised, TIMESOURCE_REFUSE);
	assert_int_equal(s.clock.min_radius_s, 3);
	assert_int_equal(s.delegation.lifetime_s, 86400);
	assert_int_equal(s.delegation.warn_s, 3 * 86400);
	assert_int_equal(s.tcp.idle_timeout_ms, 30000);
	assert_true(s.limit.rate == 0);
	assert_true(s.grease.fraction == 0);
	assert_string_equal(s.user, "nobody");
	assert_int_equal(s.sharing.mode, SHARING_GUARDED);
	assert_true(settings_workers(&s) >= 1);
	settings_free(&s);
}

static void
test_values(void **state)
{
	struct settings s;

	(void)state;
	good(&s,
	    "listen:\n"
	    "  - {address: \"::\", port: 5319, transports: [tcp]}\n"
	    "  - {address: 127.0.0.1, port: 5319, transports: [udp]}\n"
	    "identities:\n"
	    "  - {name: a, key: /k}\n"
	    "  - {name: b, public_key: AAAA, delegations: /d}\n"
	    "workers: 3\ningress: shared-queue\nbatch: 1024\n"
	    "versions: [rfc, draft-08, google]\nprefer: draft-14\n"
	    "clock: {when_unsynchronised: serve, unsynchronised_radius_s: 1h}\n"
	    "delegation: {lifetime: 2h, overlap: 10m}\n"
	    "tcp: {idle_timeout: 500ms, max_frame: 65535}\n"
	    "limit: {rate: 2.5, prefix6: 48}\n"
	    "grease: {fraction: 0.01}\n"
	    "sharing: {mode: guarded, socket: /run/t.sock, fail: open}\n"
	    "user: time\nlog_level: debug\n");
	assert_int_equal(s.listen.count, 2);
	assert_int_equal(settings_listen_at(&s, 0)->transports, SETTINGS_TCP);
	assert_int_equal(addr_port(&settings_listen_at(&s, 1)->address), 5319);
	assert_int_equal(settings_workers(&s), 3);
	assert_int_equal(s.version_rows,
	    1u << VERSION_RFC | 1u << VERSION_DRAFT08 | 1u << VERSION_GOOGLE);
	assert_int_equal(s.tcp.idle_timeout_ms, 500);
	assert_int_equal(
	    settings_timesource(&s).unsynchronised_radius_us, 3600000000u);
	assert_int_equal(
	    settings_timesource(&s).when_unsynchronised, TIMESOURCE_SERVE);
	assert_true(settings_limit(&s).rate_per_s == 2.5);
	assert_int_equal(settings_limit(&s).prefix6, 48);
	assert_int_equal(settings_limit(&s).prefix4, 32);
	assert_int_equal(s.sharing.mode, SHARING_GUARDED);
	settings_free(&s);
}

static void
test_identities(void **state)
{
	struct identity_config list[IDENTITY_MAX];
	struct identity_settings ids;
	struct settings s;

	(void)state;
	good(&s,
	    LISTEN "identities:\n"
		   "  - {name: a, key: /k}\n"
		   "  - {name: b, public_key: AAAA, delegations: /d}\n"
		   "prefer: draft-14\ndelegation: {backdate: 30m}\n");
	ids = settings_identities(&s, list);
	assert_int_equal(ids.count, 2);
	assert_ptr_equal(ids.list, list);
	assert_string_equal(list[0].key, "/k");
	assert_null(list[0].public_key);
	assert_string_equal(list[1].delegations, "/d");
	assert_null(list[1].key);
	assert_true(ids.prefer_draft14);
	assert_int_equal(ids.backdate_s, 1800);
	assert_int_equal(ids.versions, VERSION_ALL);
	settings_free(&s);
}

/* The number 0x8000000c means both of its rows, a draft's name one. */
static void
test_versions(void **state)
{
	static const struct {
		const char *word;
		uint32_t rows;
	} cases[] = {
		{ "0x8000000c", 1u << VERSION_DRAFT12 | 1u << VERSION_DRAFT14 },
		{ "8000000c", 1u << VERSION_DRAFT12 | 1u << VERSION_DRAFT14 },
		{ "draft-14", 1u << VERSION_DRAFT14 },
		{ "draft-19", 1u << VERSION_DRAFT14 },
		{ "draft-12", 1u << VERSION_DRAFT12 },
		{ "1", 1u << VERSION_RFC },
		{ "rfc", 1u << VERSION_RFC },
		{ "google", 1u << VERSION_GOOGLE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[256];
		struct settings s;

		snprintf(text, sizeof text, MINIMAL "versions: [%s]\n",
		    cases[i].word);
		good(&s, text);
		assert_int_equal(s.version_rows, cases[i].rows);
		settings_free(&s);
	}
}

/* What is wrong, and the start of each line of errors in turn. */
static const struct {
	const char *text;
	const char *lines[4];
} bad[] = {
	{ "", { "f:1:1: listen: ", "f:1:1: identities: " } },
	{ "listen: []\n" ID, { "f:1:9: listen: expected at least one" } },
	{ LISTEN "identities: []\n", { "f:2:13: identities: " } },
	{ ID "listen: [{address: 0.0.0.0}, {address: 0.0.0.0}]\n",
	    { "f:2:30: listen[1]: same address" } },
	{ ID "listen: [{address: nonsense, port: 0}]\n",
	    { "f:2:20: listen[0].address: expected",
		"f:2:36: listen[0].port: expected" } },
	{ ID "listen: [{address: 0.0.0.0, transports: []}]\n",
	    { "f:2:41: listen[0].transports: expected" } },
	{ ID "listen: [{address: 0.0.0.0, transports: [sctp]}]\n",
	    { "f:2:42: listen[0].transports: expected" } },
	{ LISTEN "identities: [{name: a}]\n",
	    { "f:2:14: identities[0]: expected `key`, or" } },
	{ LISTEN "identities: [{name: a, key: k, public_key: p}]\n",
	    { "f:2:14: identities[0]: expected `key` alone" } },
	{ LISTEN "identities: [{name: a, public_key: p}]\n",
	    { "f:2:14: identities[0]: expected `key`, or" } },
	{ LISTEN "identities: [{key: k}]\n", { "f:2:14: identities[0].name" } },
	{ LISTEN "identities: [{name: a, key: k}, {name: a, key: l}]\n",
	    { "f:2:33: identities[1].name: same as identities[0]" } },
	{ MINIMAL "workers: many\nbatch: 1025\n",
	    { "f:3:10: workers: expected", "f:4:8: batch: expected" } },
	{ MINIMAL "versions: [rfc, draft-99]\n", { "f:3:17: versions[1]: " } },
	{ MINIMAL "delegation: {lifetime: 1h, overlap: 1h}\n",
	    { "f:3:37: delegation.overlap: expected less" } },
	{ MINIMAL "clock: {min_radius_s: 20, max_radius_s: 10}\n",
	    { "f:3:41: clock.max_radius_s: expected" } },
	{ MINIMAL "clock: {when_unsynchronised: hope}\n",
	    { "f:3:30: clock.when_unsynchronised: expected" } },
	{ MINIMAL "sharing: {mode: maybe}\n",
	    { "f:3:17: sharing.mode: expected" } },
	{ MINIMAL "wokers: 2\n", { "f:3:1: wokers: unknown key" } },
	{ MINIMAL "batch: 1\nbatch: 2\n", { "f:4:1: batch: given before" } },
	{ MINIMAL "grease: {fraction: 1.5}\nlimit: {rate: -1}\n",
	    { "f:4:15: limit.rate: expected",
		"f:3:20: grease.fraction: expected" } },
	{ MINIMAL "tcp: {max_frame: 100}\n",
	    { "f:3:18: tcp.max_frame: expected" } },
	{ "listen: [\n", { "f:2:1: " } },
	{ "- a\n", { "f:1:1: " } },
};

static void
check_lines(
    const struct yaml_errors *e, const char *const *lines, const char *text)
{
	size_t n = 0;

	for (; n < 4 && lines[n] != NULL; n++) {
		if (n >= e->count ||
		    strncmp(e->lines[n], lines[n], strlen(lines[n])) != 0)
			fail_msg("%s\nexpected %s…\ngot %s", text, lines[n],
			    n < e->count ? e->lines[n] : "nothing");
	}
	assert_true(n > 0);
}

static void
test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct yaml_errors e;
		struct settings s;

		assert_true(parse(&s, bad[i].text, &e) > 0);
		check_lines(&e, bad[i].lines, bad[i].text);
		yaml_errors_free(&e);
		settings_free(&s);
	}
}

/* The shipped file is good, and shows the true defaults. */
static void
test_shipped(void **state)
{
	struct view file = support_file("config/roughtimed.yaml");
	struct settings shipped, plain;
	struct yaml_errors e = { .file = "config/roughtimed.yaml" };

	(void)state;
	assert_int_equal(settings_parse(&shipped, file.data, file.len, &e), 0);
	good(&plain, MINIMAL);
	assert_int_equal(shipped.listen.count, 2);
	assert_memory_equal(&shipped.clock, &plain.clock, sizeof plain.clock);
	settings_free(&shipped);
	settings_free(&plain);
	yaml_errors_free(&e);
	support_free(file);
}

/* Every commented default, uncommented, parses to the default. */
static void
test_shipped_comments(void **state)
{
	static const char text[] = MINIMAL
	    "workers: auto\ningress: parallel-queues\nbatch: 256\n"
	    "rcvbuf: 4194304\nprefer: rfc\n"
	    "versions: [rfc, draft-14, draft-12, draft-11, draft-10, "
	    "draft-09, draft-08, draft-07, draft-06, draft-05, draft-04, "
	    "draft-03, draft-02, draft-01, google]\n"
	    "clock: {min_radius_s: 3, unsynchronised_radius_s: 60, "
	    "max_radius_s: 600, step_ms: 500}\n"
	    "delegation: {lifetime: 24h, overlap: 1h, backdate: 1h, "
	    "warn: 3d}\n"
	    "tcp: {max_connections: 1024, max_per_client: 64, "
	    "idle_timeout: 30s, read_timeout: 5s, write_timeout: 5s, "
	    "max_frame: 4096, max_outstanding: 16, "
	    "short_requests: answer}\n"
	    "limit: {rate: 0, burst: 100, prefix4: 32, prefix6: 56, "
	    "entries: 65536}\n";
	struct settings s, plain;

	(void)state;
	good(&s, text);
	good(&plain, MINIMAL);
	assert_int_equal(s.version_rows, plain.version_rows);
	assert_int_equal(s.workers, plain.workers);
	assert_int_equal(s.batch, plain.batch);
	assert_int_equal(s.rcvbuf, plain.rcvbuf);
	assert_memory_equal(&s.clock, &plain.clock, sizeof s.clock);
	assert_memory_equal(
	    &s.delegation, &plain.delegation, sizeof s.delegation);
	assert_memory_equal(&s.tcp, &plain.tcp, sizeof s.tcp);
	assert_memory_equal(&s.limit, &plain.limit, sizeof s.limit);
	settings_free(&s);
	settings_free(&plain);
}

static void
test_options(void **state)
{
	static const char *const two[] = { "127.0.0.1:2003", "[::1]:2004" };
	static const char *const wrong[] = { "localhost:1" };
	struct settings s;

	(void)state;
	assert_int_equal(settings_from_options(&s, "k", NULL, 0), 0);
	assert_int_equal(addr_port(&settings_listen_at(&s, 0)->address), 2002);
	assert_int_equal(s.version_rows, VERSION_ALL);
	assert_int_equal(s.clock.when_unsynchronised, TIMESOURCE_SERVE);
	settings_free(&s);
	assert_int_equal(settings_from_options(&s, "k", two, 2), 0);
	assert_int_equal(s.listen.count, 2);
	assert_int_equal(addr_port(&settings_listen_at(&s, 1)->address), 2004);
	settings_free(&s);
	assert_int_equal(settings_from_options(&s, "k", wrong, 1), -1);
	settings_free(&s);
}

static void
test_fixed(void **state)
{
	static const struct {
		const char *text;
		const char *keys; /* NULL: a reload changes it */
	} cases[] = {
		{ MINIMAL, NULL },
		{ MINIMAL "limit: {rate: 5}\nlog_level: debug\n", NULL },
		{ MINIMAL "batch: 16\n", "batch" },
		{ MINIMAL "user: time\nworkers: 9\n", "workers, user" },
		{ ID "listen: [{address: 127.0.0.1}]\n", NULL },
		{ MINIMAL "passphrase_file: /p\n", "passphrase_file" },
		{ MINIMAL "tcp: {max_frame: 5000}\n", "tcp.max_frame" },
		{ MINIMAL "sharing: {mode: open}\n", "sharing.mode" },
	};
	struct settings was, now;
	char buf[128];

	(void)state;
	good(&was, MINIMAL);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *keys;

		good(&now, cases[i].text);
		keys = settings_fixed_change(&was, &now, buf, sizeof buf);
		if (cases[i].keys == NULL)
			assert_null(keys);
		else
			assert_string_equal(keys, cases[i].keys);
		settings_free(&now);
	}
	settings_free(&was);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_identities),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_shipped_comments),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_fixed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
