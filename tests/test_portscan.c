/* net/portscan.h: live sockets, their owners, what they carry. */
#include "net/portscan.h"

#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/sockflag.h"
#include "net/tcp.h"
#include "tests/sockets.h"

static unsigned long
inode_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static const struct sock_opts none = { 0 }, only6 = { .v6only = true };

/* The kernel makes a socket at one IPv6 address v6only by itself. */
static const struct {
	enum sock_proto proto;
	const char *text;
	const struct sock_opts *o;
	bool v6only;
} kinds[] = {
	{ SOCK_UDP, "127.0.0.1", &none, false },
	{ SOCK_UDP, "0.0.0.0", &none, false },
	{ SOCK_UDP, "::1", &none, true },
	{ SOCK_UDP, "::", &none, false },
	{ SOCK_UDP, "::", &only6, true },
	{ SOCK_UDP, "::ffff:127.0.0.1", &none, false },
	{ SOCK_TCP, "127.0.0.1", &none, false },
	{ SOCK_TCP, "0.0.0.0", &none, false },
	{ SOCK_TCP, "::1", &none, true },
	{ SOCK_TCP, "::", &none, false },
	{ SOCK_TCP, "::", &only6, true },
};

static void
finds_our_own_socket(void **state)
{
	struct portscan_socket s[4];
	char comm[64] = "";

	(void)state;
	assert_int_equal(prctl(PR_GET_NAME, comm), 0);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		uint16_t port = 0;
		int fd = sockets_open(
		    kinds[i].proto, kinds[i].text, kinds[i].o, &port);
		struct addr want = sockets_addr(kinds[i].text);

		addr_set_port(&want, port);
		assert_int_equal(
		    portscan_port(kinds[i].proto, port, false, s, 4), 1);
		assert_int_equal(s[0].proto, kinds[i].proto);
		assert_true(addr_equal(&s[0].local, &want));
		assert_int_equal(s[0].uid, geteuid());
		assert_int_equal(s[0].inode, inode_of(fd));
		assert_true(s[0].listening);
		assert_int_equal(s[0].v6only, kinds[i].v6only);
		assert_int_equal(s[0].pid, getpid());
		assert_int_equal(s[0].fd, fd);
		assert_string_equal(s[0].command, comm);
		assert_int_equal(s[0].state,
		    kinds[i].proto == SOCK_TCP ? PORTRULES_LISTEN
					       : PORTRULES_IDLE);
		close(fd);
		assert_int_equal(
		    portscan_port(kinds[i].proto, port, false, s, 4), 0);
	}
}

static void
counts_past_the_cap(void **state)
{
	struct portscan_socket s[3];
	uint16_t port = 0;
	int fds[5];
	char text[20];

	(void)state;
	memset(s, 0x5a, sizeof s);
	for (int i = 0; i < 5; i++) {
		snprintf(text, sizeof text, "127.0.0.%d", i + 1);
		fds[i] = sockets_open(SOCK_UDP, text, &none, &port);
	}
	assert_int_equal(portscan_port(SOCK_UDP, port, false, s, 2), 5);
	assert_int_equal(s[0].pid, getpid());
	assert_int_equal(s[1].pid, getpid());
	assert_int_equal(s[2].pid, 0x5a5a5a5a); /* not touched */
	assert_int_equal(portscan_port(SOCK_UDP, port, false, NULL, 0), 5);
	for (int i = 0; i < 5; i++)
		close(fds[i]);
}

static void
tells_connected_from_waiting(void **state)
{
	struct portscan_socket s[4];
	struct addr peer = sockets_addr("127.0.0.1:9"), local;
	int fd = sock_connect(SOCK_UDP, &peer, &none);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(sock_local(fd, &local), 0);
	assert_int_equal(
	    portscan_port(SOCK_UDP, addr_port(&local), false, s, 4), 1);
	assert_false(s[0].listening);
	assert_int_equal(s[0].state, PORTRULES_CONNECTED);
	assert_true(addr_equal(&s[0].peer, &peer));
	assert_true(addr_equal(&s[0].local, &local));
	close(fd);
}

/* Flags are read from the socket itself, at each scan anew. */
static void
sees_flags_as_they_are(void **state)
{
	static const struct sock_opts dressed = {
		.reuseaddr = true, .reuseport = true, .device = "lo"
	};
	struct portscan_socket s[2];
	uint16_t port = 0;
	int fd = sockets_open(SOCK_UDP, "127.0.0.1", &dressed, &port);

	(void)state;
	assert_int_equal(portscan_port(SOCK_UDP, port, false, s, 2), 1);
	assert_true(s[0].flags_seen);
	assert_true(s[0].reuseaddr && s[0].reuseport);
	assert_int_equal(s[0].device, if_nametoindex("lo"));
	assert_int_equal(s[0].cpu, 0);
	assert_int_equal(sockflag_set(fd, SOCKFLAG_REUSEADDR, false), 0);
	assert_int_equal(sockflag_set_cpu(fd, 1), 0);
	assert_int_equal(portscan_port(SOCK_UDP, port, false, s, 2), 1);
	assert_true(s[0].flags_seen);
	assert_false(s[0].reuseaddr);
	assert_true(s[0].reuseport);
	assert_int_equal(s[0].cpu, 2);
	close(fd);
}

