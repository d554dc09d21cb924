#include "portshare/echo.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/tcp.h"
#include "portshare/player.h"

#define LIFE_MS 300000 /* longer than a story: nothing is left behind */

static void
place(struct addr *a, const char *address, uint16_t port)
{
	const char *why;

	if (addr_parse(a, address, 0, &why) < 0)
		memset(a, 0, sizeof *a);
	addr_set_port(a, port);
}

static void
answer(const struct echo *e, char out[static ECHO_LEN], const char *text)
{
	snprintf(out, ECHO_LEN, "%s: %s", e->name, text);
}

static void
answer_datagram(const struct echo *e, int fd)
{
	char text[64], out[ECHO_LEN];
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	ssize_t n = recvfrom(
	    fd, text, sizeof text - 1, 0, (struct sockaddr *)&from, &len);

	if (n < 0)
		return;
	text[n] = '\0';
	answer(e, out, text);
	(void)sendto(
	    fd, out, strlen(out), 0, (const struct sockaddr *)&from, len);
}

static bool
is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, PLAYER_PATIENCE_MS) == 1;
}

/* One question each, one client after the other: there is only one. */
static void
answer_connection(const struct echo *e, int listener)
{
	char text[64], out[ECHO_LEN];
	struct addr peer;
	int fd = tcp_accept(listener, &peer);
	ssize_t n = -1;

	if (fd < 0)
		return;
	if (is_readable(fd))
		n = recv(fd, text, sizeof text - 1, 0);
	if (n > 0) {
		text[n] = '\0';
		answer(e, out, text);
		(void)send(fd, out, strlen(out), MSG_NOSIGNAL);
	}
	close(fd);
}

static void
serve(const struct echo *e, int udp, int tcp)
{
	struct pollfd p[2] = { { .fd = udp, .events = POLLIN },
		{ .fd = tcp, .events = POLLIN } };
	uint64_t end = clock_monotonic_ms() + LIFE_MS;

	while (clock_monotonic_ms() < end && getppid() != 1) {
		if (poll(p, 2, 1000) <= 0)
			continue;
		if (p[0].revents != 0)
			answer_datagram(e, udp);
		if (p[1].revents != 0)
			answer_connection(e, tcp);
	}
}

/* Another user's process from before its first socket. */
static int
become_user(unsigned int uid)
{
	if (uid == geteuid())
		return 0;
	return setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0 ? -1
									    : 0;
}

static int
open_one(const struct echo *e, bool wanted, enum sock_proto proto, int *error)
{
	enum sock_step failed;
	struct addr a;
	int fd;

	if (!wanted || *error != 0)
		return -1;
	place(&a, e->address, e->port);
	fd = sock_open(proto, &a, &e->opts, &failed);
	if (fd < 0)
		*error = errno;
	return fd;
}

/* In the child: says how its binds went, then serves. */
static void
live(const struct echo *e, const struct stage *s, int report)
{
	int error = 0, udp, tcp;

	(void)signal(SIGINT, SIG_IGN); /* the story ends it */
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGHUP, SIG_DFL);
	if (lab_enter(&s->lab, e->net) < 0 || become_user(e->uid) < 0)
		error = errno;
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	udp = open_one(e, e->udp, SOCK_UDP, &error);
	tcp = open_one(e, e->tcp, SOCK_TCP, &error);
	if (write(report, &error, sizeof error) == sizeof error && error == 0)
		serve(e, udp, tcp);
	_exit(0);
}

int
echo_start(struct echo *e, const struct stage *s)
{
	int ends[2], error = EIO;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return errno;
	fflush(NULL);
	e->pid = fork();
	if (e->pid == 0)
		live(e, s, ends[1]);
	close(ends[1]);
	if (e->pid < 0 || !is_readable(ends[0]) ||
	    read(ends[0], &error, sizeof error) != sizeof error)
		error = EIO;
	close(ends[0]);
	if (error != 0)
		echo_stop(e);
	return error;
}

void
echo_stop(struct echo *e)
{
	if (e->pid > 0) {
		(void)kill(e->pid, SIGTERM);
		(void)waitpid(e->pid, NULL, 0);
	}
	e->pid = 0;
}

static int
connect_from_client(
    const struct stage *s, enum sock_proto proto, const char *address)
{
	const struct sock_opts none = { 0 };
	struct addr a;
	int fd;

	place(&a, address, s->port);
	if (lab_enter(&s->lab, LAB_CLIENT) < 0)
		return -1;
	fd = sock_connect(proto, &a, &none);
	return lab_enter(&s->lab, LAB_SERVER) < 0 ? -1 : fd;
}

static ssize_t
exchange(int fd, const char *text, char *reply, size_t cap)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	/* when a connection has failed send(2) says why */
	if (poll(&p, 1, PLAYER_PATIENCE_MS) != 1) {
		errno = ETIMEDOUT;
		return -1;
	}
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		return -1;
	if (!is_readable(fd)) {
		errno = ETIMEDOUT;
		return -1;
	}
	return recv(fd, reply, cap, 0);
}

bool
echo_ask(const struct stage *s, enum sock_proto proto, const char *address,
    const char *text, char reply[static ECHO_LEN])
{
	int fd = connect_from_client(s, proto, address);
	ssize_t n = -1;

	if (fd >= 0)
		n = exchange(fd, text, reply, ECHO_LEN - 1);
	if (n > 0)
		reply[n] = '\0';
	else
		snprintf(reply, ECHO_LEN, "no answer: %s",
		    n == 0 ? "the connection was closed" : strerror(errno));
	if (fd >= 0)
		close(fd);
	return n > 0;
}
