/*
 * Replies of a DNS server, for the tests of those that read them. A name is
 * written out, "" is the root. Each function fails the test that calls it
 * rather than return an error.
 */
#ifndef TESTS_DNSMESSAGE_H
#define TESTS_DNSMESSAGE_H

#include <arpa/nameser.h>
#include <stddef.h>
#include <stdint.h>

/* A reply in the making. */
struct dnsmessage {
	uint8_t bytes[16384];
	size_t len;
};

/* The header and the question; then answers, one call each. */
void dnsmessage_begin(struct dnsmessage *r, const char *name, ns_type type);
void dnsmessage_record(struct dnsmessage *r, const char *name, ns_type type,
    uint32_t ttl, const void *data, size_t len);
/* A or AAAA, by `address` */
void dnsmessage_address(
    struct dnsmessage *r, const char *name, const char *address, uint32_t ttl);
/* CNAME */
void dnsmessage_alias(
    struct dnsmessage *r, const char *name, const char *to, uint32_t ttl);
/* `numbers`: priority, weight, port */
void dnsmessage_srv(struct dnsmessage *r, const char *name, uint32_t ttl,
    const unsigned int numbers[static 3], const char *host);

#endif
