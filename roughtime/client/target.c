#include "roughtime/client/target.h"

#include <netdb.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "roughtime/client/command.h"

static bool
set_host(struct target *t, const char *text, size_t len, const char **why)
{
	*why = "the host is empty";
	if (len == 0)
		return false;
	*why = "the host name is too long";
	if (len >= sizeof t->host)
		return false;
	memcpy(t->host, text, len);
	t->host[len] = '\0';
	return true;
}

static bool
set_port(struct target *t, const char *text, const char **why)
{
	uint64_t port;

	*why = "the port is not a number from 1 to 65535";
	if (!command_number(text, 1, 65535, &port))
		return false;
	snprintf(t->port, sizeof t->port, "%u", (unsigned int)port);
	return true;
}

bool
target_parse(struct target *t, const char *text, const char **why)
{
	const char *colon = strchr(text, ':');
	const char *close;

	memcpy(t->port, TARGET_PORT, sizeof TARGET_PORT);
	if (text[0] == '[') {
		close = strchr(text, ']');
		*why = "an address in brackets is written [2001:db8::1]:2002";
		if (close == NULL || (close[1] != '\0' && close[1] != ':'))
			return false;
		return set_host(t, text + 1, (size_t)(close - text - 1), why) &&
		    (close[1] == '\0' || set_port(t, close + 2, why));
	}
	/* two colons without brackets: an IPv6 address that has no port */
	if (colon == NULL || strchr(colon + 1, ':') != NULL)
		return set_host(t, text, strlen(text), why);
	return set_host(t, text, (size_t)(colon - text), why) &&
	    set_port(t, colon + 1, why);
}

bool
target_key(uint8_t key[static CERT_PUBLIC_LEN], const char *text)
{
	static const int variants[] = {
		sodium_base64_VARIANT_ORIGINAL,
		sodium_base64_VARIANT_ORIGINAL_NO_PADDING,
		sodium_base64_VARIANT_URLSAFE,
		sodium_base64_VARIANT_URLSAFE_NO_PADDING,
	};
	size_t len = strlen(text), got;

	if (len == 2 * CERT_PUBLIC_LEN)
		return sodium_hex2bin(key, CERT_PUBLIC_LEN, text, len, NULL,
			   &got, NULL) == 0 &&
		    got == CERT_PUBLIC_LEN;
	for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
		if (sodium_base642bin(key, CERT_PUBLIC_LEN, text, len, NULL,
			&got, NULL, variants[i]) == 0 &&
		    got == CERT_PUBLIC_LEN)
			return true;
	}
	return false;
}

size_t
target_resolve(const struct target *t, int family, struct addr *out, size_t cap,
    const char **why)
{
	/* one socket type: each address once */
	const struct addrinfo hints = { .ai_family = family,
		.ai_socktype = SOCK_DGRAM };
	struct addrinfo *list = NULL;
	size_t n = 0;
	int rc = getaddrinfo(t->host, t->port, &hints, &list);

	if (rc != 0) {
		*why = gai_strerror(rc);
		return 0;
	}
	for (struct addrinfo *a = list; a != NULL && n < cap; a = a->ai_next) {
		if (a->ai_addrlen > sizeof out[n])
			continue;
		memset(&out[n], 0, sizeof out[n]);
		memcpy(&out[n].sa, a->ai_addr, a->ai_addrlen);
		n++;
	}
	freeaddrinfo(list);
	*why = "the name has no address";
	return n;
}
