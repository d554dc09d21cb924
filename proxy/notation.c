#include "proxy/notation.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* RFC 1035, section 2.3.4, as text without the last dot */
#define LABEL_LEN_MAX 63
#define NAME_LEN_MAX 253

const char *
notation_proto_str(enum sock_proto proto)
{
	return proto == SOCK_TCP ? "tcp" : "udp";
}

char *
notation_quote(char buf[static NOTATION_QUOTE_LEN], const char *text)
{
	size_t n = 0;

	buf[n++] = '"';
	for (; *text != '\0' && n < NOTATION_QUOTE_LEN - 8; text++) {
		unsigned char c = (unsigned char)*text;

		buf[n++] = c < 0x20 || c == 0x7f ? '?' : *text;
	}
	/* cut before a character, not inside one */
	while (*text != '\0' && n > 1 && ((unsigned char)*text & 0xc0) == 0x80)
		text--, n--;
	memcpy(buf + n, *text != '\0' ? "...\"" : "\"", *text != '\0' ? 5 : 2);
	return buf;
}

char *
notation_host(char buf[static NOTATION_HOST_LEN], const struct addr *a)
{
	const void *bytes = a->sa.sa_family == AF_INET
	    ? (const void *)&a->in.sin_addr
	    : (const void *)&a->in6.sin6_addr;

	buf[0] = '\0';
	if (a->sa.sa_family != AF_UNSPEC)
		inet_ntop(a->sa.sa_family, bytes, buf, NOTATION_HOST_LEN);
	return buf;
}

char *
notation_edge(
    char buf[static NOTATION_EDGE_LEN], const struct app *a, size_t edge)
{
	size_t len;

	notation_host(buf, &a->edge[edge]);
	len = strlen(buf);
	if (a->edge_bits[edge] > 0)
		snprintf(buf + len, NOTATION_EDGE_LEN - len, "/%u",
		    (unsigned int)a->edge_bits[edge]);
	return buf;
}

char *
notation_ports_str(
    char buf[static NOTATION_PORTS_LEN], uint16_t first, uint16_t last)
{
	if (first == last)
		snprintf(buf, NOTATION_PORTS_LEN, "%u", first);
	else
		snprintf(buf, NOTATION_PORTS_LEN, "%u-%u", first, last);
	return buf;
}

