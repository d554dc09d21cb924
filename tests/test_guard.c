/* The holder's side of a window, against peers made by hand: whatever they do,
 * no flag stays. The two ends together: tests/system/test_63_guard*.py. */
#include "net/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/sockflag.h"
#include "net/unixsock.h"
#include "tests/child.h"
#include "tests/sockets.h"

#define QUEUES 2
#define STRANGER 31337

static char directory[64], path[96];
static uint16_t port; /* nobody's */

struct holder {
	struct guard *guard;
	int udp[QUEUES], tcp[QUEUES];
};

/* ---- the holder ---- */

static int
set_up(void **state)
{
	struct holder *h = calloc(1, sizeof *h);
	const struct guard_setup setup = { .name = "holder",
		.path = path,
		.listens = true,
		.owner = geteuid(),
		.group = getegid() };
	const struct sock_opts o = { .pktinfo = true };
	struct addr all = sockets_addr("0.0.0.0");
	char why[GUARD_WHY_LEN];

	addr_set_port(&all, port);
	strcpy(directory, "/tmp/test_guard.XXXXXX");
	assert_non_null(mkdtemp(directory));
	assert_int_equal(chmod(directory, 0755), 0);
	snprintf(path, sizeof path, "%s/sock", directory);
	h->guard = guard_open(&setup, why);
	assert_non_null(h->guard);
	assert_int_equal(
	    guard_listen(h->guard, SOCK_UDP, &all, &o, QUEUES, h->udp), 0);
	assert_int_equal(
	    guard_listen(h->guard, SOCK_TCP, &all, &o, QUEUES, h->tcp), 0);
	guard_serve(h->guard); /* the start is over */
	*state = h;
	return 0;
}

static int
tear_down(void **state)
{
	struct holder *h = *state;

	guard_release(h->guard, h->udp[0]);
	guard_release(h->guard, h->tcp[0]);
	for (int i = 0; i < QUEUES; i++) {
		close(h->udp[i]);
		close(h->tcp[i]);
	}
	guard_close(h->guard);
	free(h);
	unlink(path);
	return rmdir(directory);
}

/* Until `fd` has something to say, of the peer's. */
static void
serve(struct holder *h, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (int i = 0; i < 2000 && poll(&p, 1, 5) == 0; i++)
		guard_serve(h->guard);
}

/* A bind beside it by this user, with this flag: 0, or its errno. */
static int
bind_as(
    uid_t uid, enum sock_proto proto, const char *address, enum sockflag flag)
{
	struct addr a = sockets_addr(address);
	int fd = sockflag_new(proto, a.sa.sa_family), error = 0;

	addr_set_port(&a, port);
	assert_int_equal(fchown(fd, uid, (gid_t)-1), 0);
	assert_int_equal(sockflag_set(fd, flag, true), 0);
	if (bind(fd, &a.sa, addr_len(&a)) != 0)
		error = errno;
	close(fd);
	return error;
}

static int
bind_beside(enum sock_proto proto, const char *address, enum sockflag flag)
{
	return bind_as(geteuid(), proto, address, flag);
}

static void
assert_shut(void)
{
	for (enum sock_proto p = SOCK_UDP; p <= SOCK_TCP; p++)
		for (enum sockflag f = SOCKFLAG_REUSEADDR;
		     f <= SOCKFLAG_REUSEPORT; f++) {
			assert_int_equal(
			    bind_beside(p, "127.0.0.9", f), EADDRINUSE);
			assert_int_equal(
			    bind_beside(p, "0.0.0.0", f), EADDRINUSE);
		}
}

/* What a reload gives up is bound still when what follows it is bound. */
static void
an_address_of_ours_follows_a_wildcard(void **state)
{
	struct holder *h = *state;
	const struct sock_opts o = { .pktinfo = true };
	struct addr one = sockets_addr("127.0.0.1");
	int fds[QUEUES];

	addr_set_port(&one, port);
	for (enum sock_proto p = SOCK_UDP; p <= SOCK_TCP; p++) {
		assert_int_equal(
		    guard_listen(h->guard, p, &one, &o, QUEUES, fds), 0);
		assert_shut();
		guard_release(h->guard, fds[0]);
		for (int i = 0; i < QUEUES; i++)
			close(fds[i]);
		assert_shut();
	}
}

/* ---- a peer ---- */

static void
say(int fd, const struct guard_message *m)
{
	uint8_t bytes[GUARD_MESSAGE_LEN];

	guard_message_format(bytes, m);
	assert_int_equal(unixsock_send(fd, bytes, sizeof bytes, NULL, 0), 0);
}

