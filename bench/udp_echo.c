/*
 * The baseline of roughtimed: one thread that takes datagrams off a socket
 * with recvmmsg(2) and sends the first bytes of each back with sendmmsg(2).
 * What a server spends beyond this is its own work. At its end (--seconds, or
 * SIGTERM) it prints one line: datagrams and CPU time.
 *
 *   udp_echo [--reply BYTES] [--batch N] [--seconds N] ADDR:PORT
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/sock.h"

#define IN_CAP 2048
#define BATCH_MAX 1024

struct echo {
	unsigned int batch;
	size_t reply; /* bytes; 0: all of the request */
	unsigned long long received, sent;
	struct mmsghdr rx[BATCH_MAX], tx[BATCH_MAX];
	struct iovec rx_iov[BATCH_MAX], tx_iov[BATCH_MAX];
	struct addr peer[BATCH_MAX];
	/* An odd number of cache lines apart, as in net/batch.c. */
	uint8_t in[BATCH_MAX][IN_CAP + 64];
};

static volatile sig_atomic_t stop;

static void
on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static void
echo_init(struct echo *e)
{
	for (unsigned int i = 0; i < e->batch; i++) {
		struct msghdr *rx = &e->rx[i].msg_hdr;
		struct msghdr *tx = &e->tx[i].msg_hdr;

		e->rx_iov[i].iov_base = e->tx_iov[i].iov_base = e->in[i];
		e->rx_iov[i].iov_len = IN_CAP;
		rx->msg_iov = &e->rx_iov[i];
		tx->msg_iov = &e->tx_iov[i];
		rx->msg_iovlen = tx->msg_iovlen = 1;
		rx->msg_name = tx->msg_name = &e->peer[i];
		rx->msg_namelen = sizeof e->peer[i];
	}
}

static int
echo_once(struct echo *e, int fd)
{
	int n = recvmmsg(fd, e->rx, e->batch, MSG_WAITFORONE, NULL);
	int at = 0;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -1;
	e->received += (unsigned int)n;
	for (int i = 0; i < n; i++) {
		size_t len = e->rx[i].msg_len;

		if (e->reply > 0 && len > e->reply)
			len = e->reply;
		e->tx_iov[i].iov_len = len;
		e->tx[i].msg_hdr.msg_namelen = e->rx[i].msg_hdr.msg_namelen;
		e->rx[i].msg_hdr.msg_namelen = sizeof e->peer[i];
	}
	while (at < n) {
		int r = sendmmsg(fd, e->tx + at, (unsigned int)(n - at), 0);

		e->sent += r > 0 ? (unsigned int)r : 0;
		at += r > 0 ? r : 1; /* refused: not this one */
	}
	return 0;
}

static int
echo_open(const char *where)
{
	const struct sock_opts opts = { .rcvbuf = 4 << 20, .sndbuf = 4 << 20 };
	/* A signal right before recvmmsg() must not be waited out. */
	const struct timeval patience = { .tv_usec = 200000 };
	enum sock_step failed;
	const char *why;
	struct addr a;
	int fd;

	if (addr_parse(&a, where, -1, &why) != 0) {
		fprintf(stderr, "udp_echo: %s: %s\n", where, why);
		return -1;
	}
	fd = sock_open(SOCK_UDP, &a, &opts, &failed);
	if (fd < 0 || fcntl(fd, F_SETFL, 0) != 0 ||
	    setsockopt(
		fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) {
		fprintf(stderr, "udp_echo: %s: %s\n", where, strerror(errno));
		return -1;
	}
	return fd;
}

static void
echo_report(const struct echo *e)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	printf("{\"received\":%llu,\"sent\":%llu,"
	       "\"user_s\":%ld.%06ld,\"system_s\":%ld.%06ld}\n",
	    e->received, e->sent, (long)u.ru_utime.tv_sec,
	    (long)u.ru_utime.tv_usec, (long)u.ru_stime.tv_sec,
	    (long)u.ru_stime.tv_usec);
}

static int
usage(void)
{
	fprintf(stderr,
	    "usage: udp_echo [--reply BYTES] [--batch 1-%d] [--seconds N] "
	    "ADDR:PORT\n",
	    BATCH_MAX);
	return 2;
}

int
main(int argc, char **argv)
{
	static struct echo e = { .batch = 256 };
	const struct sigaction act = { .sa_handler = on_signal };
	const char *where = NULL;
	unsigned int seconds = 0;
	int fd;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		const unsigned long number = strtoul(value, NULL, 10);

		if (strncmp(argv[i], "--", 2) != 0) {
			where = argv[i];
			continue;
		}
		if (strcmp(argv[i], "--reply") == 0)
			e.reply = number;
		else if (strcmp(argv[i], "--batch") == 0)
			e.batch = (unsigned int)number;
		else if (strcmp(argv[i], "--seconds") == 0)
			seconds = (unsigned int)number;
		else
			return usage();
		i++;
	}
	if (where == NULL || e.batch < 1 || e.batch > BATCH_MAX)
		return usage();
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGALRM, &act, NULL);
	fd = echo_open(where);
	if (fd < 0)
		return 1;
	echo_init(&e);
	alarm(seconds);
	while (!stop && echo_once(&e, fd) == 0)
		continue;
	echo_report(&e);
	close(fd);
	return 0;
}
