/* Whom to ask: `HOST[:PORT]` and a public key, as people write them. */
#ifndef ROUGHTIME_CLIENT_TARGET_H
#define ROUGHTIME_CLIENT_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "roughtime/cert.h"

#define TARGET_PORT "2002" /* where the field listens; the RFC's is 5319 */
#define TARGET_HOST_LEN 256
#define TARGET_ADDRS_MAX 8

struct target {
	char host[TARGET_HOST_LEN]; /* without brackets */
	char port[8];
};

/*
 * `time.example.net`, `192.0.2.1:2002`, `[2001:db8::1]:2002`, `2001:db8::1`.
 * False and a sentence in *why.
 */
bool target_parse(struct target *t, const char *text, const char **why);

/* 32 bytes as base64 (with or without padding, plain or URL-safe) or hex. */
bool target_key(uint8_t key[static CERT_PUBLIC_LEN], const char *text);

/*
 * The addresses of a host, in the order of getaddrinfo(3), at most `cap`.
 * `family` is AF_INET, AF_INET6 or AF_UNSPEC. Returns how many, or 0 and a
 * sentence in *why.
 */
size_t target_resolve(const struct target *t, int family, struct addr *out,
    size_t cap, const char **why);

#endif
