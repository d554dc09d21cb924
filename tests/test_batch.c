/* net/batch.h: datagrams in, replies out from the address that was asked. */
#include "net/batch.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/child.h"
#include "tests/sockets.h"

#define SLOTS 8
#define IN_CAP 100
#define OUT_CAP 65536

static const struct sock_opts wild = { .pktinfo = true };
static const struct sock_opts plain = { 0 };

static int
server_at(const char *text, const struct sock_opts *o, uint16_t *port)
{
	*port = 0;
	return sockets_open(SOCK_UDP, text, o, port);
}

static void
expect(int fd, const char *text)
{
	char buf[1000];

	sockets_queued(fd);
	assert_int_equal(read(fd, buf, sizeof buf), strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static struct batch *
new_batch(void)
{
	struct batch *b = batch_new(SLOTS, IN_CAP, OUT_CAP);

	assert_non_null(b);
	return b;
}

/* All that was sent: one that the kernel is still busy with is waited for. */
static void
receive(struct batch *b, int fd, int want)
{
	sockets_queued(fd);
	assert_int_equal(batch_receive(b, fd), want);
}

/* Answers datagram i with its own bytes after "re: ". */
static void
answer(struct batch *b, unsigned int i)
{
	size_t len;
	const uint8_t *in = batch_in(b, i, &len);

	memcpy(batch_out(b, i), "re: ", 4);
	memcpy(batch_out(b, i) + 4, in, len);
	batch_reply(b, i, len + 4);
}

static void
answer_one(struct batch *b, int fd)
{
	unsigned int refused = 99;

	receive(b, fd, 1);
	answer(b, 0);
	assert_int_equal(batch_send(b, fd, &refused), 1);
	assert_int_equal(refused, 0);
}

static const struct {
	const char *bound;
	bool pktinfo;
	const char *asked;
} places[] = {
	{ "127.0.0.1", false, "127.0.0.1" },
	{ "127.0.0.9", false, "127.0.0.9" },
	{ "0.0.0.0", true, "127.0.0.1" },
	{ "0.0.0.0", true, "127.0.0.2" },
	{ "0.0.0.0", true, "127.200.3.4" },
	{ "::1", false, "::1" },
	{ "::1", true, "::1" },
	{ "::", true, "::1" },
	{ "::", true, "127.0.0.1" },
	{ "::", true, "127.0.0.3" },
	{ "::", true, "::ffff:127.0.0.4" },
};

/* One batch for all sockets: nothing may be left over from one to the next. */
static void
replies_leave_from_the_asked_address(void **state)
{
	struct batch *b = new_batch();

	(void)state;
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		const struct sock_opts o = { .pktinfo = places[i].pktinfo };
		uint16_t port;
		int server = server_at(places[i].bound, &o, &port);
		int client = sockets_client(places[i].asked, port);
		struct addr local;

		sockets_say(client, "hello");
		answer_one(b, server);
		expect(client, "re: hello");
		assert_int_equal(sock_local(client, &local), 0);
		assert_int_equal(
		    addr_port(batch_peer(b, 0)), addr_port(&local));
		assert_false(batch_truncated(b, 0));
		close(client);
		close(server);
	}
	batch_free(b);
}

static void
many_clients_in_one_batch(void **state)
{
	struct batch *b = new_batch();
	unsigned int refused, round;
	uint16_t port;
	int server = server_at("::", &wild, &port), clients[SLOTS];
	char text[20], want[30];

	(void)state;
	for (int i = 0; i < SLOTS; i++) {
		snprintf(text, sizeof text, "127.0.0.%d", i + 1);
		clients[i] = sockets_client(i % 3 == 0 ? "::1" : text, port);
	}
	for (round = 0; round < 3; round++) {
		for (int i = 0; i < SLOTS; i++) {
			snprintf(text, sizeof text, "q %d %u", i, round);
			sockets_say(clients[i], text);
		}
		receive(b, server, SLOTS);
		for (unsigned int i = 0; i < SLOTS; i++)
			if (i % 2 == round % 2)
				answer(b, i);
		assert_int_equal(batch_send(b, server, &refused), SLOTS / 2);
		assert_int_equal(refused, 0);
		for (int i = 0; i < SLOTS; i++) {
			snprintf(want, sizeof want, "re: q %d %u", i, round);
			if ((unsigned int)i % 2 == round % 2)
				expect(clients[i], want);
			else
				sockets_silent(clients[i]);
		}
	}
	for (int i = 0; i < SLOTS; i++)
		close(clients[i]);
	close(server);
	batch_free(b);
}

static void
drains_in_order(void **state)
{
	struct batch *b = new_batch();
	uint16_t port;
	int server = server_at("127.0.0.1", &plain, &port);
	int client = sockets_client("127.0.0.1", port);
	unsigned int refused, seen = 0;
	char text[20];
	size_t len;
	int n;

	(void)state;
	assert_int_equal(batch_receive(b, server), 0);
	for (int i = 0; i < SLOTS * 2 + 3; i++) {
		snprintf(text, sizeof text, "n%d", i);
		sockets_say(client, text);
	}
	while ((n = batch_receive(b, server)) > 0) {
		assert_int_equal(n, seen < SLOTS * 2 ? SLOTS : 3);
		for (unsigned int i = 0; i < (unsigned int)n; i++, seen++) {
			snprintf(text, sizeof text, "n%u", seen);
			assert_memory_equal(
			    batch_in(b, i, &len), text, strlen(text));
			assert_int_equal(len, strlen(text));
		}
	}
	assert_int_equal(n, 0);
	assert_int_equal(seen, SLOTS * 2 + 3);
	assert_int_equal(batch_send(b, server, &refused), 0);
	assert_int_equal(refused, 0);
	close(client);
	close(server);
	batch_free(b);
}

static void
sizes_at_the_edge(void **state)
{
	static const size_t sizes[] = { 0, 1, IN_CAP - 1, IN_CAP, IN_CAP + 1,
		60000, 5 };
	const unsigned int n = sizeof sizes / sizeof *sizes;
	struct batch *b = new_batch();
	uint16_t port;
	int server = server_at("127.0.0.1", &plain, &port);
	int client = sockets_client("127.0.0.1", port);
	static uint8_t data[60000];

	(void)state;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(
		    send(client, data, sizes[i], 0), (ssize_t)sizes[i]);
	receive(b, server, (int)n);
	for (unsigned int i = 0; i < n; i++) {
		size_t len, want = sizes[i] < IN_CAP ? sizes[i] : IN_CAP;
		const uint8_t *in = batch_in(b, i, &len);

		assert_int_equal(len, want);
		assert_memory_equal(in, data, len);
		assert_int_equal(batch_truncated(b, i), sizes[i] > IN_CAP);
	}
	close(client);
	close(server);
	batch_free(b);
}

/* No datagram holds 65508 bytes (EMSGSIZE): first, in the middle, last. */
static void
a_refused_reply_stops_no_other(void **state)
{
	struct batch *b = new_batch();
	unsigned int refused;
	uint16_t port;
	int server = server_at("0.0.0.0", &wild, &port);
	int client = sockets_client("127.0.0.1", port);

	(void)state;
	for (int i = 0; i < SLOTS; i++)
		sockets_say(client, "ask");
	receive(b, server, SLOTS);
	for (unsigned int i = 0; i < SLOTS; i++) {
		bool lost = i == 0 || i == 3 || i == 4 || i == SLOTS - 1;

		answer(b, i);
		if (lost)
			batch_reply(b, i, 65508);
	}
	assert_int_equal(batch_send(b, server, &refused), SLOTS - 4);
	assert_int_equal(refused, 4);
	for (int i = 0; i < SLOTS - 4; i++)
		expect(client, "re: ask");
	sockets_silent(client);
	close(client);
	close(server);
	batch_free(b);
}

static void
a_withdrawn_reply_is_not_sent(void **state)
{
	struct batch *b = new_batch();
	unsigned int refused;
	uint16_t port;
	int server = server_at("0.0.0.0", &wild, &port);
	int client = sockets_client("127.0.0.1", port);

	(void)state;
	sockets_say(client, "ask");
	receive(b, server, 1);
	answer(b, 0);
	batch_reply(b, 0, 0);
	assert_int_equal(batch_send(b, server, &refused), 0);
	assert_int_equal(refused, 0);
	sockets_silent(client);
	close(client);
	close(server);
	batch_free(b);
}

static void
no_reply_to_a_broadcast(void **state)
{
	struct batch *b = new_batch();
	unsigned int refused;
	uint16_t port;
	int server = server_at("0.0.0.0", &wild, &port);
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), one = 1;
	struct addr a = sockets_addr("127.255.255.255");

	(void)state;
	addr_set_port(&a, port);
	assert_int_equal(
	    setsockopt(client, SOL_SOCKET, SO_BROADCAST, &one, sizeof one), 0);
	assert_int_equal(sendto(client, "all", 3, 0, &a.sa, addr_len(&a)), 3);
	receive(b, server, 1);
	answer(b, 0);
	assert_int_equal(batch_send(b, server, &refused), 0);
	assert_int_equal(refused, 1);
	sockets_silent(client);
	close(client);
	close(server);
	batch_free(b);
}

