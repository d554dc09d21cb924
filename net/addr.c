#include "net/addr.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

/* "1".."65535" and "0": digits only, no sign, no blank. */
static bool
parse_port(const char *text, uint16_t *port)
{
	uint32_t v = 0;
	size_t n = strlen(text);

	if (n < 1 || n > 5)
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		v = v * 10 + (uint32_t)(*text - '0');
	}
	if (v > 65535)
		return false;
	*port = (uint16_t)v;
	return true;
}

/* A zone (RFC 4007 section 11) is an interface's name or number. */
static bool
parse_zone(const char *text, uint32_t *index)
{
	uint32_t v = 0;

	*index = if_nametoindex(text);
	if (*index != 0)
		return true;
	if (strlen(text) > 9)
		return false;
	for (; *text >= '0' && *text <= '9'; text++)
		v = v * 10 + (uint32_t)(*text - '0');
	*index = v;
	return *text == '\0' && v != 0;
}

static bool
parse_host(struct addr *a, char *host, const char **why)
{
	char *zone = strchr(host, '%');

	memset(a, 0, sizeof *a);
	if (strchr(host, ':') == NULL) {
		a->in.sin_family = AF_INET;
		*why = "not a numeric IPv4 address";
		return inet_pton(AF_INET, host, &a->in.sin_addr) == 1;
	}
	a->in6.sin6_family = AF_INET6;
	if (zone != NULL) {
		*zone++ = '\0';
		*why = "no such interface after %";
		if (!parse_zone(zone, &a->in6.sin6_scope_id))
			return false;
	}
	*why = "not a numeric IPv6 address";
	return inet_pton(AF_INET6, host, &a->in6.sin6_addr) == 1;
}

/*
 * Splits at the port's colon. A bare IPv6 address has several colons and no
 * port; with a port it stands in brackets. *port is NULL without one.
 */
static bool
split(char *text, char **host, char **port)
{
	char *end;

	*port = NULL;
	if (text[0] == '[') {
		end = strchr(text, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return false;
		*host = text + 1;
		*end = '\0';
		if (end[1] == ':')
			*port = end + 2;
		return strchr(*host, ':') != NULL;
	}
	*host = text;
	end = strchr(text, ':');
	if (end != NULL && strchr(end + 1, ':') == NULL) {
		*end = '\0';
		*port = end + 1;
	}
	return true;
}

int
addr_parse(struct addr *a, const char *text, int default_port, const char **why)
{
	char copy[ADDR_STR_LEN + IF_NAMESIZE];
	char *host, *port;
	uint16_t number = (uint16_t)default_port;
	struct addr parsed;

	if (strlen(text) >= sizeof copy) {
		*why = "too long for an address";
		return -1;
	}
	memcpy(copy, text, strlen(text) + 1);
	if (!split(copy, &host, &port)) {
		*why = "expected [IPv6 address] or [IPv6 address]:port";
		return -1;
	}
	if (!parse_host(&parsed, host, why))
		return -1;
	if (port == NULL && default_port < 0) {
		*why = "a port is missing";
		return -1;
	}
	if (port != NULL && !parse_port(port, &number)) {
		*why = "the port is not a number from 0 to 65535";
		return -1;
	}
	addr_set_port(&parsed, number);
	*a = parsed;
	*why = NULL;
	return 0;
}

/* The zone is printed as a number: no system call, and it parses again. */
char *
addr_format(char buf[static ADDR_STR_LEN], const struct addr *a)
{
	char host[INET6_ADDRSTRLEN] = "?";
	char zone[12] = "";

	switch (a->sa.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof host);
		snprintf(buf, ADDR_STR_LEN, "%.15s:%u", host, addr_port(a));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof host);
		if (a->in6.sin6_scope_id != 0)
			snprintf(zone, sizeof zone, "%%%" PRIu32,
			    a->in6.sin6_scope_id);
		snprintf(
		    buf, ADDR_STR_LEN, "[%s%s]:%u", host, zone, addr_port(a));
		break;
	default:
		snprintf(buf, ADDR_STR_LEN, "(no address)");
	}
	return buf;
}

socklen_t
addr_len(const struct addr *a)
{
	return a->sa.sa_family == AF_INET ? sizeof a->in : sizeof a->in6;
}

uint16_t
addr_port(const struct addr *a)
{
	return ntohs(
	    a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

void
addr_set_port(struct addr *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET)
		a->in.sin_port = htons(port);
	else
		a->in6.sin6_port = htons(port);
}

bool
addr_is_wildcard(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
	return a->sa.sa_family == AF_INET6 &&
	    IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

bool
addr_is_loopback(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

bool
addr_is_listenable(const struct addr *a)
{
	uint32_t four = ntohl(a->in.sin_addr.s_addr);

	if (a->sa.sa_family == AF_INET)
		return !IN_MULTICAST(four) && four != INADDR_BROADCAST;
	return a->sa.sa_family == AF_INET6 &&
	    !IN6_IS_ADDR_MULTICAST(&a->in6.sin6_addr) &&
	    !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
}

bool
addr_equal(const struct addr *a, const struct addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_port == b->in.sin_port &&
		    a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	return a->in6.sin6_port == b->in6.sin6_port &&
	    a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
	    IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr);
}

/* Clears all bits after the first `bits` of the `len` bytes at p. */
static void
mask(uint8_t *p, size_t len, unsigned int bits)
{
	for (size_t i = bits / 8; i < len; i++)
		p[i] &= i > bits / 8 ? 0 : (uint8_t)(0xff00u >> bits % 8);
}

void
addr_prefix_key(uint8_t key[static ADDR_KEY_LEN], const struct addr *a,
    unsigned int prefix4, unsigned int prefix6)
{
	const uint8_t *six = a->in6.sin6_addr.s6_addr;

	memset(key, 0, ADDR_KEY_LEN);
	if (a->sa.sa_family == AF_INET6 &&
	    !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
		key[0] = 6;
		memcpy(key + 1, six, 16);
		mask(key + 1, 16, prefix6);
		return;
	}
	key[0] = 4;
	memcpy(key + 1,
	    a->sa.sa_family == AF_INET ? (const void *)&a->in.sin_addr
				       : (const void *)(six + 12),
	    4);
	mask(key + 1, 4, prefix4);
}

bool
addr_in_prefix(
    const struct addr *a, const struct addr *prefix, unsigned int bits)
{
	uint8_t ka[ADDR_KEY_LEN], kp[ADDR_KEY_LEN];

	addr_prefix_key(ka, a, bits, bits);
	addr_prefix_key(kp, prefix, bits, bits);
	return memcmp(ka, kp, sizeof ka) == 0;
}
