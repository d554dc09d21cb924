/* The event log: the line itself, and that a slow reader costs lines, no time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "proxy/eventlog.h"
#include "tests/capture.h"
#include "tests/sockets.h"
#include "tests/support.h"

#define MS 1000000ull

static struct app
make_app(const char *name)
{
	struct app a = { .proto = SOCK_TCP };

	snprintf(a.name, sizeof a.name, "%s", name);
	return a;
}

static void
test_disconnect(void **state)
{
	struct app a = make_app("ssh");
	struct event e = { .kind = EVENT_DISCONNECT,
		.app = &a,
		.client = sockets_addr("192.0.2.7:40000"),
		.edge = sockets_addr("198.51.100.1:22"),
		.origin = sockets_addr("[2001:db8::22]:2222"),
		.client_bytes = 1234,
		.origin_bytes = 18446744073709551615u,
		.client_rtt_ns = 1500000,
		.origin_rtt_ns = 42,
		.connect_us = 1790000000000007,
		.disconnect_us = 1790000001500000,
		.status = STATUS_CLOSED,
		.firewall_matched = true };
	char out[EVENT_LINE_MAX + 1];
	size_t len;

	(void)state;
	a.header = APP_HEADER_V2;
	a.allows = 1;
	len = event_format(out, &e, 1790000001500001);
	out[len] = '\0';
	assert_string_equal(out,
	    "{\"Application\":\"ssh\",\"ClientAsn\":0,\"ClientBytes\":1234,"
	    "\"ClientIP\":\"192.0.2.7\","
	    "\"ClientMatchedIpFirewall\":\"WHITELIST_IP\","
	    "\"ClientPort\":40000,\"ClientProto\":\"tcp\","
	    "\"ClientTcpRtt\":1500000,\"ClientTlsProtocol\":\"none\","
	    "\"ClientTlsStatus\":\"UNKNOWN\","
	    "\"ConnectTimestamp\":\"2026-09-21T14:13:20.000007Z\","
	    "\"DisconnectTimestamp\":\"2026-09-21T14:13:21.500000Z\","
	    "\"Event\":\"disconnect\",\"IpFirewall\":true,"
	    "\"OriginBytes\":18446744073709551615,"
	    "\"OriginIP\":\"2001:db8::22\",\"OriginPort\":2222,"
	    "\"OriginProto\":\"tcp\",\"OriginTcpRtt\":42,"
	    "\"OriginTlsMode\":\"off\",\"OriginTlsProtocol\":\"none\","
	    "\"OriginTlsStatus\":\"UNKNOWN\",\"ProxyProtocol\":\"v2\","
	    "\"Status\":200,"
	    "\"Timestamp\":\"2026-09-21T14:13:21.500001Z\"}\n");
}

static json_t *
parse(const struct event *e)
{
	char out[EVENT_LINE_MAX];
	size_t len = event_format(out, e, 1790000000000000);
	json_error_t error;
	json_t *o = json_loadb(out, len, JSON_REJECT_DUPLICATES, &error);

	if (o == NULL)
		fail_msg("%.*s: %s", (int)len, out, error.text);
	/* room for the digits that jansson does not read */
	assert_true(len <= EVENT_LINE_MAX - 8);
	assert_int_equal(out[len - 1], '\n');
	assert_ptr_equal(memchr(out, '\n', len), out + len - 1);
	return o;
}

static void
assert_text(const json_t *o, const char *key, const char *want)
{
	assert_string_equal(json_string_value(json_object_get(o, key)), want);
}

/* Every name is Spectrum's, and they stand in the order of its list. */
static void
test_names(void **state)
{
	static const char *const names[] = { "Application", "ClientAsn",
		"ClientBytes", "ClientIP", "ClientMatchedIpFirewall",
		"ClientPort", "ClientProto", "ClientTcpRtt",
		"ClientTlsProtocol", "ClientTlsStatus", "ConnectTimestamp",
		"DisconnectTimestamp", "Event", "IpFirewall", "OriginBytes",
		"OriginIP", "OriginPort", "OriginProto", "OriginTcpRtt",
		"OriginTlsMode", "OriginTlsProtocol", "OriginTlsStatus",
		"ProxyProtocol", "Status", "Timestamp" };
	struct app a = make_app("a");
	struct event e = { .app = &a, .client = sockets_addr("192.0.2.7:1") };
	json_t *o = parse(&e);
	const char *key;
	json_t *value;
	size_t n = 0;

	(void)state;
	json_object_foreach(o, key, value)
	{
		assert_true(n < sizeof names / sizeof names[0]);
		assert_string_equal(key, names[n++]);
	}
	assert_int_equal(n, sizeof names / sizeof names[0]);
	json_decref(o);
}

