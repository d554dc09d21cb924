/* net/portscan.h: live sockets, their owners, and the words for a busy port. */
#include "net/portscan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

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
		assert_int_equal(portscan_port(kinds[i].proto, port, s, 4), 1);
		assert_int_equal(s[0].proto, kinds[i].proto);
		assert_true(addr_equal(&s[0].local, &want));
		assert_int_equal(s[0].uid, geteuid());
		assert_int_equal(s[0].inode, inode_of(fd));
		assert_true(s[0].listening);
		assert_int_equal(s[0].v6only, kinds[i].v6only);
		assert_int_equal(s[0].pid, getpid());
		assert_int_equal(s[0].fd, fd);
		assert_string_equal(s[0].command, comm);
		close(fd);
		assert_int_equal(portscan_port(kinds[i].proto, port, s, 4), 0);
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
	assert_int_equal(portscan_port(SOCK_UDP, port, s, 2), 5);
	assert_int_equal(s[0].pid, getpid());
	assert_int_equal(s[1].pid, getpid());
	assert_int_equal(s[2].pid, 0x5a5a5a5a); /* not touched */
	assert_int_equal(portscan_port(SOCK_UDP, port, NULL, 0), 5);
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
	assert_int_equal(portscan_port(SOCK_UDP, addr_port(&local), s, 4), 1);
	assert_false(s[0].listening);
	assert_true(addr_equal(&s[0].local, &local));
	close(fd);
}

/*
 * held, wanted: whether the kernel refuses the second bind, and the words.
 * The kernel is asked too, so that the table cannot be wrong about it.
 */
static const struct {
	const char *held;
	bool held_v6only;
	const char *wanted;
	bool wanted_v6only;
	bool busy;
	const char *tail; /* how the line ends after the held address */
} cases[] = {
	{ "127.0.0.1", false, "127.0.0.1", false, true, "" },
	{ "127.0.0.1", false, "127.0.0.2", false, false, NULL },
	{ "127.0.0.1", false, "0.0.0.0", false, true, ", which overlaps" },
	{ "0.0.0.0", false, "127.0.0.1", false, true, ", which overlaps" },
	{ "0.0.0.0", false, "0.0.0.0", false, true, "" },
	{ "0.0.0.0", false, "::", false, true,
	    ", which a socket for IPv6 and IPv4 overlaps" },
	{ "127.0.0.1", false, "::", false, true,
	    ", which a socket for IPv6 and IPv4 overlaps" },
	{ "127.0.0.1", false, "::1", false, false, NULL },
	{ "127.0.0.1", false, "::ffff:127.0.0.1", false, true, "" },
	{ "::", false, "127.0.0.1", false, true, ", which takes IPv4 too" },
	{ "::", false, "0.0.0.0", false, true, ", which takes IPv4 too" },
	{ "::", false, "::1", false, true, ", which overlaps" },
	{ "::", false, "::", false, true, "" },
	{ "::", true, "127.0.0.1", false, false, NULL },
	{ "::", true, "0.0.0.0", false, false, NULL },
	{ "::", true, "::", true, true, "" },
	{ "::1", false, "::1", false, true, "" },
	{ "::1", false, "::", true, true, ", which overlaps" },
	{ "::1", false, "127.0.0.1", false, false, NULL },
	{ "::1", false, "0.0.0.0", false, false, NULL },
	{ "::ffff:127.0.0.1", false, "127.0.0.1", false, true, "" },
	{ "::ffff:127.0.0.1", false, "127.0.0.2", false, false, NULL },
	{ "::ffff:127.0.0.1", false, "0.0.0.0", false, true,
	    ", which overlaps" },
};

static void
check_words(enum sock_proto proto, size_t i)
{
	const struct sock_opts held_o = { .v6only = cases[i].held_v6only };
	const struct sock_opts wanted_o = { .v6only = cases[i].wanted_v6only };
	struct addr wanted = sockets_addr(cases[i].wanted), held;
	char got[512], want[512], here[ADDR_STR_LEN], there[ADDR_STR_LEN];
	const char *name = proto == SOCK_UDP ? "udp" : "tcp";
	uint16_t port = 0;
	int fd = sockets_open(proto, cases[i].held, &held_o, &port), second;
	enum sock_step step;
	char comm[64] = "";

	addr_set_port(&wanted, port);
	second = sock_open(proto, &wanted, &wanted_o, &step);
	assert_int_equal(second < 0 && errno == EADDRINUSE, cases[i].busy);
	if (second >= 0)
		close(second);
	assert_int_equal(sock_local(fd, &held), 0);
	prctl(PR_GET_NAME, comm);
	addr_format(here, &wanted);
	addr_format(there, &held);
	if (cases[i].busy)
		snprintf(want, sizeof want,
		    "%s %s is in use: held by pid %ld (%s), uid %u, on %s%s",
		    name, here, (long)getpid(), comm, geteuid(), there,
		    cases[i].tail);
	else
		snprintf(want, sizeof want,
		    "%s %s: no socket in sight holds this port", name, here);
	assert_ptr_equal(
	    portscan_explain(got, sizeof got, proto, &wanted), got);
	assert_string_equal(got, want);
	close(fd);
}

