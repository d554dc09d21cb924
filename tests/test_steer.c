/* net/steer.h: the kernel filter, tried on real sockets. */
#include "net/steer.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/wire.h"
#include "roughtime/request.h"
#include "tests/sockets.h"

#define MIN_LEN 1024

/* A datagram as a recipe: tags, then bytes of padding up to `size`. */
struct recipe {
	const char *name;
	const char *tags; /* four characters each; _ stands for NUL */
	size_t size; /* of the payload */
	uint32_t count; /* 0: as many as there are tags */
	int32_t length_off; /* added to the frame's length field */
	bool framed;
	const char *start; /* overwrites the first bytes */
};

static const struct recipe good[] = {
	{ .name = "google", .tags = "NONCPAD\xff", .size = 1024 },
	{ .name = "google, long", .tags = "NONCPAD\xff", .size = 60000 },
	{ .name = "google, a tag before NONC",
	    .tags = "SRV_NONCPAD\xff",
	    .size = 1024 },
	{ .name = "google, nothing but NONC", .tags = "NONC", .size = 1024 },
	{ .name = "google, 32 tags",
	    .tags = "AAAAAAABAAACAAADAAAEAAAFAAAGAAAHAAAIAAAJAAAKAAALAAAMAAANAA"
		    "AOAAAPAAAQAAARAAASAAATAAAUAAAVAAAWAAAXAAAYAAAZABAAABABABAC"
		    "ABADABAENONC",
	    .size = 1024 },
	{ .name = "draft 01",
	    .tags = "VER_PAD_NONC",
	    .size = 1036,
	    .framed = true },
	{ .name = "draft 08",
	    .tags = "VER_NONCZZZZ",
	    .size = 1036,
	    .framed = true },
	{ .name = "rfc, whole packet 1024",
	    .tags = "VER_SRV_NONCTYPEZZZZ",
	    .size = 1024,
	    .framed = true },
	{ .name = "rfc 1028",
	    .tags = "VER_NONCTYPEZZZZ",
	    .size = 1028,
	    .framed = true },
	{ .name = "rfc, 65504",
	    .tags = "VER_NONCTYPEZZZZ",
	    .size = 65504,
	    .framed = true },
	{ .name = "framed, 32 tags",
	    .tags = "AAAAAAABAAACAAADAAAEAAAFAAAGAAAHAAAIAAAJAAAKAAALAAAMAAANAA"
		    "AOAAAPAAAQAAARAAASAAATAAAUAAAVAAAWAAAXAAAYAAAZABAAABABABAC"
		    "ABADABAENONC",
	    .size = 1036,
	    .framed = true },
};

