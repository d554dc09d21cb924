/* net/dispatch.h in a network of its own: the kernel's program at work. */
#include "net/dispatch.h"

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/child.h"
#include "tests/sockets.h"

#ifdef HAVE_DISPATCH

static const struct sock_opts plain = { .v6only = true, .rcvbuf = 1 << 20 };

/* Root, or the kernel lets nobody load a program. */
static struct dispatch *
opened(void)
{
	char why[DISPATCH_WHY_LEN] = "";
	struct dispatch *d;

	if (geteuid() != 0)
		skip();
	d = dispatch_open(why);
	if (d == NULL)
		fail_msg("%s", why);
	return d;
}

static int
bound(enum sock_proto proto, const char *text)
{
	struct addr a = sockets_addr(text);
	enum sock_step step;
	int fd = sock_open(proto, &a, &plain, &step);

	if (fd < 0)
		fail_msg("%s: %s", text, strerror(errno));
	return fd;
}

static struct dispatch_rule
rule(enum sock_proto proto, const char *text, unsigned int first,
    unsigned int last, int slot, unsigned int sockets)
{
	struct addr a = sockets_addr(text);
	struct dispatch_rule r =
	    dispatch_rule_for(proto, &a, (uint16_t)first, (uint16_t)last);

	assert_true(slot >= 0);
	r.slot = (uint16_t)slot;
	r.sockets = (uint16_t)sockets;
	return r;
}

static void
enforce(struct dispatch *d, const struct dispatch_rule *rules, size_t n)
{
	assert_int_equal(dispatch_prepare(d, rules, n), 0);
	dispatch_publish(d);
}

/* One datagram to `text`; errno of what came back, 0: nothing did. */
static int
say(const char *text)
{
	struct addr to = sockets_addr(text);
	int fd = sock_connect(SOCK_UDP, &to, &plain), error;
	char byte = 'x';

	assert_true(fd >= 0);
	assert_int_equal(send(fd, &byte, 1, 0), 1);
	/* over loopback the answer is there when send(2) returns */
	error = recv(fd, &byte, 1, MSG_DONTWAIT) < 0 ? errno : 0;
	close(fd);
	return error == EAGAIN ? 0 : error;
}

/* How many datagrams wait; they are taken. */
static int
taken(int fd)
{
	char byte;
	int n = 0;

	while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0)
		n++;
	return n;
}

