/*
 * Load for the TCP rows of bench/proxy.py, towards bench/tcp_origin straight
 * or through a proxy. Prints one line of JSON; a wrong byte or a connection
 * that breaks ends it with status 1.
 *
 *   tcp_load bulk    ADDR:PORT CONNECTIONS SECONDS  streams are received
 *   tcp_load echo    ADDR:PORT CONNECTIONS SECONDS  100 bytes there and back
 *   tcp_load connect ADDR:PORT CONNECTIONS SECONDS  connect, one echo, close
 *   tcp_load idle    ADDR:PORT CONNECTIONS SECONDS  one echo each, then hold
 *   tcp_load probe   ADDR:PORT 1 SECONDS            when it accepts (ns)
 *
 * Of a stream one chunk in 64 is received and compared, the others are
 * discarded in the kernel (tcp(7), MSG_TRUNC): the reader must not be slower
 * than the proxy. Of the echoes one in 16 is compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/pattern.h"
#include "net/addr.h"
#include "net/sock.h"
#include "base/histogram.h"

#define CONNS_MAX 16384
#define CHUNK 262144u
#define MESSAGE 100u
#define CHECK_CHUNK 64u /* one in so many is compared */
#define CHECK_ECHO 16u
#define SOURCES 32u /* local addresses: a port may wait a minute */
#define NS_PER_S 1000000000ull

struct conn {
	int fd;
	bool sent;
	uint64_t began_ns, at, turn;
};

struct load {
	struct addr to;
	uint32_t count, source;
	int set;
	uint64_t start_ns, end_ns, units, bytes, checked;
	struct conn conns[CONNS_MAX];
	struct histogram latency;
	uint8_t message[MESSAGE];
};

static struct load load;
static uint8_t pattern[PATTERN_PERIOD + CHUNK], buffer[CHUNK];