static const struct recipe bad[] = {
	{ .name = "empty", .size = 0, .tags = "" },
	{ .name = "three bytes", .size = 3, .tags = "" },
	{ .name = "a frame's start",
	    .size = 8,
	    .tags = "",
	    .start = "ROUGHTIM" },
	{ .name = "zeros", .size = 1024, .tags = "" },
	{ .name = "text", .size = 1024, .tags = "", .start = "GET / HTTP/1.1" },
	{ .name = "google, short", .tags = "NONCPAD\xff", .size = 1020 },
	{ .name = "google, odd", .tags = "NONCPAD\xff", .size = 1025 },
	{ .name = "google, odd by 2", .tags = "NONCPAD\xff", .size = 1026 },
	{ .name = "google, no NONC", .tags = "NONDPAD\xff", .size = 1024 },
	{ .name = "google, count 0",
	    .tags = "NONCPAD\xff",
	    .count = UINT32_MAX,
	    .size = 1024 },
	{ .name = "google, count 33",
	    .tags = "NONCPAD\xff",
	    .count = 33,
	    .size = 1024 },
	{ .name = "google, count 2 in the wrong byte",
	    .tags = "NONCPAD\xff",
	    .count = 0x0200,
	    .size = 1024 },
	{ .name = "google, count 2 and a high byte",
	    .tags = "NONCPAD\xff",
	    .count = 0x01000002,
	    .size = 1024 },
	{ .name = "rfc, short",
	    .tags = "VER_NONCTYPEZZZZ",
	    .size = 1020,
	    .framed = true },
	{ .name = "rfc, odd",
	    .tags = "VER_NONCTYPEZZZZ",
	    .size = 1037,
	    .framed = true },
	{ .name = "rfc, one more byte said",
	    .tags = "VER_NONCTYPEZZZZ",
	    .size = 1036,
	    .length_off = 1,
	    .framed = true },
	{ .name = "rfc, one word of trailer",
	    .tags = "VER_NONCTYPEZZZZ",
	    .size = 1036,
	    .length_off = -4,
	    .framed = true },
	{ .name = "rfc, length of the whole packet",
	    .tags = "VER_NONCTYPEZZZZ",
	    .size = 1036,
	    .length_off = 12,
	    .framed = true },
	{ .name = "rfc, 64 KiB too much said",
	    .tags = "VER_NONCTYPEZZZZ",
	    .size = 1036,
	    .length_off = 65536,
	    .framed = true },
	{ .name = "rfc, 16 MiB too much said",
	    .tags = "VER_NONCTYPEZZZZ",
	    .size = 1036,
	    .length_off = 1 << 24,
	    .framed = true },
	{ .name = "rfc, no NONC",
	    .tags = "VER_TYPEZZZZ",
	    .size = 1036,
	    .framed = true },
	{ .name = "rfc, count 0",
	    .tags = "VER_NONCTYPEZZZZ",
	    .count = UINT32_MAX,
	    .size = 1036,
	    .framed = true },
	{ .name = "rfc, count 33",
	    .tags = "VER_NONCTYPEZZZZ",
	    .count = 33,
	    .size = 1036,
	    .framed = true },
	{ .name = "a frame misspelt",
	    .tags = "VER_NONCTYPEZZZZ",
	    .size = 1036,
	    .framed = true,
	    .start = "ROUGHTIN" },
	{ .name = "a frame misspelt in front",
	    .tags = "VER_NONCTYPEZZZZ",
	    .size = 1036,
	    .framed = true,
	    .start = "rOUGHTIM" },
};

static uint8_t datagram[65536];

static void
put_tags(uint8_t *at, const char *tags, size_t n)
{
	for (size_t i = 0; i < n * 4; i++)
		at[i] = tags[i] == '_' ? 0 : (uint8_t)tags[i];
}

static void
cook(const struct recipe *r)
{
	uint8_t *message = datagram + (r->framed ? 12 : 0);
	size_t n = strlen(r->tags) / 4;
	uint32_t count = r->count == 0 ? (uint32_t)n : r->count;

	memset(datagram, 0, sizeof datagram);
	if (r->framed) {
		uint32_t len = (uint32_t)r->size - 12;

		put_tags(datagram, "ROUGHTIM", 2);
		wire_put32(datagram + 8, len + (uint32_t)r->length_off);
	}
	if (n > 0) {
		wire_put32(message, count == UINT32_MAX ? 0 : count);
		put_tags(message + 4 * n, r->tags, n);
	}
	if (r->start != NULL)
		put_tags(datagram, r->start, strlen(r->start) / 4);
}

static uint32_t
drops(int fd)
{
	uint32_t n = UINT32_MAX;

	assert_int_equal(steer_drops(fd, &n), 0);
	return n;
}

/* One datagram's fate: queued, or counted as dropped since `before`. */
static ssize_t
receive(int server, uint32_t before, uint8_t *buf, size_t cap)
{
	struct pollfd p = { .fd = server, .events = POLLIN };

	for (int i = 0; i < 5000 && drops(server) == before; i++)
		if (poll(&p, 1, 1) != 0)
			break;
	return recv(server, buf, cap, MSG_DONTWAIT);
}

