/*
 * How l4proxyd.yaml writes ports, origins and prefixes. Pure: text in, values
 * out. Each reader returns 0, or -1 and what is wrong in `why`.
 */
#ifndef PROXY_NOTATION_H
#define PROXY_NOTATION_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/sock.h"
#include "proxy/app.h"

#define NOTATION_WHY_LEN 256
#define NOTATION_WEIGHT_MAX 1000

struct notation_ports {
	uint16_t first, last; /* inclusive; first 0: none were written */
};

/* `22`, `1000-2000` */
int notation_ports(struct notation_ports *p, const char *text,
    char why[static NOTATION_WHY_LEN]);

/* `tcp/22`, `udp/1000-2000` */
int notation_protocol(enum sock_proto *proto, struct notation_ports *p,
    const char *text, char why[static NOTATION_WHY_LEN]);

struct notation_origin {
	enum sock_proto proto;
	struct addr address; /* port 0 */
	struct notation_ports ports;
	unsigned int weight;
};

/* `tcp://192.0.2.1:3000-4000`, `udp://[2001:db8::1]:53?weight=3` */
int notation_origin(struct notation_origin *o, const char *text,
    char why[static NOTATION_WHY_LEN]);

/* `192.0.2.1`: no port; v4-mapped IPv6 becomes IPv4 */
int notation_address(
    struct addr *a, const char *text, char why[static NOTATION_WHY_LEN]);

/* A DNS server: `127.0.0.1`, `[2001:db8::1]:5353`; by default port 53 */
int notation_server(
    struct addr *a, const char *text, char why[static NOTATION_WHY_LEN]);

/* A name in the DNS (RFC 1035, 2.3.4; `_` as in RFC 2782), not an address */
int notation_name(const char *text, char why[static NOTATION_WHY_LEN]);

/* `203.0.113.0/24`, `2001:db8::/32`, `192.0.2.1`; host bits are a fault */
int notation_prefix(
    struct app_prefix *p, const char *text, char why[static NOTATION_WHY_LEN]);

/* Bytes as ASCII text in which \n, \r, \t, \\ and \xHH stand for what they
 * do in C; any byte can be written. At most `cap`. */
int notation_bytes(uint8_t *out, size_t cap, uint16_t *len, const char *text,
    char why[static NOTATION_WHY_LEN]);

/* Operator's text as it may stand in a message: quoted, short, one line. */
#define NOTATION_QUOTE_LEN 72
char *notation_quote(char buf[static NOTATION_QUOTE_LEN], const char *text);

/* The address without a port and a zone: `192.0.2.1`, `2001:db8::1`. */
#define NOTATION_HOST_LEN INET6_ADDRSTRLEN
char *notation_host(char buf[static NOTATION_HOST_LEN], const struct addr *a);

/* An edge of an application: as above, or a prefix `192.0.2.0/24`. */
#define NOTATION_EDGE_LEN (NOTATION_HOST_LEN + 4)
char *notation_edge(
    char buf[static NOTATION_EDGE_LEN], const struct app *a, size_t edge);

/* `22` or `1000-2000` */
#define NOTATION_PORTS_LEN 12
char *notation_ports_str(
    char buf[static NOTATION_PORTS_LEN], uint16_t first, uint16_t last);

const char *notation_proto_str(enum sock_proto proto); /* "udp", "tcp" */

/* v4-mapped IPv6 becomes the IPv4 address that it means (RFC 4291, 2.5.5.2) */
void notation_unmap(struct addr *a);

#endif
