/* What predict and who are asked about: a protocol, an address, options. */
#ifndef PORTSHARE_PLACE_H
#define PORTSHARE_PLACE_H

#include <jansson.h>
#include <stdbool.h>

#include "net/portlook.h"

struct place {
	enum sock_proto proto;
	struct addr address; /* with a port, never 0 */
	struct sock_opts opts; /* predict: the newcomer's flags and device */
	unsigned int uid; /* predict: the newcomer's creator */
	unsigned int device; /* index, 0: not given */
	struct addr from; /* who: the sender; family 0: not given */
	bool probe; /* who: send something, and see */
	bool json, help;
};

/*
 * Reads the words after the command. `predicts` tells which options there are.
 * COMMAND_GOOD, or COMMAND_FAILED with the reason on stderr.
 */
int place_parse(struct place *p, bool predicts, int argc, char **argv);

/* The words of others: the same statuses, the reason on stderr. */
int place_read_proto(enum sock_proto *proto, const char *word);
int place_read_address(struct addr *a, const char *text); /* with a port */
/* A number, or a name that the user database knows. */
int place_read_uid(unsigned int *uid, const char *text);

const char *place_proto_str(enum sock_proto proto); /* "udp" */
/* "udp 192.0.2.1:2002": returns buf. */
char *
place_name(char *buf, size_t len, enum sock_proto proto, const struct addr *a);

/* The holder for people: a line without its end; for programs: an object. */
char *place_owner(char *buf, size_t len, const struct portscan_socket *s);
json_t *place_owner_json(const struct portscan_socket *s);

#endif