/* The next message; GUARD_NONE: the end. */
static struct guard_message
hear(struct holder *h, int fd)
{
	uint8_t bytes[GUARD_MESSAGE_LEN + 1];
	int fds[UNIXSOCK_FDS_MAX];
	struct guard_message m = { 0 };
	size_t count;
	ssize_t n;

	serve(h, fd);
	n = unixsock_receive(fd, bytes, sizeof bytes, fds, &count);
	assert_int_equal(count, 0);
	if (n > 0)
		assert_int_equal(
		    guard_message_parse(&m, (struct view){ bytes, (size_t)n }),
		    0);
	return m;
}

static int
meet(struct holder *h)
{
	const struct guard_message hello = { .type = GUARD_HELLO,
		.name = "newcomer" };
	int fd = unixsock_meet(path);

	assert_true(fd >= 0);
	say(fd, &hello);
	assert_int_equal(hear(h, fd).type, GUARD_HELLO);
	return fd;
}

static struct guard_message
ask_for(struct holder *h, int fd, enum sock_proto proto, const char *address,
    uid_t uid)
{
	struct guard_message m = { .type = GUARD_ASK,
		.number = 7,
		.uid = uid,
		.place = { proto, sockets_addr(address), false } };

	addr_set_port(&m.place.address, port);
	say(fd, &m);
	m = hear(h, fd);
	assert_int_equal(m.number, 7);
	return m;
}

/* ---- stories ---- */

static void
a_window_is_open_for_one_and_shut_after(void **state)
{
	const struct guard_message done = { .type = GUARD_DONE, .number = 7 };
	struct holder *h = *state;
	int fd = meet(h);

	assert_shut();
	for (enum sock_proto p = SOCK_UDP; p <= SOCK_TCP; p++) {
		struct guard_message m =
		    ask_for(h, fd, p, "127.0.0.9", geteuid());

		assert_int_equal(m.type, GUARD_OPEN);
		assert_int_equal(m.detail, GUARD_BY_PORT);
		if (geteuid() == 0)
			assert_int_equal(bind_as(STRANGER, p, "127.0.0.9",
					     SOCKFLAG_REUSEPORT),
			    EADDRINUSE);
		assert_int_equal(
		    bind_beside(p, "127.0.0.9", SOCKFLAG_REUSEPORT), 0);
		assert_int_equal(
		    bind_beside(p, "127.0.0.9", SOCKFLAG_REUSEADDR),
		    EADDRINUSE);
		say(fd, &done);
		/* the next answer comes after it */
		m = ask_for(h, fd, p, "0.0.0.0", geteuid());
		assert_int_equal(m.type, GUARD_NO);
		assert_int_equal(m.detail, GUARD_SAME_PLACE);
		if (p == SOCK_UDP)
			assert_shut();
	}
	close(fd);
}

static void
who_goes_shuts_its_window(void **state)
{
	struct holder *h = *state;

	for (int i = 0; i < 3; i++) {
		int fd = meet(h), next;

		assert_int_equal(
		    ask_for(h, fd, SOCK_UDP, "127.0.0.9", geteuid()).type,
		    GUARD_OPEN);
		close(fd); /* as by kill -9 */
		next = meet(h);
		close(next);
		assert_shut();
	}
}

static void
who_stands_still_has_two_seconds(void **state)
{
	struct holder *h = *state;
	int fd = meet(h);
	uint64_t began_ms = clock_monotonic_ms();
	const struct guard_message late = { .type = GUARD_DONE, .number = 7 };

	assert_int_equal(
	    ask_for(h, fd, SOCK_UDP, "127.0.0.9", geteuid()).type, GUARD_OPEN);
	while (bind_beside(SOCK_UDP, "127.0.0.9", SOCKFLAG_REUSEPORT) == 0) {
		struct pollfd p = { .fd = guard_fd(h->guard),
			.events = POLLIN };

		assert_true(clock_monotonic_ms() - began_ms < 20000);
		poll(&p, 1, 100);
		guard_serve(h->guard);
	}
	assert_true(clock_monotonic_ms() - began_ms >= 2000);
	assert_shut();
	say(fd, &late);
	assert_int_equal(
	    ask_for(h, fd, SOCK_UDP, "127.0.0.9", geteuid()).type, GUARD_OPEN);
	close(fd);
}

