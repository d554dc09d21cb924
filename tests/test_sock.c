/* net/sock.h: what a socket carries, before and after bind. */
#include "net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/tcp.h"
#include "tests/child.h"
#include "tests/sockets.h"

static int
option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof value;

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static int
open_at(enum sock_proto proto, const struct addr *a, const struct sock_opts *o)
{
	enum sock_step step = SOCK_STEP_BIND;
	int fd = sock_open(proto, a, o, &step);

	assert_true(fd >= 0);
	assert_int_equal(step, SOCK_STEP_NONE);
	return fd;
}

static void
udp_carries_its_options(void **state)
{
	const struct sock_opts o = { .reuseaddr = true,
		.reuseport = true,
		.pktinfo = true,
		.rcvbuf = 1 << 20,
		.sndbuf = 1 << 18,
		.device = "lo" };
	struct addr a = sockets_addr("127.0.0.1:0");
	int fd = open_at(SOCK_UDP, &a, &o);
	char device[IF_NAMESIZE] = "";
	socklen_t len = sizeof device;

	(void)state;
	assert_int_equal(option(fd, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
	assert_int_equal(option(fd, SOL_SOCKET, SO_REUSEADDR), 1);
	assert_int_equal(option(fd, SOL_SOCKET, SO_REUSEPORT), 1);
	assert_int_equal(option(fd, IPPROTO_IP, IP_PKTINFO), 1);
	assert_int_equal(
	    getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len), 0);
	assert_string_equal(device, "lo");
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

static void
nothing_is_set_unasked(void **state)
{
	const struct sock_opts o = { 0 };
	struct addr a = sockets_addr("127.0.0.1:0");
	int fd = open_at(SOCK_UDP, &a, &o);

	(void)state;
	assert_int_equal(option(fd, SOL_SOCKET, SO_REUSEADDR), 0);
	assert_int_equal(option(fd, SOL_SOCKET, SO_REUSEPORT), 0);
	assert_int_equal(option(fd, IPPROTO_IP, IP_PKTINFO), 0);
	close(fd);
}

/* Of the machine; a private network does not show it on every kernel. */
static int rmem_max;

static int
read_rmem_max(void)
{
	FILE *f = fopen("/proc/sys/net/core/rmem_max", "r");
	int v = 0;

	if (f == NULL || fscanf(f, "%d", &v) != 1) {
		perror("rmem_max");
		exit(1);
	}
	fclose(f);
	return v;
}

/* The kernel doubles what was asked; without rights it cuts it first. */
static void
buffers_are_forced_or_cut(void **state)
{
	int limit = rmem_max;
	const struct sock_opts o = { .rcvbuf = limit + 65536 };
	struct addr a = sockets_addr("127.0.0.1:0");
	int fd = open_at(SOCK_UDP, &a, &o);
	int got = option(fd, SOL_SOCKET, SO_RCVBUF);
	int probe = limit + 65536;
	bool may = setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &probe,
		       sizeof probe) == 0;

	(void)state;
	assert_int_equal(got, 2 * (may ? limit + 65536 : limit));
	close(fd);
}

static void
v6only_is_explicit(void **state)
{
	struct addr a = sockets_addr("[::]:0");

	(void)state;
	for (int only = 0; only < 2; only++) {
		const struct sock_opts o = { .v6only = only, .pktinfo = true };
		int fd = open_at(SOCK_UDP, &a, &o);

		assert_int_equal(option(fd, IPPROTO_IPV6, IPV6_V6ONLY), only);
		assert_int_equal(option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO), 1);
		close(fd);
	}
}

/* Who binds first has the port, also against the same program of the same
 * user; the sockets of one's own group follow. */