/* What the end of a session is that never reached an origin. */
static void
test_kind_of_status(void **state)
{
	static const enum status resolve[] = { STATUS_RESOLVE_FAILED,
		STATUS_RESOLVE_EMPTY, STATUS_ORIGIN_BLOCKED,
		STATUS_RESOLVE_TIMEDOUT };
	size_t found = 0;

	(void)state;
	for (size_t i = 0; i < sizeof resolve / sizeof *resolve; i++)
		assert_int_equal(
		    event_kind_of(resolve[i]), EVENT_RESOLVE_ORIGIN);
	for (int s = 0; s < 600; s++) {
		enum event_kind kind = event_kind_of((enum status)s);

		found += kind == EVENT_RESOLVE_ORIGIN;
		assert_true(
		    kind == EVENT_RESOLVE_ORIGIN || kind == EVENT_ORIGIN_ERROR);
	}
	assert_int_equal(found, sizeof resolve / sizeof *resolve);
}

static void
test_words(void **state)
{
	static const struct {
		enum event_kind kind;
		bool matched;
		size_t denies;
		enum app_header header;
		enum status status;
		const char *event, *firewall, *proxy;
	} rows[] = {
		{ EVENT_CONNECT, false, 0, APP_HEADER_OFF, STATUS_OPEN,
		    "connect", "UNKNOWN", "off" },
		{ EVENT_DISCONNECT, false, 2, APP_HEADER_V1, STATUS_CLOSED,
		    "disconnect", "UNKNOWN", "v1" },
		{ EVENT_CLIENT_FILTERED, true, 1, APP_HEADER_V2,
		    STATUS_FIREWALL, "clientFiltered", "BLOCK_IP", "v2" },
		{ EVENT_CLIENT_FILTERED, false, 1, APP_HEADER_V2,
		    STATUS_UNAVAILABLE, "clientFiltered", "UNKNOWN", "v2" },
		{ EVENT_RESOLVE_ORIGIN, true, 1, APP_HEADER_V2_FIRST,
		    STATUS_RESOLVE_FAILED, "resolveOrigin", "WHITELIST_IP",
		    "v2-first" },
		{ EVENT_ORIGIN_ERROR, false, 0, APP_HEADER_SIMPLE,
		    STATUS_CONNECT_REFUSED, "originError", "UNKNOWN",
		    "simple" },
		{ EVENT_TLS_ERROR, false, 0, APP_HEADER_OFF,
		    STATUS_CONNECT_FAILED, "tlsError", "UNKNOWN", "off" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct app a = make_app("udp app");
		struct event e = { .kind = rows[i].kind,
			.app = &a,
			.client = sockets_addr("[2001:db8::1]:9"),
			.status = rows[i].status,
			.firewall_matched = rows[i].matched };
		json_t *o;

		a.proto = SOCK_UDP;
		a.denies = rows[i].denies;
		a.header = rows[i].header;
		o = parse(&e);
		assert_text(o, "Event", rows[i].event);
		assert_string_equal(
		    event_kind_str(rows[i].kind), rows[i].event);
		assert_text(o, "ClientMatchedIpFirewall", rows[i].firewall);
		assert_text(o, "ProxyProtocol", rows[i].proxy);
		assert_text(o, "ClientProto", "udp");
		assert_text(o, "ClientIP", "2001:db8::1");
		/* no origin was chosen, and nothing was connected */
		assert_text(o, "OriginIP", "");
		assert_int_equal(
		    json_integer_value(json_object_get(o, "OriginPort")), 0);
		assert_true(
		    json_is_null(json_object_get(o, "ConnectTimestamp")));
		assert_true(
		    json_is_null(json_object_get(o, "DisconnectTimestamp")));
		assert_int_equal(json_is_true(json_object_get(o, "IpFirewall")),
		    rows[i].denies > 0);
		assert_int_equal(
		    json_integer_value(json_object_get(o, "Status")),
		    rows[i].status);
		json_decref(o);
	}
}

/* Names are operator's input; whatever they are, the line stays JSON. */
static void
test_escapes(void **state)
{
	static const char *const names[] = { "a\"b", "a\\b", "\\\"",
		"</script>", "M\xc3\xbcnchen", "\xf0\x9f\x90\xa7 \xe2\x82\xac",
		"a/b", "\n\t\x01\x1f" };
	char every[32];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct app a = make_app(names[i]);
		struct event e = { .app = &a,
			.client = sockets_addr("192.0.2.7:1") };
		json_t *o = parse(&e);

		assert_text(o, "Application", names[i]);
		json_decref(o);
	}
	for (int c = 1; c < 0x80; c++) {
		struct app a;
		struct event e = { .app = &a,
			.client = sockets_addr("192.0.2.7:1") };
		json_t *o;

		snprintf(every, sizeof every, "x%cy", c);
		a = make_app(every);
		o = parse(&e);
		assert_text(o, "Application", every);
		json_decref(o);
	}
}