static void
explains_who_is_in_the_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		check_words(SOCK_UDP, i);
		check_words(SOCK_TCP, i);
	}
}

/* Of several on the port, the one at the very address is named. */
static void
names_the_nearest(void **state)
{
	struct addr wanted = sockets_addr("127.0.0.2");
	const struct sock_opts share = { .reuseaddr = true };
	char got[512], there[ADDR_STR_LEN + 4];
	uint16_t port = 0;
	int a = sockets_open(SOCK_UDP, "0.0.0.0", &share, &port);
	int b = sockets_open(SOCK_UDP, "127.0.0.2", &share, &port);
	int c = sockets_open(SOCK_UDP, "127.0.0.3", &share, &port);

	(void)state;
	addr_set_port(&wanted, port);
	snprintf(there, sizeof there, "on 127.0.0.2:%u", port);
	portscan_explain(got, sizeof got, SOCK_UDP, &wanted);
	assert_non_null(strstr(got, there));
	assert_string_equal(strstr(got, there), there);
	close(a);
	close(b);
	close(c);
}

static void
a_strange_name_stays_one_line(void **state)
{
	struct addr wanted = sockets_addr("127.0.0.1");
	char saved[64] = "", got[512], small[20];
	uint16_t port = 0;
	int fd = sockets_open(SOCK_UDP, "127.0.0.1", &none, &port);

	(void)state;
	addr_set_port(&wanted, port);
	prctl(PR_GET_NAME, saved);
	prctl(PR_SET_NAME, "a\nb\033[31m)");
	portscan_explain(got, sizeof got, SOCK_UDP, &wanted);
	prctl(PR_SET_NAME, saved);
	assert_non_null(strstr(got, "(a?b?[31m))"));
	portscan_explain(small, sizeof small, SOCK_UDP, &wanted);
	assert_int_equal(strlen(small), sizeof small - 1);
	close(fd);
}

/* uid nobody may see that a socket is there, not whose descriptor it is. */
static void
says_when_the_owner_is_hidden(void **state)
{
	struct addr wanted = sockets_addr("127.0.0.1");
	char got[512], want[512], here[ADDR_STR_LEN];
	uint16_t port = 0;
	int fd = sockets_open(SOCK_UDP, "127.0.0.1", &none, &port), status = -1;
	pid_t pid;

	(void)state;
	addr_set_port(&wanted, port);
	addr_format(here, &wanted);
	snprintf(want, sizeof want,
	    "udp %s is in use: held by a process of uid %u on %s; only root "
	    "can see which",
	    here, geteuid(), here);
	if (geteuid() != 0) {
		close(fd);
		print_message("not root: no other uid to look from\n");
		skip();
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(fd);
		if (setresgid(65534, 65534, 65534) < 0 ||
		    setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		portscan_explain(got, sizeof got, SOCK_UDP, &wanted);
		_exit(strcmp(got, want) == 0 ? 0 : 1);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(fd);
}

static void
says_when_nobody_is_there(void **state)
{
	struct addr wanted = sockets_addr("[::1]:1");
	char got[200];

	(void)state;
	portscan_explain(got, sizeof got, SOCK_TCP, &wanted);
	assert_string_equal(
	    got, "tcp [::1]:1: no socket in sight holds this port");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_our_own_socket),
		cmocka_unit_test(counts_past_the_cap),
		cmocka_unit_test(tells_connected_from_waiting),
		cmocka_unit_test(explains_who_is_in_the_way),
		cmocka_unit_test(names_the_nearest),
		cmocka_unit_test(a_strange_name_stays_one_line),
		cmocka_unit_test(says_when_the_owner_is_hidden),
		cmocka_unit_test(says_when_nobody_is_there),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