/* The second one's turn comes when the first one is through. */
static void
one_window_at_a_time(void **state)
{
	const struct guard_message done = { .type = GUARD_DONE, .number = 7 };
	struct guard_message ask = { .type = GUARD_ASK,
		.number = 9,
		.uid = geteuid(),
		.place = { SOCK_UDP, sockets_addr("127.0.0.8:2002"), false } };
	struct holder *h = *state;
	int one = meet(h), two = meet(h);
	struct guard_message m;
	struct pollfd p = { .fd = two, .events = POLLIN };

	addr_set_port(&ask.place.address, port);
	assert_int_equal(
	    ask_for(h, one, SOCK_UDP, "127.0.0.9", geteuid()).type, GUARD_OPEN);
	say(two, &ask);
	guard_serve(h->guard);
	assert_int_equal(poll(&p, 1, 0), 0);
	say(one, &done);
	m = hear(h, two);
	assert_int_equal(m.type, GUARD_OPEN);
	assert_int_equal(m.number, 9);
	close(two);
	close(one);
}

static void
sockets_of_another_user(void **state)
{
	struct holder *h = *state;
	int fd = meet(h);
	struct guard_message m;

	m = ask_for(h, fd, SOCK_TCP, "127.0.0.9", STRANGER);
	assert_int_equal(m.type, GUARD_NO);
	assert_int_equal(m.detail, GUARD_OTHER_USER);
	m = ask_for(h, fd, SOCK_UDP, "127.0.0.9", STRANGER);
	assert_int_equal(m.type, GUARD_OPEN);
	assert_int_equal(m.detail, GUARD_BY_ADDR);
	assert_int_equal(
	    bind_beside(SOCK_UDP, "127.0.0.9", SOCKFLAG_REUSEADDR), 0);
	close(fd);
	close(meet(h));
	assert_shut();
}

static void
what_is_not_held_is_not_given(void **state)
{
	struct holder *h = *state;
	int fd = meet(h);
	struct guard_message m = ask_for(h, fd, SOCK_UDP, "::1", geteuid());

	assert_int_equal(m.type, GUARD_NO);
	assert_int_equal(m.detail, GUARD_NOT_MINE);
	close(fd);
}

/* Each ends the connection. */
static void
bad_manners(void **state)
{
	const struct guard_message hello = { .type = GUARD_HELLO,
		.name = "newcomer" };
	const struct guard_message ask = { .type = GUARD_ASK,
		.number = 1,
		.place = { SOCK_UDP, sockets_addr("127.0.0.9:2002"), false } };
	struct holder *h = *state;
	int fd = unixsock_meet(path);

	say(fd, &ask); /* before it said who it is */
	assert_int_equal(hear(h, fd).type, GUARD_NONE);
	close(fd);
	fd = meet(h);
	say(fd, &hello); /* twice */
	assert_int_equal(hear(h, fd).type, GUARD_NONE);
	close(fd);
	fd = meet(h);
	assert_int_equal(unixsock_send(fd, "ask", 3, NULL, 0), 0);
	assert_int_equal(hear(h, fd).type, GUARD_NONE);
	close(fd);
	assert_shut();
}

/* A stranger who got past the file's mode. */
static void
come_as_a_stranger(void)
{
	char byte;
	int fd;

	NEED(setresuid(STRANGER, STRANGER, STRANGER) == 0);
	fd = unixsock_meet(path);
	NEED(fd >= 0);
	NEED(fcntl(fd, F_SETFL, 0) == 0);
	NEED(recv(fd, &byte, 1, 0) == 0);
	_exit(0);
}

static void
a_stranger_is_sent_away(void **state)
{
	struct holder *h = *state;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(path, 0666), 0);
	pid = fork();
	if (pid == 0)
		come_as_a_stranger();
	for (int i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
		struct pollfd p = { .fd = guard_fd(h->guard),
			.events = POLLIN };

		assert_true(i < 1000);
		poll(&p, 1, 20);
		guard_serve(h->guard);
	}
	assert_int_equal(status, 0);
	assert_shut();
}

int
main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	static const struct sock_opts plain;
	const struct CMUnitTest tests[] = {
		STORY(an_address_of_ours_follows_a_wildcard),
		STORY(a_window_is_open_for_one_and_shut_after),
		STORY(who_goes_shuts_its_window),
		STORY(who_stands_still_has_two_seconds),
		STORY(one_window_at_a_time),
		STORY(sockets_of_another_user),
		STORY(what_is_not_held_is_not_given),
		STORY(bad_manners),
		STORY(a_stranger_is_sent_away),
	};

	sockets_private();
	close(sockets_open(SOCK_TCP, "0.0.0.0", &plain, &port));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
