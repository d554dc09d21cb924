#include "net/sockflag.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static const struct {
	const char *name;
	int level, option;
} flags[] = {
	[SOCKFLAG_REUSEADDR] = { "SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR },
	[SOCKFLAG_REUSEPORT] = { "SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT },
	[SOCKFLAG_V6ONLY] = { "IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY },
};

const char *
sockflag_str(enum sockflag flag)
{
	return flags[flag].name;
}

int
sockflag_new(enum sock_proto proto, sa_family_t family)
{
	int type = proto == SOCK_UDP ? SOCK_DGRAM : SOCK_STREAM;

	return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int
sockflag_get(int fd, enum sockflag flag)
{
	int value = 0;
	socklen_t len = sizeof value;

	if (getsockopt(
		fd, flags[flag].level, flags[flag].option, &value, &len) < 0)
		return -1;
	return value != 0;
}

int
sockflag_set(int fd, enum sockflag flag, bool on)
{
	const int value = on;

	return setsockopt(
	    fd, flags[flag].level, flags[flag].option, &value, sizeof value);
}

int
sockflag_set_device(int fd, const char *device)
{
	return setsockopt(
	    fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device));
}

int
sockflag_set_ifindex(int fd, int index)
{
	return setsockopt(
	    fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof index);
}

int
sockflag_set_cpu(int fd, int cpu)
{
	return setsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, sizeof cpu);
}

int
sockflag_cpu(int fd)
{
	int cpu = -1;
	socklen_t len = sizeof cpu;

	if (getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, &len) < 0)
		return -1;
	return cpu;
}
