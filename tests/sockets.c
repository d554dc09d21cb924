#include "tests/sockets.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

static int
raise_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result = fd < 0 ? -1 : ioctl(fd, SIOCSIFFLAGS, &request);

	if (fd >= 0)
		close(fd);
	return result;
}

void
sockets_private(void)
{
	if (unshare(CLONE_NEWNET) != 0) {
		printf("in the host's network: %s\n", strerror(errno));
		return;
	}
	if (raise_loopback() != 0) {
		perror("loopback of a private network");
		exit(1);
	}
}

struct addr
sockets_addr(const char *text)
{
	struct addr a;
	const char *why;

	if (addr_parse(&a, text, 0, &why) != 0)
		fail_msg("%s: %s", text, why);
	return a;
}

static int
open_at(enum sock_proto proto, struct addr *a, const struct sock_opts *o)
{
	enum sock_step step;
	int fd = sock_open(proto, a, o, &step);

	if (fd < 0)
		fail_msg("%s: %s", sock_step_str(step), strerror(errno));
	assert_int_equal(sock_local(fd, a), 0);
	return fd;
}

/* The socket of both families gets a port that is free at every address. */
static uint16_t
find_free_port(enum sock_proto proto)
{
	static const struct sock_opts plain;
	struct addr everywhere = sockets_addr("::");

	close(open_at(proto, &everywhere, &plain));
	return addr_port(&everywhere);
}

int
sockets_open(enum sock_proto proto, const char *text, const struct sock_opts *o,
    uint16_t *port)
{
	struct addr a = sockets_addr(text);

	if (*port == 0)
		*port = find_free_port(proto);
	addr_set_port(&a, *port);
	return open_at(proto, &a, o);
}

int
sockets_client(const char *text, uint16_t port)
{
	struct addr a = sockets_addr(text);
	int fd;

	addr_set_port(&a, port);
	fd = sock_connect(SOCK_UDP, &a, &(const struct sock_opts){ 0 });
	assert_true(fd >= 0);
	return fd;
}

void
sockets_say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

void
sockets_queued(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 5000), 1);
}

void
sockets_silent(int fd)
{
	char buf[10];

	assert_int_equal(read(fd, buf, sizeof buf), -1);
	assert_int_equal(errno, EAGAIN);
}