/* Which of two duplicates is the newer one decides who gets everything. */
static void
tells_the_order_of_duplicates(void **state)
{
	static const struct sock_opts share = { .reuseaddr = true };
	struct portscan_socket s[4];
	uint16_t port = 0;
	int fds[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		fds[i] = sockets_open(SOCK_UDP, "127.0.0.1", &share, &port);
	assert_int_equal(portscan_port(SOCK_UDP, port, false, s, 4), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(s[i].fd, fds[i]);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

/* TCP: a connection and what is left of one hold the port too. */
static void
sees_more_than_listeners_when_asked(void **state)
{
	struct portscan_socket s[4];
	struct addr at = sockets_addr("127.0.0.1"), peer;
	uint16_t port = 0;
	int fd = sockets_open(SOCK_TCP, "127.0.0.1", &none, &port);
	int client, accepted;
	char byte;

	(void)state;
	addr_set_port(&at, port);
	client = sock_connect(SOCK_TCP, &at, &none);
	while ((accepted = tcp_accept(fd, &peer)) < 0 && errno == EAGAIN)
		usleep(1000);
	assert_true(client >= 0 && accepted >= 0);
	assert_int_equal(portscan_port(SOCK_TCP, port, false, s, 4), 1);
	assert_int_equal(portscan_port(SOCK_TCP, port, true, s, 4), 2);
	assert_int_equal(s[0].state, PORTRULES_CONNECTED);
	assert_true(addr_equal(&s[0].peer, &peer));
	assert_int_equal(s[1].state, PORTRULES_LISTEN);
	close(accepted); /* our side first */
	while (read(client, &byte, 1) < 0 && errno == EAGAIN)
		usleep(1000);
	close(client);
	assert_int_equal(portscan_port(SOCK_TCP, port, true, s, 4), 2);
	assert_int_equal(s[0].state, PORTRULES_TIME_WAIT);
	assert_int_equal(s[0].pid, 0);
	assert_false(s[0].flags_seen);
	close(fd);
}

/* Found by what names it alone, wherever it is bound. */
static void
finds_by_cookie(void **state)
{
	struct portscan_socket s[3];
	uint64_t cookies[3] = { 0, 0, 1 };
	uint16_t port = 0, other = 0;

	(void)state;
	for (int i = 0; i < 2; i++) {
		enum sock_proto proto = i == 0 ? SOCK_UDP : SOCK_TCP;
		int a = sockets_open(proto, "127.0.0.1", &none, &port);
		int b = sockets_open(proto, "::1", &none, &other);

		assert_int_equal(portscan_bare(proto, port, false, s, 1), 1);
		assert_int_equal(s[0].pid, 0);
		cookies[0] = s[0].cookie;
		assert_int_equal(portscan_bare(proto, other, false, s, 1), 1);
		cookies[1] = s[0].cookie;
		assert_true(cookies[0] != cookies[1] && cookies[0] != 0);
		assert_int_equal(portscan_cookies(proto, cookies, 3, s), 2);
		assert_int_equal(s[0].pid, getpid());
		assert_int_equal(s[0].fd, a);
		assert_int_equal(s[1].fd, b);
		close(a);
		close(b);
		assert_int_equal(portscan_cookies(proto, cookies, 3, s), 0);
		port = other = 0;
	}
}

static void
marks_ports(void **state)
{
	uint8_t ports[PORTSCAN_PORTS_LEN];

	(void)state;
	for (int proto = SOCK_UDP; proto <= SOCK_TCP; proto++) {
		uint16_t four = 0, six = 0;
		int a = sockets_open(
		    (enum sock_proto)proto, "127.0.0.1", &none, &four);
		int b =
		    sockets_open((enum sock_proto)proto, "::1", &none, &six);

		assert_int_equal(
		    portscan_ports((enum sock_proto)proto, ports), 0);
		assert_true(ports[four / 8] >> four % 8 & 1);
		assert_true(ports[six / 8] >> six % 8 & 1);
		close(a);
		close(b);
		assert_int_equal(
		    portscan_ports((enum sock_proto)proto, ports), 0);
		assert_false(ports[four / 8] >> four % 8 & 1);
		assert_false(ports[six / 8] >> six % 8 & 1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_by_cookie),
		cmocka_unit_test(marks_ports),
		cmocka_unit_test(finds_our_own_socket),
		cmocka_unit_test(counts_past_the_cap),
		cmocka_unit_test(tells_connected_from_waiting),
		cmocka_unit_test(sees_flags_as_they_are),
		cmocka_unit_test(tells_the_order_of_duplicates),
		cmocka_unit_test(sees_more_than_listeners_when_asked),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