void
notation_unmap(struct addr *a)
{
	struct addr four = { 0 };

	if (a->sa.sa_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return;
	four.in.sin_family = AF_INET;
	four.in.sin_port = a->in6.sin6_port;
	memcpy(&four.in.sin_addr, a->in6.sin6_addr.s6_addr + 12, 4);
	*a = four;
}

/* Decimal digits at *text, moved past; -1 for none, six digits or more. */
static int32_t
number(const char **text)
{
	size_t n = strspn(*text, "0123456789");
	int32_t v = 0;

	if (n < 1 || n > 5)
		return -1;
	while (n-- > 0)
		v = v * 10 + *(*text)++ - '0';
	return v;
}

int
notation_ports(struct notation_ports *p, const char *text,
    char why[static NOTATION_WHY_LEN])
{
	char quoted[NOTATION_QUOTE_LEN];
	const char *at = text;
	int32_t first = number(&at), last = first;

	if (first >= 0 && *at == '-') {
		at++;
		last = number(&at);
	}
	if (first < 0 || last < 0 || *at != '\0')
		snprintf(why, NOTATION_WHY_LEN,
		    "expected a port such as 22 or a range such as 1000-2000, "
		    "got %s",
		    notation_quote(quoted, text));
	else if (first == 0 || last == 0 || first > 65535 || last > 65535)
		snprintf(why, NOTATION_WHY_LEN,
		    "expected ports from 1 to 65535, got %s",
		    notation_quote(quoted, text));
	else if (first > last)
		snprintf(why, NOTATION_WHY_LEN,
		    "the range %s runs backwards, expected %d-%d",
		    notation_quote(quoted, text), last, first);
	else {
		p->first = (uint16_t)first;
		p->last = (uint16_t)last;
		return 0;
	}
	return -1;
}

/* Takes `tcp` or `udp` and the separator off *text. */
static bool
take_proto(enum sock_proto *proto, const char **text, const char *separator)
{
	if (strncmp(*text, "tcp", 3) == 0)
		*proto = SOCK_TCP;
	else if (strncmp(*text, "udp", 3) == 0)
		*proto = SOCK_UDP;
	else
		return false;
	if (strncmp(*text + 3, separator, strlen(separator)) != 0)
		return false;
	*text += 3 + strlen(separator);
	return true;
}

int
notation_protocol(enum sock_proto *proto, struct notation_ports *p,
    const char *text, char why[static NOTATION_WHY_LEN])
{
	char quoted[NOTATION_QUOTE_LEN];
	const char *at = text;

	if (take_proto(proto, &at, "/"))
		return notation_ports(p, at, why);
	snprintf(why, NOTATION_WHY_LEN,
	    "expected tcp/PORT or udp/FIRST-LAST, such as tcp/22 or "
	    "udp/1000-2000, got %s",
	    notation_quote(quoted, text));
	return -1;
}

/* `?weight=3` or nothing */
static int
take_weight(unsigned int *weight, const char *query, char *why)
{
	static const char key[] = "?weight=";
	char quoted[NOTATION_QUOTE_LEN];
	const char *at = query + sizeof key - 1;
	int32_t v;

	*weight = 1;
	if (query[0] == '\0')
		return 0;
	if (strncmp(query, key, sizeof key - 1) == 0) {
		v = number(&at);
		if (v >= 1 && v <= NOTATION_WEIGHT_MAX && *at == '\0') {
			*weight = (unsigned int)v;
			return 0;
		}
	}
	snprintf(why, NOTATION_WHY_LEN,
	    "expected ?weight=N with N from 1 to %d, got %s",
	    NOTATION_WEIGHT_MAX, notation_quote(quoted, query));
	return -1;
}

/* `[2001:db8::1]:53` or `192.0.2.1:53`: the colon before the ports. */
static char *
ports_colon(char *text)
{
	char *end = text[0] == '[' ? strchr(text, ']') : NULL;

	if (end != NULL)
		return end[1] == ':' ? end + 1 : NULL;
	return strchr(text, ':');
}

/* HOST[:PORTS], which may be written over. */
static int
take_host(struct notation_origin *o, char *text, char *why)
{
	char quoted[NOTATION_QUOTE_LEN];
	char *colon = ports_colon(text);
	const char *reason;

	if (colon != NULL && strchr(colon + 1, ':') != NULL) {
		snprintf(why, NOTATION_WHY_LEN,
		    "expected an IPv6 address in brackets, such as "
		    "[2001:db8::1]:53, got %s",
		    notation_quote(quoted, text));
		return -1;
	}
	if (colon != NULL) {
		*colon = '\0';
		if (notation_ports(&o->ports, colon + 1, why) != 0)
			return -1;
	}
	if (addr_parse(&o->address, text, 0, &reason) != 0) {
		snprintf(why, NOTATION_WHY_LEN,
		    "%s: %s; names go under origin_dns",
		    notation_quote(quoted, text), reason);
		return -1;
	}
	notation_unmap(&o->address);
	return 0;
}

int
notation_origin(struct notation_origin *o, const char *text,
    char why[static NOTATION_WHY_LEN])
{
	char quoted[NOTATION_QUOTE_LEN], copy[128];
	const char *at = text;
	size_t len;

	memset(o, 0, sizeof *o);
	if (!take_proto(&o->proto, &at, "://") ||
	    (len = strcspn(at, "?")) >= sizeof copy) {
		snprintf(why, NOTATION_WHY_LEN,
		    "expected tcp://ADDRESS:PORT or udp://ADDRESS:PORT, "
		    "got %s",
		    notation_quote(quoted, text));
		return -1;
	}
	if (take_weight(&o->weight, at + len, why) != 0)
		return -1;
	memcpy(copy, at, len);
	copy[len] = '\0';
	return take_host(o, copy, why);
}

int
notation_address(
    struct addr *a, const char *text, char why[static NOTATION_WHY_LEN])
{
	char quoted[NOTATION_QUOTE_LEN];
	const char *reason;

	/* a default port of -1 asks for one: then it must not be there */
	if (addr_parse(a, text, -1, &reason) != 0 &&
	    addr_parse(a, text, 0, &reason) == 0) {
		notation_unmap(a);
		return 0;
	}
	memset(a, 0, sizeof *a);
	snprintf(why, NOTATION_WHY_LEN,
	    "expected a numeric address without a port, such as 192.0.2.1 or "
	    "2001:db8::1, got %s",
	    notation_quote(quoted, text));
	return -1;
}

int
notation_server(
    struct addr *a, const char *text, char why[static NOTATION_WHY_LEN])
{
	char quoted[NOTATION_QUOTE_LEN];
	const char *reason;

	if (addr_parse(a, text, 53, &reason) == 0) {
		if (!addr_is_wildcard(a) && addr_port(a) != 0 &&
		    strchr(text, '%') == NULL)
			return 0;
		reason = "no server, or one with a zone";
	}
	memset(a, 0, sizeof *a);
	snprintf(why, NOTATION_WHY_LEN,
	    "expected the numeric address of a DNS server, such as 192.0.2.53 "
	    "or [2001:db8::53]:5353, got %s (%s)",
	    notation_quote(quoted, text), reason);
	return -1;
}

/* The length of the label at `text`, 0 when it is none. */
static size_t
label(const char *text)
{
	size_t n = 0;

	while ((text[n] >= 'a' && text[n] <= 'z') ||
	    (text[n] >= 'A' && text[n] <= 'Z') ||
	    (text[n] >= '0' && text[n] <= '9') || text[n] == '-' ||
	    text[n] == '_')
		n++;
	return n <= LABEL_LEN_MAX ? n : 0;
}

int
notation_name(const char *text, char why[static NOTATION_WHY_LEN])
{
	char quoted[NOTATION_QUOTE_LEN];
	const char *at = text, *reason;
	struct addr numeric;
	size_t n;

	if (addr_parse(&numeric, text, 0, &reason) == 0) {
		snprintf(why, NOTATION_WHY_LEN,
		    "%s is an address: those go under origin_direct",
		    notation_quote(quoted, text));
		return -1;
	}
	for (; (n = label(at)) > 0; at++) {
		at += n;
		if (*at != '.' || at[1] == '\0')
			break;
	}
	if (n > 0 && (*at == '\0' || *at == '.') && at - text <= NAME_LEN_MAX)
		return 0;
	snprintf(why, NOTATION_WHY_LEN,
	    "expected a name such as origin.example, of letters, digits, - "
	    "and _, at most 253 bytes and 63 between dots, got %s",
	    notation_quote(quoted, text));
	return -1;
}

/* Clears the bits past the prefix; false when one of them was set. */
static bool
mask(struct app_prefix *p)
{
	bool four = p->address.sa.sa_family == AF_INET;
	uint8_t *bytes = four ? (uint8_t *)&p->address.in.sin_addr
			      : p->address.in6.sin6_addr.s6_addr;
	bool clean = true;

	for (unsigned int i = p->bits; i < (four ? 32u : 128u); i++) {
		uint8_t bit = (uint8_t)(0x80u >> i % 8);

		clean = clean && (bytes[i / 8] & bit) == 0;
		bytes[i / 8] &= (uint8_t)~bit;
	}
	return clean;
}

static int
take_prefix(struct app_prefix *p, char *text)
{
	char *slash = strchr(text, '/');
	const char *at, *reason;
	int32_t bits = -1, most;

	if (slash != NULL) {
		*slash = '\0';
		at = slash + 1;
		bits = number(&at);
		if (bits < 0 || *at != '\0')
			return -1;
	}
	if (addr_parse(&p->address, text, -1, &reason) == 0 ||
	    addr_parse(&p->address, text, 0, &reason) != 0 ||
	    strchr(text, '%') != NULL)
		return -1;
	most = p->address.sa.sa_family == AF_INET ? 32 : 128;
	if (bits > most)
		return -1;
	p->bits = (unsigned int)(slash != NULL ? bits : most);
	if (most == 128 && p->bits >= 96) {
		notation_unmap(&p->address);
		p->bits -= p->address.sa.sa_family == AF_INET ? 96 : 0;
	}
	return 0;
}

int
notation_prefix(
    struct app_prefix *p, const char *text, char why[static NOTATION_WHY_LEN])
{
	char quoted[NOTATION_QUOTE_LEN], host[NOTATION_HOST_LEN], copy[64];

	memset(p, 0, sizeof *p);
	snprintf(copy, sizeof copy, "%s", text);
	if (strlen(text) >= sizeof copy || take_prefix(p, copy) != 0) {
		snprintf(why, NOTATION_WHY_LEN,
		    "expected an address or a prefix such as 203.0.113.0/24 "
		    "or 2001:db8::/32, got %s",
		    notation_quote(quoted, text));
		return -1;
	}
	if (mask(p))
		return 0;
	snprintf(why, NOTATION_WHY_LEN,
	    "%s has bits set after its prefix, expected %s/%u",
	    notation_quote(quoted, text), notation_host(host, &p->address),
	    p->bits);
	return -1;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What follows a backslash; -1: nothing that is known. */
static int
escaped(const char **at)
{
	static const char names[] = "nrt\\", bytes[] = "\n\r\t\\";
	const char *name;
	int high, low;

	if (**at == 'x') {
		high = hex_digit((*at)[1]);
		low = high >= 0 ? hex_digit((*at)[2]) : -1;
		*at += 3;
		return low >= 0 ? high << 4 | low : -1;
	}
	name = **at != '\0' ? strchr(names, **at) : NULL;
	++*at;
	return name != NULL ? bytes[name - names] : -1;
}

int
notation_bytes(uint8_t *out, size_t cap, uint16_t *len, const char *text,
    char why[static NOTATION_WHY_LEN])
{
	const char *at = text;
	size_t n = 0;

	while (*at != '\0') {
		int c = *at++;

		if (c == '\\')
			c = escaped(&at);
		if (c < 0 || c > 255) {
			snprintf(why, NOTATION_WHY_LEN,
			    "expected ASCII text with \\n, \\r, \\t, "
			    "\\\\ and \\xHH, in single quotes");
			return -1;
		}
		if (n == cap) {
			snprintf(why, NOTATION_WHY_LEN,
			    "expected at most %zu bytes", cap);
			return -1;
		}
		out[n++] = (uint8_t)c;
	}
	*len = (uint16_t)n;
	return 0;
}
