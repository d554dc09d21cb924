/* net/portlook.h: live sockets put through the rules, and the words. */
#include "net/portlook.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/sockets.h"

static const struct sock_opts none;

/*
 * held, wanted: whether the kernel refuses the second bind. The kernel is
 * asked too, so that the table cannot be wrong about it.
 */
static const struct {
	const char *held;
	bool held_v6only;
	const char *wanted;
	bool wanted_v6only;
	bool busy;
} cases[] = {
	{ "127.0.0.1", false, "127.0.0.1", false, true },
	{ "127.0.0.1", false, "127.0.0.2", false, false },
	{ "127.0.0.1", false, "0.0.0.0", false, true },
	{ "0.0.0.0", false, "127.0.0.1", false, true },
	{ "0.0.0.0", false, "0.0.0.0", false, true },
	{ "0.0.0.0", false, "::", false, true },
	{ "127.0.0.1", false, "::", false, true },
	{ "127.0.0.1", false, "::1", false, false },
	{ "127.0.0.1", false, "::ffff:127.0.0.1", false, true },
	{ "::", false, "127.0.0.1", false, true },
	{ "::", false, "0.0.0.0", false, true },
	{ "::", false, "::1", false, true },
	{ "::", false, "::", false, true },
	{ "::", true, "127.0.0.1", false, false },
	{ "::", true, "0.0.0.0", false, false },
	{ "::", true, "::", true, true },
	{ "::1", false, "::1", false, true },
	{ "::1", false, "::", true, true },
	{ "::1", false, "127.0.0.1", false, false },
	{ "::1", false, "0.0.0.0", false, false },
	{ "::ffff:127.0.0.1", false, "127.0.0.1", false, true },
	{ "::ffff:127.0.0.1", false, "127.0.0.2", false, false },
	{ "::ffff:127.0.0.1", false, "0.0.0.0", false, true },
};

static void
check_words(enum sock_proto proto, size_t i)
{
	const struct sock_opts held_o = { .v6only = cases[i].held_v6only };
	const struct sock_opts wanted_o = { .v6only = cases[i].wanted_v6only };
	struct addr wanted = sockets_addr(cases[i].wanted), held;
	char got[700], want[700], here[ADDR_STR_LEN], there[ADDR_STR_LEN];
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
		    "%s %s is in use: held by pid %ld (%s), uid %u, on %s: the "
		    "addresses overlap and neither socket carries a sharing "
		    "flag; smallest change: ",
		    name, here, (long)getpid(), comm, geteuid(), there);
	else
		snprintf(want, sizeof want,
		    "%s %s: no socket in sight is in the way", name, here);
	assert_ptr_equal(
	    portlook_explain(got, sizeof got, proto, &wanted, &wanted_o), got);
	assert_memory_equal(got, want, strlen(want));
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
	char got[700], there[ADDR_STR_LEN + 8];
	uint16_t port = 0;
	int a = sockets_open(SOCK_UDP, "0.0.0.0", &share, &port);
	int b = sockets_open(SOCK_UDP, "127.0.0.2", &share, &port);
	int c = sockets_open(SOCK_UDP, "127.0.0.3", &share, &port);

	(void)state;
	addr_set_port(&wanted, port);
	snprintf(there, sizeof there, "on 127.0.0.2:%u: ", port);
	portlook_explain(got, sizeof got, SOCK_UDP, &wanted, &none);
	assert_non_null(strstr(got, there));
	close(a);
	close(b);
	close(c);
}

static void
a_strange_name_stays_one_line(void **state)
{
	struct addr wanted = sockets_addr("127.0.0.1");
	char saved[64] = "", got[700], small[20];
	uint16_t port = 0;
	int fd = sockets_open(SOCK_UDP, "127.0.0.1", &none, &port);

	(void)state;
	addr_set_port(&wanted, port);
	prctl(PR_GET_NAME, saved);
	prctl(PR_SET_NAME, "a\nb\033[31m)");
	portlook_explain(got, sizeof got, SOCK_UDP, &wanted, &none);
	prctl(PR_SET_NAME, saved);
	assert_non_null(strstr(got, "(a?b?[31m))"));
	portlook_explain(small, sizeof small, SOCK_UDP, &wanted, &none);
	assert_int_equal(strlen(small), sizeof small - 1);
	close(fd);
}