/* A datagram from port 0 takes a raw socket: CAP_NET_RAW. */
static void
no_reply_to_port_0(void **state)
{
	struct batch *b = new_batch();
	unsigned int refused;
	uint16_t port;
	int server = server_at("127.0.0.1", &wild, &port);
	int raw = socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
	struct addr to = sockets_addr("127.0.0.1");
	uint8_t udp[11] = { 0, 0, (uint8_t)(port >> 8), (uint8_t)port, 0, 11, 0,
		0, 'z', 'e', 'r' };

	(void)state;
	if (raw < 0) {
		assert_int_equal(errno, EPERM);
		print_message("no CAP_NET_RAW: port 0 cannot be forged\n");
		skip();
	}
	assert_int_equal(
	    sendto(raw, udp, sizeof udp, 0, &to.sa, addr_len(&to)), sizeof udp);
	receive(b, server, 1);
	assert_int_equal(addr_port(batch_peer(b, 0)), 0);
	answer(b, 0);
	assert_int_equal(batch_send(b, server, &refused), 0);
	assert_int_equal(refused, 1);
	close(raw);
	close(server);
	batch_free(b);
}

static void
faults_are_told_from_weather(void **state)
{
	struct batch *b = new_batch();
	uint16_t port;
	int server = server_at("127.0.0.1", &plain, &port);
	int client = sockets_client("127.0.0.1", port), pipes[2];

	(void)state;
	close(server);
	sockets_say(client, "x"); /* port unreachable comes back */
	assert_int_equal(batch_receive(b, client), 0);
	assert_int_equal(batch_receive(b, client), 0);
	close(client);
	assert_int_equal(batch_receive(b, -1), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(batch_receive(b, pipes[0]), -1);
	assert_int_equal(errno, ENOTSOCK);
	close(pipes[0]);
	close(pipes[1]);
	batch_free(b);
}

static void
sizes_are_checked(void **state)
{
	static const struct {
		unsigned int slots;
		size_t in_cap, out_cap;
	} odd[] = { { 0, 1, 1 }, { 1025, 1, 1 }, { 1, 0, 1 }, { 1, 1, 0 },
		{ 1, 65537, 1 }, { 1, 1, 65537 } };
	struct batch *b;

	(void)state;
	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
		errno = 0;
		assert_null(
		    batch_new(odd[i].slots, odd[i].in_cap, odd[i].out_cap));
		assert_int_equal(errno, EINVAL);
	}
	b = batch_new(1024, 2048, 1024);
	assert_non_null(b);
	memset(batch_out(b, 1023), 1, 1024); /* the arena's last bytes */
	batch_free(b);
	b = batch_new(1, 1, 1);
	assert_non_null(b);
	batch_free(b);
	batch_free(NULL);
}

