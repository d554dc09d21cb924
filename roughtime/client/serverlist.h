/*
 * Server lists (RFC 10049 section 8.3) and their dialects in the field:
 * `version` is a number, 3000600613 for Google's protocol, a string, or
 * missing. Pure: text in, a bounded struct out.
 */
#ifndef ROUGHTIME_CLIENT_SERVERLIST_H
#define ROUGHTIME_CLIENT_SERVERLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/sock.h"
#include "roughtime/client/target.h"

#define SERVERLIST_MAX 256 /* servers; more are counted and left out */
#define SERVERLIST_ADDRS_MAX 8 /* of one server */
#define SERVERLIST_NAME_LEN 96
#define SERVERLIST_URL_LEN 512
#define SERVERLIST_BYTES_MAX (1u << 20)
#define SERVERLIST_WHY_LEN 256

struct serverlist_address {
	enum sock_proto proto;
	struct target target;
};

struct serverlist_entry {
	char name[SERVERLIST_NAME_LEN]; /* without control bytes */
	uint8_t public_key[CERT_PUBLIC_LEN];
	bool google; /* the list says that it speaks Google's protocol */
	struct serverlist_address addrs[SERVERLIST_ADDRS_MAX];
	size_t n_addrs;
};

/* Why an entry cannot be used; the list goes on without it. */
enum serverlist_fault {
	SERVERLIST_OK = 0,
	SERVERLIST_NOT_OBJECT,
	SERVERLIST_KEY_TYPE, /* not ed25519 */
	SERVERLIST_KEY, /* missing or not 32 bytes of base64 */
	SERVERLIST_KEY_REPEATED, /* a server is its key: asked once */
	SERVERLIST_NO_ADDRESS, /* none that is udp or tcp and readable */
	SERVERLIST_FAULTS
};
const char *serverlist_fault_str(enum serverlist_fault fault);

struct serverlist {
	struct serverlist_entry *entries;
	size_t count;
	/* what was left out, in the order of the file */
	struct serverlist_skip {
		char name[SERVERLIST_NAME_LEN];
		enum serverlist_fault fault;
	} * skips;
	size_t skipped;
	char reports[SERVERLIST_URL_LEN]; /* "" without */
};

/*
 * False and a sentence when the text is no server list at all; an entry that
 * cannot be used is only skipped. serverlist_free() in both cases.
 */
bool serverlist_parse(struct serverlist *l, const char *text, size_t len,
    char why[static SERVERLIST_WHY_LEN]);
void serverlist_free(struct serverlist *l);

#endif
