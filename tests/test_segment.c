/* net/segment.h, as net/batch.h uses it for the replies to one client. */
#include "net/segment.h"

#include <linux/sock_diag.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/batch.h"
#include "tests/sockets.h"

#define SLOTS 8
#define OUT_CAP 65536

static const struct sock_opts wild = { .pktinfo = true };
static const struct sock_opts plain = { 0 };

/* Takes runs as they come (UDP_GRO): one read shows what was one message. */
static int
client_of_runs(const char *text, uint16_t port)
{
	int fd = sockets_client(text, port);

	sock_udp_gro(fd, true);
	return fd;
}

static uint32_t
queued_bytes(int fd)
{
	uint32_t info[SK_MEMINFO_VARS];
	socklen_t len = sizeof info;

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len), 0);
	return info[SK_MEMINFO_RMEM_ALLOC];
}

/* Asks, and waits until it lies there: a busy kernel delivers later. */
static void
ask(int client, const struct addr *to, int server)
{
	const uint32_t before = queued_bytes(server);
	const socklen_t len = to != NULL ? addr_len(to) : 0;

	assert_int_equal(
	    sendto(client, "ask", 3, 0, to != NULL ? &to->sa : NULL, len), 3);
	for (int ms = 0; queued_bytes(server) == before; ms++) {
		assert_true(ms < 5000);
		poll(NULL, 0, 1);
	}
}

/* The server asked SLOTS times; reply i has size[i] bytes of 'a' + i. */
static unsigned int
reply_with(
    struct batch *b, int server, const size_t *size, unsigned int *refused)
{
	assert_int_equal(batch_receive(b, server), SLOTS);
	for (unsigned int i = 0; i < SLOTS; i++) {
		memset(batch_out(b, i), 'a' + (int)i, size[i]);
		batch_reply(b, i, size[i]);
	}
	return batch_send(b, server, refused);
}

static const struct {
	size_t size[SLOTS];
	const char
	    *reads[SLOTS + 1]; /* first bytes of datagrams, a read each */
} trips[] = {
	{ { 9, 9, 9, 9, 9, 9, 9, 9 }, { "abcdefgh" } },
	{ { 9, 9, 9, 8, 8, 9, 7, 7 }, { "abc", "de", "f", "gh" } },
	/* no reply in between */
	{ { 0, 9, 0, 0, 9, 9, 0, 7 }, { "bef", "h" } },
	/* longer than a frame: each by itself */
	{ { 1453, 1453, 9, 9, 9, 9, 9, 9 }, { "a", "b", "cdefgh" } },
	/* longer than a datagram: refused (EMSGSIZE), alone and in between */
	{ { 9, 9, 65528, 9, 9, 65528, 65528, 9 }, { "ab", "de", "h" } },
};

static void
expect_run(int fd, size_t size, const char *of)
{
	static uint8_t buf[OUT_CAP];
	size_t n = strlen(of);

	sockets_queued(fd);
	assert_int_equal(read(fd, buf, sizeof buf), n * size);
	for (size_t i = 0; i < n * size; i++)
		assert_int_equal(buf[i], of[i / size]);
}

static void
travel_together(const char *bound, const struct sock_opts *o, const char *asked)
{
	struct batch *b = batch_new(SLOTS, 100, OUT_CAP);
	uint16_t port = 0;
	int server = sockets_open(SOCK_UDP, bound, o, &port);
	int client = client_of_runs(asked, port);

	for (size_t t = 0; t < sizeof trips / sizeof *trips; t++) {
		const size_t *size = trips[t].size;
		unsigned int sent = 0, refused;

		for (int i = 0; i < SLOTS; i++)
			ask(client, NULL, server);
		for (const char *const *r = trips[t].reads; *r != NULL; r++)
			sent += (unsigned int)strlen(*r);
		assert_int_equal(reply_with(b, server, size, &refused), sent);
		assert_int_equal(refused, t == 4 ? 3 : 0);
		for (const char *const *r = trips[t].reads; *r != NULL; r++)
			expect_run(client, size[**r - 'a'], *r);
		sockets_silent(client);
	}
	close(client);
	close(server);
	batch_free(b);
}

/* With a control message that says where from, and without. */
static void
replies_to_one_client_travel_together(void **state)
{
	(void)state;
	travel_together("127.0.0.1", &plain, "127.0.0.1");
	travel_together("0.0.0.0", &wild, "127.0.0.3");
	travel_together("::", &wild, "::1");
	travel_together("::", &wild, "127.0.0.3");
}

/* One client, two addresses asked: two runs, each from its own address. */
static void
runs_part_where_another_address_was_asked(void **state)
{
	static const size_t size[SLOTS] = { 9, 9, 9, 9, 9, 9, 9, 9 };
	static const char *const asked[] = { "127.0.0.1", "127.0.0.2" };
	static const char *const run[] = { "abcd", "efgh" };
	struct batch *b = batch_new(SLOTS, 100, OUT_CAP);
	struct addr here = sockets_addr("127.0.0.1"), from;
	enum sock_step failed;
	unsigned int refused;
	uint8_t buf[100];
	uint16_t port = 0;
	int server = sockets_open(SOCK_UDP, "0.0.0.0", &wild, &port);
	int client = sock_open(SOCK_UDP, &here, &plain, &failed);

	(void)state;
	assert_true(client >= 0);
	sock_udp_gro(client, true);
	for (int i = 0; i < SLOTS; i++) {
		struct addr to = sockets_addr(asked[i / 4]);

		addr_set_port(&to, port);
		ask(client, &to, server);
	}
	assert_int_equal(reply_with(b, server, size, &refused), SLOTS);
	for (int i = 0; i < 2; i++) {
		struct addr want = sockets_addr(asked[i]);
		socklen_t len = sizeof from;

		addr_set_port(&want, port);
		sockets_queued(client);
		assert_int_equal(
		    recvfrom(client, buf, sizeof buf, 0, &from.sa, &len),
		    4 * 9);
		assert_int_equal(buf[0], run[i][0]);
		assert_int_equal(buf[4 * 9 - 1], run[i][3]);
		assert_true(addr_equal(&from, &want));
	}
	close(client);
	close(server);
	batch_free(b);
}

/* Without checksums the kernel refuses UDP_SEGMENT: one by one, then. */
static void
a_run_refused_goes_singly(void **state)
{
	static const size_t size[SLOTS] = { 9, 9, 9, 9, 0, 9, 8, 8 };
	struct batch *b = batch_new(SLOTS, 100, OUT_CAP);
	unsigned int refused;
	uint16_t port = 0;
	int server = sockets_open(SOCK_UDP, "0.0.0.0", &wild, &port), one = 1;
	int client = sockets_client("127.0.0.1", port);

	(void)state;
	assert_int_equal(
	    setsockopt(server, SOL_SOCKET, SO_NO_CHECK, &one, sizeof one), 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < SLOTS; i++)
			ask(client, NULL, server);
		assert_int_equal(
		    reply_with(b, server, size, &refused), SLOTS - 1);
		assert_int_equal(refused, 0);
		for (const char *of = "abcdfgh"; *of != '\0'; of++)
			expect_run(client, size[*of - 'a'],
			    (const char[]){ *of, '\0' });
		sockets_silent(client);
	}
	close(client);
	close(server);
	batch_free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies_to_one_client_travel_together),
		cmocka_unit_test(runs_part_where_another_address_was_asked),
		cmocka_unit_test(a_run_refused_goes_singly),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