/* The longest of everything still fits. */
static void
test_longest(void **state)
{
	static const char *const fills[] = { "\"", "\x01", "\xf4\x8f\xbf\xbf",
		"\xc3\xbc" };

	(void)state;
	for (size_t i = 0; i < sizeof fills / sizeof fills[0]; i++) {
		struct app a = make_app("");
		struct event e = { .kind = EVENT_CLIENT_FILTERED,
			.app = &a,
			.firewall_matched = true,
			.client_bytes = INT64_MAX,
			.origin_bytes = INT64_MAX,
			.client_rtt_ns = INT64_MAX,
			.origin_rtt_ns = INT64_MAX,
			.connect_us = 253402300799999999,
			.disconnect_us = 253402300799999999,
			.status = STATUS_FIREWALL };
		size_t fill = strlen(fills[i]);
		json_t *o;

		for (size_t n = 0; n + fill < sizeof a.name; n += fill)
			memcpy(a.name + n, fills[i], fill);
		e.client =
		    sockets_addr("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]"
				 ":65535");
		e.origin = e.client;
		a.proto = SOCK_UDP;
		a.header = APP_HEADER_V2_FIRST;
		o = parse(&e);
		/* cut, perhaps, but never inside a character */
		assert_int_equal(
		    strncmp(a.name,
			json_string_value(json_object_get(o, "Application")),
			24),
		    0);
		json_decref(o);
	}
}

struct counted {
	uint64_t lines, broken;
};

static void
count_line(struct counted *c, const char *line, size_t len)
{
	json_t *o = json_loadb(line, len, 0, NULL);

	c->lines++;
	c->broken += o == NULL;
	json_decref(o);
}

static struct counted
count_file(const char *path)
{
	struct view file = support_file(path);
	const char *at = (const char *)file.data, *end = at + file.len, *nl;
	struct counted c = { 0 };

	for (; (nl = memchr(at, '\n', (size_t)(end - at))) != NULL; at = nl + 1)
		count_line(&c, at, (size_t)(nl - at));
	assert_ptr_equal(at, end);
	support_free(file);
	return c;
}

static void
write_events(struct eventlog *log, size_t n)
{
	struct app a = make_app("a");
	struct event e = { .app = &a, .client = sockets_addr("192.0.2.7:1") };

	for (size_t i = 0; i < n; i++)
		eventlog_write(log, &e);
}

static void
make_directory(char dir[static 32])
{
	snprintf(dir, 32, "/tmp/eventlog.XXXXXX");
	assert_non_null(mkdtemp(dir));
}

static void
test_file(void **state)
{
	char dir[32], path[64];
	struct eventlog *log;
	struct stat st;
	mode_t mask = umask(0);

	(void)state;
	make_directory(dir);
	snprintf(path, sizeof path, "%s/log", dir);
	for (uint64_t round = 1; round <= 2; round++) { /* appends */
		log = eventlog_open(path);
		assert_non_null(log);
		write_events(log, 3000);
		eventlog_close(log);
		assert_int_equal(count_file(path).lines, 3000 * round);
	}
	assert_int_equal(count_file(path).broken, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	umask(mask);
	unlink(path);
	rmdir(dir);
	errno = 0;
	assert_null(eventlog_open(path)); /* the directory is gone */
	assert_int_equal(errno, ENOENT);
}

static void
test_none(void **state)
{
	(void)state;
	write_events(NULL, 1);
	assert_int_equal(eventlog_lost(NULL), 0);
	assert_int_equal(eventlog_reopen(NULL), 0);
	eventlog_close(NULL);
}

/* logrotate: the old name moves away, then SIGUSR1. */
static void
test_reopen(void **state)
{
	char dir[32], path[64], old[64];
	struct eventlog *log;

	(void)state;
	make_directory(dir);
	snprintf(path, sizeof path, "%s/log", dir);
	snprintf(old, sizeof old, "%s/log.1", dir);
	log = eventlog_open(path);
	assert_non_null(log);
	write_events(log, 5);
	for (int i = 0; i < 2000 && count_file(path).lines < 5; i++)
		usleep(1000);
	assert_int_equal(rename(path, old), 0);
	write_events(log, 7); /* still the old file's */
	for (int i = 0; i < 2000 && count_file(old).lines < 12; i++)
		usleep(1000);
	assert_int_equal(count_file(old).lines, 12);
	assert_int_equal(eventlog_reopen(log), 0);
	write_events(log, 9);
	eventlog_close(log);
	assert_int_equal(count_file(path).lines, 9);
	assert_int_equal(count_file(old).lines, 12);

	/* where it cannot, the old one stays */
	log = eventlog_open(path);
	assert_non_null(log);
	assert_int_equal(rename(path, old), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(eventlog_reopen(log), -1);
	assert_int_equal(errno, EISDIR);
	write_events(log, 4);
	eventlog_close(log);
	assert_int_equal(count_file(old).lines, 13);
	rmdir(path);
	unlink(old);
	rmdir(dir);
}

/* stdout is a pipe of one page while `log` is opened on it. */
static struct eventlog *
open_on_pipe(int ends[2])
{
	int saved = dup(STDOUT_FILENO);
	struct eventlog *log;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) > 0);
	fflush(stdout);
	assert_true(dup2(ends[1], STDOUT_FILENO) >= 0);
	log = eventlog_open("-");
	assert_true(dup2(saved, STDOUT_FILENO) >= 0);
	close(saved);
	close(ends[1]);
	assert_non_null(log);
	return log;
}