/* uid nobody may see that a socket is there, not whose descriptor it is. */
static void
says_when_the_owner_is_hidden(void **state)
{
	struct addr wanted = sockets_addr("127.0.0.1");
	char got[700], want[700], here[ADDR_STR_LEN];
	uint16_t port = 0;
	int fd = sockets_open(SOCK_UDP, "127.0.0.1", &none, &port), status = -1;
	pid_t pid;

	(void)state;
	addr_set_port(&wanted, port);
	addr_format(here, &wanted);
	snprintf(want, sizeof want,
	    "udp %s is in use: held by a process of uid %u on %s (only root "
	    "can see which): the addresses overlap and neither socket carries "
	    "a sharing flag; smallest change: set SO_REUSEADDR on both sockets "
	    "(its flags are not visible to us and taken as none)",
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
		portlook_explain(got, sizeof got, SOCK_UDP, &wanted, &none);
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
	portlook_explain(got, sizeof got, SOCK_TCP, &wanted, &none);
	assert_string_equal(
	    got, "tcp [::1]:1: no socket in sight is in the way");
}

/* Before any bind; then the kernel is asked, and agrees. */
static void
predicts_what_then_happens(void **state)
{
	static const struct sock_opts address = { .reuseaddr = true },
				      port_ = { .reuseport = true };
	static const struct {
		enum sock_proto proto;
		const struct sock_opts *held, *wanted;
		const char *at;
		enum portrules_rule rule;
		enum portrules_fix fix;
	} rows[] = {
		{ SOCK_UDP, &none, &address, "127.0.0.1",
		    PORTRULES_OLDER_LACKS_FLAG, PORTRULES_FIX_OLDER_REUSEADDR },
		{ SOCK_UDP, &address, &none, "127.0.0.1",
		    PORTRULES_NEWER_LACKS_FLAG, PORTRULES_FIX_NEWER_REUSEADDR },
		{ SOCK_UDP, &address, &address, "127.0.0.1",
		    PORTRULES_BOTH_REUSEADDR, PORTRULES_FIX_NONE },
		{ SOCK_TCP, &address, &address, "127.0.0.1",
		    PORTRULES_LISTENING, PORTRULES_FIX_BOTH_REUSEPORT },
		{ SOCK_TCP, &port_, &port_, "127.0.0.1",
		    PORTRULES_BOTH_REUSEPORT, PORTRULES_FIX_NONE },
		{ SOCK_UDP, &none, &none, "127.0.0.2", PORTRULES_OTHER_ADDRESS,
		    PORTRULES_FIX_NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct addr wanted = sockets_addr(rows[i].at);
		struct portrules_socket newer;
		struct portrules_verdict v;
		enum sock_step step;
		struct portlook l;
		uint16_t port = 0;
		int fd = sockets_open(
		    rows[i].proto, "127.0.0.1", rows[i].held, &port);
		int second;

		addr_set_port(&wanted, port);
		assert_int_equal(portlook_scan(&l, rows[i].proto, port), 0);
		assert_int_equal(l.n, 1);
		assert_int_equal(l.blind, 0);
		portlook_newcomer(
		    &newer, rows[i].proto, &wanted, rows[i].wanted);
		v = portrules_predict(&l.rules, &newer);
		assert_string_equal(portrules_rule_str(v.rule),
		    portrules_rule_str(rows[i].rule));
		assert_string_equal(
		    portrules_fix_str(v.fix), portrules_fix_str(rows[i].fix));
		second =
		    sock_open(rows[i].proto, &wanted, rows[i].wanted, &step);
		assert_int_equal(v.error, second < 0 ? errno : 0);
		if (second >= 0)
			close(second);
		portlook_free(&l);
		close(fd);
	}
}

/* Who gets a datagram, of live sockets; then one is sent. */
static void
tells_who_receives(void **state)
{
	static const struct sock_opts share = { .reuseaddr = true };
	struct portrules_packet k = { .chosen = PORTRULES_NOBODY };
	struct portrules_delivery d;
	struct portlook l;
	uint16_t port = 0;
	int fds[3], sender;
	char byte;

	(void)state;
	fds[0] = sockets_open(SOCK_UDP, "0.0.0.0", &share, &port);
	fds[1] = sockets_open(SOCK_UDP, "127.0.0.1", &share, &port);
	fds[2] = sockets_open(SOCK_UDP, "127.0.0.1", &share, &port);
	k.to = k.from = sockets_addr("127.0.0.1");
	addr_set_port(&k.to, port);
	assert_int_equal(portlook_scan(&l, SOCK_UDP, port), 0);
	d = portrules_deliver(&l.rules, &k);
	assert_int_equal(d.level, PORTRULES_EXACT);
	assert_int_equal(d.tie, PORTRULES_NEWEST);
	assert_int_equal(l.found[d.winner].fd, fds[2]);
	sender = sock_connect(SOCK_UDP, &k.to, &none);
	assert_int_equal(send(sender, "x", 1, 0), 1);
	assert_int_equal(recv(l.found[d.winner].fd, &byte, 1, 0), 1);
	portlook_free(&l);
	close(sender);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(explains_who_is_in_the_way),
		cmocka_unit_test(names_the_nearest),
		cmocka_unit_test(a_strange_name_stays_one_line),
		cmocka_unit_test(says_when_the_owner_is_hidden),
		cmocka_unit_test(says_when_nobody_is_there),
		cmocka_unit_test(predicts_what_then_happens),
		cmocka_unit_test(tells_who_receives),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