static void
expect_fate(int client, int server, const struct recipe *r, bool pass)
{
	static uint8_t got[65536];
	uint32_t before = drops(server);
	ssize_t n;

	cook(r);
	if (send(client, datagram, r->size, 0) != (ssize_t)r->size)
		fail_msg("%s: send: %s", r->name, strerror(errno));
	n = receive(server, before, got, sizeof got);
	if (pass && n != (ssize_t)r->size)
		fail_msg("%s: was dropped", r->name);
	if (!pass && n >= 0)
		fail_msg("%s: passed", r->name);
	if (pass)
		assert_memory_equal(got, datagram, r->size);
	if (drops(server) - before != (pass ? 0 : 1))
		fail_msg(
		    "%s: drops went up by %u", r->name, drops(server) - before);
}

static const struct {
	const char *bound, *asked;
} places[] = {
	{ "127.0.0.1", "127.0.0.1" },
	{ "0.0.0.0", "127.0.0.2" },
	{ "::1", "::1" },
	{ "::", "::1" },
	{ "::", "127.0.0.1" },
	{ "::", "::ffff:127.0.0.1" },
};

static void
open_pair(const char *bound, const char *asked, int *server, int *client)
{
	const struct sock_opts o = { .sndbuf = 1 << 20, .rcvbuf = 1 << 20 };
	struct addr to = sockets_addr(asked);
	uint16_t port = 0;

	*server = sockets_open(SOCK_UDP, bound, &o, &port);
	addr_set_port(&to, port);
	*client = sock_connect(SOCK_UDP, &to, &o);
	assert_true(*client >= 0);
}

static void
passes_requests_and_counts_the_rest(void **state)
{
	(void)state;
	for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
		int server, client;

		open_pair(places[p].bound, places[p].asked, &server, &client);
		assert_int_equal(steer_roughtime_filter(server, MIN_LEN), 0);
		assert_int_equal(drops(server), 0);
		for (size_t i = 0; i < sizeof good / sizeof *good; i++)
			expect_fate(client, server, &good[i], true);
		for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
			expect_fate(client, server, &bad[i], false);
		assert_int_equal(drops(server), sizeof bad / sizeof *bad);
		close(client);
		close(server);
	}
}

/* Without a minimum the program's own loads guard short datagrams. */
static void
short_datagrams_are_guarded(void **state)
{
	struct recipe r = { .name = "cut", .tags = "NONC", .size = 0 };
	int server, client;

	(void)state;
	open_pair("127.0.0.1", "127.0.0.1", &server, &client);
	assert_int_equal(steer_roughtime_filter(server, 0), 0);
	for (r.size = 0; r.size <= 72; r.size++)
		expect_fate(client, server, &r, r.size >= 8 && r.size % 4 == 0);
	r.tags = "VER_NONCTYPE";
	r.framed = true;
	for (r.size = 12; r.size <= 72; r.size++)
		expect_fate(
		    client, server, &r, r.size >= 32 && r.size % 4 == 0);
	close(client);
	close(server);
}

