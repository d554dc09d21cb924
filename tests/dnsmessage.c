#include "tests/dnsmessage.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

static void
put(struct dnsmessage *r, const void *bytes, size_t len)
{
	assert_true(r->len + len <= sizeof r->bytes);
	memcpy(r->bytes + r->len, bytes, len);
	r->len += len;
}

static void
put16(struct dnsmessage *r, unsigned int v)
{
	put(r, (const uint8_t[]){ (uint8_t)(v >> 8), (uint8_t)v }, 2);
}

static void
put_name(struct dnsmessage *r, const char *name)
{
	size_t n;

	for (; *name != '\0'; name += name[n] == '.' ? n + 1 : n) {
		n = strcspn(name, ".");
		put(r, (const uint8_t[]){ (uint8_t)n }, 1);
		put(r, name, n);
	}
	put(r, "", 1);
}

void
dnsmessage_begin(struct dnsmessage *r, const char *name, ns_type type)
{
	r->len = 0;
	put16(r, 0x1234);
	put16(r, 0x8180); /* a reply, recursion done */
	put16(r, 1);
	put(r, "\0\0\0\0\0\0", 6);
	put_name(r, name);
	put16(r, type);
	put16(r, ns_c_in);
}

void
dnsmessage_record(struct dnsmessage *r, const char *name, ns_type type,
    uint32_t ttl, const void *data, size_t len)
{
	put_name(r, name);
	put16(r, type);
	put16(r, ns_c_in);
	put16(r, ttl >> 16);
	put16(r, ttl & 0xffff);
	put16(r, (unsigned int)len);
	put(r, data, len);
	r->bytes[7]++; /* answers */
}

void
dnsmessage_address(
    struct dnsmessage *r, const char *name, const char *address, uint32_t ttl)
{
	bool six = strchr(address, ':') != NULL;
	uint8_t data[16];

	assert_int_equal(inet_pton(six ? AF_INET6 : AF_INET, address, data), 1);
	dnsmessage_record(
	    r, name, six ? ns_t_aaaa : ns_t_a, ttl, data, six ? 16 : 4);
}

void
dnsmessage_alias(
    struct dnsmessage *r, const char *name, const char *to, uint32_t ttl)
{
	static struct dnsmessage data;

	data.len = 0;
	put_name(&data, to);
	dnsmessage_record(r, name, ns_t_cname, ttl, data.bytes, data.len);
}

void
dnsmessage_srv(struct dnsmessage *r, const char *name, uint32_t ttl,
    const unsigned int numbers[static 3], const char *host)
{
	static struct dnsmessage data;

	data.len = 0;
	for (int i = 0; i < 3; i++)
		put16(&data, numbers[i]);
	put_name(&data, host);
	dnsmessage_record(r, name, ns_t_srv, ttl, data.bytes, data.len);
}