static void
give_up(const char *what)
{
	fprintf(stderr, "tcp_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
mismatch(const char *what)
{
	fprintf(stderr, "tcp_load: %s are not what was sent\n", what);
	exit(1);
}

/* ---- connections ---- */

/* Over loopback each from another address, so that ports last. */
static void
bind_source(struct load *l, int fd)
{
	const int on = 1;
	struct addr a = { .in = { .sin_family = AF_INET } };

	if (l->to.sa.sa_family != AF_INET ||
	    ntohl(l->to.in.sin_addr.s_addr) >> 24 != 127)
		return;
	a.in.sin_addr.s_addr = htonl(0x7f000100u + l->source++ % SOURCES);
	if (setsockopt(
		fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0 ||
	    bind(fd, &a.sa, addr_len(&a)) != 0)
		give_up("bind");
}

static int
begin(struct load *l)
{
	int fd = socket(
	    l->to.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		give_up("socket");
	bind_source(l, fd);
	if (connect(fd, &l->to.sa, addr_len(&l->to)) != 0 &&
	    errno != EINPROGRESS)
		give_up("connect");
	return fd;
}

/* False: not connected yet. */
static bool
say(const struct load *l, int fd)
{
	ssize_t n = send(fd, l->message, MESSAGE, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n == MESSAGE)
		return true;
	if (n >= 0 || (errno != EAGAIN && errno != ENOTCONN))
		give_up("send");
	return false;
}

static void
watch(struct load *l, struct conn *c, int op, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = c };

	if (epoll_ctl(l->set, op, c->fd, &e) != 0)
		give_up("epoll_ctl");
}

static void
open_conn(struct load *l, struct conn *c)
{
	*c = (struct conn){ .began_ns = clock_monotonic_ns() };
	c->fd = begin(l);
	c->sent = say(l, c->fd);
	watch(l, c, EPOLL_CTL_ADD, c->sent ? EPOLLIN : EPOLLOUT);
}

/* ---- what one readable connection does ---- */

static void
take_stream(struct load *l, struct conn *c)
{
	bool check = c->turn++ % CHECK_CHUNK == 0;
	ssize_t n = recv(c->fd, buffer, CHUNK, check ? 0 : MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		give_up("stream");
	if (check &&
	    memcmp(buffer, pattern + c->at % PATTERN_PERIOD, (size_t)n) != 0)
		mismatch("bytes of a stream");
	l->checked += check ? (uint64_t)n : 0;
	c->at += (uint64_t)n;
	l->bytes += (uint64_t)n;
}

/* A whole one is in the buffer. */
static void
echoed(struct load *l, uint64_t began_ns)
{
	histogram_add(&l->latency, clock_monotonic_ns() - began_ns);
	if (l->units++ % CHECK_ECHO != 0)
		return;
	if (memcmp(buffer, l->message, MESSAGE) != 0)
		mismatch("bytes of an echo");
	l->checked += MESSAGE;
}

/* True when the whole of an echo is here. */
static bool
take_echo(struct load *l, struct conn *c)
{
	ssize_t n = recv(c->fd, buffer + c->at, MESSAGE - c->at, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0)
		give_up("echo");
	c->at += (uint64_t)n;
	if (c->at < MESSAGE)
		return false;
	c->at = 0;
	echoed(l, c->began_ns);
	return true;
}

static void
next_echo(struct load *l, struct conn *c)
{
	c->began_ns = clock_monotonic_ns();
	if (!say(l, c->fd))
		give_up("send");
}

static void
next_conn(struct load *l, struct conn *c)
{
	if (close(c->fd) != 0)
		give_up("close");
	open_conn(l, c);
}

/* ---- the kinds of load ---- */

static void
turn(struct load *l, void (*done)(struct load *, struct conn *))
{
	struct epoll_event events[256];
	int n = epoll_wait(l->set, events, 256, 1000);

	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		if (!c->sent) {
			c->sent = say(l, c->fd);
			if (c->sent)
				watch(l, c, EPOLL_CTL_MOD, EPOLLIN);
		} else if (done == NULL) {
			take_stream(l, c);
		} else if (take_echo(l, c)) {
			done(l, c);
		}
	}
}

static void
open_all(struct load *l)
{
	for (uint32_t i = 0; i < l->count; i++)
		open_conn(l, &l->conns[i]);
}

/* A connection that waits, for those who have but one thing to wait for. */
static int
open_blocking(struct load *l)
{
	const struct timeval patience = { .tv_sec = 5 };
	struct pollfd p = { .fd = begin(l), .events = POLLOUT };

	if (poll(&p, 1, 5000) != 1 || fcntl(p.fd, F_SETFL, 0) != 0 ||
	    setsockopt(
		p.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
		give_up("connect");
	return p.fd;
}

static void
ask(struct load *l, int fd)
{
	uint64_t began_ns = clock_monotonic_ns();

	if (!say(l, fd) || recv(fd, buffer, MESSAGE, MSG_WAITALL) != MESSAGE)
		give_up("echo");
	echoed(l, began_ns);
}

static void
run_echo(struct load *l)
{
	int fd;

	if (l->count > 1) {
		open_all(l);
		while (clock_monotonic_ns() < l->end_ns)
			turn(l, next_echo);
		return;
	}
	/* one after the other: no other system call in between */
	fd = open_blocking(l);
	while (clock_monotonic_ns() < l->end_ns)
		ask(l, fd);
}

static void
run_connect(struct load *l)
{
	open_all(l);
	while (clock_monotonic_ns() < l->end_ns)
		turn(l, next_conn);
}

static void
run_bulk(struct load *l)
{
	open_all(l);
	while (clock_monotonic_ns() < l->end_ns)
		turn(l, NULL);
}

static void
run_idle(struct load *l)
{
	char byte;

	for (uint32_t i = 0; i < l->count; i++)
		ask(l, open_blocking(l));
	printf("ready\n");
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		give_up("stdin");
}

static void
run_probe(struct load *l)
{
	do {
		int fd = socket(l->to.sa.sa_family, SOCK_STREAM, 0);
		bool open = connect(fd, &l->to.sa, addr_len(&l->to)) == 0;

		close(fd);
		if (open) {
			l->units = clock_monotonic_ns();
			return;
		}
		poll(NULL, 0, 1);
	} while (clock_monotonic_ns() < l->end_ns);
	errno = ETIMEDOUT;
	give_up("probe");
}

/* ---- the program ---- */

static const struct {
	const char *name;
	void (*run)(struct load *);
	uint8_t first; /* byte of the request */
} modes[] = {
	{ "bulk", run_bulk, 'S' },
	{ "echo", run_echo, 'E' },
	{ "connect", run_connect, 'E' },
	{ "idle", run_idle, 'E' },
	{ "probe", run_probe, 'E' },
};

static void
report(const struct load *l)
{
	struct timespec cpu;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	printf("{\"units\":%llu,\"bytes\":%llu,\"seconds\":%.6f,"
	       "\"checked\":%llu,\"cpu_s\":%.6f,\"p50_us\":%.2f,"
	       "\"p99_us\":%.2f}\n",
	    (unsigned long long)l->units, (unsigned long long)l->bytes,
	    (double)(clock_monotonic_ns() - l->start_ns) / 1e9,
	    (unsigned long long)l->checked,
	    (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9,
	    (double)histogram_quantile(&l->latency, 0.5) / 1e3,
	    (double)histogram_quantile(&l->latency, 0.99) / 1e3);
}

static int
usage(const char *why)
{
	fprintf(stderr,
	    "usage: tcp_load bulk|echo|connect|idle|probe ADDR:PORT "
	    "CONNECTIONS SECONDS %s\n",
	    why);
	return 2;
}

int
main(int argc, char **argv)
{
	const char *why = "";
	struct load *l = &load;
	size_t mode = 0;

	if (argc != 5 || addr_parse(&l->to, argv[2], -1, &why) != 0)
		return usage(why);
	while (mode < sizeof modes / sizeof *modes &&
	    strcmp(argv[1], modes[mode].name) != 0)
		mode++;
	l->count = (uint32_t)strtoul(argv[3], NULL, 10);
	if (mode == sizeof modes / sizeof *modes || l->count < 1 ||
	    l->count > CONNS_MAX)
		return usage("");
	pattern_fill(pattern, sizeof pattern);
	memcpy(l->message, pattern, MESSAGE);
	l->message[0] = modes[mode].first;
	l->set = epoll_create1(EPOLL_CLOEXEC);
	l->start_ns = clock_monotonic_ns();
	l->end_ns = l->start_ns + (uint64_t)(strtod(argv[4], NULL) * NS_PER_S);
	modes[mode].run(l);
	report(l);
	return 0;
}
