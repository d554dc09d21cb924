/* Sockets with a path: whose file is replaced, and whose is not. */
#include "net/unixsock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <errno.h>
#include <fcntl.h>

#include <cmocka.h>

static char directory[64], path[96], why[UNIXSOCK_WHY_LEN];

static int
set_up(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/test_unixsock.XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/control.sock", directory);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static int
open_at(const char *where, int type, struct unixsock_file *file)
{
	const struct unixsock_place place = { where, type, 0660, UNIXSOCK_OURS,
		UNIXSOCK_OURS };

	return unixsock_listen(&place, file, why);
}

static int
open_one(struct unixsock_file *file)
{
	return open_at(path, SOCK_STREAM, file);
}

static void
two_ends_meet(void **state)
{
	struct unixsock_file file;
	struct unixsock_peer peer;
	int listener = open_one(&file), client, server;
	struct stat st;
	char c;

	(void)state;
	assert_true(listener >= 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0660);
	client = unixsock_connect(path, 10);
	assert_true(client >= 0);
	server = unixsock_accept(listener);
	assert_true(server >= 0);
	assert_int_equal(unixsock_peer(server, &peer), 0);
	assert_int_equal(peer.uid, geteuid());
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(read(server, &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(write(client, "x", 1), 1);
	assert_int_equal(read(server, &c, 1), 1);
	close(client);
	close(server);
	close(listener);
	assert_int_equal(unixsock_remove(path, &file), 0);
	assert_int_equal(unixsock_remove(path, &file), -1);
}

static void
a_dead_one_is_replaced_and_a_live_one_not(void **state)
{
	struct unixsock_file first, second;
	int dead = open_one(&first), live;

	(void)state;
	close(dead);
	live = open_one(&second);
	assert_true(live >= 0);
	assert_int_equal(open_one(&first), -1);
	assert_non_null(strstr(why, "running daemon"));
	assert_int_equal(unixsock_remove(path, &second), 0);
	close(live);
}

/* A queue that is full is no sign of death. */
static void
a_busy_one_is_alive(void **state)
{
	struct unixsock_file file, other;
	int listener = open_one(&file), fd[256], n = 0;

	(void)state;
	for (; n < 65; n++) /* the backlog and one */
		fd[n] = unixsock_connect(path, 1);
	assert_int_equal(open_one(&other), -1);
	assert_non_null(strstr(why, "running daemon"));
	while (n-- > 0)
		if (fd[n] >= 0)
			close(fd[n]);
	close(listener);
	assert_int_equal(unixsock_remove(path, &file), 0);
}

static void
what_is_no_socket_stays(void **state)
{
	struct unixsock_file file;
	struct stat st;

	(void)state;
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(open_one(&file), -1);
	assert_non_null(strstr(why, "no socket"));
	assert_int_equal(lstat(path, &st), 0);
	unlink(path);
	assert_int_equal(symlink("/nowhere", path), 0);
	assert_int_equal(open_one(&file), -1);
	assert_int_equal(lstat(path, &st), 0);
}

static void
the_file_of_another_is_not_removed(void **state)
{
	struct unixsock_file mine, other;
	int fd = open_one(&mine), second;

	(void)state;
	/* the inode stays in use: the new file has another one */
	assert_int_equal(unlink(path), 0);
	second = open_one(&other);
	assert_true(second >= 0);
	assert_int_equal(unixsock_remove(path, &mine), -1);
	assert_int_equal(errno, ESTALE);
	close(second);
	close(fd);
}

static void
paths_that_do_not_do(void **state)
{
	struct unixsock_file file;
	char longer[200];

	(void)state;
	memset(longer, 'x', sizeof longer - 1);
	longer[0] = '/';
	longer[sizeof longer - 1] = '\0';
	assert_int_equal(open_at(longer, SOCK_STREAM, &file), -1);
	assert_string_equal(why, strerror(ENAMETOOLONG));
	assert_int_equal(
	    open_at("/nowhere/at/all.sock", SOCK_STREAM, &file), -1);
	assert_string_equal(why, strerror(ENOENT));
	assert_int_equal(unixsock_connect(path, 1), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(unixsock_connect("", 1), -1);
	assert_int_equal(errno, ENOENT);
}

/* Messages stay apart, and descriptors come along with theirs. */
static void
messages_carry_descriptors(void **state)
{
	struct unixsock_file file;
	int listener = open_at(path, SOCK_SEQPACKET, &file);
	int client = unixsock_meet(path), server = unixsock_accept(listener);
	int ends[2], fds[UNIXSOCK_FDS_MAX];
	char bytes[8];
	size_t n;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(unixsock_send(client, "one", 3, ends, 2), 0);
	assert_int_equal(unixsock_send(client, "two", 3, NULL, 0), 0);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(
	    unixsock_receive(server, bytes, sizeof bytes, fds, &n), 3);
	assert_memory_equal(bytes, "one", 3);
	assert_int_equal(n, 2);
	assert_int_equal(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(read(fds[0], bytes, sizeof bytes), 1);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(
	    unixsock_receive(server, bytes, sizeof bytes, fds, &n), 3);
	assert_int_equal(n, 0);
	assert_int_equal(
	    unixsock_receive(server, bytes, sizeof bytes, fds, &n), -1);
	assert_int_equal(errno, EAGAIN);
	close(client);
	assert_int_equal(
	    unixsock_receive(server, bytes, sizeof bytes, fds, &n), 0);
	assert_int_equal(unixsock_send(server, "x", 1, NULL, 0), -1);
	close(server);
	close(listener);
}

int
main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		STORY(two_ends_meet),
		STORY(a_dead_one_is_replaced_and_a_live_one_not),
		STORY(a_busy_one_is_alive),
		STORY(what_is_no_socket_stays),
		STORY(the_file_of_another_is_not_removed),
		STORY(paths_that_do_not_do),
		STORY(messages_carry_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