static uint32_t
next_random(void)
{
	static uint64_t seed = 20021;

	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

/* A request of any version, with or without SRV; returns its length. */
static size_t
make_request(void)
{
	static const uint8_t nonce[64] = { 1, 2, 3 };
	static const uint8_t srv[32] = { 0 };
	const struct request_spec spec = {
		.versions = 1u << next_random() % VERSION_ROWS,
		.nonce = nonce,
		.srv = next_random() % 2 == 0 ? srv : NULL,
		.size = 1028 + next_random() % 64 * 4,
	};
	size_t len = request_make(datagram, sizeof datagram, &spec);

	assert_true(len >= MIN_LEN);
	return len;
}

/* Changes up to three bytes of the head, small numbers most, or the length. */
static size_t
spoil(size_t len)
{
	for (uint32_t n = next_random() % 4; n > 0; n--)
		datagram[next_random() % 64] =
		    (uint8_t)(next_random() % 2 == 0 ? next_random() % 34
						     : next_random());
	if (next_random() % 8 == 0)
		len = len - 4 + next_random() % 9;
	return len;
}

/* The promise: nothing that request_parse() takes is dropped. */
static void
drops_nothing_that_parses(void **state)
{
	static const uint8_t srv[1][32] = { { 0 } };
	const struct request_policy policy = {
		.versions = VERSION_ALL, .identities = 1, .srv = srv
	};
	unsigned int parsed = 0, passed = 0, dropped = 0;
	uint8_t buf[2000];
	int server, client;

	(void)state;
	open_pair("127.0.0.1", "127.0.0.1", &server, &client);
	assert_int_equal(steer_roughtime_filter(server, MIN_LEN), 0);
	for (int i = 0; i < 20000; i++) {
		size_t len = spoil(make_request());
		struct view packet = { datagram, len };
		struct request r;
		bool good_one =
		    request_parse(&r, packet, MIN_LEN, &policy) == REQUEST_OK;
		uint32_t before = drops(server);
		bool through;

		assert_int_equal(send(client, datagram, len, 0), (ssize_t)len);
		through = receive(server, before, buf, sizeof buf) > 0;
		if (good_one && !through)
			fail_msg("dropped a good request, round %d", i);
		parsed += good_one;
		passed += through && !good_one;
		dropped += !through;
	}
	/* All three happen, so that the promise was put to the test. */
	assert_in_range(parsed, 1000, 19000);
	assert_in_range(passed, 100, 19000);
	assert_in_range(dropped, 1000, 19000);
	close(client);
	close(server);
}

static void
a_full_queue_counts_too(void **state)
{
	struct recipe r = good[0];
	int server, client, small = 4096;
	uint8_t buf[2000];
	uint32_t received = 0;

	(void)state;
	open_pair("::1", "::1", &server, &client);
	assert_int_equal(
	    setsockopt(server, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
	assert_int_equal(steer_roughtime_filter(server, MIN_LEN), 0);
	cook(&r);
	for (int i = 0; i < 50; i++)
		assert_int_equal(send(client, datagram, r.size, 0), r.size);
	while (recv(server, buf, sizeof buf, MSG_DONTWAIT) > 0)
		received++;
	assert_in_range(received, 1, 49);
	assert_int_equal(drops(server), 50 - received);
	close(client);
	close(server);
}

/* What was queued stays to be read; nothing joins it. */
static void
stopped_socket_runs_empty(void **state)
{
	struct recipe r = good[0];
	uint8_t buf[2000];
	int server, client;

	(void)state;
	open_pair("127.0.0.1", "127.0.0.1", &server, &client);
	assert_int_equal(steer_roughtime_filter(server, MIN_LEN), 0);
	cook(&r);
	for (int i = 0; i < 10; i++) {
		if (i == 3)
			assert_int_equal(steer_stop(server), 0);
		assert_int_equal(send(client, datagram, r.size, 0), r.size);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(
		    recv(server, buf, sizeof buf, MSG_DONTWAIT), r.size);
	assert_int_equal(recv(server, buf, sizeof buf, MSG_DONTWAIT), -1);
	assert_int_equal(drops(server), 7);
	steer_go_on(server);
	steer_go_on(server); /* nothing to take off is no fault */
	assert_int_equal(send(client, "any", 3, 0), 3);
	sockets_queued(server);
	assert_int_equal(recv(server, buf, sizeof buf, MSG_DONTWAIT), 3);
	close(client);
	close(server);
}

static void
faults_are_told(void **state)
{
	uint32_t n;

	(void)state;
	assert_int_equal(steer_roughtime_filter(-1, 1024), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(steer_roughtime_filter(0, 65536), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(steer_stop(-1), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(steer_drops(-1, &n), -1);
	assert_int_equal(errno, EBADF);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes_requests_and_counts_the_rest),
		cmocka_unit_test(short_datagrams_are_guarded),
		cmocka_unit_test(drops_nothing_that_parses),
		cmocka_unit_test(a_full_queue_counts_too),
		cmocka_unit_test(stopped_socket_runs_empty),
		cmocka_unit_test(faults_are_told),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
