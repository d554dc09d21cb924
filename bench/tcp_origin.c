/*
 * The origin behind the proxies of bench/proxy.py: one thread, epoll(7). The
 * first byte of a connection says what it is for: 'S' a stream without end of
 * the bytes of bench/pattern.h, anything else an echo.
 *
 *   tcp_origin ADDR:PORT
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/pattern.h"
#include "net/addr.h"
#include "net/sock.h"
#include "net/tcp.h"

#define FDS_MAX 65536
#define EVENTS 256
#define CHUNK 262144u /* of a stream, a call */

enum kind { KIND_NONE = 0, KIND_ECHO, KIND_STREAM };

struct conn {
	enum kind kind;
	uint64_t at; /* bytes of the stream sent */
};

static struct conn conns[FDS_MAX];
static uint8_t pattern[PATTERN_PERIOD + CHUNK];

static void
drop(int fd)
{
	conns[fd] = (struct conn){ 0 };
	close(fd);
}

static void
stream(int fd)
{
	struct conn *c = &conns[fd];
	ssize_t n = send(fd, pattern + c->at % PATTERN_PERIOD, CHUNK,
	    MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n > 0)
		c->at += (uint64_t)n;
	else if (errno != EAGAIN && errno != EINTR)
		drop(fd);
}

static void
begin_stream(int set, int fd)
{
	struct epoll_event e = { .events = EPOLLOUT, .data.fd = fd };

	if (epoll_ctl(set, EPOLL_CTL_MOD, fd, &e) != 0)
		drop(fd);
}

/* What came goes back; a client that does not take it is none of ours. */
static void
echo(int set, int fd)
{
	static uint8_t bytes[65536];
	struct conn *c = &conns[fd];
	ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && c->kind == KIND_NONE)
		c->kind = bytes[0] == 'S' ? KIND_STREAM : KIND_ECHO;
	if (n > 0 && c->kind == KIND_STREAM)
		begin_stream(set, fd);
	else if (n <= 0 ||
	    send(fd, bytes, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
		drop(fd);
}

static void
accept_all(int set, int listener)
{
	struct addr peer;
	int fd;

	while ((fd = tcp_accept(listener, &peer)) >= 0) {
		struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

		if (fd >= FDS_MAX || epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) != 0)
			close(fd);
	}
}

static int
serve(int set, int listener)
{
	struct epoll_event events[EVENTS];

	for (;;) {
		int n = epoll_wait(set, events, EVENTS, -1);

		if (n < 0 && errno != EINTR)
			return 1;
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listener)
				accept_all(set, fd);
			else if (conns[fd].kind == KIND_STREAM)
				stream(fd);
			else
				echo(set, fd);
		}
	}
}

int
main(int argc, char **argv)
{
	const struct sock_opts o = { .reuseaddr = true, .nodelay = true };
	struct epoll_event e = { .events = EPOLLIN };
	enum sock_step failed;
	const char *why = "";
	struct addr a;
	int fd, set = epoll_create1(EPOLL_CLOEXEC);

	if (argc != 2 || addr_parse(&a, argv[1], -1, &why) != 0) {
		fprintf(stderr, "usage: tcp_origin ADDR:PORT %s\n", why);
		return 2;
	}
	e.data.fd = fd = sock_open(SOCK_TCP, &a, &o, &failed);
	if (fd < 0 || set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) != 0) {
		fprintf(
		    stderr, "tcp_origin: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	pattern_fill(pattern, sizeof pattern);
	return serve(set, fd);
}