static void
first_of_a_group_binds_alone(void **state)
{
	const struct sock_opts late = { .reuseport_late = true,
		.reuseaddr = true };
	const struct sock_opts more = { .reuseport = true, .reuseaddr = true };

	(void)state;
	for (enum sock_proto p = SOCK_UDP; p <= SOCK_TCP; p++) {
		/* unlike UDP, TCP needs SO_REUSEADDR for a quick restart */
		struct sock_opts first = late, others = more;
		struct addr a = sockets_addr("127.0.0.1:0"), bound;
		enum sock_step step;
		int fd[4];

		first.reuseaddr = others.reuseaddr = p == SOCK_TCP;
		fd[0] = open_at(p, &a, &first);
		assert_int_equal(sock_local(fd[0], &bound), 0);
		for (int i = 1; i < 4; i++) {
			assert_int_equal(
			    sock_open(p, &bound, &first, &step), -1);
			assert_int_equal(errno, EADDRINUSE);
			assert_int_equal(step, SOCK_STEP_BIND);
			fd[i] = open_at(p, &bound, &others);
		}
		for (int i = 0; i < 4; i++) {
			assert_int_equal(
			    option(fd[i], SOL_SOCKET, SO_REUSEPORT), 1);
			close(fd[i]);
		}
		/* and not beside a group of others either */
		fd[0] = open_at(p, &bound, &others);
		assert_int_equal(sock_open(p, &bound, &first, &step), -1);
		assert_int_equal(errno, EADDRINUSE);
		close(fd[0]);
	}
}

/* A group that grows from a socket that was bound alone shares the load. */
static void
late_group_shares(void **state)
{
	const struct sock_opts late = { .reuseport_late = true };
	const struct sock_opts more = { .reuseport = true }, none = { 0 };
	struct addr a = sockets_addr("127.0.0.1:0"), bound;
	int fd[2], got[2] = { 0 };
	char c;

	(void)state;
	fd[0] = open_at(SOCK_UDP, &a, &late);
	assert_int_equal(sock_local(fd[0], &bound), 0);
	fd[1] = open_at(SOCK_UDP, &bound, &more);
	for (int i = 0; i < 64; i++) {
		int client = sock_connect(SOCK_UDP, &bound, &none);

		assert_true(client >= 0);
		assert_int_equal(send(client, "x", 1, 0), 1);
		close(client);
	}
	while (got[0] + got[1] < 64) {
		struct pollfd p[2] = { { fd[0], POLLIN, 0 },
			{ fd[1], POLLIN, 0 } };

		assert_true(poll(p, 2, 5000) > 0);
		for (int i = 0; i < 2; i++)
			got[i] += recv(fd[i], &c, 1, MSG_DONTWAIT) == 1;
	}
	assert_true(got[0] > 0 && got[1] > 0);
	close(fd[0]);
	close(fd[1]);
}

static void
expect_step(enum sock_proto proto, const char *text, const struct sock_opts *o,
    enum sock_step want, int want_errno)
{
	enum sock_step step = SOCK_STEP_NONE;
	struct addr a = sockets_addr(text);

	errno = 0;
	assert_int_equal(sock_open(proto, &a, o, &step), -1);
	assert_int_equal(errno, want_errno);
	assert_int_equal(step, want);
}

static void
failures_name_the_step(void **state)
{
	const struct sock_opts none = { 0 };
	const struct sock_opts nodev = { .device = "nosuchdev0" };
	struct addr a = sockets_addr("127.0.0.1:0"), bound;
	struct addr unspec = { 0 };
	enum sock_step step;
	int fd = open_at(SOCK_UDP, &a, &none);
	char text[ADDR_STR_LEN];

	(void)state;
	assert_int_equal(sock_local(fd, &bound), 0);
	assert_true(addr_port(&bound) != 0);
	expect_step(SOCK_UDP, addr_format(text, &bound), &none, SOCK_STEP_BIND,
	    EADDRINUSE);
	close(fd);
	expect_step(
	    SOCK_UDP, "198.51.100.77:0", &none, SOCK_STEP_BIND, EADDRNOTAVAIL);
	expect_step(SOCK_TCP, "127.0.0.1:0", &nodev, SOCK_STEP_OPTION, ENODEV);
	assert_int_equal(sock_open(SOCK_UDP, &unspec, &none, &step), -1);
	assert_int_equal(step, SOCK_STEP_SOCKET);
}

static void
fail_to_listen(void)
{
	static const struct sock_opts o;
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	struct addr a = sockets_addr("127.0.0.1:0");
	enum sock_step step = SOCK_STEP_NONE;

	NEED(seccomp_rule_add(
		 ctx, SCMP_ACT_ERRNO(EADDRINUSE), SCMP_SYS(listen), 0) == 0);
	NEED(seccomp_load(ctx) == 0);
	NEED(sock_open(SOCK_TCP, &a, &o, &step) == -1);
	NEED(errno == EADDRINUSE && step == SOCK_STEP_LISTEN);
}

