#include "net/device.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <string.h>

/* Its ifindex, if that is what this entry tells of. */
static unsigned int
ethernet_of(const struct ifaddrs *i)
{
	struct sockaddr_ll l;

	if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_PACKET)
		return 0;
	memcpy(&l, i->ifa_addr, sizeof l);
	return l.sll_hatype == ARPHRD_ETHER ? (unsigned int)l.sll_ifindex : 0;
}

static unsigned int
ethernet_named(const struct ifaddrs *list, const char *name)
{
	for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next)
		if (strcmp(i->ifa_name, name) == 0 && ethernet_of(i) != 0)
			return ethernet_of(i);
	return 0;
}

static bool
has_address(const struct ifaddrs *i, const struct addr *a)
{
	struct addr host = *a, its;

	if (i->ifa_addr == NULL || i->ifa_addr->sa_family != a->sa.sa_family)
		return false;
	addr_set_port(&host, 0);
	its.sa.sa_family = a->sa.sa_family;
	memcpy(&its, i->ifa_addr, addr_len(&its));
	return addr_equal(&its, &host);
}

unsigned int
device_of(const struct addr *a)
{
	struct ifaddrs *list;
	unsigned int device = 0;

	if (getifaddrs(&list) != 0)
		return 0;
	for (struct ifaddrs *i = list; i != NULL && device == 0;
	     i = i->ifa_next)
		if (has_address(i, a))
			device = ethernet_named(list, i->ifa_name);
	freeifaddrs(list);
	return device;
}

static bool
is_listed(const unsigned int *devices, size_t n, unsigned int device)
{
	for (size_t i = 0; i < n; i++)
		if (devices[i] == device)
			return true;
	return false;
}

size_t
device_list(unsigned int *devices, size_t most)
{
	struct ifaddrs *list;
	size_t n = 0;

	if (getifaddrs(&list) != 0)
		return 0;
	for (struct ifaddrs *i = list; i != NULL && n < most; i = i->ifa_next) {
		unsigned int device;

		if (i->ifa_addr == NULL || (i->ifa_flags & IFF_UP) == 0 ||
		    (i->ifa_addr->sa_family != AF_INET &&
			i->ifa_addr->sa_family != AF_INET6))
			continue;
		device = ethernet_named(list, i->ifa_name);
		if (device != 0 && !is_listed(devices, n, device))
			devices[n++] = device;
	}
	freeifaddrs(list);
	return n;
}

unsigned int
device_named(const char *name)
{
	struct ifaddrs *list;
	unsigned int device;

	if (getifaddrs(&list) != 0)
		return 0;
	device = ethernet_named(list, name);
	freeifaddrs(list);
	return device;
}