#define NO_RIGHTS 77

/* Root inside a user namespace, so that ip(8) keeps its rights over exec. */
static bool
become_root_inside(void)
{
	uid_t uid = geteuid();
	FILE *f;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	f = fopen("/proc/self/uid_map", "w");
	if (f == NULL)
		return false;
	fprintf(f, "0 %u 1\n", uid);
	return fclose(f) == 0;
}

/* A fresh network with a link that has a link-local address. */
static void
enter_network(void)
{
	if (unshare(CLONE_NEWNET) < 0 && !become_root_inside())
		_exit(NO_RIGHTS);
	if (system("ip link set lo up && ip link add d0 type veth && "
		   "ip link set veth0 up && ip link set d0 up && "
		   "ip addr add fe80::7/64 dev d0 nodad") != 0)
		_exit(1);
}

static void
asks_link_local(void)
{
	struct batch *b = new_batch();
	unsigned int refused;
	uint16_t port;
	int server = server_at("::", &wild, &port);
	int client = sockets_client("fe80::7%d0", port), loose, n;
	struct addr all = sockets_addr("ff02::1%d0");

	sockets_say(client, "near");
	answer_one(b, server);
	expect(client, "re: near");
	assert_true(batch_peer(b, 0)->in6.sin6_scope_id != 0);

	loose = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	addr_set_port(&all, port);
	assert_int_equal(
	    sendto(loose, "all", 3, 0, &all.sa, addr_len(&all)), 3);
	sockets_queued(server);
	n = batch_receive(b, server); /* maybe by both ends of the pair */
	assert_in_range(n, 1, 2);
	for (unsigned int i = 0; i < (unsigned int)n; i++)
		answer(b, i);
	assert_int_equal(batch_send(b, server, &refused), 0);
	assert_int_equal(refused, n);
	sockets_silent(loose);
	close(loose);
	close(client);
	close(server);
	batch_free(b);
}

static void
link_local(void)
{
	enter_network();
	asks_link_local();
}

static void
link_local_keeps_its_link(void **state)
{
	int status = child_run(link_local);

	(void)state;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_RIGHTS) {
		print_message("no right to make a network namespace\n");
		skip();
	}
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies_leave_from_the_asked_address),
		cmocka_unit_test(many_clients_in_one_batch),
		cmocka_unit_test(drains_in_order),
		cmocka_unit_test(sizes_at_the_edge),
		cmocka_unit_test(a_refused_reply_stops_no_other),
		cmocka_unit_test(a_withdrawn_reply_is_not_sent),
		cmocka_unit_test(no_reply_to_a_broadcast),
		cmocka_unit_test(no_reply_to_port_0),
		cmocka_unit_test(faults_are_told_from_weather),
		cmocka_unit_test(sizes_are_checked),
		cmocka_unit_test(link_local_keeps_its_link),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