/* Reads whole lines until `lines` or for ten seconds. */
static struct counted
drain(int fd, struct eventlog *log, uint64_t total)
{
	static char bytes[1 << 16];
	struct counted c = { 0 };
	uint64_t by = clock_monotonic_ns() + 10000 * MS;
	size_t used = 0;

	while (
	    c.lines + eventlog_lost(log) < total && clock_monotonic_ns() < by) {
		struct pollfd ready = { fd, POLLIN, 0 };
		ssize_t n;
		char *nl;

		if (poll(&ready, 1, 100) <= 0)
			continue;
		n = read(fd, bytes + used, sizeof bytes - used);
		assert_true(n > 0);
		used += (size_t)n;
		while ((nl = memchr(bytes, '\n', used)) != NULL) {
			size_t len = (size_t)(nl - bytes);

			count_line(&c, bytes, len);
			used -= len + 1;
			memmove(bytes, nl + 1, used);
		}
	}
	return c;
}

#define FLOOD 20000

/* Nobody reads: the queue fills, the rest is counted, and no write waits. */
static void
test_blocked(void **state)
{
	struct eventlog *log;
	struct counted c;
	uint64_t before, lost;
	struct capture said;
	int ends[2];

	(void)state;
	capture_begin(&said);
	log = open_on_pipe(ends);
	before = clock_monotonic_ns();
	write_events(log, FLOOD);
	assert_true(clock_monotonic_ns() - before < 5000 * MS);
	lost = eventlog_lost(log);
	assert_in_range(lost, FLOOD - 4096 - 64, FLOOD - 4096);
	c = drain(ends[0], log, FLOOD);
	assert_int_equal(c.broken, 0);
	assert_int_equal(c.lines + eventlog_lost(log), FLOOD);
	/* and it goes on */
	write_events(log, 10);
	c = drain(ends[0], log, lost + 10);
	assert_int_equal(c.lines, 10);
	assert_int_equal(c.broken, 0);
	assert_int_equal(eventlog_lost(log), lost);
	eventlog_close(log);
	capture_end(&said);
	assert_in_range(capture_count(&said, "lines come faster"), 1, 2);
	close(ends[0]);
}

static void
test_close_bounded(void **state)
{
	struct eventlog *log;
	uint64_t before;
	int ends[2];

	(void)state;
	log = open_on_pipe(ends);
	write_events(log, 3000);
	before = clock_monotonic_ns();
	eventlog_close(log);
	assert_in_range(clock_monotonic_ns() - before, 900 * MS, 8000 * MS);
	close(ends[0]);
}

/* The reader is gone: every line is counted, and no signal kills us. */
static void
test_no_reader(void **state)
{
	struct eventlog *log;
	int ends[2];

	(void)state;
	log = open_on_pipe(ends);
	close(ends[0]);
	write_events(log, 500);
	for (int i = 0; i < 5000 && eventlog_lost(log) < 500; i++)
		usleep(1000);
	assert_int_equal(eventlog_lost(log), 500);
	eventlog_close(log);
}

#define THREADS 4
#define EACH 900

static void *
worker(void *log)
{
	for (int i = 0; i < 9; i++) {
		write_events(log, EACH / 9);
		usleep(1000);
	}
	return NULL;
}

static void
test_workers(void **state)
{
	char dir[32], path[64];
	pthread_t threads[THREADS];
	struct eventlog *log;
	struct counted c;

	(void)state;
	make_directory(dir);
	snprintf(path, sizeof path, "%s/log", dir);
	log = eventlog_open(path);
	assert_non_null(log);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, worker, log), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(eventlog_lost(log), 0);
	eventlog_close(log);
	c = count_file(path);
	assert_int_equal(c.lines, THREADS * EACH);
	assert_int_equal(c.broken, 0);
	unlink(path);
	rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disconnect),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_kind_of_status),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_reopen),
		cmocka_unit_test(test_blocked),
		cmocka_unit_test(test_close_bounded),
		cmocka_unit_test(test_no_reader),
		cmocka_unit_test(test_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