/* 0, or the errno of a connection to `text`. */
static int
knock(const char *text)
{
	struct addr to = sockets_addr(text);
	int fd = socket(to.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int result = connect(fd, &to.sa, addr_len(&to)) == 0 ? 0 : errno;

	close(fd);
	return result;
}

static void
datagrams_find_the_socket(void **state)
{
	struct dispatch *d = opened();
	int four = bound(SOCK_UDP, "127.0.0.9:9"), other;
	int six = bound(SOCK_UDP, "[::1]:9");
	int s4 = dispatch_add(d, &four, 1), s6 = dispatch_add(d, &six, 1);
	struct dispatch_rule rules[] = {
		rule(SOCK_UDP, "127.0.0.1", 1000, 11000, s4, 1),
		rule(SOCK_UDP, "::", 1000, 11000, s6, 1),
	};

	(void)state;
	assert_int_not_equal(s4, s6);
	assert_int_equal(say("127.0.0.1:1000"), ECONNREFUSED);
	enforce(d, rules, 2);
	for (int port = 1000; port <= 11000; port += 500) {
		char text[64];

		snprintf(text, sizeof text, "127.0.0.1:%d", port);
		assert_int_equal(say(text), 0);
		assert_int_equal(taken(four), 1);
		snprintf(text, sizeof text, "[::1]:%d", port);
		assert_int_equal(say(text), 0);
		assert_int_equal(taken(six), 1);
	}
	/* all else is as it was */
	assert_int_equal(say("127.0.0.1:999"), ECONNREFUSED);
	assert_int_equal(say("127.0.0.1:11001"), ECONNREFUSED);
	assert_int_equal(say("[::1]:11001"), ECONNREFUSED);
	assert_int_equal(say("127.0.0.2:5000"), ECONNREFUSED);
	other = bound(SOCK_UDP, "127.0.0.2:5000");
	assert_int_equal(say("127.0.0.2:5000"), 0);
	assert_int_equal(taken(other), 1);
	assert_int_equal(knock("127.0.0.1:5000"), ECONNREFUSED);
	dispatch_close(d);
	assert_int_equal(say("127.0.0.1:5000"), ECONNREFUSED);
	close(four);
	close(six);
	close(other);
}

static void
connections_find_the_listener(void **state)
{
	struct dispatch *d = opened();
	int fd = bound(SOCK_TCP, "127.0.0.9:9"), got;
	struct dispatch_rule r =
	    rule(SOCK_TCP, "0.0.0.0", 1, 65535, dispatch_add(d, &fd, 1), 1);
	struct addr local;

	(void)state;
	assert_int_equal(knock("127.0.0.3:4321"), ECONNREFUSED);
	enforce(d, &r, 1);
	assert_int_equal(knock("127.0.0.3:4321"), 0);
	got = accept(fd, NULL, NULL);
	assert_true(got >= 0);
	assert_int_equal(sock_local(got, &local), 0);
	assert_int_equal(addr_port(&local), 4321);
	close(got);
	/* a rule without sockets refuses, though somebody listens there */
	r.sockets = 0;
	enforce(d, &r, 1);
	assert_int_equal(knock("127.0.0.9:9"), ECONNREFUSED);
	dispatch_close(d);
	assert_int_equal(knock("127.0.0.9:9"), 0);
	close(fd);
}

static void
a_flow_keeps_its_socket(void **state)
{
	struct dispatch *d = opened();
	int fds[4], seen[4] = { 0 };
	struct dispatch_rule r;

	(void)state;
	for (int i = 0; i < 4; i++)
		fds[i] = bound(SOCK_UDP, "127.0.0.9:0");
	r = rule(SOCK_UDP, "127.0.0.1", 2000, 2999, dispatch_add(d, fds, 4), 4);
	enforce(d, &r, 1);
	for (int port = 2000; port < 2200; port++) {
		struct addr to = sockets_addr("127.0.0.1");
		int client, with = -1;

		addr_set_port(&to, (uint16_t)port);
		client = sock_connect(SOCK_UDP, &to, &plain);
		for (int i = 0; i < 3; i++)
			assert_int_equal(send(client, "x", 1, 0), 1);
		close(client);
		for (int i = 0; i < 4; i++) {
			int n = taken(fds[i]);

			assert_true(n == 0 || n == 3);
			if (n == 3)
				with = i;
		}
		assert_true(with >= 0);
		seen[with]++;
	}
	for (int i = 0; i < 4; i++) {
		assert_in_range(seen[i], 20, 90);
		close(fds[i]);
	}
	dispatch_close(d);
}

static void
rules_change_as_a_whole_and_sockets_leave(void **state)
{
	struct dispatch *d = opened();
	int one = bound(SOCK_UDP, "127.0.0.9:9");
	int two = bound(SOCK_UDP, "127.0.0.9:10");
	int s1 = dispatch_add(d, &one, 1), s2 = dispatch_add(d, &two, 1);
	struct dispatch_rule before =
	    rule(SOCK_UDP, "127.0.0.1", 2000, 2999, s1, 1);
	struct dispatch_rule after[] = {
		rule(SOCK_UDP, "127.0.0.1", 2500, 3500, s2, 1),
		before,
	};

	(void)state;
	after[1].last = true;
	enforce(d, &before, 1);
	assert_int_equal(dispatch_prepare(d, after, 2), 0);
	assert_int_equal(say("127.0.0.1:3500"), ECONNREFUSED); /* not yet */
	dispatch_publish(d);
	assert_int_equal(say("127.0.0.1:3500"), 0);
	assert_int_equal(say("127.0.0.1:2500"), 0);
	assert_int_equal(taken(two), 2);
	assert_int_equal(say("127.0.0.1:2499"), 0);
	assert_int_equal(taken(one), 1);
	close(one);
	assert_int_equal(say("127.0.0.1:2499"), ECONNREFUSED);
	assert_int_equal(say("127.0.0.1:2500"), 0);
	close(two);
	dispatch_close(d);
}

/* Slots are found again, however often sockets come and go. */
static void
slots_are_used_again(void **state)
{
	struct dispatch *d = opened();
	int kept = bound(SOCK_UDP, "127.0.0.9:9");
	int at = dispatch_add(d, &kept, 1);

	(void)state;
	for (unsigned int i = 0; i < 3 * DISPATCH_SLOTS; i += 100) {
		int fds[100], first;

		for (int k = 0; k < 100; k++)
			fds[k] = bound(SOCK_UDP, "127.0.0.9:0");
		first = dispatch_add(d, fds, 100);
		assert_true(first >= 0);
		assert_true(at < first || at >= first + 100);
		for (int k = 0; k < 100; k++)
			close(fds[k]);
	}
	errno = 0;
	assert_int_equal(dispatch_add(d, &kept, DISPATCH_SLOTS + 1), -1);
	assert_int_equal(errno, ENOSPC);
	close(kept);
	dispatch_close(d);
}

/* What a reload needs, when every right has gone. */
static void
changes_without_rights(void **state)
{
	struct dispatch *d = opened();
	int status;
	pid_t child;

	(void)state;
	child = fork();
	if (child == 0) {
		int fd;
		struct dispatch_rule r;

		if (setgid(65534) != 0 || setuid(65534) != 0 ||
		    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
			_exit(2);
		fd = bound(SOCK_UDP, "127.0.0.9:1234");
		r = rule(SOCK_UDP, "127.0.0.1", 2000, 2999,
		    dispatch_add(d, &fd, 1), 1);
		enforce(d, &r, 1);
		_exit(say("127.0.0.1:2222") == 0 && taken(fd) == 1 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	dispatch_close(d);
}

/* A rival is another process with such a program; its death ends it. */
static void
rivals(void **state)
{
	struct dispatch *d = opened();
	struct dispatch_rule r, far;
	int ready[2], status;
	pid_t child;
	char byte;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		struct dispatch *own = opened();
		int fd = bound(SOCK_UDP, "127.0.0.9:9");

		r = rule(SOCK_UDP, "127.0.0.1", 2000, 2999,
		    dispatch_add(own, &fd, 1), 1);
		enforce(own, &r, 1);
		(void)!write(ready[1], "x", 1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	r = rule(SOCK_UDP, "0.0.0.0", 2999, 3500, 0, 1);
	far = rule(SOCK_UDP, "0.0.0.0", 3000, 3500, 0, 1);
	assert_int_equal(dispatch_rival(d, &r), child);
	assert_int_equal(dispatch_rival(d, &far), 0);
	assert_int_equal(say("127.0.0.1:2222"), 0);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(say("127.0.0.1:2222"), ECONNREFUSED);
	assert_int_equal(dispatch_rival(d, &r), 0);
	close(ready[0]);
	close(ready[1]);
	dispatch_close(d);
}

/* What a rule leaves alone, and what it refuses when its socket is gone. */
static void
spares_and_fails_closed(void **state)
{
	struct dispatch *d = opened();
	int fd = bound(SOCK_UDP, "127.0.0.9:9");
	int own = bound(SOCK_UDP, "127.0.0.1:2500");
	struct dispatch_rule rules[] = {
		rule(SOCK_UDP, "127.0.0.1", 2000, 2999, dispatch_add(d, &fd, 1),
		    1),
		rule(SOCK_UDP, "127.0.0.1", 2500, 2500, DISPATCH_PASS, 0),
	};

	(void)state;
	enforce(d, rules, 2);
	assert_int_equal(say("127.0.0.1:2500"), 0);
	assert_int_equal(taken(own), 1);
	enforce(d, rules, 1);
	assert_int_equal(say("127.0.0.1:2500"), 0);
	assert_int_equal(taken(own), 0);
	close(fd);
	assert_int_equal(say("127.0.0.1:2500"), 0);
	assert_int_equal(taken(own), 1);
	dispatch_fail_closed(d);
	assert_int_equal(say("127.0.0.1:2500"), ECONNREFUSED);
	close(own);
	dispatch_close(d);
}

/* A bpffs that ends with the process. */
static void
mount_bpffs(char *path)
{
	NEED(unshare(CLONE_NEWNS) == 0);
	NEED(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	NEED(mkdtemp(path) != NULL);
	NEED(mount("bpf", path, "bpf", 0, NULL) == 0);
}

/* One process after the other on what is pinned. */
static void
takes_over_what_is_pinned(void)
{
	char path[] = "/tmp/dispatch-XXXXXX", pin[64];
	char why[DISPATCH_WHY_LEN] = "";
	int fd = bound(SOCK_UDP, "127.0.0.9:9");
	struct dispatch_rule r;
	struct dispatch *d;

	mount_bpffs(path);
	snprintf(pin, sizeof pin, "%s/edges", path);
	d = dispatch_open_pinned(pin, why);
	NEED(d != NULL);
	r = rule(SOCK_UDP, "127.0.0.1", 2000, 2999, dispatch_add(d, &fd, 1), 1);
	enforce(d, &r, 1);
	NEED(say("127.0.0.1:2222") == 0 && taken(fd) == 1);
	NEED(dispatch_open_pinned(pin, why) == NULL);
	NEED(strstr(why, "which runs") != NULL);
	dispatch_close(d);
	close(fd);
	NEED(say("127.0.0.1:2222") == ECONNREFUSED);
	d = dispatch_open_pinned(pin, why);
	NEED(d != NULL);
	NEED(say("127.0.0.1:2222") == ECONNREFUSED);
	fd = bound(SOCK_UDP, "127.0.0.9:10");
	r.slot = (uint16_t)dispatch_add(d, &fd, 1);
	enforce(d, &r, 1);
	NEED(say("127.0.0.1:2222") == 0 && taken(fd) == 1);
	dispatch_close(d);
	NEED(dispatch_open_pinned("/proc", why) == NULL);
	NEED(strstr(why, "pinning at /proc") != NULL);
	NEED(umount(path) == 0 && rmdir(path) == 0);
}

static void
pinned(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	child_good(takes_over_what_is_pinned);
}

/* Nobody may load a program: one sentence says which right lacks. */
static void
without_rights(void **state)
{
	int status;
	pid_t child;

	(void)state;
	if (geteuid() != 0)
		skip();
	child = fork();
	if (child == 0) {
		char why[DISPATCH_WHY_LEN] = "";

		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(2);
		_exit(dispatch_open(why) == NULL &&
			    strstr(why, "takes CAP_BPF and CAP_NET_ADMIN")
			? 0
			: 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagrams_find_the_socket),
		cmocka_unit_test(connections_find_the_listener),
		cmocka_unit_test(a_flow_keeps_its_socket),
		cmocka_unit_test(rules_change_as_a_whole_and_sockets_leave),
		cmocka_unit_test(slots_are_used_again),
		cmocka_unit_test(changes_without_rights),
		cmocka_unit_test(rivals),
		cmocka_unit_test(spares_and_fails_closed),
		cmocka_unit_test(pinned),
		cmocka_unit_test(without_rights),
	};

	sockets_private();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

/* Skipped, which is told, and in CI a failure: setup.sh installs both. */
static void
needs_libbpf_and_clang(void **state)
{
	char why[DISPATCH_WHY_LEN] = "";

	(void)state;
	assert_null(dispatch_open(why));
	assert_string_equal(why, "built without libbpf or clang");
	skip();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(needs_libbpf_and_clang),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