/* In a child, because a filter that fails listen(2) stays for good. */
static void
listen_is_a_step(void **state)
{
	(void)state;
	child_good(fail_to_listen);
}

static void
steps_have_names(void **state)
{
	(void)state;
	assert_string_equal(sock_step_str(SOCK_STEP_SOCKET), "socket");
	assert_string_equal(sock_step_str(SOCK_STEP_OPTION), "setsockopt");
	assert_string_equal(sock_step_str(SOCK_STEP_BIND), "bind");
	assert_string_equal(sock_step_str(SOCK_STEP_LISTEN), "listen");
	assert_string_equal(sock_step_str(SOCK_STEP_NONE), "nothing");
}

static void
wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_true(p.revents & events);
}

static void
tcp_listens_connects_accepts(void **state)
{
	static const char *const places[] = { "127.0.0.1:0", "[::1]:0" };
	const struct sock_opts o = { .nodelay = true };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct addr a = sockets_addr(places[i]), local, peer,
			    client_local;
		int listener = open_at(SOCK_TCP, &a, &o), client, server;
		char byte = 0;

		assert_int_equal(
		    option(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
		assert_int_equal(tcp_accept(listener, &peer), -1);
		assert_int_equal(errno, EAGAIN);
		assert_int_equal(sock_local(listener, &local), 0);
		client = sock_connect(SOCK_TCP, &local, &o);
		assert_true(client >= 0);
		wait_for(client, POLLOUT);
		assert_int_equal(option(client, SOL_SOCKET, SO_ERROR), 0);
		wait_for(listener, POLLIN);
		server = tcp_accept(listener, &peer);
		assert_true(server >= 0);
		assert_int_equal(sock_local(client, &client_local), 0);
		assert_true(addr_equal(&peer, &client_local));
		assert_true(fcntl(server, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(server, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(option(server, IPPROTO_TCP, TCP_NODELAY), 1);
		assert_int_equal(option(client, IPPROTO_TCP, TCP_NODELAY), 1);
		assert_int_equal(write(client, "x", 1), 1);
		wait_for(server, POLLIN);
		assert_int_equal(read(server, &byte, 1), 1);
		assert_int_equal(byte, 'x');
		close(server);
		close(client);
		close(listener);
	}
}

static void
udp_connects(void **state)
{
	const struct sock_opts o = { 0 };
	struct addr a = sockets_addr("[::1]:0"), local, peer;
	int server = open_at(SOCK_UDP, &a, &o), client;
	socklen_t len = sizeof peer;
	char byte = 0;

	(void)state;
	assert_int_equal(sock_local(server, &local), 0);
	client = sock_connect(SOCK_UDP, &local, &o);
	assert_true(client >= 0);
	assert_int_equal(write(client, "y", 1), 1);
	wait_for(server, POLLIN);
	memset(&peer, 0, sizeof peer);
	assert_int_equal(recvfrom(server, &byte, 1, 0, &peer.sa, &len), 1);
	assert_int_equal(byte, 'y');
	assert_int_equal(sock_local(client, &local), 0);
	assert_true(addr_equal(&peer, &local));
	close(client);
	close(server);
}

static void
connect_says_no(void **state)
{
	const struct sock_opts o = { 0 };
	struct addr broadcast = sockets_addr("127.255.255.255:9");
	struct addr unspec = { 0 };

	(void)state;
	assert_int_equal(sock_connect(SOCK_UDP, &broadcast, &o), -1);
	assert_int_equal(errno, EACCES); /* SO_BROADCAST is not set */
	assert_int_equal(sock_connect(SOCK_UDP, &unspec, &o), -1);
}

/* A UDP socket bound to `at`, and one connected to it that says it is another
 * host's. */
static struct addr
seen_from(const char *at, const char *source)
{
	const struct sock_opts o = { .v6only = true };
	struct addr a = sockets_addr(at), from = sockets_addr(source), peer;
	int server = open_at(SOCK_UDP, &a, &o), client;
	socklen_t len = sizeof peer;
	char byte = 0;

	assert_int_equal(sock_local(server, &a), 0);
	client = sock_connect_from(SOCK_UDP, &from, &a, &o);
	assert_true(client >= 0);
	assert_int_equal(write(client, "z", 1), 1);
	wait_for(server, POLLIN);
	memset(&peer, 0, sizeof peer);
	assert_int_equal(recvfrom(server, &byte, 1, 0, &peer.sa, &len), 1);
	close(client);
	close(server);
	return peer;
}

static void
others_may_be_the_source(void **state)
{
	struct addr four = sockets_addr("192.0.2.9:4711"),
		    six = sockets_addr("[2001:db8::9]:4711"), seen;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(sock_may_be_transparent(), 0);
	seen = seen_from("127.0.0.1:0", "192.0.2.9:4711");
	assert_true(addr_equal(&seen, &four));
	seen = seen_from("[::1]:0", "[2001:db8::9]:4711");
	assert_true(addr_equal(&seen, &six));
}

/* The same host and port towards the same peer twice: TCP and UDP. */
static void
a_taken_port_gives_way(void **state)
{
	const struct sock_opts o = { .v6only = true };
	struct addr from = sockets_addr("127.0.0.9:4711");
	int server, client[2];

	(void)state;
	if (geteuid() != 0)
		skip();
	for (int proto = SOCK_UDP; proto <= SOCK_TCP; proto++) {
		struct addr a = sockets_addr("127.0.0.1:0"), local;

		server = open_at((enum sock_proto)proto, &a, &o);
		assert_int_equal(sock_local(server, &a), 0);
		for (int i = 0; i < 2; i++) {
			client[i] = sock_connect_from(
			    (enum sock_proto)proto, &from, &a, &o);
			assert_true(client[i] >= 0);
			assert_int_equal(sock_local(client[i], &local), 0);
			assert_int_equal(i == 0, addr_equal(&local, &from));
			addr_set_port(&local, 4711);
			assert_true(addr_equal(&local, &from));
		}
		close(client[0]);
		close(client[1]);
		close(server);
	}
}

static void
sources_are_refused(void **state)
{
	const struct sock_opts o = { .v6only = true };
	struct addr four = sockets_addr("192.0.2.9:1"),
		    six = sockets_addr("[::1]:9");

	(void)state;
	assert_int_equal(sock_connect_from(SOCK_TCP, &four, &six, &o), -1);
	assert_int_equal(errno, EAFNOSUPPORT);
}

static void
knows_its_own_addresses(void **state)
{
	static const char *const mine[] = { "127.0.0.1:5", "127.9.9.9", "::1" };
	static const char *const others[] = { "192.0.2.78:5", "2001:db8::1" };
	struct ifreq request = { .ifr_name = "lo:1" };
	struct addr a;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) {
		a = sockets_addr(mine[i]);
		assert_true(sock_is_local(&a));
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		a = sockets_addr(others[i]);
		assert_false(sock_is_local(&a));
	}
	if (geteuid() != 0)
		skip();
	a = sockets_addr("192.0.2.78:0");
	memcpy(&request.ifr_addr, &a.in, sizeof a.in);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(fd, SIOCSIFADDR, &request), 0);
	close(fd);
	a = sockets_addr(others[0]);
	assert_true(sock_is_local(&a));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(udp_carries_its_options),
		cmocka_unit_test(nothing_is_set_unasked),
		cmocka_unit_test(buffers_are_forced_or_cut),
		cmocka_unit_test(v6only_is_explicit),
		cmocka_unit_test(first_of_a_group_binds_alone),
		cmocka_unit_test(late_group_shares),
		cmocka_unit_test(failures_name_the_step),
		cmocka_unit_test(listen_is_a_step),
		cmocka_unit_test(steps_have_names),
		cmocka_unit_test(tcp_listens_connects_accepts),
		cmocka_unit_test(udp_connects),
		cmocka_unit_test(connect_says_no),
		cmocka_unit_test(others_may_be_the_source),
		cmocka_unit_test(a_taken_port_gives_way),
		cmocka_unit_test(sources_are_refused),
		cmocka_unit_test(knows_its_own_addresses),
	};

	rmem_max = read_rmem_max();
	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
