#include "net/tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define TCP_NAME_MAX 16 /* of a congestion control, TCP_CA_NAME_MAX */

/* of <linux/in6.h>, which does not go with <netinet/in.h> */
#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT 73
#endif

int
tcp_accept(int listener, struct addr *peer)
{
	socklen_t len = sizeof *peer;

	memset(peer, 0, sizeof *peer);
	return accept4(listener, &peer->sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int
tcp_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return errno;
	return error;
}

bool
tcp_is_connected(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof peer;

	return getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

int
tcp_keepalive(int fd, int idle_s)
{
	const int on = idle_s > 0, probes = 3,
		  apart = idle_s >= 3 ? idle_s / 3 : 1;

	if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) < 0)
		return -1;
	if (idle_s <= 0)
		return 0;
	if (setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s) <
		0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &apart, sizeof apart) <
		0)
		return -1;
	return setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

int
tcp_fast_open(int listener, int queue)
{
	return setsockopt(
	    listener, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue);
}

bool
tcp_may_fast_open(enum tcp_side side)
{
	FILE *f = fopen("/proc/sys/net/ipv4/tcp_fastopen", "re");
	unsigned int modes = side;

	if (f == NULL)
		return true;
	if (fscanf(f, "%x", &modes) != 1)
		modes = side;
	fclose(f);
	return (modes & side) != 0;
}

void
tcp_congestion(int fd, const char *name)
{
	if (name != NULL)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name,
		    (socklen_t)strlen(name));
}

bool
tcp_may_congestion(const char *name)
{
	FILE *f =
	    fopen("/proc/sys/net/ipv4/tcp_allowed_congestion_control", "re");
	char word[TCP_NAME_MAX];
	bool may = false;

	if (f == NULL)
		return true;
	while (!may && fscanf(f, "%15s", word) == 1)
		may = strcmp(word, name) == 0;
	fclose(f);
	return may;
}

void
tcp_reset_on_close(int fd)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	/* it only fails for what is no socket; then close(2) is all there is */
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static int
get_info(int fd, struct tcp_info *info)
{
	socklen_t len = sizeof *info;

	memset(info, 0, sizeof *info);
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len);
}

uint64_t
tcp_rtt_ns(int fd)
{
	struct tcp_info info;

	return get_info(fd, &info) == 0 ? (uint64_t)info.tcpi_rtt * 1000 : 0;
}

ssize_t
tcp_peek(int fd, uint8_t *bytes, size_t len)
{
	return recv(fd, bytes, len, MSG_PEEK);
}

ssize_t
tcp_take(int fd, uint8_t *bytes, size_t len)
{
	return recv(fd, bytes, len, 0);
}

void
tcp_readable_from(int fd, int bytes)
{
	/* without it the socket is readable earlier: no harm */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

bool
tcp_is_ended(int fd)
{
	struct tcp_info info;

	/* its FIN is here, or ours went first and its own came then */
	return get_info(fd, &info) != 0 ||
	    (info.tcpi_state != TCP_ESTABLISHED &&
		info.tcpi_state != TCP_FIN_WAIT1 &&
		info.tcpi_state != TCP_FIN_WAIT2);
}

bool
tcp_is_dead(int fd)
{
	struct tcp_info info;

	return get_info(fd, &info) == 0 && info.tcpi_state == TCP_CLOSE;
}

void
tcp_hold(int fd, bool on)
{
	/* from further away than the next hop, as good as everybody is; the
	 * one of the other family fails */
	const int hops = on ? 255 : 0;

	(void)setsockopt(fd, IPPROTO_IP, IP_MINTTL, &hops, sizeof hops);
	(void)setsockopt(
	    fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, &hops, sizeof hops);
}

/*
 * shutdown(2) of a listener takes it out of LISTEN and leaves it bound, if it
 * was bound to a port by name. Without SO_REUSEADDR such a socket keeps
 * others off the port, as a listening one does with it.
 */
int
tcp_listen_stop(int fd)
{
	const int off = 0;
	int listens = 0;
	socklen_t len = sizeof listens;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof off) < 0)
		return -1;
	/* a second shutdown would be the connections' when it listens again */
	return listens ? shutdown(fd, SHUT_RD) : 0;
}

int
tcp_listen_again(int fd)
{
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
		return -1;
	return listen(fd, SOMAXCONN);
}
